"""What people say about single objects by annotation or label."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fluvial.kube import kinds
from fluvial.objects import JsonObject, ObjectKey
from harness.kustomize import CONFIG_MAPS, DEPLOYMENTS, Harness, configmap, deployment, ready_of

GROUP = "kustomize.toolkit.fluxcd.io"
OWNER = {f"{GROUP}/name": "app", f"{GROUP}/namespace": "team"}


def marked(text: str, place: str = "annotations", **marks: str) -> str:
    """A manifest with marks of our group."""
    obj = orjson.loads(text)
    found = obj["metadata"].setdefault(place, {})
    found.update({f"{GROUP}/{key}": value for key, value in marks.items()})
    return orjson.dumps(obj).decode()


def ids_of(obj: JsonObject) -> list[str]:
    return [entry["id"] for entry in obj["status"]["inventory"]["entries"]]


async def by_kubectl(world: Harness, **data: str) -> None:
    """The object ``settings`` as kubectl's client-side apply leaves it."""
    obj = orjson.loads(configmap(**data))
    await world.client.create(CONFIG_MAPS, obj, field_manager="kubectl-client-side-apply")


@pytest.mark.parametrize("mode", [None, "Override"])
async def test_by_default_fields_of_kubectl_are_taken_over(
    world: Harness, mode: str | None
) -> None:
    await by_kubectl(world, k="old", extra="theirs")
    text = configmap(k="new")
    revision = await world.source({"a.yaml": marked(text, ssa=mode) if mode else text})
    await world.kustomization()
    await world.applied(revision)

    assert (await world.get(CONFIG_MAPS, "settings"))["data"] == {"k": "new"}


@pytest.mark.parametrize("mode", ["Merge", "merge"])
@pytest.mark.parametrize("place", ["annotations", "labels"])
async def test_merge_leaves_the_fields_of_others(world: Harness, place: str, mode: str) -> None:
    """What is desired still wins."""
    await by_kubectl(world, k="old", extra="theirs")
    revision = await world.source({"a.yaml": marked(configmap(k="new"), place, ssa=mode)})
    await world.kustomization()
    await world.applied(revision)

    made = await world.get(CONFIG_MAPS, "settings")
    assert made["data"] == {"k": "new", "extra": "theirs"}


@pytest.mark.parametrize("value", ["IfNotPresent", "ifnotpresent"])
async def test_if_not_present_creates_and_then_leaves_alone(world: Harness, value: str) -> None:
    """It stays in the inventory, and is deleted with the rest."""
    await world.source({"a.yaml": marked(configmap(k="first"), ssa=value)})
    await world.kustomization()
    await world.until(lambda o: ready_of(o).get("status") == "True")
    assert (await world.get(CONFIG_MAPS, "settings"))["data"] == {"k": "first"}
    revision = await world.source({"a.yaml": marked(configmap(k="second"), ssa=value)})
    done = await world.applied(revision)
    assert (await world.get(CONFIG_MAPS, "settings"))["data"] == {"k": "first"}
    assert ids_of(done) == ["team_settings__ConfigMap"]
    revision = await world.source({"b.yaml": configmap("b")})
    await world.applied(revision)

    assert not await world.exists(CONFIG_MAPS, "settings")


async def test_if_not_present_does_not_take_what_is_there(world: Harness) -> None:
    """Without our labels it is not ours to delete either."""
    await by_kubectl(world, k="theirs")
    revision = await world.source({"a.yaml": marked(configmap(k="ours"), ssa="IfNotPresent")})
    await world.kustomization()
    await world.applied(revision)
    found = await world.get(CONFIG_MAPS, "settings")
    assert found["data"] == {"k": "theirs"}
    assert "labels" not in found["metadata"]
    revision = await world.source({"b.yaml": configmap("b")})
    await world.applied(revision)

    assert await world.exists(CONFIG_MAPS, "settings")


IGNORED = {"ssa": "Ignore", "reconcile": "disabled"}


@pytest.mark.parametrize("key", IGNORED)
@pytest.mark.parametrize("place", ["annotations", "labels"])
async def test_an_ignored_object_is_not_made(world: Harness, key: str, place: str) -> None:
    text = marked(configmap("ignored"), place, **{key: IGNORED[key]})
    revision = await world.source({"a.yaml": text, "b.yaml": configmap()})
    await world.kustomization()
    await world.applied(revision)

    assert not await world.exists(CONFIG_MAPS, "ignored")
    assert await world.exists(CONFIG_MAPS, "settings")


@pytest.mark.parametrize("key", IGNORED)
async def test_a_live_object_can_opt_out_of_changes_pruning_and_health(
    world: Harness, key: str
) -> None:
    """Somebody annotates it in the cluster; the source knows nothing of that."""
    await world.source({"d.yaml": deployment()})
    await world.kustomization(wait=True)
    await world.until(lambda o: ready_of(o).get("status") == "True")
    marks: dict[str, Any] = {
        f"{GROUP}/{key}": IGNORED[key].upper(),
        "devcluster.fluvial.dev/health": "never",
    }
    await world.client.patch(
        DEPLOYMENTS,
        ObjectKey("team", "web"),
        {"metadata": {"annotations": marks}},
        patch_type="merge",
        field_manager="somebody",
    )
    changed = deployment().replace("app:1", "app:2")
    revision = await world.source({"d.yaml": changed, "a.yaml": configmap()})
    await world.applied(revision)
    web = await world.get(DEPLOYMENTS, "web")
    assert web["spec"]["template"]["spec"]["containers"][0]["image"] == "example.com/app:1"
    revision = await world.source({"a.yaml": configmap()})
    await world.applied(revision)

    assert await world.exists(DEPLOYMENTS, "web")


@pytest.mark.parametrize("value", ["enabled", "Enabled"])
async def test_force_on_an_object_recreates_that_one_alone(world: Harness, value: str) -> None:
    await world.source({"d.yaml": deployment(), "e.yaml": deployment("other")})
    await world.kustomization()
    await world.until(lambda o: ready_of(o).get("status") == "True")
    before = {name: await _uid(world, name) for name in ("web", "other")}
    changed = deployment().replace('"app": "web"', '"app": "changed"')
    files = {"d.yaml": marked(changed, force=value), "e.yaml": deployment("other")}
    revision = await world.source(files)
    await world.applied(revision)

    assert await _uid(world, "web") != before["web"]
    assert await _uid(world, "other") == before["other"]


async def test_force_on_one_object_does_not_let_another_pass(world: Harness) -> None:
    await world.source({"d.yaml": deployment(), "e.yaml": deployment("other")})
    await world.kustomization()
    await world.until(lambda o: ready_of(o).get("status") == "True")
    before = {name: await _uid(world, name) for name in ("web", "other")}
    changed = {
        "d.yaml": marked(deployment().replace('"app": "web"', '"app": "x"'), force="enabled"),
        "e.yaml": deployment("other").replace('"app": "other"', '"app": "x"'),
    }
    await world.source(changed)
    failed = await world.failed("ReconciliationFailed")

    assert "Deployment/team/other" in ready_of(failed)["message"]
    assert {name: await _uid(world, name) for name in ("web", "other")} == before


@pytest.mark.parametrize("value", ["disabled", "Disabled"])
@pytest.mark.parametrize("place", ["annotations", "labels"])
async def test_an_object_that_must_not_be_pruned_stays(
    world: Harness, place: str, value: str
) -> None:
    """It is said in the event, and it leaves the inventory: the matter is settled."""
    kept = marked(configmap("kept"), place, prune=value)
    await world.source({"a.yaml": kept, "b.yaml": configmap("b")})
    await world.kustomization()
    await world.until(lambda o: ready_of(o).get("status") == "True")
    revision = await world.source({"c.yaml": configmap("c")})
    done = await world.applied(revision)

    assert await world.exists(CONFIG_MAPS, "kept")
    assert not await world.exists(CONFIG_MAPS, "b")
    assert ids_of(done) == ["team_c__ConfigMap"]
    event = await world.event("Progressing", text="ConfigMap/team/kept skipped")
    assert "ConfigMap/team/b deleted" in event["message"]


async def test_an_object_that_must_not_be_pruned_survives_the_deletion(world: Harness) -> None:
    revision = await world.source(
        {"a.yaml": marked(configmap("kept"), prune="disabled"), "b.yaml": configmap("b")}
    )
    await world.kustomization()
    await world.applied(revision)
    await world.client.delete(kinds.KUSTOMIZATION, ObjectKey("team", "app"))
    await world.gone(kinds.KUSTOMIZATION, "app")

    assert await world.exists(CONFIG_MAPS, "kept")
    assert not await world.exists(CONFIG_MAPS, "b")


async def test_an_object_without_our_labels_is_not_pruned(world: Harness) -> None:
    await world.source({"a.yaml": configmap("a"), "b.yaml": configmap("b")})
    await world.kustomization()
    await world.until(lambda o: ready_of(o).get("status") == "True")
    await world.client.patch(
        CONFIG_MAPS,
        ObjectKey("team", "a"),
        {"metadata": {"labels": dict.fromkeys(OWNER)}},
        patch_type="merge",
        field_manager="somebody",
    )
    revision = await world.source({"b.yaml": configmap("b")})
    done = await world.applied(revision)

    assert await world.exists(CONFIG_MAPS, "a")
    assert ids_of(done) == ["team_b__ConfigMap"]


async def _uid(world: Harness, name: str) -> str:
    return str((await world.get(DEPLOYMENTS, name))["metadata"]["uid"])
