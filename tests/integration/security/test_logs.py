"""At the most talkative level, no log line, event or status has a secret in it."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
import structlog

from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.log import setup_logging
from fluvial.objects import JsonObject, ObjectKey
from gitservers.http import GitHttpServer
from gitservers.repos import Repo
from harness.kustomize import CONFIG_MAPS, Harness, configmap
from harness.source import SourceWorld
from harness.webserver import FileHost

_PASSWORD = "Tr0ub4dor-and-3"
_WRONG = "Wr0ng-h0rse-battery"
_SHOWN = [kinds.EVENT, kinds.KUSTOMIZATION, kinds.GIT_REPOSITORY, kinds.HELM_REPOSITORY]


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterable[io.BytesIO]:
    """What the controllers' own logging writes."""
    before, written = structlog.get_config(), io.BytesIO()
    stream = io.TextIOWrapper(written)  # closes what it wraps when nobody holds it
    with monkeypatch.context() as patched:
        patched.setattr("sys.stderr", stream)
        setup_logging(level="trace")
    yield written
    stream.detach()
    structlog.configure(**before)


@asynccontextmanager
async def quiet_about(client: KubeClient, logged: io.BytesIO, *secrets: str) -> AsyncIterator[None]:
    """Whatever happens inside tells none of these in any form."""
    yield
    await asyncio.sleep(0.1)  # for events, which are written later
    assert b'"level":"debug"' in logged.getvalue()
    told = logged.getvalue() + b"".join(
        [
            orjson.dumps(one)
            for resource in _SHOWN
            for one in (await client.list_all(resource)).items
        ]
    )
    for secret in secrets:
        for form in (secret, base64.b64encode(secret.encode()).decode(), secret.upper()):
            assert form.encode() not in told


def secret(name: str, **values: str) -> JsonObject:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    metadata = {"name": name, "namespace": "team"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


async def test_substituted_secrets(world: Harness, logged: io.BytesIO) -> None:
    """First apply, a change, a refusal by the server, a failed expression, and a deletion."""
    await world.apply(secret("db", password=_PASSWORD), kinds.SECRET)
    async with quiet_about(world.client, logged, _PASSWORD):
        good = {"a.yaml": configmap(k="${password}"), "s.yaml": _as_secret("${password}")}
        revision = await world.source(good)
        reference = {"kind": "Secret", "name": "db"}
        await world.kustomization(postBuild={"substituteFrom": [reference]})
        await world.applied(revision)
        assert (await world.get(CONFIG_MAPS, "settings"))["data"] == {"k": _PASSWORD}
        revision = await world.source({**good, "a.yaml": configmap(k="${password^^}")})
        await world.applied(revision)
        await world.source({**good, "a.yaml": configmap("${password}")})
        await world.failed("ReconciliationFailed")
        await world.source({**good, "a.yaml": configmap(k="${password/")})
        await world.failed("BuildFailed")
        await world.client.delete(kinds.KUSTOMIZATION, ObjectKey("team", "app"))
        await world.gone(kinds.KUSTOMIZATION, "app")


async def test_credentials_of_git(tmp_path: Path, logged: io.BytesIO) -> None:
    """Right, wrong, and in the URL."""
    Repo(tmp_path / "repos", "app.git").commit({"a.yaml": "a\n"})
    async with (
        GitHttpServer(tmp_path / "repos") as server,
        SourceWorld.start(tmp_path) as sources,
    ):
        server.basic = ("me", _PASSWORD)
        async with quiet_about(sources.client, logged, _PASSWORD, _WRONG):
            await sources.secret("right", {"username": "me", "password": _PASSWORD})
            await sources.secret("wrong", {"username": "me", "password": _WRONG})
            await sources.secret("token", {"bearerToken": _WRONG})
            url = f"{server.url}/app.git"
            await sources.repository("good", url=url, secretRef={"name": "right"})
            await sources.until_ready("good")
            for name in ("wrong", "token"):
                await sources.repository(name, url=url, secretRef={"name": name})
                await sources.until_failed("GitOperationFailed", name)


async def test_credentials_of_helm(tmp_path: Path, logged: io.BytesIO) -> None:
    """Right, wrong, and along a redirect with a signature in its address."""
    (tmp_path / "index.yaml").write_text("apiVersion: v1\nentries: {}\n")
    async with FileHost(tmp_path) as host, SourceWorld.start(tmp_path) as sources:
        helm = sources.of(kinds.HELM_REPOSITORY)
        host.basic = ("me", _PASSWORD)
        host.redirects = {"/far/index.yaml": f"{host.url}/gone?signature={_WRONG}"}
        async with quiet_about(sources.client, logged, _PASSWORD, _WRONG):
            await sources.secret("right", {"username": "me", "password": _PASSWORD})
            await sources.secret("wrong", {"username": "me", "password": _WRONG})
            await helm.make("good", url=host.url, secretRef={"name": "right"})
            await helm.until_ready("good")
            await helm.make("wrong", url=host.url, secretRef={"name": "wrong"})
            await helm.until_failed("Failed", "wrong")
            await helm.make("far", url=f"{host.url}/far", secretRef={"name": "right"})
            await helm.until_failed("Failed", "far")


def _as_secret(value: str) -> str:
    obj = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "made", "namespace": "team"},
        "stringData": {"k": value},
    }
    return orjson.dumps(obj).decode()
