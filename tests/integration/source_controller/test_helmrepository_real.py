"""HelmRepository on the real API server: its schema, its status, its finalizer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controlplane.start import ControlPlane
from fluvial.kube import kinds
from fluvial.kube.errors import NotFound
from harness.source import SourceWorld, condition
from harness.webserver import FileHost


@pytest.fixture
async def helm(tmp_path: Path, real_control_plane: ControlPlane) -> AsyncIterator[SourceWorld]:
    config = real_control_plane.kubeconfig()
    async with SourceWorld.start(tmp_path, cluster_config=config) as world:
        helm = world.of(kinds.HELM_REPOSITORY)
        async with asyncio.timeout(20):
            while not await is_served(helm):
                await asyncio.sleep(0.1)
        yield helm


async def is_served(helm: SourceWorld) -> bool:
    """Whether the server knows the kind already."""
    try:
        await helm.client.list_all(helm.resource)
    except NotFound:
        return False
    return True


@pytest.mark.real
@pytest.mark.slow
async def test_a_life(helm: SourceWorld, tmp_path: Path) -> None:
    """Ready, failing, suspended, static, default again, gone."""
    charts = tmp_path / "charts"
    charts.mkdir()
    (charts / "index.yaml").write_text(json.dumps({"apiVersion": "v1", "entries": {}}))
    async with FileHost(charts) as host:
        await helm.make(url=host.url)
        ready = await helm.until_ready()
        assert ready["spec"]["provider"] == "generic", "the server's default"
        host.status = 500
        await helm.request("down")
        failed = await helm.until_failed("Failed")
        assert failed["status"]["artifact"] == ready["status"]["artifact"]
        host.status = 0
        await helm.until_ready()
        await helm.make(url="oci://registry.example/charts", type="oci")
        static = await helm.until(lambda o: not o["metadata"].get("finalizers"))
        assert not any((static.get("status") or {}).values())
        await helm.make(url="oci://registry.example/charts")
        stalled = await helm.until_failed("URLInvalid")
        assert condition(stalled, "Stalled")["status"] == "True"
        await helm.delete()
        await helm.gone()

    assert list((helm.storage_path / "helmrepository").rglob("*")) == []
