"""Pruning deletes what is ours and stale, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fluvial.apply import (
    Entry,
    Inventory,
    Owner,
    PruneFailed,
    PruneOutcome,
    Pruner,
    change_log,
    still_there,
    wait_for_termination,
)
from integration.apply.apply_world import BINDINGS, CONFIG_MAPS, GROUP, ROLES, World


def _entry(world: World, name: str, group: str = "", kind: str = "ConfigMap") -> Entry:
    return Entry(f"{world.namespace}_{name}_{group}_{kind}", "v1")


async def test_stale_objects_are_deleted_in_reverse_order(world: World) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "d", "namespace": world.namespace},
    }
    await world.apply(world.config_map("a"), world.config_map("b"), secret)
    world.spy.take()

    result = await Pruner(world.target).prune(world.inventory)

    assert change_log(result.changes).splitlines() == [
        f"Secret/{world.namespace}/d deleted",
        f"ConfigMap/{world.namespace}/b deleted",
        f"ConfigMap/{world.namespace}/a deleted",
    ]
    assert await world.names() == set()
    assert world.spy.calls[:2] == ["get d", "delete d"]
    assert len(world.spy.take()) == 6


async def test_object_with_the_label_of_another_owner_is_handed_over(world: World) -> None:
    await world.apply(world.config_map("a"), world.config_map("b"))
    other = replace(world.target, owner=Owner(GROUP, "Kustomization", "elsewhere", "other"))

    result = await Pruner(other).prune(world.inventory)

    assert {one.outcome for one in result.results} == {PruneOutcome.HANDED_OVER}
    assert await world.names() == {"a", "b"}
    assert len(result.kept) == 0
    assert [str(one.action) for one in result.changes] == ["skipped", "skipped"]


async def test_object_that_changes_hands_between_read_and_delete_stays(world: World) -> None:
    await world.apply(world.config_map("a"))

    async def hand_over(verb: str, _name: str) -> None:
        if verb == "delete":
            world.spy.before = None
            await world.admin.patch(
                CONFIG_MAPS,
                world.key("a"),
                {"metadata": {"labels": {f"{GROUP}/name": "other"}}},
                patch_type="merge",
                field_manager="kustomize-controller",
            )

    world.spy.before = hand_over
    result = await Pruner(world.target).prune(world.inventory)

    assert [one.outcome for one in result.results] == [PruneOutcome.HANDED_OVER]
    assert await world.names() == {"a"}


async def test_object_recreated_by_somebody_else_stays(world: World) -> None:
    await world.apply(world.config_map("a"))

    async def recreate(verb: str, _name: str) -> None:
        if verb == "delete":
            world.spy.before = None
            await world.admin.delete(CONFIG_MAPS, world.key("a"))
            await world.admin.create(CONFIG_MAPS, world.config_map("a"), field_manager="other")

    world.spy.before = recreate
    result = await Pruner(world.target).prune(world.inventory)

    assert [one.outcome for one in result.results] == [PruneOutcome.HANDED_OVER]
    assert await world.names() == {"a"}


async def test_change_between_read_and_delete_is_read_again(world: World) -> None:
    await world.apply(world.config_map("a"))

    async def touch(verb: str, _name: str) -> None:
        if verb == "delete":
            world.spy.before = None
            await world.admin.patch(
                CONFIG_MAPS,
                world.key("a"),
                {"data": {"touched": "yes"}},
                patch_type="merge",
                field_manager="other",
            )

    world.spy.before = touch
    result = await Pruner(world.target).prune(world.inventory)

    assert [one.outcome for one in result.results] == [PruneOutcome.DELETED]
    assert await world.names() == set()


async def test_forbidden_deletion_keeps_its_entry_and_the_rest_goes_on(world: World) -> None:
    await world.apply(world.config_map("a"), world.deployment("d"))
    await world.restrict(["get", "list"], resources=["configmaps"])

    result = await Pruner(world.target).prune(world.inventory)

    assert [one.outcome for one in result.results] == [PruneOutcome.DELETED, PruneOutcome.FAILED]
    assert result.kept == Inventory((_entry(world, "a"),))
    assert await world.names() == {"a"}
    with pytest.raises(PruneFailed, match=r"delete failed \(Forbidden\).*cannot delete") as caught:
        result.raise_failures()
    assert [str(one) for one in caught.value.applied] == [f"Deployment/{world.namespace}/d deleted"]


async def test_forbidden_read_keeps_its_entry(world: World) -> None:
    await world.apply(world.config_map("a"))
    await world.revoke()

    result = await Pruner(world.target).prune(world.inventory)

    assert result.kept == world.inventory
    assert await world.names() == {"a"}


@pytest.mark.slow
async def test_absent_objects_and_kinds_are_settled(world: World) -> None:
    entries = [
        _entry(world, "never"),
        _entry(world, "w", "example.org", "Widget"),
        Entry(f"{world.namespace}_d_apps_Deployment", "v1beta1"),
    ]

    result = await Pruner(world.target).prune(entries)

    assert {one.outcome for one in result.results} == {PruneOutcome.ABSENT}
    assert len(result.kept) == 0


async def test_old_version_in_the_entry_is_only_a_hint(world: World) -> None:
    await world.apply(world.deployment("d"))

    result = await Pruner(world.target).prune(
        [Entry(f"{world.namespace}_d_apps_Deployment", "v1beta2")]
    )

    assert [one.outcome for one in result.results] == [PruneOutcome.DELETED]


async def test_unreadable_entry_is_kept(world: World) -> None:
    result = await Pruner(world.target).prune([Entry("nonsense", "v1")])

    assert result.kept == Inventory((Entry("nonsense", "v1"),))
    assert "invalid inventory id" in result.failures[0].message


@pytest.mark.parametrize(
    "annotation", [("prune", "disabled"), ("ssa", "ignore"), ("reconcile", "Disabled")]
)
async def test_protected_objects_stay(world: World, annotation: tuple[str, str]) -> None:
    await world.apply(world.config_map("a"))
    await world.admin.patch(
        CONFIG_MAPS,
        world.key("a"),
        {"metadata": {"annotations": {f"{GROUP}/{annotation[0]}": annotation[1]}}},
        patch_type="merge",
        field_manager="person",
    )

    result = await Pruner(world.target).prune(world.inventory)

    assert [one.outcome for one in result.results] == [PruneOutcome.PROTECTED]
    assert len(result.kept) == 0
    assert await world.names() == {"a"}


async def test_termination_is_waited_for_and_ends_in_time(world: World) -> None:
    await world.apply(world.config_map("a"), world.config_map("b"))
    await world.admin.patch(
        CONFIG_MAPS,
        world.key("a"),
        {"metadata": {"finalizers": ["example.org/held"]}},
        patch_type="merge",
        field_manager="other",
    )
    result = await Pruner(world.target).prune(world.inventory)

    left = await wait_for_termination(world.target, result, timeout=0.1)

    assert [ref.name for ref in left] == ["a"]
    await world.admin.patch(
        CONFIG_MAPS,
        world.key("a"),
        {"metadata": {"finalizers": None}},
        patch_type="merge",
        field_manager="other",
    )
    pairs = [(one.entry.ref, one.uid) for one in result.results]
    assert await still_there(world.target, pairs) == []


async def test_rbac_names_with_colons_survive_the_inventory(world: World) -> None:
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "system:my:role", "namespace": world.namespace},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}],
    }
    await world.apply(role)

    assert world.inventory.entries[0].id == (
        f"{world.namespace}_system__my__role_rbac.authorization.k8s.io_Role"
    )
    result = await Pruner(world.target).prune(world.inventory)

    assert [one.outcome for one in result.results] == [PruneOutcome.DELETED]
    assert await world.names(ROLES) == {"tenant"}
    assert await world.names(BINDINGS) == {"tenant"}
