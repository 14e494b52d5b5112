"""Releases tested and uninstalled; definitions of kinds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import msgspec
import pytest

from fluvial.api import helm_actions
from fluvial.build.helm.model import CustomResource
from fluvial.helm import options
from fluvial.helm.crds import apply_crds
from fluvial.helm.errors import (
    ActionFailed,
    ActionRefused,
    InventoryTooLarge,
    ManifestError,
    ReleaseNotFound,
)
from fluvial.helm.inventory import release_inventory
from fluvial.helm.release import Status
from fluvial.kube.errors import NotFound
from fluvial.kube.kinds import CRD
from fluvial.objects import JsonObject, ObjectKey
from integration.apply.apply_world import CONFIG_MAPS
from integration.helm.actions import JOBS, QUICK, Actions, actions, config_map, job
from integration.helm.helm_world import ON_DEVCLUSTER, HelmWorld

_UNINSTALL = options.UninstallOptions(timeout=10.0)
_TEST = options.TestOptions(timeout=10.0)


@pytest.fixture
async def act(world: HelmWorld) -> AsyncIterator[Actions]:
    async with actions(world) as made:
        yield made


async def test_an_uninstall_leaves_nothing_but_what_is_kept(act: Actions) -> None:
    keep = {"helm.sh/resource-policy": "keep"}
    await act.install(
        {
            "a.yaml": config_map("a"),
            "k.yaml": config_map("kept", annotations=keep),
            "before.yaml": job("before", hook="pre-delete"),
            "after.yaml": job("after", hook="post-delete", delete_policy="hook-succeeded"),
        }
    )
    await act.upgrade({"a.yaml": config_map("a"), "k.yaml": config_map("kept", annotations=keep)})
    act.world.seen.clear()
    release = await act.ending.uninstall("app", _UNINSTALL)

    assert release.status is Status.UNINSTALLED
    assert release.info.deleted
    assert act.world.seen == ["v2 uninstalling", "v2 uninstalled"]
    assert await act.names() == {"kept"}
    assert await act.statuses() == {}
    with pytest.raises(ReleaseNotFound):
        await act.ending.uninstall("app", _UNINSTALL)


@ON_DEVCLUSTER
async def test_hooks_of_an_uninstall_run_before_and_after(act: Actions) -> None:
    await act.install(
        {
            "a.yaml": config_map("a"),
            "before.yaml": job("before", hook="pre-delete"),
            "after.yaml": job("after", hook="post-delete", delete_policy="hook-succeeded"),
        }
    )
    await act.ending.uninstall("app", _UNINSTALL)

    assert await act.world.world.names(JOBS) == {"before"}
    assert await act.names() == set()


async def test_a_history_that_is_kept_says_so(act: Actions) -> None:
    await act.install({"a.yaml": config_map("a")})
    keep = replace(_UNINSTALL, keep_history=True)
    await act.ending.uninstall("app", keep)

    assert await act.statuses() == {1: "uninstalled"}
    with pytest.raises(ActionRefused, match="uninstalled already"):
        await act.ending.uninstall("app", keep)
    with pytest.raises(ActionRefused, match="has no deployed revision"):
        await act.lifecycle.current("app")
    await act.ending.uninstall("app", _UNINSTALL)
    assert await act.statuses() == {}


async def test_a_failing_uninstall_can_be_repeated(act: Actions) -> None:
    files = {"a.yaml": config_map("a"), "b.yaml": config_map("b")}
    await act.install(files)
    key = act.world.world.key("a")
    hold = {"metadata": {"finalizers": ["example.com/hold"]}}
    await act.world.world.admin.patch(
        CONFIG_MAPS, key, hold, patch_type="merge", field_manager="test"
    )

    with pytest.raises(ActionFailed, match="timeout waiting for objects to be deleted"):
        await act.ending.uninstall("app", replace(_UNINSTALL, timeout=0.2))
    assert await act.statuses() == {1: "uninstalling"}
    release_it = {"metadata": {"finalizers": None}}
    await act.world.world.admin.patch(
        CONFIG_MAPS, key, release_it, patch_type="merge", field_manager="test"
    )
    await act.ending.uninstall("app", _UNINSTALL)
    assert await act.statuses() == {}
    assert await act.names() == set()


async def test_what_another_release_has_taken_is_left_to_it(act: Actions) -> None:
    await act.install({"a.yaml": config_map("a"), "b.yaml": config_map("b")})
    annotations = {"meta.helm.sh/release-name": "other"}
    await act.world.world.admin.patch(
        CONFIG_MAPS,
        act.world.world.key("a"),
        {"metadata": {"annotations": annotations}},
        patch_type="merge",
        field_manager="other",
    )
    await act.ending.uninstall("app", _UNINSTALL)

    assert await act.names() == {"a"}


_TESTS = {
    "a.yaml": config_map("a"),
    "good.yaml": job("good", hook="test", weight="1"),
    "bad.yaml": job("bad", hook="test", weight="2", fails=True),
}


@ON_DEVCLUSTER
async def test_results_of_tests_are_in_the_record(act: Actions) -> None:
    await act.install(_TESTS)

    with pytest.raises(ActionFailed, match=r"test hook chart/templates/bad\.yaml failed"):
        await act.ending.test("app", _TEST)
    stored = await act.world.storage.last("app")
    assert stored.status is Status.DEPLOYED
    assert {hook.name: hook.last_run.phase for hook in stored.hooks} == {
        "good": "Succeeded",
        "bad": "Failed",
    }


@ON_DEVCLUSTER
async def test_tests_can_be_selected(act: Actions) -> None:
    await act.install(_TESTS)
    filters = (helm_actions.TestFilter(name="bad", exclude=True),)
    release = await act.ending.test("app", replace(_TEST, filters=filters))

    assert {hook.name: hook.last_run.phase for hook in release.hooks} == {
        "good": "Succeeded",
        "bad": "",
    }
    assert await act.world.storage.last("app") == release


_GROUP = "releases.example.com"


def _definition(plural: str, *, title: str) -> str:
    kind = plural.capitalize()
    return (
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n"
        f"metadata: {{name: {plural}.{_GROUP}}}\n"
        f"spec:\n  group: {_GROUP}\n  scope: Namespaced\n"
        f"  names: {{plural: {plural}, singular: {plural}one, kind: {kind}, listKind: {kind}List}}\n"
        "  versions:\n    - name: v1\n      served: true\n      storage: true\n"
        f"      schema: {{openAPIV3Schema: {{type: object, description: {title}}}}}\n"
    )


def _titles(definition: JsonObject) -> Iterator[str]:
    for version in definition["spec"]["versions"]:
        yield version["schema"]["openAPIV3Schema"]["description"]


async def test_definitions_are_made_left_or_replaced(act: Actions) -> None:
    act.target = replace(act.target, client=act.world.world.admin)
    key = ObjectKey("", f"things.{_GROUP}")

    async def bring(title: str, policy: helm_actions.CRDsPolicy | None) -> list[str]:
        text = _definition("things", title=title) + "---\n" + config_map("odd")
        files = [CustomResource("crds/things.yaml", "chart/crds/things.yaml", text)]
        odd = await apply_crds(act.target, files, policy=policy, waits=act.waits)
        assert odd == (() if policy == "Skip" else ("chart/crds/things.yaml",))
        return list(_titles(await act.world.world.admin.get(CRD, key)))

    with pytest.raises(NotFound):
        await bring("one", "Skip")
    try:
        assert await bring("one", None) == ["one"]
        assert await bring("two", "Create") == ["one"]
        assert await bring("two", "CreateReplace") == ["two"]
        labels = (await act.world.world.admin.get(CRD, key))["metadata"]["labels"]
        assert labels["helm.toolkit.fluxcd.io/name"] == "app"
        made = f"apiVersion: {_GROUP}/v1\nkind: Things\nmetadata: {{name: t}}\n"
        assert (await act.install({"t.yaml": made})).status is Status.DEPLOYED
    finally:
        await act.world.world.admin.delete(CRD, key)


@ON_DEVCLUSTER
async def test_definitions_must_be_objects(act: Actions) -> None:
    files = [CustomResource("crds/x.yaml", "chart/crds/x.yaml", "text")]

    with pytest.raises(ManifestError, match=r"chart/crds/x\.yaml"):
        await apply_crds(act.target, files, policy="Create", waits=act.waits)


@ON_DEVCLUSTER
async def test_the_inventory_lists_what_was_released(act: Actions) -> None:
    release = await act.install(
        {
            "a.yaml": config_map("a"),
            "n.yaml": "apiVersion: v1\nkind: List\nitems:\n- apiVersion: apps/v1\n"
            "  kind: Deployment\n  metadata: {name: d}\n  spec: {selector: {matchLabels: {a: b}},"
            " template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}\n",
            "h.yaml": job("hook", hook="pre-install"),
        },
        replace(QUICK, wait=False),
    )
    crds = [CustomResource("crds/x.yaml", "crds/x.yaml", _definition("things", title="x"))]
    gone = "---\napiVersion: example.com/v2\nkind: Gone\nmetadata: {name: g, namespace: other}\n"
    old = msgspec.structs.replace(release, manifest=release.manifest + gone)
    inventory, warnings = await release_inventory(act.target, old, crds)

    space = act.world.namespace
    assert [(one.id, one.v) for one in inventory.entries] == [
        (f"{space}_a__ConfigMap", "v1"),
        (f"{space}_d_apps_Deployment", "v1"),
        ("other_g_example.com_Gone", "v2"),
        (f"_things.{_GROUP}_apiextensions.k8s.io_CustomResourceDefinition", "v1"),
    ]
    assert len(warnings) == 1
    assert "Gone/other/g" in warnings[0]


@ON_DEVCLUSTER
async def test_what_a_status_cannot_hold_is_not_listed(act: Actions) -> None:
    """Such a status would be refused as a whole, and nobody would hear of the release again."""
    release = await act.install({"a.yaml": config_map("a")})
    many = "".join(config_map(f"{'n' * 240}-{number}") + "\n---\n" for number in range(3000))
    with pytest.raises(InventoryTooLarge, match=r"3,000 objects of release .*/app\.v1"):
        await release_inventory(act.target, msgspec.structs.replace(release, manifest=many))
