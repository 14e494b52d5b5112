"""SIGKILL of source-controller at every write that a HelmChart and its repository make.

Whenever it dies, the next process comes to the same: the chart that the index means now, whole,
under the digest of the status, and nothing else in the storage once the objects are gone.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest

from chaos.world import Kill, World
from fluvial.api.meta import RECONCILE_REQUEST
from fluvial.kube import kinds
from fluvial.kube.errors import NotFound
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey
from harness.helmcharts import chart, packed, publish, unpacked
from harness.webserver import FileHost

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

CONTROLLER = "source-controller"
MOST_WRITES = 5
TIMEOUT = 30.0


class Chart:
    """One HelmChart, its HelmRepository and the host that it is on."""

    def __init__(self, world: World, host: FileHost, name: str) -> None:
        self.client = world.client
        self.url = f"{host.url}/{name}"  # its own: equal ones share what was just answered
        self.folder = host.root / name
        self.folder.mkdir()
        self.key = ObjectKey("default", name)
        self.storage = world.environment.folder / CONTROLLER
        self.revision = ""
        self.values = ""

    async def apply(self, resource: Resource, **spec: Any) -> None:
        """Create or change one of the objects."""
        obj = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": self.key.name, "namespace": self.key.namespace},
            "spec": {"interval": "1h", **spec},
        }
        await self.client.apply(resource, self.key, obj, field_manager="test")

    async def apply_chart(self, **spec: Any) -> None:
        """Create or change the chart."""
        source = {"kind": kinds.HELM_REPOSITORY.kind, "name": self.key.name}
        await self.apply(kinds.HELM_CHART, chart="app", sourceRef=source, **spec)

    # --- what happens to it -----------------------------------------------------------------------

    async def create(self) -> None:
        """A first chart."""
        publish(self.folder, packed(chart()))
        self.revision, self.values = "1.0.0", "v: one\n"
        await self.apply(kinds.HELM_REPOSITORY, url=self.url)
        await self.apply_chart()

    async def change(self) -> None:
        """Another version in the index, and a request to look; the chart is woken by that."""
        files = {"values.yaml": "v: two\n", "prod.yaml": "v: prod\n"}
        publish(self.folder, packed(chart(version="2.0.0", files=files)))
        self.revision, self.values = "2.0.0", "v: two\n"
        await self.client.patch(
            kinds.HELM_REPOSITORY,
            self.key,
            {"metadata": {"annotations": {RECONCILE_REQUEST: "now"}}},
            patch_type="merge",
            field_manager="test",
        )

    async def repackage(self) -> None:
        """Other values."""
        self.revision, self.values = "2.0.0+2", "v: prod\n"
        await self.apply_chart(valuesFiles=["prod.yaml"])

    async def delete(self) -> None:
        """Both go."""
        for resource in (kinds.HELM_CHART, kinds.HELM_REPOSITORY):
            await self.client.delete(resource, self.key)

    # --- what must come of it ---------------------------------------------------------------------

    async def is_stored(self) -> bool:
        """Ready, with the chart of now; the file is what the status says."""
        obj = await self._get(kinds.HELM_CHART)
        status = (obj or {}).get("status") or {}
        found = {item["type"]: item["status"] for item in status.get("conditions") or []}
        if found.get("Ready") != "True" or "Reconciling" in found:
            return False
        artifact = status["artifact"]
        if artifact["revision"] != self.revision:
            return False
        data = (self.storage / artifact["path"]).read_bytes()
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == artifact["digest"]
        assert unpacked(data)["values.yaml"] == self.values
        folder = self.storage / "helmchart/default" / self.key.name
        assert (folder / "latest.tar.gz").read_bytes() == data
        return True

    async def is_gone(self) -> bool:
        """Neither objects nor files."""
        for resource in (kinds.HELM_CHART, kinds.HELM_REPOSITORY):
            folder = self.storage / resource.kind.lower() / "default" / self.key.name
            if folder.exists() or await self._get(resource) is not None:
                return False
        return True

    async def _get(self, resource: Resource) -> JsonObject | None:
        try:
            return await self.client.get(resource, self.key)
        except NotFound:
            return None


async def until(state: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(TIMEOUT):
        while not await state():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_killed_at_any_write(
    world: World, tmp_path: Path, when: Literal["before", "after"]
) -> None:
    """After one write is before the next: every second one meets every state."""
    before = len(world.kills)
    async with FileHost(tmp_path) as host:
        for nth in range(1, MOST_WRITES + 1, 2):
            one = Chart(world, host, f"chart-{when}-{nth}")
            for act, state in (
                (one.create, one.is_stored),
                (one.change, one.is_stored),
                (one.repackage, one.is_stored),
                (one.delete, one.is_gone),
            ):
                reached = partial(until, state)
                kill = Kill(CONTROLLER, nth, when)
                await world.run_killed(kill, act, until=reached, meanwhile=None)
                await reached()

    assert len(world.kills) - before >= MOST_WRITES, "most writes came"
    assert not list((world.environment.folder / CONTROLLER).rglob(".tmp-*"))
