"""From ``git push`` to objects, without any interval: the host's webhook wakes the source."""

from __future__ import annotations

import asyncio
import json
import sys
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
from gitservers.repos import Repo

_TOKEN = "between the host and us"
_KEY = ObjectKey("default", "app")
# What a host does after a push, in the form of GitHub's webhooks.
_HOOK = """\
#!{python}
import hashlib, hmac, json, sys, urllib.request
old, new, ref = sys.stdin.readline().split()
body = json.dumps({{"ref": ref, "before": old, "after": new}}).encode()
signature = hmac.new({token!r}, body, hashlib.sha256).hexdigest()
headers = {{
    "Content-Type": "application/json",
    "X-GitHub-Event": "push",
    "X-GitHub-Delivery": new,
    "X-Hub-Signature-256": "sha256=" + signature,
}}
request = urllib.request.Request({url!r}, body, headers, method="POST")
assert urllib.request.urlopen(request, timeout=20).status == 200
"""


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
    ):
        client = environment.client
        await _install(client, f"{server.url}/app.git")
        await _is_applied(client, "one")
        receiver = await wait_for(client, kinds.RECEIVER, _KEY, until=_is_ready)
        url = f"http://{_address(environment.folder)}{receiver['status']['webhookPath']}"
        _hook(repo, url)

        async with _listener() as (address, told):
            await _tell(client, address)
            repo.commit(_files("two"))  # pushes

            await _is_applied(client, "two")
            await _is_told(told)
        source = await client.get(kinds.GIT_REPOSITORY, _KEY)
        assert source["spec"]["interval"] == "1h"


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


async def _is_told(told: list[JsonObject]) -> None:
    """The Alert's service hears that the Kustomization is done, and of which revision."""
    async with asyncio.timeout(30):
        while not any(event["reason"] == "ReconciliationSucceeded" for event in told):
            await asyncio.sleep(0.02)
    event = next(event for event in told if event["reason"] == "ReconciliationSucceeded")
    assert event["involvedObject"]["kind"] == "Kustomization"
    assert event["metadata"]["revision"].startswith("main@sha1:")


def _files(value: str) -> dict[str, str | None]:
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{a: {value}}}\n"
    return {"deploy/app.yaml": text}


def _hook(repo: Repo, url: str) -> None:
    hook = repo.bare / "hooks" / "post-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(_HOOK.format(python=sys.executable, token=_TOKEN.encode(), url=url))
    hook.chmod(0o755)


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


async def _apply(client: KubeClient, resource: Resource, **fields: object) -> None:
    metadata = {"name": _KEY.name, "namespace": _KEY.namespace}
    head = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
    await client.apply(resource, _KEY, {**head, **fields}, field_manager="test")


def _is_ready(obj: JsonObject) -> bool:
    return ready_condition(obj).get("status") == "True"


async def _is_applied(client: KubeClient, value: str) -> None:
    await wait_for(
        client,
        kinds.CONFIG_MAP,
        ObjectKey("default", "settings"),
        until=lambda obj: bool(obj["data"] == {"a": value}),
    )
