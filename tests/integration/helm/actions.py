"""Actions on releases in a test's namespace, and charts that need no rendering."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fluvial.apply.model import Owner, Target
from fluvial.apply.waiter import HealthWaiter
from fluvial.build.helm.model import RenderedRelease
from fluvial.clock import RealClock
from fluvial.helm.ending import Ending
from fluvial.helm.lifecycle import Lifecycle
from fluvial.helm.making import new_release
from fluvial.helm.options import ApplyOptions
from fluvial.helm.release import Release
from fluvial.helm.steps import ActionLog
from fluvial.helm.waiting import HealthWaits
from fluvial.kube.errors import NotFound
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject
from integration.apply.apply_world import CONFIG_MAPS
from integration.helm.helm_world import HelmWorld

__all__ = ["JOBS", "QUICK", "Actions", "actions", "config_map", "job", "rendered"]

JOBS = Resource("batch", "v1", "jobs", "Job", namespaced=True)
QUICK = ApplyOptions(timeout=10.0)
Files = Mapping[str, str]


def rendered(files: Files, **config: Any) -> RenderedRelease:
    """What the engine would give for a chart of these files."""
    metadata = {"name": "chart", "version": "1.0.0", "apiVersion": "v2"}
    return RenderedRelease(
        files={f"chart/templates/{name}": text for name, text in files.items()},
        notes="",
        crds=(),
        chart={"metadata": metadata, "templates": [], "values": {}, "files": []},
        config=config,
    )


def config_map(name: str, *, annotations: Mapping[str, str] | None = None, **data: str) -> str:
    """A ConfigMap as a template gives it."""
    notes = ", ".join(f'"{key}": "{text}"' for key, text in (annotations or {}).items())
    values = ", ".join(f'"{key}": "{text}"' for key, text in data.items())
    return (
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, annotations: {{{notes}}}}}\n"
        f"data: {{{values}}}\n"
    )


def job(name: str, *, hook: str, fails: bool = False, **annotations: str) -> str:
    """A Job that is a hook; both control planes' stand-ins fail it if it is to."""
    notes = {"helm.sh/hook": hook} | {
        f"helm.sh/hook-{key.replace('_', '-')}": text for key, text in annotations.items()
    }
    if fails:
        notes["devcluster.fluvial.dev/health"] = "fail"
    marks = ", ".join(f'"{key}": "{text}"' for key, text in notes.items())
    labels = '"fluvial.dev/fail": "1"' if fails else ""
    return (
        f"apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}, annotations: {{{marks}}}}}\n"
        f"spec: {{backoffLimit: 0, template: {{metadata: {{labels: {{{labels}}}}}, spec: "
        "{restartPolicy: Never, containers: [{name: c, image: 'example.com/c:1'}]}}}\n"
    )


@dataclass(slots=True)
class Actions:
    """What can be done in one namespace."""

    world: HelmWorld
    target: Target
    waits: HealthWaits
    log: ActionLog | None = None

    @property
    def lifecycle(self) -> Lifecycle:
        return Lifecycle(self.target, self.world.storage, self.waits, log=self.log)

    @property
    def ending(self) -> Ending:
        return Ending(self.target, self.world.storage, log=self.log)

    async def make(
        self,
        files: Files,
        version: int,
        before: Release | None = None,
        *,
        values: int = 0,
        server_side: bool = True,
    ) -> Release:
        """A revision that is to be installed, or is to follow another one."""
        return await new_release(
            rendered(files, n=values or version),
            name="app",
            namespace=self.world.namespace,
            version=version,
            now=self.target.clock.now(),
            before=before,
            server_side=server_side,
        )

    async def install(self, files: Files, options: ApplyOptions = QUICK) -> Release:
        version = await self.lifecycle.next_version("app")
        release = await self.make(files, version, server_side=options.by_server(None))
        return await self.lifecycle.install(release, options)

    async def upgrade(self, files: Files, options: ApplyOptions = QUICK) -> Release:
        current = await self.lifecycle.current("app")
        version = await self.lifecycle.next_version("app")
        by_server = options.by_server(await self.world.storage.last("app"))
        release = await self.make(files, version, current, server_side=by_server)
        return await self.lifecycle.upgrade(release, current=current, options=options)

    async def statuses(self) -> dict[int, str]:
        """What the records are."""
        revisions = await self.world.storage.revisions("app")
        return {one.version: one.status.value for one in revisions}

    async def data(self, name: str) -> dict[str, str] | None:
        """The data of a ConfigMap; ``None`` where it is not there."""
        try:
            live: JsonObject = await self.world.world.live(name, CONFIG_MAPS)
        except NotFound:
            return None
        return live.get("data") or {}

    async def names(self) -> set[str]:
        """The ConfigMaps that are there."""
        return await self.world.world.names(CONFIG_MAPS)


@asynccontextmanager
async def actions(world: HelmWorld) -> AsyncIterator[Actions]:
    """Actions as the tenant, with a waiter that polls."""
    owner = Owner("helm.toolkit.fluxcd.io", "HelmRelease", world.namespace, "app")
    target = Target(
        client=world.world.spy,
        mapper=world.world.mapper,
        owner=owner,
        field_manager="helm-controller",
    )
    waits = HealthWaits()
    waiter = HealthWaiter(
        done=waits.done, clock=RealClock(), selector="helm.toolkit.fluxcd.io/name"
    )
    waits.use(waiter)
    serving = asyncio.create_task(waiter.run(), name="waiter")
    try:
        yield Actions(world, target, waits)
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
