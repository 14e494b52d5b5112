"""``fluvial dev --state``: what a restart keeps, and that nobody writes a workload again."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fluvial.errors import FluvialError
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.resource import Resource
from fluvial.objects import ObjectKey
from fluvial_cli import dev
from fluvial_cli.state import kept_repository
from fluvial_cli.waiting import ready_condition, wait_for
from harness.programs import run, running

_CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap", namespaced=True)
_DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)
_MANIFEST = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {a: b}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "web:1"}]}
"""
_KEY = ObjectKey("default", "app")


@asynccontextmanager
async def _environment(folder: Path) -> AsyncIterator[dev.Environment]:
    async with dev.dev_environment(dev.DevOptions(state=folder)) as environment:
        yield environment


async def _git(*argv: str, cwd: Path) -> None:
    identity = {
        f"GIT_{who}_{what}": "t@example.com"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    process = await asyncio.create_subprocess_exec(
        "git", *argv, cwd=cwd, env={**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull}
    )
    assert await process.wait() == 0


async def _push(repository: Path, folder: Path) -> None:
    folder.mkdir()
    await _git("init", "--quiet", "--initial-branch=main", cwd=folder)
    (folder / "app.yaml").write_text(_MANIFEST)
    await _git("add", "app.yaml", cwd=folder)
    await _git("commit", "--quiet", "--message=first", cwd=folder)
    await _git("push", "--quiet", str(repository), "HEAD:refs/heads/main", cwd=folder)


async def _apply(client: KubeClient, resource: Resource, spec: dict[str, Any]) -> None:
    body = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": "app", "namespace": "default"},
        "spec": spec,
    }
    await client.apply(resource, _KEY, body, field_manager="test")


async def _reconciled(client: KubeClient, handled: str = "") -> dict[str, Any]:
    def done(obj: dict[str, Any]) -> bool:
        status = obj.get("status") or {}
        if handled and status.get("lastHandledReconcileAt") != handled:
            return False
        return ready_condition(obj).get("status") == "True"

    found: dict[str, Any] = await wait_for(client, kinds.KUSTOMIZATION, _KEY, until=done)
    return found


async def _workloads(client: KubeClient) -> list[dict[str, Any]]:
    settings = await client.get(_CONFIG_MAPS, ObjectKey("default", "settings"))
    return [settings, await client.get(_DEPLOYMENTS, ObjectKey("default", "web"))]


@pytest.mark.slow
async def test_restart_goes_on_where_it_was_and_writes_no_workload(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    async with _environment(folder) as environment:
        assert environment.repository is not None
        url = environment.repository.url
        await _push(environment.repository.path, tmp_path / "tree")
        client = environment.client
        await _apply(
            client, kinds.GIT_REPOSITORY, {"url": url, "interval": "1h", "ref": {"branch": "main"}}
        )
        source = {"kind": "GitRepository", "name": "app"}
        spec = {
            "interval": "1h",
            "prune": True,
            "path": "./",
            "wait": True,
            "targetNamespace": "default",
            "sourceRef": source,
        }
        await _apply(client, kinds.KUSTOMIZATION, spec)
        first = await _reconciled(client)
        before = await _workloads(client)
        written = environment.kubeconfig.read_bytes()
    async with _environment(folder) as environment:
        assert environment.repository is not None
        again = environment.repository.url
        asked = {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}}
        client = environment.client
        await client.patch(kinds.KUSTOMIZATION, _KEY, asked, patch_type="merge", field_manager="t")
        second = await _reconciled(client, "now")
        after = await _workloads(client)
        rewritten = environment.kubeconfig.read_bytes()

    assert (again, rewritten) == (url, written)
    assert after == before
    assert second["metadata"]["uid"] == first["metadata"]["uid"]
    assert second["status"]["lastAppliedRevision"] == first["status"]["lastAppliedRevision"]


@pytest.mark.slow
async def test_second_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    argv = ("fluvial_cli", "dev", "--controllers", "none", "--state", str(tmp_path / "kept"))
    async with running(*argv, until=b"ready") as process:
        second = await run(*argv)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            code = await process.wait()

    assert (second.code, code) == (1, 0)
    assert "in use by another process" in second.output
    assert "Traceback" not in second.output


async def test_other_control_planes_keep_their_own_state(tmp_path: Path) -> None:
    ended = await run(
        "fluvial_cli", "dev", "--control-plane", str(tmp_path), "--state", str(tmp_path / "kept")
    )

    assert ended.code == 1
    assert "--state is for devcluster" in ended.output


async def test_port_of_the_repository_that_is_taken_is_said_plainly(tmp_path: Path) -> None:
    async with kept_repository(tmp_path) as repository:
        port = int(repository.url.split(":")[2].split("/")[0])
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(FluvialError, match=f"port {port}, where the repository"),
    ):
        await kept_repository(tmp_path).__aenter__()


async def test_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    options = dev.DevOptions(state=folder, controllers=())
    async with dev.dev_environment(options):
        modes = [path.stat().st_mode & 0o077 for path in (folder, folder / "cluster.state")]

    assert modes == [0, 0]
