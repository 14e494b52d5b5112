"""A set becomes cluster state: what is written, what is asked, and what must stop it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fluvial.apply import FailureReason, StageRejected
from fluvial.kube.resource import Resource

if TYPE_CHECKING:
    from conftest import World

DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)


async def test_first_apply_creates_and_asks_twice_an_object(world: World) -> None:
    result = await world.apply(world.config_map("a", k="1"), world.config_map("b", k="1"))

    assert result.log().splitlines() == [
        f"ConfigMap/{world.namespace}/a created",
        f"ConfigMap/{world.namespace}/b created",
    ]
    assert world.spy.take() == ["apply a", "apply b", "dry-apply a", "dry-apply b"]
    assert [entry.id for entry in result.inventory] == [
        f"{world.namespace}_a__ConfigMap",
        f"{world.namespace}_b__ConfigMap",
    ]
    assert world.ahead == [result.inventory]
    live = await world.live("a")
    assert live["metadata"]["labels"] == world.owner.labels


async def test_second_apply_costs_nothing(world: World) -> None:
    await world.apply(world.config_map("a", k="1"))
    world.spy.take()

    result = await world.apply(world.config_map("a", k="1"))

    assert not result.changed
    assert world.spy.take() == []


async def test_one_change_costs_one_patch(world: World) -> None:
    await world.apply(world.config_map("a", k="1"), world.config_map("b", k="1"))
    world.spy.take()

    result = await world.apply(world.config_map("a", k="2"), world.config_map("b", k="1"))

    assert result.log() == f"ConfigMap/{world.namespace}/a configured"
    assert world.spy.take() == ["apply a"]
    assert (await world.live("a"))["data"] == {"k": "2"}


async def test_forbidden_object_among_good_ones_stops_the_whole_stage(world: World) -> None:
    foreign = world.config_map("x", k="1")
    foreign["metadata"]["namespace"] = "kube-system"

    with pytest.raises(StageRejected) as caught:
        await world.apply(world.config_map("a", k="1"), foreign, world.config_map("b", k="1"))

    (failure,) = caught.value.failures
    assert failure.reason is FailureReason.FORBIDDEN
    assert "cannot patch resource" in failure.message
    assert f"system:serviceaccount:{world.namespace}:tenant" in failure.message
    assert world.spy.writes == []
    assert world.ahead == []
    assert await world.names() == set()
