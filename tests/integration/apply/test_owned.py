"""Owned objects that somebody else changes wake their owner; what nobody changed costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from fluvial.apply import OwnedWatches, WatchLimits, suspect_changed
from fluvial.clock import RealClock
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.informer import InformerFactory
from fluvial.kube.resource import Resource
from fluvial.log import get_logger
from fluvial.objects import JsonObject, ObjectKey, ObjectRef
from integration.apply.apply_world import CONFIG_MAPS, GROUP, World

DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)
QUICK = WatchLimits(debounce=0.02, first_delay=0.02, tick=0.05)
INTERVAL = 1000.0


@dataclass
class Owned:
    """Watches, and whom they woke."""

    world: World
    watches: OwnedWatches
    woken: list[ObjectKey] = field(default_factory=list)

    @property
    def owner(self) -> ObjectKey:
        """Whose objects they are."""
        return ObjectKey(self.world.owner.namespace, self.world.owner.name)

    async def apply(self, *objects: JsonObject) -> None:
        """Bring a set about as a reconcile does."""
        await self.world.apply(*objects)
        await self.watches.follow(
            self.owner, self.world.inventory, mapper=self.world.mapper, known=self.world.known
        )

    async def look(self) -> list[ObjectRef]:
        """What a timer would find."""
        world = self.world
        return await suspect_changed(
            world.target,
            world.inventory,
            known=world.known,
            watches=self.watches,
            max_age=INTERVAL,
        )

    async def watched(self, *resources: Resource) -> None:
        """Wait until just these kinds are watched, and the watches are in step."""
        await until(
            lambda: (
                set(self.watches.kinds.watches) == set(resources)
                and all(watch.in_step for watch in self.watches.kinds.watches.values())
            )
        )

    async def change(self, name: str, **data: str) -> None:
        await self.world.admin.patch(
            CONFIG_MAPS,
            self.world.key(name),
            {"data": data},
            patch_type="merge",
            field_manager="them",
        )


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def watching(
    world: World, limits: WatchLimits = QUICK, *, client: KubeClient | None = None
) -> AsyncIterator[Owned]:
    clock, log = RealClock(), get_logger("test")
    woken: list[ObjectKey] = []
    async with InformerFactory(client or world.admin, clock, log) as informers:
        watches = OwnedWatches(
            informers,
            selector=f"{GROUP}/name",
            wake=woken.append,
            clock=clock,
            log=log,
            limits=limits,
        )
        task = asyncio.create_task(watches.run(), name="owned")
        try:
            yield Owned(world, watches, woken)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0.05)  # an aborted watch says farewell in TLS


async def test_a_foreign_change_wakes_and_what_is_in_place_costs_no_request(world: World) -> None:
    async with watching(world) as owned:
        await owned.apply(world.config_map("a", k="1"), world.config_map("b", k="1"))
        await owned.watched(CONFIG_MAPS)
        world.spy.take()
        assert await owned.look() == []
        assert world.spy.take() == []
        assert owned.woken == [], "our own writes wake nobody"

        await owned.change("a", k="9")
        await until(lambda: owned.woken == [owned.owner])
        assert await owned.look() == [_ref(world, "a")]
        await owned.apply(world.config_map("a", k="1"), world.config_map("b", k="1"))
        assert world.spy.take() == ["apply a", "dry-apply a", "get a"]
        assert (await world.live("a"))["data"] == {"k": "1"}

        await world.admin.delete(CONFIG_MAPS, world.key("b"))
        await until(lambda: len(owned.woken) == 2)
        await owned.apply(world.config_map("a", k="1"), world.config_map("b", k="1"))
        assert (await world.live("b"))["data"] == {"k": "1"}
        unlabel = {"metadata": {"labels": None}}
        await world.admin.patch(
            CONFIG_MAPS, world.key("b"), unlabel, patch_type="merge", field_manager="them"
        )
        await until(lambda: len(owned.woken) == 3)


async def test_a_change_while_the_owner_works_is_not_lost(world: World) -> None:
    """The event comes before it is known what the owner wrote."""
    async with watching(world) as owned:
        await owned.apply(world.config_map("a", k="1"))
        await owned.watched(CONFIG_MAPS)

        async def meanwhile(verb: str, name: str) -> None:
            if verb == "apply":
                await owned.change(name, k="9")
                await until(lambda: _stored(owned, name) == "9")

        def _stored(owned: Owned, name: str) -> str:
            watch = owned.watches.kinds.watches[CONFIG_MAPS]
            obj = watch.informer.store.get(world.key(name)) or {}
            before = world.known.get(_ref(world, name))
            assert before is not None
            return "9" if obj.get("outline") != before.outline else "1"

        world.spy.after = meanwhile
        await owned.apply(world.config_map("a", k="2"))
        world.spy.after = None
        await until(lambda: owned.woken)

        assert (await world.live("a"))["data"] == {"k": "9"}
        assert await owned.look() == [_ref(world, "a")]


async def test_a_change_of_status_wakes_nobody(world: World) -> None:
    async with watching(world) as owned:
        await owned.apply(world.deployment("web"), world.config_map("a", k="1"))
        await owned.watched(CONFIG_MAPS, DEPLOYMENTS)
        status = {"status": {"observedGeneration": 1, "replicas": 7}}
        await world.admin.patch(
            DEPLOYMENTS,
            world.key("web"),
            status,
            patch_type="merge",
            field_manager="them",
            subresource="status",
        )
        await owned.change("a", k="9")
        await until(lambda: owned.woken)
        assert owned.woken == [owned.owner], "the change of status was heard first"
        await owned.apply(world.deployment("web"), world.config_map("a", k="1"))
        scale = {"spec": {"replicas": 5}}
        await world.admin.patch(
            DEPLOYMENTS, world.key("web"), scale, patch_type="merge", field_manager="them"
        )
        await until(lambda: len(owned.woken) == 2)


async def test_where_watching_is_forbidden_the_timer_asks_as_the_tenant(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    nobody = world.as_user("nobody").client
    async with watching(world, client=nobody) as owned:
        await owned.apply(world.config_map("a", k="1"))
        await until(lambda: CONFIG_MAPS in owned.watches.kinds.refused)
        world.spy.take()
        assert await owned.look() == []

        assert world.spy.take() == ["list configmaps"]
        await owned.change("a", k="9")
        assert await owned.look() == [_ref(world, "a")]
        assert owned.woken == []
    assert "".join(capfd.readouterr()).count("a kind is not watched") == 1


@pytest.mark.parametrize("world", ["devcluster"], indirect=True)  # where no other owns anything
async def test_what_exceeds_the_memory_is_not_watched(world: World) -> None:
    limits = WatchLimits(objects=3, debounce=0.02, first_delay=0.02, tick=0.05)
    async with watching(world, limits) as owned:
        maps = [world.config_map(name, k="1") for name in "abc"]
        await owned.apply(*maps, world.deployment("web"))
        await owned.watched(DEPLOYMENTS)
        world.spy.take()
        await owned.look()

        assert world.spy.take() == ["list configmaps"]


async def test_no_more_kinds_are_watched_than_may_be(world: World) -> None:
    limits = WatchLimits(kinds=1, retry=0.1, debounce=0.02, first_delay=0.02, tick=0.05)
    async with watching(world, limits) as owned:
        await owned.apply(world.config_map("a", k="1"), world.deployment("web"))
        assert len(owned.watches.kinds.watches) == len(owned.watches.kinds.refused) == 1
        await owned.apply(world.deployment("web"))

        await owned.watched(DEPLOYMENTS)


async def test_an_owner_that_is_gone_leaves_nothing(world: World) -> None:
    async with watching(world) as owned:
        await owned.apply(world.config_map("a", k="1"), world.deployment("web"))
        await owned.watched(CONFIG_MAPS, DEPLOYMENTS)
        await owned.apply(world.config_map("a", k="1"))
        await owned.watched(CONFIG_MAPS)
        owned.watches.release(owned.owner)

        await owned.watched()
        assert (owned.watches._owner_of, owned.watches.kinds._users) == ({}, {})


async def test_the_watch_is_compared_with_a_list_once_an_interval(world: World) -> None:
    async with watching(world) as owned:
        await owned.apply(world.config_map("a", k="1"))
        await owned.watched(CONFIG_MAPS)
        informer = owned.watches.kinds.watches[CONFIG_MAPS].informer
        informer.store.drop(world.key("a"))  # an event that was lost
        lists = informer.lists
        assert await owned.look() == [_ref(world, "a")]
        assert informer.lists == lists
        found = await owned.watches.versions(
            CONFIG_MAPS, [_ref(world, "a")], known=world.known, max_age=0.0
        )

        assert found is not None
        assert set(found) == {_ref(world, "a")}
        assert informer.lists == lists + 1


def _ref(world: World, name: str) -> ObjectRef:
    return ObjectRef("", kinds.CONFIG_MAP.kind, world.namespace, name)
