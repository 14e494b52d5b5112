"""What GitRepository says when it cannot fetch or store, and how it recovers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fluvial.artifact.cache import remove_tree
from gitservers.certs import TestCA
from gitservers.http import GitHttpServer
from gitservers.repos import Repo
from gitservers.ssh import GitSshServer, make_key
from harness.source import SourceWorld, condition, fast_settings
from source_controller.git.model import Limits


@pytest.mark.shows(
    "GitRepository/FetchFailed/GitOperationFailed",
    "GitRepository/Reconciling/ProgressingWithRetry",
    "event:GitRepository/failure",
)
async def test_an_unknown_branch(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    await world.repository(url=f"{http_server.url}/app.git", ref={"branch": "nope"})
    obj = await world.until_failed("GitOperationFailed")

    assert "couldn't find remote ref 'refs/heads/nope'" in condition(obj, "FetchFailed")["message"]
    assert condition(obj, "Reconciling")["reason"] == "ProgressingWithRetry"
    assert not condition(obj, "Stalled")
    assert "artifact" not in obj["status"]
    assert obj["status"]["observedGeneration"] == -1
    assert (await world.until_event("GitOperationFailed"))["type"] == "Warning"


@pytest.mark.shows("event:GitRepository/Succeeded")
async def test_a_failure_keeps_the_last_artifact_and_recovery_says_so(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    url = f"{http_server.url}/app.git"
    await world.repository(url=url)
    before = await world.until_ready()
    http_server.status = 503
    await world.request("while down")
    obj = await world.until_failed("GitOperationFailed")
    assert obj["status"]["artifact"] == before["status"]["artifact"]
    assert obj["status"]["lastHandledReconcileAt"] == "while down"
    http_server.status = 0
    after = await world.until_ready()

    assert not condition(after, "FetchFailed")
    assert after["status"]["artifact"] == before["status"]["artifact"]
    assert (await world.until_event("Succeeded"))["type"] == "Normal"


async def test_an_unreachable_host(world: SourceWorld, unused_tcp_port: int) -> None:
    await world.repository(url=f"http://127.0.0.1:{unused_tcp_port}/app.git")
    obj = await world.until_failed("GitOperationFailed")

    assert "connect" in condition(obj, "Ready")["message"]


@pytest.mark.shows("field:GitRepository/spec.timeout")
async def test_a_fetch_that_takes_too_long(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    http_server.hold.clear()
    await world.repository(url=f"{http_server.url}/app.git", timeout="1s")
    obj = await world.until_failed("GitOperationFailed")
    http_server.hold.set()

    message = condition(obj, "Ready")["message"]
    assert "took longer than 1s" in message or "timed out" in message


@pytest.mark.shows("GitRepository/FetchFailed/EmptyGitRepository")
async def test_an_empty_repository(
    world: SourceWorld, tmp_path: Path, http_server: GitHttpServer
) -> None:
    Repo(tmp_path / "repos", "empty.git")
    await world.repository(url=f"{http_server.url}/empty.git")
    obj = await world.until_failed("EmptyGitRepository")

    assert condition(obj, "FetchFailed")["message"] == "git repository is empty"


@pytest.mark.shows("field:GitRepository/spec.ref.semver")
async def test_a_semver_range_that_no_tag_is_in(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    repo.tag("v1.0.0")
    url = f"{http_server.url}/app.git"
    await world.repository(url=url, ref={"semver": ">=2.0.0"})
    obj = await world.until_failed("GitOperationFailed")
    assert "no match found for semver: >=2.0.0" in condition(obj, "Ready")["message"]
    await world.repository(url=url, ref={"semver": ">=1.0.0"})

    obj = await world.until_ready()
    assert obj["status"]["artifact"]["revision"].startswith("v1.0.0@sha1:")


@pytest.mark.shows("field:GitRepository/spec.secretRef.name")
async def test_wrong_then_right_credentials(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    http_server.basic = ("dev", "s3cret")
    await world.secret("creds", {"username": "dev", "password": "wr0ng"})
    await world.repository(url=f"{http_server.url}/app.git", secretRef={"name": "creds"})
    obj = await world.until_failed("GitOperationFailed")
    message = condition(obj, "Ready")["message"]
    assert "authentication required" in message
    assert "wr0ng" not in message
    await world.secret("creds", {"username": "dev", "password": "s3cret"})

    await world.until_ready()
    assert (await world.until_event("NewArtifact"))["type"] == "Normal"


async def test_credentials_in_the_url_work_and_show_nowhere(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    http_server.basic = ("dev", "s3cr/et")
    address = http_server.url.removeprefix("http://")
    await world.repository(url=f"http://dev:s3cr%2Fet@{address}/app.git")
    await world.until_ready()
    await world.repository(url=f"http://dev:s3cr%2Fet@{address}/missing.git")
    obj = await world.until_failed("GitOperationFailed")

    assert "s3cr" not in str(obj["status"])


@pytest.mark.shows("GitRepository/FetchFailed/AuthenticationFailed")
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"password": "x"}, "'password' is set without 'username'"),
        ({"tls.crt": "x"}, "'tls.crt' is set without 'tls.key'"),
        (None, "not found"),
    ],
    ids=["password alone", "half a certificate", "no secret"],
)
async def test_secrets_that_do_not_do(
    world: SourceWorld, values: dict[str, str] | None, message: str
) -> None:
    if values is not None:
        await world.secret("creds", values)
    await world.repository(url="http://127.0.0.1:1/app.git", secretRef={"name": "creds"})
    obj = await world.until_failed("AuthenticationFailed")

    assert message in condition(obj, "FetchFailed")["message"]


@pytest.mark.parametrize("name", ["../../kube-system/secrets/x", "..", "a/b", "a%2fb", "."])
async def test_a_secret_name_cannot_leave_the_namespace(world: SourceWorld, name: str) -> None:
    await world.repository(url="http://127.0.0.1:1/app.git", secretRef={"name": name})
    obj = await world.until_failed("AuthenticationFailed")

    assert "name" in condition(obj, "FetchFailed")["message"]


async def test_ssh_wants_known_hosts_and_believes_nothing_else(
    world: SourceWorld, repo: Repo, ssh_server: GitSshServer, tmp_path: Path
) -> None:
    private, public = make_key(tmp_path / "id")
    _, foreign = make_key(tmp_path / "foreign")
    ssh_server.authorize(public)
    url = f"{ssh_server.url}{repo.bare}"
    await world.repository(url=url)
    obj = await world.until_failed("AuthenticationFailed")
    assert "'identity' is required" in condition(obj, "Ready")["message"]
    await world.secret("key", {"identity": private})
    await world.repository(url=url, secretRef={"name": "key"})
    obj = await world.until_failed("AuthenticationFailed")
    assert "'known_hosts' is required" in condition(obj, "Ready")["message"]

    wrong = f"[127.0.0.1]:{ssh_server.port} {' '.join(foreign.split()[:2])}\n"
    await world.secret("key", {"identity": private, "known_hosts": wrong})
    obj = await world.until_failed("GitOperationFailed")
    assert "host key mismatch" in condition(obj, "Ready")["message"]
    await world.secret("key", {"identity": private, "known_hosts": ssh_server.known_hosts()})
    await world.until_ready()


async def test_an_encrypted_ssh_key_needs_its_password(
    world: SourceWorld, repo: Repo, ssh_server: GitSshServer, tmp_path: Path
) -> None:
    private, public = make_key(tmp_path / "id", password="s3cret")
    ssh_server.authorize(public)
    values = {"identity": private, "known_hosts": ssh_server.known_hosts()}
    await world.secret("key", values)
    await world.repository(url=f"{ssh_server.url}{repo.bare}", secretRef={"name": "key"})
    obj = await world.until_failed("AuthenticationFailed")
    assert "is encrypted" in condition(obj, "Ready")["message"]
    await world.secret("key", {**values, "password": "s3cret"})

    await world.until_ready()


async def test_a_ca_of_one_tenant_is_unknown_to_the_next(
    world: SourceWorld, repo: Repo, tmp_path: Path
) -> None:
    ca = TestCA()
    async with GitHttpServer(tmp_path / "repos", tls=ca.server_context(tmp_path)) as server:
        url = f"{server.url}/app.git"
        await world.secret("ca", {"ca.crt": ca.pem})
        await world.repository("trusting", url=url, secretRef={"name": "ca"})
        await world.until_ready("trusting")
        await world.repository("plain", url=url)
        obj = await world.until_failed("GitOperationFailed", "plain")

        assert "is not trusted" in condition(obj, "Ready")["message"]


async def test_a_retry_that_fails_again_writes_nothing(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    await world.repository(url=f"{http_server.url}/app.git", ref={"branch": "nope"})
    before = await world.until_failed("GitOperationFailed")
    for _ in range(2):
        await world.run_now()

    assert await world.get() == before
    assert len(http_server.requests) >= 3


@pytest.mark.shows("GitRepository/StorageOperationFailed/ArchiveOperationFailed")
async def test_content_that_is_too_large_to_store(
    world: SourceWorld, repo: Repo, base: Repo, http_server: GitHttpServer
) -> None:
    """Each repository is within the limit, but not what they make together."""
    await world.stop_controller()
    await world.start_controller(replace(fast_settings(), limits=Limits(max_tree_bytes=30)))
    await world.repository("base", url=f"{http_server.url}/base.git")
    await world.until_ready("base")
    base_only = [{"repository": {"name": "base"}, "toPath": name} for name in ("a", "b", "c", "d")]
    await world.repository(url=f"{http_server.url}/app.git", include=base_only)
    obj = await world.until_failed("ArchiveOperationFailed")

    assert "larger than 30 bytes" in condition(obj, "StorageOperationFailed")["message"]
    assert condition(obj, "StorageOperationFailed")["status"] == "True"


@pytest.mark.shows("GitRepository/StorageOperationFailed/DirectoryCreationFailed")
async def test_no_room_for_work(world: SourceWorld, repo: Repo, http_server: GitHttpServer) -> None:
    await world.repository("first", url=f"{http_server.url}/app.git")
    await world.until_ready("first")
    remove_tree(world.storage_path / ".work")
    (world.storage_path / ".work").write_text("in the way")
    await world.repository(url=f"{http_server.url}/app.git")
    await world.until_failed("DirectoryCreationFailed")
    (world.storage_path / ".work").unlink()

    obj = await world.until_ready()
    assert not condition(obj, "StorageOperationFailed")
