"""Git goes out by the gateway alone: denied addresses, hostile names, users' proxies."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fluvial.log import get_logger
from fluvial.net.dialer import Dialer
from fluvial.net.gateway import Gateway
from fluvial.net.policy import AddressPolicy, parse_networks
from fluvial.net.proxy import ProxyServer
from fluvial.workers.pool import WorkerPool
from gitservers.certs import TestCA
from gitservers.http import GitHttpServer
from gitservers.repos import Repo, git
from gitservers.ssh import GitSshServer, make_key
from source_controller.git.client import GitClient, GitError
from source_controller.git.model import Auth, Checkout, CheckoutRequest, Reference

_numbers = itertools.count()
MAIN = Reference(branch="main")


@asynccontextmanager
async def _client(
    pool: WorkerPool, *, allowed: str, names: dict[str, list[str]] | None = None
) -> AsyncIterator[GitClient]:
    """A client for which names lead where ``names`` says, and only ``allowed`` may be reached."""

    async def resolve(host: str, port: int) -> list[str]:
        return (names or {}).get(host, [host])

    policy = AddressPolicy.build(allowed=parse_networks(allowed))
    async with Gateway(Dialer(policy, resolve=resolve), log=get_logger("test")) as gateway:
        yield GitClient(pool, gateway)


async def _checkout(
    client: GitClient, folder: Path, url: str, *, proxy: ProxyServer | None = None, **fields: Any
) -> Checkout:
    work = folder / "team" / f"work-{next(_numbers)}"
    work.mkdir(parents=True)
    request = CheckoutRequest(url=url, work=str(work), timeout=20, reference=MAIN, **fields)
    return await client.checkout(request, namespace="team", proxy=proxy)


@pytest.mark.parametrize("scheme", ["http", "https", "ssh"])
async def test_an_address_that_is_denied_is_not_connected_to(
    pool: WorkerPool, tmp_path: Path, scheme: str
) -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(1))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, _client(pool, allowed="127.0.0.2") as client:
        for host in ("127.0.0.1", "169.254.169.254"):
            with pytest.raises(GitError, match=rf"connections to {host}, .* are not allowed"):
                await _checkout(
                    client,
                    tmp_path,
                    f"{scheme}://{host}:{port}/x",
                    auth=Auth(identity="x", known_hosts="x"),
                )

    assert seen == []


async def test_a_name_that_turns_inwards_after_a_good_answer_is_stopped(
    pool: WorkerPool, repo: Repo, tmp_path: Path
) -> None:
    names = {"git.example": ["127.0.0.1"]}
    async with (
        GitHttpServer(tmp_path / "repos") as server,
        _client(pool, allowed="127.0.0.1", names=names) as client,
    ):
        url = server.url.replace("127.0.0.1", "git.example")
        await _checkout(client, tmp_path, f"{url}/app.git")
        seen = len(server.requests)
        names["git.example"] = ["169.254.169.254"]
        with pytest.raises(GitError, match=r"git\.example \(169\.254\.169\.254\)"):
            await _checkout(client, tmp_path, f"{url}/app.git")

        assert len(server.requests) == seen


async def test_the_server_sees_its_own_name(pool: WorkerPool, repo: Repo, tmp_path: Path) -> None:
    ca = TestCA()
    names = {"git.example": ["127.0.0.1"]}
    async with (
        GitHttpServer(tmp_path / "repos", tls=ca.server_context(tmp_path)) as server,
        _client(pool, allowed="127.0.0.1", names=names) as client,
    ):
        url = server.url.replace("127.0.0.1", "git.example")
        with pytest.raises(GitError, match=r"certificate of git\.example is not trusted"):
            await _checkout(client, tmp_path, f"{url}/app.git", auth=Auth(ca=ca.pem))
        direct = await _checkout(client, tmp_path, f"{server.url}/app.git", auth=Auth(ca=ca.pem))

    assert direct.commit == git(repo.work, "rev-parse", "HEAD")


async def test_a_submodule_cannot_lead_inwards(
    pool: WorkerPool, repo: Repo, tmp_path: Path
) -> None:
    inner = Repo(tmp_path / "repos", "inner.git")
    inner.commit({"a": "b"})
    async with (
        GitHttpServer(tmp_path / "repos") as server,
        _client(pool, allowed="127.0.0.1") as client,
    ):
        repo.add_submodule(inner, "lib", "http://[::1]:9/inner.git")
        with pytest.raises(GitError, match=r"connections to ::1, a loopback address"):
            await _checkout(client, tmp_path, f"{server.url}/app.git", submodules=True)


async def test_a_users_proxy_carries_every_scheme(
    pool: WorkerPool, repo: Repo, ssh_server: GitSshServer, tmp_path: Path
) -> None:
    ca = TestCA()
    private, public = make_key(tmp_path / "key")
    ssh_server.authorize(public)
    known = ssh_server.known_hosts()
    async with (
        _proxy() as (proxy, asked),
        GitHttpServer(tmp_path / "repos") as plain,
        GitHttpServer(tmp_path / "repos", tls=ca.server_context(tmp_path)) as secure,
        _client(pool, allowed="127.0.0.2") as client,
    ):
        # 127.0.0.1 is denied to us; what the proxy reaches is the proxy's to decide.
        urls = [
            (f"{plain.url}/app.git", Auth(), ""),
            (f"{secure.url}/app.git", Auth(ca=ca.pem), ""),
            (
                f"ssh://127.0.0.1:{ssh_server.port}{repo.bare}",
                Auth(identity=private, known_hosts=known),
                ssh_server.user,
            ),
        ]
        for url, auth, user in urls:
            result = await _checkout(client, tmp_path, url, auth=auth, user=user, proxy=proxy)
            assert result.commit == git(repo.work, "rev-parse", "HEAD")

    ports = {plain.url.rsplit(":", 1)[1], secure.url.rsplit(":", 1)[1], str(ssh_server.port)}
    assert {target.rsplit(":", 1)[1] for target in asked} == ports


async def test_a_proxy_that_is_away_is_named(pool: WorkerPool, repo: Repo, tmp_path: Path) -> None:
    async with _client(pool, allowed="127.0.0.0/8") as client:
        proxy = ProxyServer.parse("http://127.0.0.2:9", username="me", password="hidden")
        with pytest.raises(GitError, match=r"cannot connect to 127\.0\.0\.2:9") as caught:
            await _checkout(client, tmp_path, "https://git.example/app.git", proxy=proxy)

    assert "hidden" not in str(caught.value)


@asynccontextmanager
async def _proxy() -> AsyncIterator[tuple[ProxyServer, list[str]]]:
    """A CONNECT proxy at 127.0.0.2 and the targets that it was asked for."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        target = head.split(b" ")[1].decode()
        asked.append(target)
        host, _, port = target.rpartition(":")
        far, up = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(_pipe(reader, up), _pipe(far, writer))
        up.close()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.2", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield ProxyServer.parse(f"http://127.0.0.2:{port}"), asked


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()
