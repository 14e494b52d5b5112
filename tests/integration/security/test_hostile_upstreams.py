"""The same attempts of upstreams on every transport, against one controller process.

One object at a time and kind, so that tenants follow each other in the same workers.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from fluvial.kube.kinds import (
    EVENT,
    GIT_REPOSITORY,
    HELM_REPOSITORY,
    NAMESPACE,
    OCI_REPOSITORY,
    SECRET,
)
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey
from gitservers.certs import TestCA
from gitservers.http import GitHttpServer
from gitservers.repos import Repo
from gitservers.ssh import make_key
from harness.source import SourceWorld, condition, fast_settings
from harness.webserver import FileHost
from registries.fake import FakeRegistry
from registries.images import image_of

KINDS = [
    pytest.param(GIT_REPOSITORY, id="git"),
    pytest.param(OCI_REPOSITORY, id="oci"),
    pytest.param(HELM_REPOSITORY, id="helm"),
]
METADATA = "http://169.254.169.254/latest/meta-data"
_TIMEOUT = 20.0

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Tenants:
    """Namespaces, and sources in them."""

    def __init__(self, world: SourceWorld) -> None:
        self.world = world

    async def add(self, namespace: str) -> None:
        """A namespace."""
        obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        key = ObjectKey("", namespace)
        await self.world.client.apply(NAMESPACE, key, obj, field_manager="test")

    async def secret(self, namespace: str, name: str, **values: str) -> None:
        """A Secret; ``_`` in a name stands for a dot."""
        data = {
            key.replace("_", "."): base64.b64encode(value.encode()).decode()
            for key, value in values.items()
        }
        metadata = {"namespace": namespace, "name": name}
        obj = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
        key = ObjectKey(namespace, name)
        await self.world.client.apply(SECRET, key, obj, field_manager="test")

    async def make(
        self, kind: Resource, namespace: str, url: str, *, name: str = "app", **spec: Any
    ) -> None:
        """A source."""
        obj = {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {"namespace": namespace, "name": name},
            "spec": {"interval": "1h", "url": url, **spec},
        }
        key = ObjectKey(namespace, name)
        await self.world.client.apply(kind, key, obj, field_manager="test")

    async def ready(self, kind: Resource, namespace: str, name: str = "app") -> tuple[str, str]:
        """Status and message of Ready once it is decided."""
        async with asyncio.timeout(_TIMEOUT):
            while True:
                obj = await self.world.client.get(kind, ObjectKey(namespace, name))
                found = condition(obj, "Ready")
                if found.get("status") in {"True", "False"}:
                    return found["status"], found["message"]
                await asyncio.sleep(0.02)

    async def told(self, kind: Resource, namespace: str, name: str = "app") -> str:
        """The status and all events of the namespace."""
        obj = await self.world.client.get(kind, ObjectKey(namespace, name))
        events = await self.world.client.list_all(EVENT, namespace=namespace)
        return orjson.dumps([obj["status"], events.items]).decode()

    async def delete(self, kind: Resource, namespace: str, name: str = "app") -> None:
        """Delete a source, and wait until it is gone."""
        await self.world.client.delete(kind, ObjectKey(namespace, name))
        async with asyncio.timeout(_TIMEOUT):
            while (await self.world.client.list_all(kind, namespace=namespace)).items:
                await asyncio.sleep(0.02)


@pytest.fixture
async def tenants(tmp_path: Path) -> AsyncIterator[Tenants]:
    settings = replace(fast_settings(), concurrency=1, retry_delays=(60.0, 60.0))
    async with SourceWorld.start(tmp_path, settings=settings) as world:
        tenants = Tenants(world)
        for namespace in ("trusting", "doubting"):
            await tenants.add(namespace)
        yield tenants


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = Repo(tmp_path / "repos", "app.git")
    repo.commit({"app.yaml": "x"})
    return repo


def index(folder: Path) -> Path:
    """A folder with an index of charts."""
    folder.mkdir()
    (folder / "index.yaml").write_bytes(orjson.dumps({"apiVersion": "v1", "entries": {}}))
    return folder


def fields_of(kind: Resource, **more: JsonObject) -> JsonObject:
    """What a source of a kind needs beside its address."""
    fields: JsonObject = {} if kind == HELM_REPOSITORY else {"ref": {"tag": "v1"}}
    if kind == GIT_REPOSITORY:
        fields = {"ref": {"branch": "main"}}
    return {**fields, **more}


# --- trust of one tenant --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_an_authority_of_one_tenant_is_unknown_to_the_next(
    kind: Resource, tenants: Tenants, repo: Repo, tmp_path: Path
) -> None:
    """Before, between and after; by new objects each time, so that nothing was fetched before."""
    ca = TestCA()
    context = ca.server_context(tmp_path)
    secret = "secretRef" if kind == GIT_REPOSITORY else "certSecretRef"
    await tenants.secret("trusting", "ca", ca_crt=ca.pem)
    async with (
        GitHttpServer(tmp_path / "repos", tls=context) as git,
        FakeRegistry(tls=context) as registry,
        FileHost(index(tmp_path / "charts"), tls=context) as charts,
    ):
        registry.put("app", "v1", image_of({"app.yaml": "x"}))
        url = {
            GIT_REPOSITORY: f"{git.url}/{repo.name}",
            OCI_REPOSITORY: f"{registry.oci}/app",
            HELM_REPOSITORY: charts.url,
        }[kind]
        for name, namespace in (("a", "doubting"), ("b", "trusting"), ("c", "doubting")):
            trust = {secret: {"name": "ca"}} if namespace == "trusting" else {}
            await tenants.make(kind, namespace, url, name=name, **fields_of(kind, **trust))
            status, message = await tenants.ready(kind, namespace, name)
            assert status == ("True" if namespace == "trusting" else "False"), message
            if status == "False":
                assert "certificate" in message.lower()


# --- slow upstreams -------------------------------------------------------------------------------


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A byte from time to time: never silent for long, and never done."""
    with contextlib.suppress(ConnectionError):
        await reader.read(1)
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 100_000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.05)
    writer.close()


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take what comes."""
    with contextlib.suppress(ConnectionError):
        while await reader.read(1 << 16):
            pass
    writer.close()


@asynccontextmanager
async def listening(handle: Handle) -> AsyncIterator[int]:
    """A server on loopback; its port."""
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


SLOW = [
    pytest.param((GIT_REPOSITORY, "http", drip), id="git-http-drips"),
    pytest.param((GIT_REPOSITORY, "ssh", drip), id="git-ssh-drips"),
    pytest.param((GIT_REPOSITORY, "ssh", say_nothing), id="git-ssh-silent"),
    pytest.param((OCI_REPOSITORY, "oci", drip), id="oci-drips"),
    pytest.param((OCI_REPOSITORY, "oci", say_nothing), id="oci-silent"),
    pytest.param((HELM_REPOSITORY, "http", drip), id="helm-drips"),
    pytest.param((HELM_REPOSITORY, "http", say_nothing), id="helm-silent"),
]


@pytest.mark.slow
@pytest.mark.parametrize("slow", SLOW)
async def test_an_upstream_that_drips_is_left_and_the_next_tenant_served(
    slow: tuple[Resource, str, Handle], tenants: Tenants, repo: Repo, tmp_path: Path
) -> None:
    """In the time that the object gives it, though there is one worker for all."""
    kind, scheme, manner = slow
    identity, public = make_key(tmp_path / "key")
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(listening(manner))
        git = await stack.enter_async_context(GitHttpServer(tmp_path / "repos"))
        registry = await stack.enter_async_context(FakeRegistry())
        charts = await stack.enter_async_context(FileHost(index(tmp_path / "charts")))
        registry.put("app", "v1", image_of({"app.yaml": "x"}))
        url = {"ssh": f"ssh://git@127.0.0.1:{port}/x", "oci": f"oci://127.0.0.1:{port}/app"}
        extra: JsonObject = {"insecure": True} if kind == OCI_REPOSITORY else {}
        if scheme == "ssh":
            known = f"[127.0.0.1]:{port} {public}"
            await tenants.secret("doubting", "key", identity=identity, known_hosts=known)
            extra = {"secretRef": {"name": "key"}}
        bad = url.get(scheme, f"http://127.0.0.1:{port}")
        await tenants.make(kind, "doubting", bad, timeout="1s", **fields_of(kind, **extra))
        good = {
            GIT_REPOSITORY: f"{git.url}/{repo.name}",
            OCI_REPOSITORY: f"{registry.oci}/app",
            HELM_REPOSITORY: charts.url,
        }[kind]
        insecure: JsonObject = {"insecure": True} if kind == OCI_REPOSITORY else {}
        await tenants.make(kind, "trusting", good, **fields_of(kind, **insecure))

        assert (await tenants.ready(kind, "doubting"))[0] == "False"
        assert (await tenants.ready(kind, "trusting"))[0] == "True"
        await tenants.delete(kind, "doubting")


# --- leading elsewhere ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_redirect_to_a_metadata_service_leads_nowhere(
    kind: Resource, tenants: Tenants, tmp_path: Path
) -> None:
    """Nothing is sent there, and what it is refused for is told."""
    (tmp_path / "repos").mkdir()
    async with (
        GitHttpServer(tmp_path / "repos") as git,
        FakeRegistry() as registry,
        FileHost(index(tmp_path / "charts")) as charts,
    ):
        git.moved = {"/app.git": METADATA}
        charts.redirects = {"/index.yaml": METADATA}

        async def moved(request: web.Request) -> web.StreamResponse | None:
            if request.path == "/v2/":
                return None
            return web.Response(status=307, headers={"Location": METADATA})

        registry.hook = moved
        url = {
            GIT_REPOSITORY: f"{git.url}/app.git",
            OCI_REPOSITORY: f"{registry.oci}/app",
            HELM_REPOSITORY: charts.url,
        }[kind]
        insecure: JsonObject = {"insecure": True} if kind == OCI_REPOSITORY else {}
        await tenants.make(kind, "doubting", url, **fields_of(kind, **insecure))
        status, message = await tenants.ready(kind, "doubting")

    assert status == "False"
    assert "169.254.169.254" in message or "redirect" in message


# --- secrets that are part of an address ----------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_credentials_in_an_address_are_told_to_nobody(
    kind: Resource, tenants: Tenants, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither by a failure nor by a refusal; the spec is the author's own."""
    closed = "127.0.0.1:1"
    scheme = "oci" if kind == OCI_REPOSITORY else "http"
    url = f"{scheme}://robot:hunter2hunter2@{closed}/app.git?token=tok3ntok3n"
    await tenants.make(kind, "doubting", url, **fields_of(kind))
    status, _ = await tenants.ready(kind, "doubting")
    told = await tenants.told(kind, "doubting") + "".join(capfd.readouterr())

    assert status == "False"
    assert "hunter2" not in told
    assert "tok3ntok3n" not in told


async def test_a_key_and_its_password_are_told_to_nobody(
    tenants: Tenants, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    identity, public = make_key(tmp_path / "key", password="hunter2hunter2")
    values = {"identity": identity, "known_hosts": f"[127.0.0.1]:1 {public}"}
    ref = fields_of(GIT_REPOSITORY)
    for number, password in enumerate(("hunter2hunter2", "wr0ngwr0ng")):
        name = f"key-{number}"
        await tenants.secret("doubting", name, password=password, **values)
        url = "ssh://git@127.0.0.1:1/app.git"
        await tenants.make(
            GIT_REPOSITORY, "doubting", url, name=name, secretRef={"name": name}, **ref
        )
        assert (await tenants.ready(GIT_REPOSITORY, "doubting", name))[0] == "False"
        told = await tenants.told(GIT_REPOSITORY, "doubting", name) + "".join(capfd.readouterr())
        for secret in (password, *identity.splitlines()):
            assert secret not in told
