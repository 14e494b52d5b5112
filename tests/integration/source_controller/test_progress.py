"""How often a status is written: once for a quick run, and with its progress for a slow one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fluvial.kube import kinds
from fluvial.kube.errors import NotFound
from fluvial.kube.http import HttpKubeClient
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey
from harness.source import SourceWorld, condition
from harness.webserver import FileHost
from source_controller.assemble import Settings

INDEX = "apiVersion: v1\nentries:\n  a:\n  - {name: a, version: 1.0.0, urls: [a-1.0.0.tgz]}\n"


@pytest.fixture
async def helm(tmp_path: Path) -> AsyncIterator[SourceWorld]:
    settings = Settings(retry_delays=(0.2, 1.0), progress_after=2.0)
    async with SourceWorld.start(tmp_path, settings=settings) as world:
        yield world.of(kinds.HELM_REPOSITORY)


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[FileHost]:
    charts = tmp_path / "charts"
    charts.mkdir()
    (charts / "index.yaml").write_text(INDEX)
    async with FileHost(charts) as host:
        yield host


async def test_a_quick_run_is_written_once(helm: SourceWorld, host: FileHost) -> None:
    async with helm.history() as seen:
        await helm.make(url=host.url)
        await helm.until_ready()
        await asyncio.sleep(0.05)

    written = [obj for obj in seen if (obj.get("status") or {}).get("conditions")]
    assert len(written) == 1
    assert condition(written[0], "Ready")["status"] == "True"


@pytest.mark.slow
async def test_a_slow_run_says_what_it_does(helm: SourceWorld, host: FileHost) -> None:
    host.hold.clear()
    async with helm.history() as seen:
        await helm.make(url=host.url)
        obj = await helm.until(lambda obj: bool(condition(obj, "Reconciling")))
        assert condition(obj, "Ready")["status"] == "Unknown"
        assert condition(obj, "Reconciling")["reason"] == "Progressing"
        assert "observedGeneration" not in obj["status"] or obj["status"]["observedGeneration"] < 1
        host.hold.set()
        obj = await helm.until_ready()
        await asyncio.sleep(0.05)

    written = [obj for obj in seen if (obj.get("status") or {}).get("conditions")]
    assert len(written) == 2
    assert not condition(obj, "Reconciling")


async def test_nothing_is_asked_about_an_object_that_is_gone(
    helm: SourceWorld, host: FileHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing: list[str] = []
    get = HttpKubeClient.get

    async def noting(self: HttpKubeClient, resource: Resource, key: ObjectKey) -> JsonObject:
        try:
            return await get(self, resource, key)
        except NotFound:
            task = asyncio.current_task()
            missing.append(task.get_name() if task else "")
            raise

    monkeypatch.setattr(HttpKubeClient, "get", noting)
    await helm.make(url=host.url)
    await helm.until_ready()
    await helm.delete()
    await helm.gone()
    await asyncio.sleep(0.1)
    await helm.controller.queue_of(helm.resource).wait_idle()

    assert not [name for name in missing if name.startswith("helmrepository")]
