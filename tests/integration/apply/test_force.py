"""Recreating what cannot be changed: only if asked, only if it would work, only what is ours."""

from __future__ import annotations

import pytest

from fluvial.apply import FailureReason, StageRejected
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject
from integration.apply.apply_world import CONFIG_MAPS, GROUP, World

DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)


def _reselected(world: World, **spec: object) -> JsonObject:
    deployment: JsonObject = world.deployment("d")
    deployment["spec"]["selector"]["matchLabels"] = {"app": "other"}
    deployment["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    deployment["spec"] |= spec
    return deployment


async def test_immutable_change_without_force_is_refused_and_says_what_to_do(
    world: World,
) -> None:
    await world.apply(world.deployment("d"), world.config_map("a"))
    before = await world.live("d", DEPLOYMENTS)

    with pytest.raises(StageRejected, match=r"field is immutable.*spec\.force") as caught:
        await world.apply(_reselected(world), world.config_map("a"))

    assert caught.value.failures[0].reason is FailureReason.IMMUTABLE
    after = await world.live("d", DEPLOYMENTS)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


@pytest.mark.parametrize("how", ["option", "annotation"])
async def test_force_recreates(world: World, how: str) -> None:
    await world.apply(world.deployment("d"))
    before = await world.live("d", DEPLOYMENTS)
    wanted = _reselected(world)
    if how == "annotation":
        wanted["metadata"]["annotations"] = {f"{GROUP}/force": "Enabled"}

    result = await world.apply(wanted, force=how == "option")

    after = await world.live("d", DEPLOYMENTS)
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert after["spec"]["selector"]["matchLabels"] == {"app": "other"}
    assert result.log() == f"Deployment/{world.namespace}/d created"
    assert result.changes[0].recreated


async def test_force_deletes_nothing_for_an_object_that_is_invalid_as_well(world: World) -> None:
    await world.apply(world.deployment("d"))
    before = await world.live("d", DEPLOYMENTS)

    with pytest.raises(StageRejected, match="must be greater than or equal to 0"):
        await world.apply(_reselected(world, replicas=-1), force=True)

    after = await world.live("d", DEPLOYMENTS)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


async def test_force_deletes_nothing_where_any_other_error_is_all(world: World) -> None:
    """422 alone is no reason to delete: in Flux a typing error is."""
    await world.apply(world.config_map("a", k="1"), world.config_map("b"))
    before = await world.live("a")
    broken = world.config_map("a", k="1")
    broken["metadata"]["labels"] = {"x": "no label, but it is immutable"}

    with pytest.raises(StageRejected, match="Invalid"):
        await world.apply(broken, world.config_map("b", k="2"), force=True)

    after = await world.live("a")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert world.spy.calls.count("delete a") == 0


async def test_force_does_not_delete_what_another_owner_has(world: World) -> None:
    theirs = world.config_map("a", k="1")
    theirs["immutable"] = True
    theirs["metadata"]["labels"] = {f"{GROUP}/name": "other", f"{GROUP}/namespace": "elsewhere"}
    await world.admin.create(CONFIG_MAPS, theirs, field_manager="kustomize-controller")

    with pytest.raises(StageRejected, match="belongs to Kustomization elsewhere/other"):
        await world.apply(world.config_map("a", k="2"), force=True)

    assert (await world.live("a"))["data"] == {"k": "1"}


async def test_recreation_waits_for_finalizers_and_names_them(world: World) -> None:
    held = world.config_map("a", k="1")
    held["immutable"] = True
    await world.apply(held)
    await world.admin.patch(
        CONFIG_MAPS,
        world.key("a"),
        {"metadata": {"finalizers": ["example.org/held"]}},
        patch_type="merge",
        field_manager="other",
    )

    with pytest.raises(Exception, match=r"still there after 0\.2s; its finalizers are example"):
        await world.apply(
            world.config_map("a", k="2"), force=True, trust_known=False, recreate_timeout=0.2
        )

    await world.admin.patch(
        CONFIG_MAPS,
        world.key("a"),
        {"metadata": {"finalizers": None}},
        patch_type="merge",
        field_manager="other",
    )
