"""Objects that others left: Flux's are found in place, kubectl's fields become ours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fluvial.apply import prepare
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject
from integration.apply.apply_world import CONFIG_MAPS, GROUP, World

DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)
SERVICES = Resource("", "v1", "services", "Service", namespaced=True)
SECRETS = Resource("", "v1", "secrets", "Secret", namespaced=True)


def _service(world: World) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s", "namespace": world.namespace},
        "spec": {"selector": {"app": "d"}, "ports": [{"port": 80, "targetPort": "http"}]},
    }


def _secret(world: World) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "p", "namespace": world.namespace},
        "stringData": {"password": "hunter22"},
    }


async def test_what_flux_applied_is_unchanged_and_not_written(world: World) -> None:
    """The same manager, operation and labels: nothing but reads."""
    objects = [
        world.config_map("a", k="1"),
        world.deployment("d"),
        _service(world),
        _secret(world),
    ]
    served = {"ConfigMap": CONFIG_MAPS, "Deployment": DEPLOYMENTS, "Service": SERVICES}
    served["Secret"] = SECRETS
    for obj in prepare(objects, owner=world.owner):
        name = obj["metadata"]["name"]
        await world.admin.apply(
            served[obj["kind"]], world.key(name), obj, field_manager="kustomize-controller"
        )
    before = await world.live("d", DEPLOYMENTS)

    result = await world.apply(*objects)

    assert [str(one.action) for one in result.changes] == ["unchanged"] * 4
    assert world.spy.writes == []
    after = await world.live("d", DEPLOYMENTS)
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


async def test_single_object_that_flux_applied_is_not_written_either(world: World) -> None:
    (obj,) = prepare([world.config_map("a", k="1")], owner=world.owner)
    await world.admin.apply(CONFIG_MAPS, world.key("a"), obj, field_manager="kustomize-controller")

    result = await world.apply(world.config_map("a", k="1"))

    assert not result.changed
    assert world.spy.writes == []


async def test_fields_that_kubectl_applied_before_are_ours_and_go_with_git(world: World) -> None:
    theirs = world.config_map("a", k="1", old="yes")
    last = "kubectl.kubernetes.io/last-applied-configuration"
    theirs["metadata"]["annotations"] = {last: "{}", "keep": "me"}
    await world.admin.create(CONFIG_MAPS, theirs, field_manager="kubectl-client-side-apply")

    result = await world.apply(world.config_map("a", k="1"))

    live = await world.live("a")
    assert result.log() == f"ConfigMap/{world.namespace}/a configured"
    assert live["data"] == {"k": "1"}
    assert "annotations" not in live["metadata"]
    assert _managers(live) == {("kustomize-controller", "Apply")}


async def test_merge_keeps_the_fields_of_others(world: World) -> None:
    await world.admin.create(
        CONFIG_MAPS, world.config_map("a", old="yes"), field_manager="kubectl-create"
    )
    merged = world.config_map("a", k="1")
    merged["metadata"]["annotations"] = {f"{GROUP}/ssa": "merge"}

    await world.apply(merged)

    live = await world.live("a")
    assert live["data"] == {"k": "1", "old": "yes"}
    assert ("kubectl-create", "Update") in _managers(live)


async def test_override_managers_are_taken_over(world: World) -> None:
    await world.admin.create(
        CONFIG_MAPS, world.config_map("a", old="yes"), field_manager="legacy-tool"
    )

    await world.apply(world.config_map("a", k="1"), override_managers=("legacy",))

    assert (await world.live("a"))["data"] == {"k": "1"}


async def test_fields_of_other_managers_stay(world: World) -> None:
    """An autoscaler's replicas are nobody's drift."""
    await world.apply(world.deployment("d"))
    await world.admin.patch(
        DEPLOYMENTS,
        world.key("d"),
        {"spec": {"replicas": 3}},
        patch_type="merge",
        field_manager="autoscaler",
    )

    result = await world.apply(world.deployment("d"), trust_known=False)

    assert not result.changed
    assert (await world.live("d", DEPLOYMENTS))["spec"]["replicas"] == 3


@pytest.mark.parametrize("field_manager", ["kubectl-edit", "kubectl"])
async def test_what_a_person_edits_is_reverted(world: World, field_manager: str) -> None:
    await world.apply(world.config_map("a", k="1"))
    await world.admin.patch(
        CONFIG_MAPS,
        world.key("a"),
        {"data": {"more": "by hand"}},
        patch_type="merge",
        field_manager=field_manager,
    )

    result = await world.apply(world.config_map("a", k="1"), trust_known=False)

    assert result.changed
    assert (await world.live("a"))["data"] == {"k": "1"}


async def test_cleanup_that_meets_a_newer_version_is_planned_again(world: World) -> None:
    await world.admin.create(
        CONFIG_MAPS, world.config_map("a", k="0"), field_manager="kubectl-create"
    )
    raced: list[str] = []

    async def race(verb: str, name: str) -> None:
        if verb == "patch" and not raced:
            raced.append(name)
            await world.admin.patch(
                CONFIG_MAPS,
                world.key("a"),
                {"data": {"k": "raced"}},
                patch_type="merge",
                field_manager="kubectl-edit",
            )

    world.spy.before = race
    await world.apply(world.config_map("a", k="1"))

    assert raced
    live = await world.live("a")
    assert live["data"] == {"k": "1"}
    assert _managers(live) == {("kustomize-controller", "Apply")}


def _managers(live: JsonObject) -> set[tuple[Any, Any]]:
    rows = live["metadata"]["managedFields"]
    return {(row["manager"], row["operation"]) for row in rows}


async def test_target_can_be_replaced_without_a_trace(world: World) -> None:
    """Another field manager of the same owner would own fields beside Flux's: it must differ."""
    target = replace(world.target, field_manager="another")
    await world.apply(world.config_map("a", k="1"), target=target)

    assert _managers(await world.live("a")) == {("another", "Apply")}
