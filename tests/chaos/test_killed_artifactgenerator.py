"""SIGKILL of source-controller at the writes that an ArtifactGenerator makes.

Whenever it dies, the next process comes to the same: ExternalArtifacts of what there is now, whole,
under the digests of the inventory; nothing of what is no longer generated, neither object nor file.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chaos.world import Kill, World
from fluvial.kube import kinds
from fluvial.objects import ObjectKey
from harness.generator import Shelf

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

CONTROLLER = "source-controller"
NAMESPACE = "default"
# An object without its status, one of several objects, an object that is gone and its files are not.
WRITES = (2, 3, 5)
TIMEOUT = 30.0


class Generator:
    """One generator with a source of its own."""

    def __init__(self, world: World, shelf: Shelf, name: str) -> None:
        self.client = world.client
        self.shelf = shelf
        self.name = name
        self.wanted: dict[str, str] = {}
        self.storage = world.environment.folder / CONTROLLER
        self.folder = self.storage / "externalartifact" / NAMESPACE

    async def put(self, **apps: str) -> None:
        """Have the source hold a folder for each app; all of them are to be artifacts."""
        self.wanted = {f"{self.name}-{app}": text for app, text in apps.items()}
        files = {f"apps/{app}/a": text for app, text in apps.items()}
        await self.shelf.put(self.name, files or {"empty": ""}, namespace=NAMESPACE)

    async def apply(self) -> None:
        """Create the object."""
        copy = [{"from": "@s/apps/{app}/**", "to": "@artifact/"}]
        obj: dict[str, Any] = {
            "apiVersion": kinds.ARTIFACT_GENERATOR.api_version,
            "kind": kinds.ARTIFACT_GENERATOR.kind,
            "metadata": {"name": self.name, "namespace": NAMESPACE},
            "spec": {
                "sources": [{"alias": "s", "kind": "ExternalArtifact", "name": self.name}],
                "pathPattern": "@s/apps/{app}",
                "artifacts": [{"name": f"{self.name}-{{app}}", "copy": copy}],
            },
        }
        key = ObjectKey(NAMESPACE, self.name)
        await self.client.apply(kinds.ARTIFACT_GENERATOR, key, obj, field_manager="test")

    # --- what happens to it -----------------------------------------------------------------------

    async def create(self) -> None:
        """Two artifacts."""
        await self.put(web="1", api="1")
        await self.apply()

    async def change(self) -> None:
        """One has other content, one is new, one is gone."""
        await self.put(web="2", new="1")

    async def delete(self) -> None:
        """All of it goes."""
        self.wanted = {}
        await self.client.delete(kinds.ARTIFACT_GENERATOR, ObjectKey(NAMESPACE, self.name))

    # --- what must come of it ---------------------------------------------------------------------

    async def is_made(self) -> bool:
        """Ready; the objects, the inventory and the files are those of now."""
        page = await self.client.list_all(kinds.ARTIFACT_GENERATOR, namespace=NAMESPACE)
        mine = next(item for item in page.items if item["metadata"]["name"] == self.name)
        status = mine.get("status") or {}
        found = {item["type"]: item["status"] for item in status.get("conditions") or []}
        if found != {"Ready": "True"} or not await self._is_as_wanted():
            return False
        made = await self._made()
        inventory = {item["name"]: item["digest"] for item in status["inventory"]}
        assert inventory == {name: artifact["digest"] for name, artifact in made.items()}
        return True

    async def is_gone(self) -> bool:
        """Neither objects nor files."""
        page = await self.client.list_all(kinds.ARTIFACT_GENERATOR, namespace=NAMESPACE)
        left = [item for item in page.items if item["metadata"]["name"] == self.name]
        return not left and await self._is_as_wanted()

    async def _is_as_wanted(self) -> bool:
        made = await self._made()
        if made.keys() != self.wanted.keys() or not all(made.values()):
            return False
        for artifact in made.values():
            data = (self.storage / artifact["path"]).read_bytes()
            assert f"sha256:{hashlib.sha256(data).hexdigest()}" == artifact["digest"]
        return {path.name for path in self._folders()} == self.wanted.keys()

    async def _made(self) -> dict[str, dict[str, Any]]:
        page = await self.client.list_all(kinds.EXTERNAL_ARTIFACT, namespace=NAMESPACE)
        return {
            item["metadata"]["name"]: (item.get("status") or {}).get("artifact") or {}
            for item in page.items
            if item["metadata"]["name"].startswith(f"{self.name}-")
        }

    def _folders(self) -> list[Path]:
        found = self.folder.iterdir() if self.folder.exists() else ()
        return [path for path in found if path.name.startswith(f"{self.name}-")]


async def until(state: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(TIMEOUT):
        while not await state():
            await asyncio.sleep(0.02)


async def test_killed_after_a_write(world: World, tmp_path: Path) -> None:
    before = len(world.kills)
    async with Shelf.open(tmp_path, world.client) as shelf:
        for nth in WRITES:
            generator = Generator(world, shelf, f"gen{nth}")
            for act, state in (
                (generator.create, generator.is_made),
                (generator.change, generator.is_made),
                (generator.delete, generator.is_gone),
            ):
                reached = partial(until, state)
                kill = Kill(CONTROLLER, nth, "after")
                await world.run_killed(kill, act, until=reached, meanwhile=None)
                await reached()

    assert len(world.kills) - before >= 2 * len(WRITES), "most writes came"
    assert not list((world.environment.folder / CONTROLLER).rglob(".tmp-*"))
