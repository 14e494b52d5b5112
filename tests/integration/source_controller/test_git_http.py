"""Git over HTTP and HTTPS: credentials, trust, redirects, odd addresses."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from gitservers.certs import TestCA
from gitservers.http import GitHttpServer
from gitservers.repos import Repo, git
from harness.git import Runner, branch
from source_controller.git.client import GitClient, GitError
from source_controller.git.model import Auth


async def test_basic_and_bearer_credentials(
    run: Runner, repo: Repo, http_server: GitHttpServer
) -> None:
    url = f"{http_server.url}/app.git"
    http_server.basic = ("dev", "s3cret")
    await run(url, reference=branch(), auth=Auth(username="dev", password="s3cret"))
    http_server.basic, http_server.bearer = None, "t0ken"
    await run(url, reference=branch(), auth=Auth(bearer="t0ken"))

    for auth in (Auth(), Auth(username="dev", password="wr0ng"), Auth(bearer="wr0ng")):
        with pytest.raises(GitError, match="authentication required") as caught:
            await run(url, reference=branch(), auth=auth)
        assert "wr0ng" not in str(caught.value)


async def test_tls_with_an_own_ca_that_the_next_tenant_does_not_know(
    git_client: GitClient, run: Runner, repo: Repo, tmp_path: Path
) -> None:
    ca = TestCA()
    async with GitHttpServer(tmp_path / "repos", tls=ca.server_context(tmp_path)) as server:
        url = f"{server.url}/app.git"
        await run(url, reference=branch(), auth=Auth(ca=ca.pem))
        await run(url, reference=branch(), auth=Auth(ca=ca.pem))
        for auth in (Auth(), Auth(ca=TestCA("other").pem)):
            with pytest.raises(GitError, match=r"certificate of 127.0.0.1 is not trusted"):
                await run(url, reference=branch(), auth=auth)
        with pytest.raises(GitError, match="holds no certificate that can be used"):
            await run(url, reference=branch(), auth=Auth(ca="nonsense"))


async def test_redirects_to_another_host_are_refused(
    run: Runner, repo: Repo, http_server: GitHttpServer, tmp_path: Path
) -> None:
    async with GitHttpServer(tmp_path / "repos") as other:
        http_server.redirect_to = other.url.replace("127.0.0.1", "localhost")
        with pytest.raises(GitError, match=r"redirects to http://localhost, which is refused"):
            await run(f"{http_server.url}/app.git", reference=branch(), auth=Auth(bearer="t0ken"))

        assert other.requests == []


async def test_redirects_within_the_host_are_followed(
    run: Runner, repo: Repo, http_server: GitHttpServer, tmp_path: Path
) -> None:
    http_server.moved = {"/old.git": "/app.git"}
    relative = await run(f"{http_server.url}/old.git", reference=branch())
    ca = TestCA()
    async with GitHttpServer(tmp_path / "repos", tls=ca.server_context(tmp_path)) as server:
        server.moved = {"/old.git": f"{server.url}/app.git"}
        absolute = await run(f"{server.url}/old.git", reference=branch(), auth=Auth(ca=ca.pem))

    assert relative.commit == absolute.commit == git(repo.work, "rev-parse", "HEAD")


async def test_a_client_certificate_is_shown_to_the_own_host_alone(
    run: Runner, repo: Repo, tmp_path: Path
) -> None:
    ca = TestCA()
    certificate, key = ca.pair("team-a")
    with_certificate = Auth(ca=ca.pem, certificate=certificate, certificate_key=key)
    context = ca.server_context(tmp_path)
    context.load_verify_locations(cadata=ca.pem)
    context.verify_mode = ssl.CERT_REQUIRED
    inner = Repo(tmp_path / "repos", "inner.git")
    inner.commit({"a": "b"})
    async with (
        GitHttpServer(tmp_path / "repos", tls=context) as server,
        GitHttpServer(tmp_path / "repos", tls=context) as other,
    ):
        with pytest.raises(GitError, match="may want a client certificate"):
            await run(f"{server.url}/app.git", reference=branch(), auth=Auth(ca=ca.pem))
        good = await run(f"{server.url}/app.git", reference=branch(), auth=with_certificate)
        repo.add_submodule(inner, "lib", f"{other.url}/inner.git")
        with pytest.raises(GitError, match="may want a client certificate"):
            await run(
                f"{server.url}/app.git", reference=branch(), auth=with_certificate, submodules=True
            )
        with pytest.raises(GitError, match="no certificate and key that belong together"):
            await run(
                f"{server.url}/app.git",
                reference=branch(),
                auth=Auth(ca=ca.pem, certificate=certificate, certificate_key=ca.pem),
            )

    assert good.commit


async def test_a_redirect_does_not_take_credentials_from_https_to_http(
    run: Runner, repo: Repo, http_server: GitHttpServer, tmp_path: Path
) -> None:
    ca = TestCA()
    async with GitHttpServer(tmp_path / "repos", tls=ca.server_context(tmp_path)) as server:
        server.redirect_to = http_server.url
        with pytest.raises(GitError, match="redirect"):
            await run(
                f"{server.url}/app.git", reference=branch(), auth=Auth(bearer="t0ken", ca=ca.pem)
            )

    assert http_server.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "https://good.example@evil.example/x",
        "https://good.example\\@evil.example/x",
        "https://good.example#@evil.example/x",
        "http://a b/x",
        "http:///x",
        "ssh://-oProxyCommand=id/x",
    ],
)
async def test_hosts_that_could_be_read_in_two_ways_are_refused(run: Runner, url: str) -> None:
    with pytest.raises(GitError, match=r"not valid|resolve"):
        await run(url, reference=branch())


@pytest.mark.parametrize(
    "url", ["file:///etc", "/etc", "git://127.0.0.1/x", "ext::sh -c id", "ftp://x/"]
)
async def test_other_transports_are_refused(run: Runner, url: str) -> None:
    with pytest.raises(GitError, match="unsupported URL scheme"):
        await run(url)


async def test_server_errors_are_told(
    run: Runner, repo: Repo, http_server: GitHttpServer, unused_tcp_port: int
) -> None:
    http_server.status = 503
    with pytest.raises(GitError, match="503"):
        await run(f"{http_server.url}/app.git", reference=branch())
    http_server.status = 404
    with pytest.raises(GitError, match="repository not found"):
        await run(f"{http_server.url}/app.git", reference=branch())
    with pytest.raises(GitError, match="connect"):
        await run(f"http://127.0.0.1:{unused_tcp_port}/x", reference=branch())
    with pytest.raises(GitError, match="resolve"):
        await run("http://no-such-host.invalid/x", reference=branch())
