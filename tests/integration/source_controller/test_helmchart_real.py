"""HelmChart on the real API server, and of a real registry."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controlplane.start import ControlPlane
from fluvial.kube import kinds
from fluvial.kube.errors import Invalid, NotFound
from harness.helmcharts import ChartWorld, chart, chart_image, packed, publish
from harness.source import condition
from harness.webserver import FileHost
from registries.real import PASSWORD, USER, RealRegistry, registry_path

APP = packed(chart())


@pytest.fixture
async def world(tmp_path: Path, real_control_plane: ControlPlane) -> AsyncIterator[ChartWorld]:
    config = real_control_plane.kubeconfig()
    async with ChartWorld.start(tmp_path, cluster_config=config) as world:
        assert isinstance(world, ChartWorld)
        async with asyncio.timeout(20):
            while not await is_served(world):
                await asyncio.sleep(0.1)
        yield world


async def is_served(world: ChartWorld) -> bool:
    """Whether the server knows the kind already."""
    try:
        await world.client.list_all(kinds.HELM_CHART)
    except NotFound:
        return False
    return True


@pytest.mark.real
@pytest.mark.slow
async def test_a_life(world: ChartWorld, tmp_path: Path) -> None:
    """Ready, another version, other values, stalled, suspended, gone."""
    charts = tmp_path / "charts"
    charts.mkdir()
    publish(charts, APP)
    repositories = world.of(kinds.HELM_REPOSITORY)
    async with FileHost(charts) as host:
        await world.helm_repository(url=host.url)
        await world.chart()
        ready = await world.until_ready(revision="1.0.0")
        assert ready["spec"]["version"] == "*", "the server's default"
        assert ready["spec"]["reconcileStrategy"] == "ChartVersion"
        revision = publish(charts, APP, packed(chart(version="1.1.0", files={"x.yaml": "v: x\n"})))
        await repositories.request("now", "charts")
        await repositories.until_ready("charts", revision=revision)
        await world.until_ready(revision="1.1.0")
        await world.chart(valuesFiles=["x.yaml"])
        await world.until_ready(revision="1.1.0+2")
        await world.chart(version="9.x")
        stalled = await world.until_failed("InvalidChartReference")
        assert condition(stalled, "Stalled")["status"] == "True"
        assert stalled["status"]["artifact"]["revision"] == "1.1.0+2"
        git = {"kind": "GitRepository", "name": "app"}
        with pytest.raises(Invalid, match="only supported when"):
            await world.chart(sourceRef=git, verify={"provider": "cosign"})
        await world.chart(suspend=True)
        await world.delete()
        await world.gone()
        await repositories.delete("charts")
        await repositories.gone("charts")

    assert not (world.storage_path / "helmchart/apps/app").exists()


@pytest.mark.slow
async def test_a_chart_of_a_real_registry(tmp_path: Path) -> None:
    """As ``helm push`` leaves it; by a range, by a version, and as a dependency."""
    if not registry_path():
        missing = "docker-registry is not installed: bash tests/setup.sh"
        if os.environ.get("FLUVIAL_REQUIRE_REGISTRY") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    (tmp_path / "world").mkdir()
    async with (
        RealRegistry(tmp_path / "registry", htpasswd=True) as registry,
        ChartWorld.start(tmp_path / "world") as world,
    ):
        assert isinstance(world, ChartWorld)
        plus = packed(chart(version="1.1.0+7"))
        await registry.put("charts/app", "1.0.0", chart_image(APP))
        await registry.put("charts/app", "1.1.0_7", chart_image(plus))
        await world.helm_repository(url=f"{registry.oci}/charts", type="oci", interval=None)
        await world.chart()
        await world.until_failed("AuthenticationFailed")
        await world.secret("login", {"username": USER, "password": PASSWORD})
        spec = {"url": f"{registry.oci}/charts", "type": "oci"}
        await world.helm_repository(**spec, secretRef={"name": "login"}, interval=None)
        obj = await world.until_ready(revision="1.1.0+7")
        assert await world.package(obj) == plus
        await world.chart("exact", version="1.0.0")
        obj = await world.until_ready("exact", revision="1.0.0")
        assert await world.package(obj) == APP
        needs = [{"name": "app", "version": "~1.0", "repository": f"{registry.oci}/charts"}]
        files = {f"own/{k}": v for k, v in chart("own", dependencies=needs).items()}
        await world.stored_source(files, kind="Bucket", revision=f"sha256:{'a' * 64}")
        await world.chart("own", chart="own", sourceRef={"kind": "Bucket", "name": "source"})
        await world.until_ready("own")
