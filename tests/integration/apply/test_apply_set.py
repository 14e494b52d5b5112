"""A set becomes cluster state: what is written, what is asked, and what must stop it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fluvial.apply import (
    ApplyOptions,
    FailureReason,
    StageFailed,
    StageRejected,
    apply_set,
    plan_set,
    prepare,
    suspect_changed,
)
from fluvial.objects import ObjectRef
from integration.apply.apply_world import CONFIG_MAPS, GROUP, Spy, World


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


async def test_wrong_identity_writes_nothing(world: World) -> None:
    """A service account that does not exist has no rights at all."""
    nobody = world.as_user("nobody")
    target = replace(world.target, client=nobody)

    with pytest.raises(StageRejected) as caught:
        await world.apply(world.config_map("a", k="1"), world.config_map("b", k="1"), target=target)

    assert [failure.reason for failure in caught.value.failures] == [FailureReason.FORBIDDEN] * 2
    assert nobody.writes == []
    assert await world.names() == set()


async def test_object_replaced_between_plan_and_apply_is_planned_again(world: World) -> None:
    await world.apply(world.config_map("a", k="1"), world.config_map("b", k="1"))
    old = (await world.live("a"))["metadata"]["uid"]
    world.known.suspect(_ref(world, "a"))
    replaced: list[str] = []

    async def replace_it(verb: str, name: str) -> None:
        if (verb, name) == ("apply", "a") and not replaced:
            replaced.append(name)
            await world.admin.delete(CONFIG_MAPS, world.key("a"))
            await world.admin.create(
                CONFIG_MAPS, world.config_map("a", theirs="yes"), field_manager="other"
            )

    world.spy.before = replace_it
    result = await world.apply(world.config_map("a", k="2"), world.config_map("b", k="2"))

    live = await world.live("a")
    assert replaced
    assert live["metadata"]["uid"] != old
    assert live["data"] == {"k": "2", "theirs": "yes"}
    assert result.log().splitlines() == [
        f"ConfigMap/{world.namespace}/a configured",
        f"ConfigMap/{world.namespace}/b configured",
    ]


async def test_spec_changed_between_plan_and_apply_is_planned_again(world: World) -> None:
    await world.apply(world.config_map("a", k="1"), world.config_map("b", k="1"))
    changed: list[str] = []

    async def change_it(verb: str, name: str) -> None:
        if (verb, name) == ("apply", "a") and not changed:
            changed.append(name)
            await world.admin.patch(
                CONFIG_MAPS,
                world.key("a"),
                {"data": {"k": "theirs"}},
                patch_type="merge",
                field_manager="other",
            )

    world.spy.before = change_it
    world.spy.take()
    await world.apply(world.config_map("a", k="2"), world.config_map("b", k="2"))

    assert changed
    assert (await world.live("a"))["data"] == {"k": "2"}
    assert world.spy.calls.count("apply a") == 2


async def test_drift_is_corrected_when_suspected(world: World) -> None:
    await world.apply(world.config_map("a", k="1"), world.config_map("b", k="1"))
    await world.admin.patch(
        CONFIG_MAPS, world.key("a"), {"data": {"k": "9"}}, patch_type="merge", field_manager="them"
    )
    world.spy.take()

    assert await suspect_changed(world.target, world.inventory, known=world.known) == [
        _ref(world, "a")
    ]
    result = await world.apply(world.config_map("a", k="1"), world.config_map("b", k="1"))

    assert result.log() == f"ConfigMap/{world.namespace}/a configured"
    assert (await world.live("a"))["data"] == {"k": "1"}
    assert world.spy.take() == ["apply a", "dry-apply a", "get a", "list configmaps"]


async def test_quiet_interval_costs_one_list_a_kind(world: World) -> None:
    await world.apply(world.config_map("a", k="1"), world.config_map("b", k="1"))
    world.spy.take()

    assert await suspect_changed(world.target, world.inventory, known=world.known) == []
    assert world.spy.take() == ["list configmaps"]


async def test_missing_namespace_says_what_to_do(world: World) -> None:
    target = replace(world.target, client=Spy(world.admin))
    lost = world.config_map("a", k="1")
    lost["metadata"]["namespace"] = "not-there-yet"

    with pytest.raises(StageRejected, match="namespace not found: create Namespace") as caught:
        await world.apply(lost, world.config_map("b"), target=target)

    assert caught.value.failures[0].reason is FailureReason.NAMESPACE_NOT_FOUND


@pytest.mark.slow
async def test_missing_kind_names_it(world: World) -> None:
    widget = {
        "apiVersion": "example.org/v1",
        "kind": "Widget",
        "metadata": {"name": "w", "namespace": world.namespace},
    }

    with pytest.raises(StageRejected, match='no matches for kind "Widget"') as caught:
        await world.apply(widget)

    assert caught.value.failures[0].reason is FailureReason.KIND_NOT_FOUND


async def test_name_that_leaves_its_url_is_refused(world: World) -> None:
    with pytest.raises(StageRejected, match="invalid name") as caught:
        await world.apply(world.config_map("../../kube-system/configmaps/x"))

    assert caught.value.failures[0].reason is FailureReason.INVALID
    assert world.spy.calls == []


async def test_every_invalid_object_is_listed(world: World) -> None:
    bad = [world.config_map(name, k="1") for name in ("a", "b")]
    for obj in bad:
        obj["metadata"]["labels"] = {"x": "not a label value!"}

    with pytest.raises(StageRejected) as caught:
        await world.apply(*bad, world.config_map("good", k="1"))

    assert [str(failure.ref.name) for failure in caught.value.failures] == ["a", "b"]
    assert {failure.reason for failure in caught.value.failures} == {FailureReason.INVALID}
    assert await world.names() == set()


async def test_annotations_skip_and_protect(world: World) -> None:
    await world.admin.create(
        CONFIG_MAPS, world.config_map("theirs", k="0"), field_manager="somebody"
    )
    once = world.config_map("theirs", k="1")
    once["metadata"]["annotations"] = {f"{GROUP}/ssa": "IfNotPresent"}
    never = world.config_map("never", k="1")
    never["metadata"]["annotations"] = {f"{GROUP}/ssa": "IGNORE"}

    result = await world.apply(once, never, world.config_map("a", k="1"))

    assert [str(change) for change in result.changes] == [
        f"ConfigMap/{world.namespace}/a created",
        f"ConfigMap/{world.namespace}/never skipped",
        f"ConfigMap/{world.namespace}/theirs skipped",
    ]
    assert (await world.live("theirs"))["data"] == {"k": "0"}
    assert await world.names() == {"a", "theirs"}
    assert len(result.inventory) == 3
    assert [ref.name for ref in result.health_refs()] == ["a"]


async def test_live_object_may_ask_to_be_left_alone(world: World) -> None:
    await world.apply(world.config_map("a", k="1"), world.config_map("b", k="1"))
    await world.admin.patch(
        CONFIG_MAPS,
        world.key("a"),
        {"metadata": {"annotations": {f"{GROUP}/reconcile": "Disabled"}}},
        patch_type="merge",
        field_manager="person",
    )
    world.known.clear()

    result = await world.apply(world.config_map("a", k="2"), world.config_map("b", k="2"))

    assert [str(change.action) for change in result.changes] == ["skipped", "configured"]
    assert (await world.live("a"))["data"] == {"k": "1"}


async def test_fields_that_a_builtin_kind_does_not_have_are_dropped(world: World) -> None:
    odd = world.config_map("a", k="1")
    odd["spec"] = {"unknown": True}

    result = await world.apply(odd, world.config_map("b", k="1"))

    assert result.changes[0].reason.endswith(".spec")
    assert await world.names() == {"a", "b"}


async def test_result_of_a_failed_write_names_what_was_done(world: World) -> None:
    """A write that fails after its check: what came before is told, nothing comes after."""
    deployment = world.deployment("z")

    async def take_rights_away(verb: str, name: str) -> None:
        if (verb, name) == ("apply", "z"):
            await world.revoke()

    world.spy.before = take_rights_away

    with pytest.raises(StageFailed, match="cannot patch resource") as caught:
        await world.apply(world.config_map("a", k="1"), deployment)

    assert [str(change) for change in caught.value.applied] == [
        f"ConfigMap/{world.namespace}/a created"
    ]
    assert len(world.ahead[0]) == 2


async def test_write_ahead_that_fails_stops_before_the_stage(world: World) -> None:
    async def refuse(_: object) -> None:
        raise RuntimeError("status is gone")

    with pytest.raises(RuntimeError, match="status is gone"):
        await apply_set(
            world.target,
            prepare([world.config_map("a", k="1")], owner=world.owner),
            inventory=world.inventory,
            known=world.known,
            write_ahead=refuse,
            options=ApplyOptions(),
        )

    assert await world.names() == set()


async def test_plan_writes_nothing_and_shows_the_difference(world: World) -> None:
    await world.apply(world.config_map("a", k="1"))
    world.spy.take()

    (plan,) = await plan_set(
        world.target,
        prepare([world.config_map("a", k="2"), world.config_map("b")], owner=world.owner),
        known=world.known,
        options=ApplyOptions(),
    )

    first, second = plan.planned
    assert first.diff is not None
    assert first.diff.text() == '~ /data/k: "1" -> "2"'
    assert str(second.change) == f"ConfigMap/{world.namespace}/b created"
    assert world.spy.writes == []


def _ref(world: World, name: str) -> ObjectRef:
    return ObjectRef("", "ConfigMap", world.namespace, name)


async def test_status_that_moves_on_does_not_cost_a_new_plan(world: World) -> None:
    """A rollout changes the version all the time; the same bytes go out for the newer one."""
    await world.apply(world.config_map("a", k="1"), world.config_map("b", k="1"))
    world.spy.take()
    moved: list[str] = []

    async def touch(verb: str, name: str) -> None:
        if (verb, name) == ("apply", "a") and len(moved) < 2:
            moved.append(name)
            await world.admin.apply(
                CONFIG_MAPS,
                world.key("a"),
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": "a", "namespace": world.namespace},
                    "data": {"k": "1"},
                },
                field_manager=f"co-owner-{len(moved)}",
            )

    world.spy.before = touch
    await world.apply(world.config_map("a", k="2"), world.config_map("b", k="2"))

    calls = world.spy.take()
    assert calls.count("apply a") == 3
    assert calls.count("dry-apply a") == 1
    assert (await world.live("a"))["data"] == {"k": "2"}


@pytest.mark.slow
async def test_object_that_never_holds_still_is_given_up(world: World) -> None:
    await world.apply(world.config_map("a", k="1"), world.config_map("b", k="1"))

    async def fight(verb: str, name: str) -> None:
        if (verb, name) == ("apply", "a"):
            await world.admin.patch(
                CONFIG_MAPS,
                world.key("a"),
                {"data": {"n": str(len(world.spy.calls))}},
                patch_type="merge",
                field_manager="fighter",
            )

    world.spy.before = fight

    with pytest.raises(StageFailed, match="keep changing while they are being applied"):
        await world.apply(world.config_map("a", k="2"), world.config_map("b", k="1"))

    assert (await world.live("a"))["data"]["k"] == "1"


async def test_quantities_and_defaults_are_no_drift(world: World) -> None:
    deployment = world.deployment("d")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["resources"] = {"limits": {"cpu": "1000m", "memory": "1024Mi"}}
    container["ports"] = [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}]
    deployment["spec"]["template"]["metadata"]["creationTimestamp"] = None
    deployment["status"] = {}
    await world.apply(deployment)

    result = await world.apply(deployment, trust_known=False)

    assert not result.changed
