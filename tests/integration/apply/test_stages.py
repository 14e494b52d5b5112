"""Definitions first: what a later stage needs is there before the stage is checked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fluvial.apply import (
    ApplyOptions,
    Health,
    HealthStatus,
    StageNotReady,
    StageRejected,
    plan_set,
    prepare,
)
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey, ObjectRef
from integration.apply.apply_world import CONFIG_MAPS, NAMESPACES, Spy, World

CRDS = Resource(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    namespaced=False,
)


def _definition(group: str) -> JsonObject:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "plural": "widgets",
                "singular": "widget",
                "kind": "Widget",
                "listKind": "WidgetList",
            },
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def _widget(group: str, namespace: str) -> JsonObject:
    return {
        "apiVersion": f"{group}/v1",
        "kind": "Widget",
        "metadata": {"name": "w", "namespace": namespace},
        "spec": {"size": 1, "nothing": None},
    }


def _namespace(name: str) -> JsonObject:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


@pytest.mark.slow
async def test_definition_namespace_and_objects_in_one_set(world: World) -> None:
    group = f"{world.namespace}.example.org"
    inside = f"{world.namespace}-inside"
    target = replace(world.target, client=Spy(world.admin))
    config = world.config_map("c", k="1")
    config["metadata"]["namespace"] = inside

    result = await world.apply(
        _widget(group, inside), config, _namespace(inside), _definition(group), target=target
    )

    assert result.log().splitlines() == [
        f"CustomResourceDefinition/widgets.{group} created",
        f"Namespace/{inside} created",
        f"ConfigMap/{inside}/c created",
        f"Widget/{inside}/w created",
    ]
    assert [len(one) for one in world.ahead] == [2, 4]
    widgets = Resource(group, "v1", "widgets", "Widget", namespaced=True)
    live = await world.admin.get(widgets, ObjectKey(inside, "w"))
    assert live["spec"]["size"] == 1
    again = await world.apply(
        _widget(group, inside), config, _namespace(inside), _definition(group), target=target
    )
    assert not again.changed
    await world.admin.delete(CRDS, ObjectKey("", f"widgets.{group}"))
    await world.admin.delete(NAMESPACES, ObjectKey("", inside))


@pytest.mark.slow
async def test_plan_of_such_a_set_counts_the_rest_as_created(world: World) -> None:
    group = f"{world.namespace}.example.org"
    inside = f"{world.namespace}-inside"
    spy = Spy(world.admin)
    config = world.config_map("c", k="1")
    config["metadata"]["namespace"] = inside
    objects = [_widget(group, inside), config, _namespace(inside), _definition(group)]

    sets = await plan_set(
        replace(world.target, client=spy),
        prepare(objects, owner=world.owner),
        known=world.known,
        options=ApplyOptions(),
    )

    actions = [str(one.change.action) for each in sets for one in each.planned]
    assert actions == ["created"] * 4
    assert spy.writes == []


async def test_definitions_stay_when_a_later_stage_is_refused(world: World) -> None:
    inside = f"{world.namespace}-inside"
    target = replace(world.target, client=Spy(world.admin))
    bad = world.config_map("c", k="1")
    bad["metadata"] |= {"namespace": inside, "labels": {"x": "no label!"}}

    with pytest.raises(StageRejected) as caught:
        await world.apply(bad, _namespace(inside), target=target)

    assert [str(one) for one in caught.value.applied] == [f"Namespace/{inside} created"]
    assert [entry.id for one in world.ahead for entry in one] == [f"_{inside}__Namespace"]
    await world.admin.delete(NAMESPACES, ObjectKey("", inside))


@pytest.mark.slow
async def test_definition_that_never_works_is_named_in_time(world: World) -> None:
    """Names taken by another definition of the group are never accepted."""
    group = f"{world.namespace}.example.org"
    taken = _definition(group)
    second = _definition(group)
    second["metadata"]["name"] = f"gadgets.{group}"
    second["spec"]["names"] |= {"plural": "gadgets", "singular": "gadget"}
    target = replace(world.target, client=Spy(world.admin))
    await world.apply(taken, target=target)

    with pytest.raises(StageNotReady, match=r"gadgets\..* is not usable after 0\.5s"):
        await world.apply(taken, second, target=target, stage_timeout=0.5)

    for name in ("widgets", "gadgets"):
        await world.admin.delete(CRDS, ObjectKey("", f"{name}.{group}"))


class _Opinion:
    """What somebody says of namespaces."""

    def __init__(self) -> None:
        self.status = HealthStatus.IN_PROGRESS

    def covers(self, ref: ObjectRef) -> bool:
        return ref.kind == "Namespace"

    async def read(self, _: ObjectRef, live: JsonObject) -> Health:
        assert live["kind"] == "Namespace"
        return Health(self.status, "said so")


async def test_a_stage_is_ready_when_a_users_expression_says_so(world: World) -> None:
    inside = f"{world.namespace}-inside"
    opinion = _Opinion()
    target = replace(world.target, client=Spy(world.admin), health=opinion)
    config = world.config_map("c", k="1")
    config["metadata"]["namespace"] = inside

    with pytest.raises(StageNotReady, match="status is InProgress: said so"):
        await world.apply(config, _namespace(inside), target=target, stage_timeout=0.2)
    world.known.forget(ObjectRef("", "Namespace", "", inside))
    with pytest.raises(StageNotReady, match="status is InProgress: said so"):
        await world.apply(config, _namespace(inside), target=target, stage_timeout=0.2)
    opinion.status = HealthStatus.CURRENT
    result = await world.apply(config, _namespace(inside), target=target)
    assert [str(one) for one in result.changes if one.ref.kind == "ConfigMap"] == [
        f"ConfigMap/{inside}/c created"
    ]
    await world.admin.delete(NAMESPACES, ObjectKey("", inside))


async def test_cluster_wide_object_with_a_namespace_has_an_id_without_it(world: World) -> None:
    inside = f"{world.namespace}-inside"
    target = replace(world.target, client=Spy(world.admin))
    odd = _namespace(inside)
    odd["metadata"]["namespace"] = world.namespace

    result = await world.apply(odd, target=target)

    assert [entry.id for entry in result.inventory] == [f"_{inside}__Namespace"]
    await world.admin.delete(NAMESPACES, ObjectKey("", inside))


async def test_namespaced_object_without_namespace_is_refused(world: World) -> None:
    lost = world.config_map("c")
    del lost["metadata"]["namespace"]

    with pytest.raises(StageRejected, match="ConfigMap/c namespace not specified"):
        await world.apply(lost)

    assert "c" not in await world.names(CONFIG_MAPS)
