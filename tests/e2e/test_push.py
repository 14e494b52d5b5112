"""From ``git push`` to objects and back, without any interval.

The host's webhook wakes the source, and the commit is told what became of it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from controlplane.build import Binaries
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey
from fluvial_cli import dev
from fluvial_cli.gitserver import GitServer
from fluvial_cli.waiting import ready_condition, wait_for
from githosts import hook
from githosts.github import FakeGitHub
from gitservers.repos import Repo, git

_TOKEN = "between the host and us"
_SECONDS = 60.0
_GITHUB_TOKEN = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
_KEY = ObjectKey("default", "app")
_BROKEN = {"deploy/app.yaml": "kind: ConfigMap\nmetadata: [\n"}


@pytest.mark.slow
async def test_a_push_on_devcluster(tmp_path: Path) -> None:
    await _a_push_becomes_objects(tmp_path, dev.DevOptions(folder=tmp_path / "dev"))


@pytest.mark.slow
async def test_a_push_on_the_real_control_plane(
    tmp_path: Path, control_plane_binaries: Binaries
) -> None:
    assert control_plane_binaries.version
    options = dev.DevOptions(folder=tmp_path / "dev", control_plane="real")
    await _a_push_becomes_objects(tmp_path, options)


async def _a_push_becomes_objects(folder: Path, options: dev.DevOptions) -> None:
    repo = Repo(folder / "git", "app.git")
    repo.commit(_files("one"))
    async with (
        GitServer(folder / "git") as server,
        dev.dev_environment(options) as environment,
        _listener() as (address, told),
        _github(repo) as github,
    ):
        client = environment.client
        # Long before it matters: watches take their time.
        await _tell(client, address)
        await _set_statuses(client, github)
        await _install(client, f"{server.url}/app.git")
        await _is_applied(client, "one")
        receiver = await wait_for(client, kinds.RECEIVER, _KEY, until=_is_ready)
        url = f"http://{_address(environment.folder)}{receiver['status']['webhookPath']}"
        hook.install(repo.bare, url, _TOKEN)
        pushed = repo.commit(_files("two"))

        await _is_applied(client, "two")
        await _is_told(told, pushed)
        await _has_status(github, pushed, "success", "reconciliation succeeded")
        broken = repo.commit(_BROKEN)
        await _has_status(github, broken, "failure", "build failed")
        mended = repo.commit(_files("three"))
        await _has_status(github, mended, "success", "reconciliation succeeded")
        assert github.refused == []
        source = await client.get(kinds.GIT_REPOSITORY, _KEY)
        assert source["spec"]["interval"] == "1h"


def _github(repo: Repo) -> FakeGitHub:
    """The same repository at a host that shows statuses."""

    def has_commit(commit: str) -> bool:
        return git(repo.bare, "cat-file", "-t", commit) == "commit"

    return FakeGitHub(_GITHUB_TOKEN, has_commit)


async def _set_statuses(client: KubeClient, github: FakeGitHub) -> None:
    """A Provider for the statuses of commits, and its Alert."""
    key = ObjectKey("default", "status")
    await _apply(client, kinds.SECRET, key, stringData={"token": _GITHUB_TOKEN})
    provider = {
        "type": "github",
        "address": f"{github.url}/org/app",
        "secretRef": {"name": "status"},
    }
    await _apply(client, kinds.PROVIDER, key, spec=provider)
    sources = [{"kind": "Kustomization", "name": "app"}]
    alert = {"providerRef": {"name": "status"}, "eventSources": sources}
    await _apply(client, kinds.ALERT, key, spec=alert)


async def _has_status(github: FakeGitHub, commit: str, state: str, description: str) -> None:
    """The commit has this status, and no other."""
    async with asyncio.timeout(_SECONDS):
        while not github.of(commit):
            await asyncio.sleep(0.02)
    (found,) = github.of(commit)
    kind, name, _uid = found.pop("context").split("/")
    assert (kind, name) == ("kustomization", "app")
    assert found == {"state": state, "description": description}


@asynccontextmanager
async def _listener() -> AsyncIterator[tuple[str, list[JsonObject]]]:
    """A service that is told: its address, and what it was told."""
    told: list[JsonObject] = []

    async def take(request: web.Request) -> web.Response:
        told.append(await request.json())
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    yield str(server.make_url("/")), told
    await server.close()


async def _tell(client: KubeClient, address: str) -> None:
    await _apply(client, kinds.PROVIDER, spec={"type": "generic", "address": address})
    sources = [{"kind": "Kustomization", "name": "*"}]
    spec = {"providerRef": {"name": "app"}, "eventSources": sources}
    await _apply(client, kinds.ALERT, spec=spec)


async def _is_told(told: list[JsonObject], commit: str) -> None:
    """The Alert's service hears that the Kustomization is done, and of which revision."""

    def is_done(event: JsonObject) -> bool:
        said = (event["reason"], (event.get("metadata") or {}).get("revision"))
        return said == ("ReconciliationSucceeded", f"main@sha1:{commit}")

    async with asyncio.timeout(_SECONDS):
        while not any(map(is_done, told)):
            await asyncio.sleep(0.02)
    event = next(filter(is_done, told))
    assert event["involvedObject"]["kind"] == "Kustomization"


def _files(value: str) -> dict[str, str | None]:
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{a: {value}}}\n"
    return {"deploy/app.yaml": text}


def _address(folder: Path) -> str:
    """Where the controller takes calls, as its line ``ready`` says."""
    log = (folder / "logs" / "notification-controller.log").read_bytes().splitlines()
    line = next(line for line in log if dev.says_ready(line))
    address: str = json.loads(line)["receiverAddr"]
    return address


async def _install(client: KubeClient, url: str) -> None:
    await _apply(client, kinds.SECRET, stringData={"token": _TOKEN})
    await _apply(
        client,
        kinds.GIT_REPOSITORY,
        spec={"url": url, "interval": "1h", "ref": {"branch": "main"}},
    )
    await _apply(
        client,
        kinds.KUSTOMIZATION,
        spec={
            "interval": "1h",
            "path": "./deploy",
            "prune": True,
            "targetNamespace": "default",
            "sourceRef": {"kind": "GitRepository", "name": "app"},
        },
    )
    await _apply(
        client,
        kinds.RECEIVER,
        spec={
            "type": "github",
            "events": ["push"],
            "secretRef": {"name": "app"},
            "resources": [{"kind": "GitRepository", "name": "app"}],
        },
    )


async def _apply(
    client: KubeClient, resource: Resource, key: ObjectKey = _KEY, **fields: object
) -> None:
    metadata = {"name": key.name, "namespace": key.namespace}
    head = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
    await client.apply(resource, key, {**head, **fields}, field_manager="test")


def _is_ready(obj: JsonObject) -> bool:
    return ready_condition(obj).get("status") == "True"


async def _is_applied(client: KubeClient, value: str) -> None:
    await wait_for(
        client,
        kinds.CONFIG_MAP,
        ObjectKey("default", "settings"),
        until=lambda obj: bool(obj["data"] == {"a": value}),
    )
