"""What others change is put back at once, by watch; an interval in which nobody did costs nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from fluvial.apply import WatchLimits
from fluvial.kube import kinds
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime.queue import WorkQueue
from harness.kustomize import CONFIG_MAPS, Harness, configmap, ready_of
from kustomize_controller.assemble import Settings

APP = ObjectKey("team", "app")
QUICK = WatchLimits(debounce=0.02, first_delay=0.02, tick=0.1)
BLIND = WatchLimits(kinds=0)
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)
_HEALTH = "devcluster.fluvial.dev/health"


def _deployment(health: str) -> str:
    return f"""\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: team, annotations: {{{_HEALTH}: "{health}"}}}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: web, image: "example.com/web:1"}}]}}
"""


async def _in_place(world: Harness, **spec: Any) -> JsonObject:
    await world.tenant()
    revision = await world.source(
        {"a.yaml": configmap("a", k="1"), "b.yaml": configmap("b", k="1")}
    )
    await world.kustomization(**spec)
    return await world.applied(revision)


async def _change(world: Harness, name: str, value: str, resource: Resource = CONFIG_MAPS) -> None:
    await world.client.patch(
        resource,
        ObjectKey("team", name),
        {"data": {"k": value}},
        patch_type="merge",
        field_manager="somebody",
    )


async def _becomes(world: Harness, name: str, data: JsonObject) -> None:
    async with asyncio.timeout(20):
        while not await world.exists(CONFIG_MAPS, name) or (
            (await world.get(CONFIG_MAPS, name))["data"] != data
        ):
            await asyncio.sleep(0.02)


def queue_of(world: Harness) -> WorkQueue[ObjectKey]:
    assert world.controller is not None
    return world.controller.queue


async def _run(world: Harness) -> list[str]:
    """What the next run, as by a timer, asks as the tenant."""
    assert world.cluster is not None
    queue = queue_of(world)
    await queue.wait_idle()
    before = len(world.cluster.control.requests())
    queue.add(APP)
    await queue.wait_idle()
    return [
        f"{entry.verb} {entry.path.rpartition('/')[2]}"
        for entry in world.cluster.control.requests()[before:]
        if entry.impersonated
    ]


async def test_what_somebody_changes_or_deletes_is_put_back_at_once(tmp_path: Path) -> None:
    async with Harness.start(tmp_path, settings=Settings(drift=QUICK)) as world:
        before = await _in_place(world)
        await _change(world, "a", "9")
        await _becomes(world, "a", {"k": "1"})
        await world.client.delete(CONFIG_MAPS, ObjectKey("team", "b"))
        await _becomes(world, "b", {"k": "1"})
        event = await world.event("Progressing", text="ConfigMap/team/b created")

        assert event["type"] == "Normal"
        after = await world.until(lambda obj: ready_of(obj).get("status") == "True")
        assert after["status"]["inventory"] == before["status"]["inventory"]


async def test_a_timer_asks_nothing_where_all_is_watched(tmp_path: Path) -> None:
    async with Harness.start(tmp_path, settings=Settings(drift=QUICK)) as world:
        await _in_place(world)
        async with asyncio.timeout(20):
            while await _run(world):
                await asyncio.sleep(0.02)

        assert await _run(world) == []


async def test_without_watches_the_timer_asks_and_finds(tmp_path: Path) -> None:
    async with Harness.start(tmp_path, settings=Settings(drift=BLIND)) as world:
        await _in_place(world)
        assert await _run(world) == ["list configmaps"]
        await _change(world, "a", "9")
        await _run(world)

        assert (await world.get(CONFIG_MAPS, "a"))["data"] == {"k": "1"}


async def test_what_is_suspended_is_let_be(tmp_path: Path) -> None:
    async with Harness.start(tmp_path, settings=Settings(drift=QUICK)) as world:
        await _in_place(world)
        await world.kustomization(suspend=True)
        await queue_of(world).wait_idle()
        await _change(world, "a", "9")
        revision = await world.source({"c.yaml": configmap("other", k="1")}, name="other")
        await world.kustomization("other", sourceRef={"kind": "GitRepository", "name": "other"})
        await world.applied(revision, "other")
        await _change(world, "other", "9")
        await _becomes(world, "other", {"k": "1"})

        assert (await world.get(CONFIG_MAPS, "a"))["data"] == {"k": "9"}
        await world.kustomization()
        await _becomes(world, "a", {"k": "1"})


async def test_what_is_changed_during_a_wait_is_put_back_after_it(tmp_path: Path) -> None:
    async with Harness.start(tmp_path, settings=Settings(drift=QUICK)) as world:
        await world.tenant()
        files = {"a.yaml": configmap("a", k="1"), "d.yaml": _deployment("slow:1")}
        revision = await world.source(files)
        await world.kustomization(wait=True)
        await world.until(
            lambda obj: any(
                "Running health checks" in condition["message"]
                for condition in obj.get("status", {}).get("conditions", ())
            )
        )
        await _change(world, "a", "9")
        await world.applied(revision)

        await _becomes(world, "a", {"k": "1"})


async def test_nothing_is_put_back_of_what_is_deleted(tmp_path: Path) -> None:
    async with Harness.start(tmp_path, settings=Settings(drift=QUICK)) as world:
        await _in_place(world)
        await world.client.delete(kinds.KUSTOMIZATION, APP)
        await world.gone(kinds.KUSTOMIZATION, "app")
        await queue_of(world).wait_idle()

        assert not await world.exists(CONFIG_MAPS, "a")
        assert not await world.exists(CONFIG_MAPS, "b")
