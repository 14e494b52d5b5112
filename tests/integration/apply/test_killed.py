"""Killed at any write, before or after it took effect: the next run ends as a clean one would."""

from __future__ import annotations

import secrets

import pytest

from fluvial.apply import Inventory, Owner, Pruner, Verified
from fluvial.objects import JsonObject
from integration.apply.apply_world import World


class Killed(RuntimeError):
    """The process ends here."""


def _first(world: World) -> list[JsonObject]:
    objects = [world.config_map(name, k="1") for name in ("a", "b", "c")]
    objects[1]["immutable"] = True
    return objects


def _second(world: World) -> list[JsonObject]:
    """``a`` changes, ``b`` cannot change and is recreated, ``c`` goes, ``d`` comes."""
    fixed = world.config_map("b", k="2")
    fixed["immutable"] = True
    return [world.config_map("a", k="2"), fixed, world.config_map("d", k="2")]


async def _reconcile(world: World, objects: list[JsonObject]) -> None:
    """Apply and prune as a reconciler does; ``world.inventory`` is what status would hold."""
    before = world.inventory

    async def store(inventory: Inventory) -> None:
        world.inventory = inventory

    result = await world.apply_only(objects, before, store=store, force=True)
    pruned = await Pruner(world.target).prune(before.subtract(result.inventory))
    world.inventory = result.inventory.union(pruned.kept)
    pruned.raise_failures()


def _arm(world: World, number: int, *, after: bool) -> None:
    """Die at the write of this number (from 0)."""
    left = [number]

    async def die(verb: str, _name: str) -> None:
        if verb in {"apply", "patch", "delete", "create"}:
            left[0] -= 1
            if left[0] < 0:
                raise Killed

    if after:
        world.spy.after = die
    else:
        world.spy.before = die


async def _restart(world: World) -> None:
    world.spy.before = world.spy.after = None
    world.known = Verified()


async def _state(world: World) -> dict[str, str]:
    found = {}
    for name in await world.names():
        found[name] = (await world.live(name))["data"]["k"]
    return found


async def _renew(world: World) -> None:
    """Empty the namespace and become another owner, so that one cluster serves every round."""
    world.inventory = Inventory()
    await _restart(world)
    world.owner = Owner(
        world.owner.group, "Kustomization", "flux-system", f"app-{secrets.token_hex(4)}"
    )


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_killed_at_each_write(world: World, *, after: bool) -> None:
    deaths = 0
    for number in range(16):
        await _renew(world)
        _arm(world, number, after=after)
        died = False
        for objects in (_first(world), _second(world), []):
            try:
                await _reconcile(world, objects)
            except Killed:
                died = True
                await _restart(world)
                await _reconcile(world, objects)

            wanted = {obj["metadata"]["name"]: obj["data"]["k"] for obj in objects}
            assert await _state(world) == wanted, f"after write {number}"
            assert len(world.inventory) == len(wanted)
        deaths += died
        if not died:
            break

    assert deaths >= 10


async def test_identity_of_the_objects_survives_a_kill(world: World) -> None:
    """What needs no recreation is not recreated."""
    await _reconcile(world, _first(world))
    before = (await world.live("a"))["metadata"]["uid"]
    _arm(world, 0, after=False)
    with pytest.raises(Killed):
        await _reconcile(world, _second(world))
    await _restart(world)
    await _reconcile(world, _second(world))

    assert (await world.live("a"))["metadata"]["uid"] == before
