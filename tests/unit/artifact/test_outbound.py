"""Where artifacts may be fetched from: tenants write the addresses of some of them."""

from __future__ import annotations

import ast
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from fluvial.api.meta import Artifact
from fluvial.artifact.errors import ArtifactError
from fluvial.artifact.fetcher import Fetcher, open_fetcher
from fluvial.net.dialer import Dialer, Resolve, system_resolve
from fluvial.net.policy import AddressPolicy, parse_networks

ROOT = Path(__file__).parents[3]
HERE = parse_networks("127.0.0.1/32")
NOTHING = "sha256:" + "0" * 64


class Waits:
    """A clock whose sleeps are counted and take no time."""

    def __init__(self) -> None:
        self.sleeps = 0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        del seconds
        self.sleeps += 1


class Server:
    """Answers everything in the same way, and notes that it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.port = 0

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.path}")
        if request.path == "/away":
            raise web.HTTPFound(f"http://127.0.0.1:{self.port}/secret")
        return web.Response(body=b"what is here")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.port = runner.addresses[0][1]
    yield found
    await runner.cleanup()


def names(**addresses: Sequence[str]) -> Resolve:
    """A resolver of names without dots; addresses are themselves."""

    async def resolve(host: str, port: int) -> list[str]:
        return list(addresses[host]) if host in addresses else await system_resolve(host, port)

    return resolve


@asynccontextmanager
async def fetching(
    folder: Path,
    policy: AddressPolicy,
    *,
    clock: Waits | None = None,
    resolve: Resolve = system_resolve,
    host_override: str = "",
) -> AsyncIterator[Fetcher]:
    async with open_fetcher(
        folder / "cache",
        dialer=Dialer(policy, resolve=resolve),
        max_cache_bytes=1 << 20,
        max_artifact_bytes=1 << 20,
        retries=5,
        clock=clock or Waits(),
        host_override=host_override,
    ) as fetcher:
        yield fetcher


async def fetch(fetcher: Fetcher, url: str) -> str:
    """Why an address gives nothing; no digest fits what is there."""
    artifact = Artifact(digest=NOTHING, last_update_time="", path="p", revision="r", url=url)
    with pytest.raises(ArtifactError) as caught:
        async with fetcher.fetch(artifact):
            pass
    return f"{type(caught.value).__name__}: {caught.value}"


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/iam",
        "http://[fd00:ec2::254]/latest/meta-data/iam",
        "http://[::ffff:169.254.169.254]/latest",
        "http://metadata/computeMetadata/v1/",
        "http://169.254.7.7/x",
        "http://[fe80::1]/x",
        "http://127.0.0.2:9090/x",
        "http://localhost:9090/x",
        "http://0.0.0.0:9090/x",
    ],
)
async def test_what_only_the_machine_should_reach_is_refused_at_once(
    tmp_path: Path, url: str
) -> None:
    clock = Waits()
    resolve = names(metadata=["169.254.169.254"])
    async with fetching(tmp_path, AddressPolicy(), clock=clock, resolve=resolve) as fetcher:
        why = await fetch(fetcher, url)

    assert why.startswith("ArtifactUnreachable: cannot fetch the artifact: connections to")
    assert "are not allowed" in why
    assert clock.sleeps == 0


async def test_an_address_in_disguise_is_no_address(tmp_path: Path) -> None:
    clock = Waits()
    async with fetching(tmp_path, AddressPolicy(), clock=clock) as fetcher:
        why = await fetch(fetcher, "http://2852039166/latest")

    assert why.startswith("ArtifactUnreachable")
    assert clock.sleeps == 0


async def test_the_api_server_is_refused_whatever_is_allowed(
    tmp_path: Path, server: Server
) -> None:
    policy = AddressPolicy.build(allowed=HERE, api_servers=[("127.0.0.1", server.port)])
    async with fetching(tmp_path, policy) as fetcher:
        why = await fetch(fetcher, f"http://127.0.0.1:{server.port}/apis")

    assert "the cluster's API server" in why
    assert server.asked == []


async def test_of_a_name_that_changes_only_what_is_allowed_is_connected_to(
    tmp_path: Path, server: Server
) -> None:
    """The address that is checked is the one that is connected to."""
    policy = AddressPolicy.build(allowed=HERE)
    resolve = names(rebound=["169.254.169.254", "127.0.0.1"], gone=["127.0.0.2"])
    async with fetching(tmp_path, policy, resolve=resolve) as fetcher:
        found = await fetch(fetcher, f"http://rebound:{server.port}/x")
        refused = await fetch(fetcher, f"http://gone:{server.port}/x")

    assert found.startswith("DigestMismatch")
    assert "a loopback address" in refused
    assert server.asked == ["GET /x"]


async def test_a_redirect_leads_nowhere(tmp_path: Path, server: Server) -> None:
    async with fetching(tmp_path, AddressPolicy.build(allowed=HERE)) as fetcher:
        why = await fetch(fetcher, f"http://127.0.0.1:{server.port}/away")

    assert "answered 302" in why
    assert server.asked == ["GET /away"]


async def test_the_host_that_the_operator_names_is_allowed_and_no_other_is_asked(
    tmp_path: Path, server: Server
) -> None:
    override = f"localhost:{server.port}"
    async with fetching(tmp_path, AddressPolicy(), host_override=override) as fetcher:
        found = await fetch(fetcher, "http://169.254.169.254/x")

    assert found.startswith("DigestMismatch")
    assert server.asked == ["GET /x"]


async def test_no_proxy_of_the_environment_is_asked(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.port}")
    async with fetching(tmp_path, AddressPolicy.build(allowed=HERE)) as fetcher:
        await fetch(fetcher, "http://169.254.169.254/x")

    assert server.asked == []


def test_the_product_has_no_other_way_to_a_fetcher() -> None:
    """Each controller gets its own from ``open_fetcher``, and with it the dialer."""
    makers = {
        str(path.relative_to(ROOT))
        for path in ROOT.glob("*/src/**/*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Fetcher"
    }

    assert makers == {"shared/src/fluvial/artifact/fetcher.py"}
