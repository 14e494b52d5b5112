"""Releases whose objects the client applies: what is refused, what is written, and changing over."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from fluvial.api.codec import decode
from fluvial.api.helm import HelmRelease
from fluvial.build.helm.model import CustomResource
from fluvial.helm import options
from fluvial.helm.crds import apply_crds
from fluvial.helm.drift import IgnoreRules, correct_drift, detect_drift
from fluvial.helm.errors import ActionFailed, OwnershipError
from fluvial.helm.ownership import not_owned
from fluvial.helm.preview import preview
from fluvial.kube.errors import Forbidden
from fluvial.kube.kinds import CRD
from fluvial.objects import JsonObject, ObjectKey
from integration.apply.apply_world import CONFIG_MAPS, ROLES
from integration.helm.actions import JOBS, QUICK, Actions, Files, actions, config_map, job
from integration.helm.client_lives import DEPLOYMENTS
from integration.helm.helm_world import ON_DEVCLUSTER, HelmWorld

_CLIENT = replace(QUICK, server_side="disabled", wait=False)
_SERVER = replace(QUICK, server_side="enabled", wait=False)
_AUTO = replace(QUICK, wait=False)
_MARKED_AS_KEPT = {"helm.sh/resource-policy": "keep"}


def _deployment(selector: str, *, env: str = "{name: E}") -> str:
    return f"""\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: {selector}}}}}
  template:
    metadata: {{labels: {{app: {selector}}}}}
    spec: {{containers: [{{name: c, image: 'example.com/c:1', env: [{env}]}}]}}
"""


@pytest.fixture
async def act(world: HelmWorld) -> AsyncIterator[Actions]:
    async with actions(world) as made:
        yield made


async def _methods(act: Actions) -> list[tuple[str, str]]:
    history = await act.world.storage.history("app")
    return [(one.apply_method, one.info.status) for one in history]


async def _managers(act: Actions, name: str) -> set[tuple[str, str]]:
    live = await act.world.world.live(name, CONFIG_MAPS)
    return {(one["manager"], one["operation"]) for one in live["metadata"]["managedFields"]}


async def _edit(act: Actions, name: str, body: JsonObject) -> None:
    await act.world.world.admin.patch(
        CONFIG_MAPS, act.world.world.key(name), body, patch_type="merge", field_manager="kubectl"
    )


def _spec(**spec: Any) -> HelmRelease:
    quick = {"timeout": "10s", "disableWait": True}
    given = {verb: {**quick, **own} for verb, own in spec.items()}
    return decode({"metadata": {}, "spec": {"interval": "5m", **given}}, HelmRelease)


def _upgrade(**own: Any) -> options.ApplyOptions:
    return options.ApplyOptions.of_upgrade(_spec(upgrade=own))


def _rollback(**own: Any) -> options.ApplyOptions:
    return options.ApplyOptions.of_rollback(_spec(rollback=own))


# --- what must fail ------------------------------------------------------------------------------


@pytest.mark.parametrize("force", [False, True], ids=["patched", "replaced"])
async def test_a_field_that_cannot_be_changed_fails_the_upgrade(act: Actions, force: bool) -> None:  # noqa: FBT001
    await act.install({"a.yaml": _deployment("a"), "b.yaml": config_map("b")}, _CLIENT)
    files = {"a.yaml": _deployment("other")}
    with pytest.raises(ActionFailed, match=r"Deployment/.*/web apply failed .*immutable"):
        await act.upgrade(files, replace(_AUTO, force=force))

    assert await _methods(act) == [("csa", "deployed"), ("csa", "failed")]
    live = await act.world.world.live("web", DEPLOYMENTS)
    assert live["spec"]["selector"]["matchLabels"] == {"app": "a"}
    assert await act.names() == {"b"}


async def _make_before(act: Actions, verb: str, name: str) -> None:
    """Have somebody else write an object just before we do."""
    world = act.world.world

    async def hook(seen: str, about: str) -> None:
        if (seen, about) == (verb, name):
            world.spy.before = None
            if verb == "create":
                made = world.config_map(name, theirs="1")
                await world.admin.create(CONFIG_MAPS, made, field_manager="other")
            else:
                await _edit(act, name, {"data": {"theirs": "1"}})

    world.spy.before = hook


async def test_an_object_that_appears_in_between_is_not_written_over(act: Actions) -> None:
    await act.install({"a.yaml": config_map("a")}, _CLIENT)
    await _make_before(act, "create", "b")
    with pytest.raises(ActionFailed, match=r"ConfigMap/.*/b apply failed \(AlreadyExists\)"):
        await act.upgrade({"a.yaml": config_map("a"), "b.yaml": config_map("b", ours="1")}, _AUTO)

    assert await act.data("b") == {"theirs": "1"}


async def test_an_object_that_changes_in_between_is_not_replaced(act: Actions) -> None:
    await act.install({"a.yaml": config_map("a", k="1")}, _CLIENT)
    await _make_before(act, "replace", "a")
    with pytest.raises(ActionFailed, match=r"ConfigMap/.*/a apply failed \(Conflict\)"):
        await act.upgrade({"a.yaml": config_map("a", k="2")}, replace(_AUTO, force=True))

    assert await act.data("a") == {"k": "1", "theirs": "1"}


async def test_a_tenant_that_may_not_patch_fails(act: Actions) -> None:
    world = act.world.world
    await act.install({"a.yaml": config_map("a", k="1")}, _CLIENT)
    rules = [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "create"]},
    ]
    await world.admin.patch(
        ROLES, world.key("tenant"), {"rules": rules}, patch_type="merge", field_manager="test"
    )

    async def may_patch() -> bool:
        try:
            await world.spy.client.patch(
                CONFIG_MAPS, world.key("a"), {}, patch_type="merge", field_manager="x", dry_run=True
            )
        except Forbidden:
            return False
        return True

    while await may_patch():
        await asyncio.sleep(0.02)
    with pytest.raises(ActionFailed, match=r"ConfigMap/.*/a apply failed \(Forbidden\)"):
        await act.upgrade({"a.yaml": config_map("a", k="2")}, _AUTO)

    assert await act.data("a") == {"k": "1"}
    assert await _methods(act) == [("csa", "deployed"), ("csa", "failed")]


async def test_what_belongs_to_another_namespaces_release_is_refused_or_taken(
    act: Actions,
) -> None:
    marks = {
        "meta.helm.sh/release-name": "app",
        "meta.helm.sh/release-namespace": "elsewhere",
    }
    theirs = act.world.world.config_map("a", k="theirs", foreign="1")
    theirs["metadata"] |= {
        "annotations": marks,
        "labels": {"app.kubernetes.io/managed-by": "Helm"},
    }
    await act.world.world.admin.create(CONFIG_MAPS, theirs, field_manager="other")
    files = {"a.yaml": config_map("a", k="ours")}
    with pytest.raises(OwnershipError, match=r"release-namespace is elsewhere"):
        await act.install(files, replace(_CLIENT, take_ownership=False))
    assert await act.statuses() == {}
    assert await act.data("a") == {"k": "theirs", "foreign": "1"}

    await act.install(files, _CLIENT)
    assert await act.data("a") == {"k": "ours", "foreign": "1"}
    live = await act.world.world.live("a")
    assert not not_owned(live, name="app", namespace=act.world.namespace)


@ON_DEVCLUSTER
async def test_lists_that_cannot_be_merged_fail_by_their_field(act: Actions) -> None:
    await act.install({"a.yaml": _deployment("a")}, _CLIENT)
    with pytest.raises(ActionFailed, match="web apply failed: an item of env has no name"):
        await act.upgrade({"a.yaml": _deployment("a", env="{value: x}")}, _AUTO)


# --- what is written -----------------------------------------------------------------------------


async def test_nothing_is_sent_for_what_is_as_it_should_be(act: Actions) -> None:
    files = {"a.yaml": config_map("a", k="1"), "d.yaml": _deployment("a")}
    await act.install(files, _CLIENT)
    await _edit(act, "a", {"data": {"foreign": "1"}})
    act.world.world.spy.take()
    await act.upgrade(files, _AUTO)

    writes = {call for call in act.world.world.spy.writes if "sh.helm.release" not in call}
    assert writes == set()
    assert await act.data("a") == {"k": "1", "foreign": "1"}
    assert await _methods(act) == [("csa", "superseded"), ("csa", "deployed")]


@ON_DEVCLUSTER
async def test_unknown_fields_are_refused_only_where_objects_are_replaced(act: Actions) -> None:
    files = {"a.yaml": config_map("a") + "unknown: 1\n"}
    await act.install(files, _CLIENT)
    with pytest.raises(ActionFailed, match="unknown"):
        await act.upgrade(files, replace(_AUTO, force=True))


@ON_DEVCLUSTER
@pytest.mark.shows(
    "field:HelmRelease/spec.upgrade.force",
    "field:HelmRelease/spec.rollback.force",
)
async def test_force_leaves_nothing_of_others(act: Actions) -> None:
    await act.install({"a.yaml": config_map("a", k="1")}, _CLIENT)
    await _edit(act, "a", {"data": {"foreign": "1"}})
    await act.upgrade({"a.yaml": config_map("a", k="1")}, _upgrade(force=True))
    assert await act.data("a") == {"k": "1"}
    await _edit(act, "a", {"data": {"foreign": "1"}})
    await act.lifecycle.roll_back("app", 1, _rollback(force=True))

    assert await act.data("a") == {"k": "1"}
    assert await _methods(act) == [*[("csa", "superseded")] * 2, ("csa", "deployed")]


@ON_DEVCLUSTER
async def test_hooks_and_tests_are_made_by_the_client_but_those_of_an_uninstall(
    act: Actions,
) -> None:
    files: Files = {
        "a.yaml": config_map("a"),
        "p.yaml": job("prepare", hook="pre-install,pre-upgrade", delete_policy="hook-succeeded"),
        "t.yaml": job("check", hook="test"),
        "e.yaml": job("end", hook="pre-delete"),
    }
    await act.install(files, _CLIENT)
    await act.ending.test("app", options.TestOptions(timeout=10.0))
    containers = [{"name": "c", "image": "example.com/c:1"}]
    spec = {"restartPolicy": "Never", "containers": containers}
    left: JsonObject = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "prepare", "namespace": act.world.namespace},
        "spec": {"template": {"spec": spec}},
    }
    await act.world.world.admin.create(JOBS, left, field_manager="other")
    with pytest.raises(ActionFailed, match=r"prepare apply failed \(AlreadyExists\)"):
        await act.upgrade(files, _AUTO)
    await act.ending.uninstall("app", options.UninstallOptions(timeout=10.0, wait=False))

    calls = set(act.world.world.spy.calls)
    assert {"create prepare", "create check", "apply end"} <= calls
    assert not {"apply prepare", "apply check", "create end"} & calls


# --- drift and previews --------------------------------------------------------------------------


@ON_DEVCLUSTER
async def test_drift_is_undone_without_becoming_an_applier(act: Actions) -> None:
    release = await act.install(
        {"a.yaml": config_map("a", k="1"), "b.yaml": config_map("b", k="1")}, _CLIENT
    )
    await _edit(act, "a", {"data": {"k": "drift", "foreign": "1"}})
    await act.world.world.admin.delete(CONFIG_MAPS, act.world.world.key("b"))
    found = await detect_drift(act.target, release, IgnoreRules())
    corrected, failures = await correct_drift(act.target, release, found.drifts)

    assert (len(corrected), failures) == (2, ())
    assert await act.data("a") == {"k": "1", "foreign": "1"}
    assert await act.data("b") == {"k": "1"}
    for name in ("a", "b"):
        assert ("helm-controller", "Update") in await _managers(act, name)
        assert ("helm-controller", "Apply") not in await _managers(act, name)


@ON_DEVCLUSTER
async def test_an_upgrade_is_told_before_it_is_done(act: Actions) -> None:
    files = {"a.yaml": config_map("a", k="1"), "b.yaml": config_map("b"), "c.yaml": config_map("c")}
    current = await act.install(files, _CLIENT)
    await _edit(act, "a", {"data": {"foreign": "1"}})
    after = {"a.yaml": config_map("a"), "b.yaml": config_map("b"), "d.yaml": config_map("d")}
    release = await act.make(after, 2, current, server_side=False)
    writes = act.world.world.spy.writes
    told = await preview(act.target, release, current=current)

    assert act.world.world.spy.writes == writes
    space = act.world.namespace
    assert [str(one) for one in told.objects] == [
        f"ConfigMap/{space}/a configured",
        f"ConfigMap/{space}/b unchanged",
        f"ConfigMap/{space}/d created",
        f"ConfigMap/{space}/c deleted",
    ]
    assert await act.data("a") == {"k": "1", "foreign": "1"}


# --- changing over -------------------------------------------------------------------------------


async def test_fields_go_when_the_server_takes_over(act: Actions) -> None:
    await act.install({"a.yaml": config_map("a", k="1", old="1")}, _CLIENT)
    await act.upgrade({"a.yaml": config_map("a", k="1", old="1", two="2")}, _AUTO)
    await _edit(act, "a", {"data": {"foreign": "1"}})
    await act.upgrade({"a.yaml": config_map("a", k="2")}, _SERVER)

    assert await act.data("a") == {"k": "2", "foreign": "1"}
    assert await _managers(act, "a") == {("helm-controller", "Apply"), ("kubectl", "Update")}
    await act.upgrade({"a.yaml": config_map("a")}, _AUTO)
    assert await act.data("a") == {"foreign": "1"}
    assert [method for method, _ in await _methods(act)] == ["csa", "csa", "ssa", "ssa"]


@pytest.mark.shows(
    "field:HelmRelease/spec.install.serverSideApply",
    "field:HelmRelease/spec.upgrade.serverSideApply",
    "field:HelmRelease/spec.rollback.serverSideApply",
)
async def test_there_and_back_again(act: Actions) -> None:
    install = options.ApplyOptions.of_install(_spec(install={"serverSideApply": False}))
    await act.install({"a.yaml": config_map("a", k="0", older="1")}, install)
    await act.upgrade(
        {"a.yaml": config_map("a", k="1", old="1")}, _upgrade(serverSideApply="enabled")
    )
    assert await act.data("a") == {"k": "1", "old": "1"}
    await act.upgrade(
        {"a.yaml": config_map("a", k="2", new="1")}, _upgrade(serverSideApply="disabled")
    )
    assert await act.data("a") == {"k": "2", "new": "1"}
    await act.upgrade({"a.yaml": config_map("a", k="3")}, _upgrade(serverSideApply="enabled"))
    assert await act.data("a") == {"k": "3"}
    await act.lifecycle.roll_back("app", 3, _rollback(serverSideApply="auto"))
    assert await act.data("a") == {"k": "2", "new": "1"}
    await act.lifecycle.roll_back("app", 2, _rollback(serverSideApply="disabled"))
    assert await act.data("a") == {"k": "1", "old": "1"}

    methods = [method for method, _ in await _methods(act)]
    assert methods == ["ssa", "csa", "ssa", "csa", "csa"]  # the first is beyond the limit of five


@ON_DEVCLUSTER
async def test_what_a_failed_upgrade_of_the_client_left_goes(act: Actions) -> None:
    await act.install({"a.yaml": config_map("a", k="1"), "d.yaml": _deployment("a")}, _SERVER)
    failing = {"a.yaml": config_map("a", k="1", added="1"), "d.yaml": _deployment("b")}
    with pytest.raises(ActionFailed):
        await act.upgrade(failing, _CLIENT)
    assert await act.data("a") == {"k": "1", "added": "1"}
    with pytest.raises(ActionFailed):
        await act.upgrade(failing, _AUTO)
    assert [method for method, _ in await _methods(act)] == ["ssa", "csa", "csa"]

    await act.upgrade({"a.yaml": config_map("a", k="1"), "d.yaml": _deployment("a")}, _SERVER)
    assert await act.data("a") == {"k": "1"}


@ON_DEVCLUSTER
async def test_what_was_kept_comes_back_with_what_others_gave_it(act: Actions) -> None:
    """Helm would take its live state for what it had written, and delete all but what is wanted."""
    kept = config_map("kept", annotations=_MARKED_AS_KEPT, k="1")
    await act.install({"kept.yaml": kept}, _CLIENT)
    await act.upgrade({"a.yaml": config_map("a")}, _AUTO)
    await _edit(act, "kept", {"data": {"k": "2", "foreign": "1"}})
    await act.lifecycle.roll_back("app", 1, _AUTO)

    assert await act.data("kept") == {"k": "1", "foreign": "1"}
    assert await act.names() == {"kept"}


def _definition(*versions: str) -> JsonObject:
    schema = {"openAPIV3Schema": {"type": "object"}}
    served: list[dict[str, Any]] = [
        {"name": name, "served": True, "storage": name == "v1", "schema": schema}
        for name in versions
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.clientside.example.com"},
        "spec": {
            "group": "clientside.example.com",
            "scope": "Namespaced",
            "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget"},
            "versions": served,
        },
    }


@ON_DEVCLUSTER
async def test_a_definition_that_a_client_has_written_loses_versions(act: Actions) -> None:
    admin = act.world.world.admin
    await admin.create(CRD, _definition("v1alpha1", "v1"), field_manager="helm-controller")
    target = replace(act.target, client=admin)
    text = json.dumps(_definition("v1"))
    file = CustomResource("crds/gadgets.yaml", "chart/crds/gadgets.yaml", text)
    await apply_crds(target, [file], policy="CreateReplace", waits=act.waits)

    live = await admin.get(CRD, ObjectKey("", "gadgets.clientside.example.com"))
    assert [one["name"] for one in live["spec"]["versions"]] == ["v1"]
