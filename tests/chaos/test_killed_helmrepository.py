"""SIGKILL of source-controller at every write that a HelmRepository makes.

Whenever it dies, the next process comes to the same: the index that is served now, whole, under
the digest of the status, and nothing else in the storage once the object wants nothing there.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Literal

import pytest

from chaos.world import Kill, World
from fluvial.api.meta import RECONCILE_REQUEST
from fluvial.kube import kinds
from fluvial.kube.errors import NotFound
from fluvial.objects import JsonObject, ObjectKey
from harness.webserver import FileHost

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

CONTROLLER = "source-controller"
MOST_WRITES = 5
TIMEOUT = 30.0


class Repository:
    """One HelmRepository and the host that it is on."""

    def __init__(self, world: World, host: FileHost, name: str) -> None:
        self.client = world.client
        self.host = host
        self.key = ObjectKey("default", name)
        self.storage = world.environment.folder / CONTROLLER / "helmrepository/default" / name
        self.revision = ""

    def publish(self, version: str) -> None:
        """Have the host serve another index."""
        entry = {"name": "app", "version": version, "urls": [f"app-{version}.tgz"]}
        data = json.dumps({"apiVersion": "v1", "entries": {"app": [entry]}}).encode()
        (self.host.root / "index.yaml").write_bytes(data)
        self.revision = f"sha256:{hashlib.sha256(data).hexdigest()}"

    async def apply(self, **spec: str) -> None:
        """Create or change the object."""
        obj = {
            "apiVersion": kinds.HELM_REPOSITORY.api_version,
            "kind": kinds.HELM_REPOSITORY.kind,
            "metadata": {"name": self.key.name, "namespace": self.key.namespace},
            "spec": spec,
        }
        await self.client.apply(kinds.HELM_REPOSITORY, self.key, obj, field_manager="test")

    # --- what happens to it -----------------------------------------------------------------------

    async def create(self) -> None:
        """A first index."""
        self.publish("1.0.0")
        await self.apply(url=self.host.url, type="default", interval="1h")

    async def change(self) -> None:
        """Another index, and a request to look."""
        self.publish("2.0.0")
        annotations = {RECONCILE_REQUEST: "now"}
        await self.client.patch(
            kinds.HELM_REPOSITORY,
            self.key,
            {"metadata": {"annotations": annotations}},
            patch_type="merge",
            field_manager="test",
        )

    async def move(self) -> None:
        """It is in a registry now."""
        await self.apply(url="oci://registry.example/charts", type="oci")

    async def delete(self) -> None:
        """It is in nothing now."""
        await self.client.delete(kinds.HELM_REPOSITORY, self.key)

    # --- what must come of it ---------------------------------------------------------------------

    async def is_stored(self) -> bool:
        """Ready, with the index of now; the file is what the status says."""
        obj = await self._get()
        status = (obj or {}).get("status") or {}
        found = {item["type"]: item["status"] for item in status.get("conditions") or []}
        if found.get("Ready") != "True" or "Reconciling" in found:
            return False
        artifact = status["artifact"]
        if artifact["revision"] != self.revision:
            return False
        data = (self.storage / Path(artifact["path"]).name).read_bytes()
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == artifact["digest"]
        assert (self.storage / "index.yaml").read_bytes() == data
        return True

    async def is_static(self) -> bool:
        """No finalizer, no status, no file."""
        obj = await self._get()
        assert obj is not None
        blank = not any((obj.get("status") or {}).values())
        return blank and not obj["metadata"].get("finalizers") and not self.storage.exists()

    async def is_gone(self) -> bool:
        """Neither object nor file."""
        return await self._get() is None and not self.storage.exists()

    async def _get(self) -> JsonObject | None:
        try:
            return await self.client.get(kinds.HELM_REPOSITORY, self.key)
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
            repository = Repository(world, host, f"helm-{when}-{nth}")
            for act, state in (
                (repository.create, repository.is_stored),
                (repository.change, repository.is_stored),
                (repository.move, repository.is_static),
                (repository.create, repository.is_stored),
                (repository.delete, repository.is_gone),
            ):
                reached = partial(until, state)
                kill = Kill(CONTROLLER, nth, when)
                await world.run_killed(kill, act, until=reached, meanwhile=None)
                await reached()

    assert len(world.kills) - before >= MOST_WRITES, "most writes came"
    assert not list((world.environment.folder / CONTROLLER).rglob(".tmp-*"))
