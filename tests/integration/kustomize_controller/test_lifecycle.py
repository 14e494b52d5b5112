"""Suspension, requests, timers, deletion, and taking over from Flux."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from fluvial.kube import kinds
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey
from harness.kustomize import CONFIG_MAPS, DEPLOYMENTS, Harness, configmap, deployment, ready_of
from kustomize_controller.assemble import Settings


@pytest.mark.shows("field:Kustomization/spec.suspend")
async def test_a_suspended_object_is_left_alone_and_goes_on_when_resumed(world: Harness) -> None:
    await world.source({"a.yaml": configmap()})
    await world.kustomization(suspend=True)
    await world.request("one")
    await world.until(lambda o: (o.get("status") or {}).get("lastHandledReconcileAt") == "one")
    assert not await world.exists(CONFIG_MAPS, "settings")
    await world.kustomization(suspend=False)
    await world.until(lambda o: ready_of(o).get("status") == "True")


async def test_a_request_is_answered_although_nothing_changed(world: Harness) -> None:
    revision = await world.source({"a.yaml": configmap()})
    await world.kustomization()
    await world.applied(revision)
    await world.request("now")
    done = await world.until(lambda o: o["status"].get("lastHandledReconcileAt") == "now")

    assert ready_of(done)["status"] == "True"
    assert done["status"]["history"][0]["totalReconciliations"] == 2


@pytest.mark.shows("field:Kustomization/spec.interval")
async def test_the_interval_puts_back_what_somebody_changed(world: Harness) -> None:
    await world.source({"a.yaml": configmap(k="ours"), "b.yaml": configmap("b")})
    await world.kustomization(interval="1s")
    await world.until(lambda o: ready_of(o).get("status") == "True")
    await world.client.patch(
        CONFIG_MAPS,
        ObjectKey("team", "settings"),
        {"data": {"k": "theirs"}},
        patch_type="merge",
        field_manager="somebody",
    )
    await world.client.delete(CONFIG_MAPS, ObjectKey("team", "b"))
    await world.until(lambda o: o["data"] == {"k": "ours"}, "settings", resource=CONFIG_MAPS)
    await world.until(lambda o: True, "b", resource=CONFIG_MAPS)


async def test_a_timer_run_that_finds_nothing_new_writes_nothing(world: Harness) -> None:
    revision = await world.source({"a.yaml": configmap(), "d.yaml": deployment()})
    await world.kustomization(interval="500ms", wait=True)
    await world.applied(revision)
    await world.event("ReconciliationSucceeded")
    await asyncio.sleep(0.2)
    before = await world.get(kinds.KUSTOMIZATION, "app")
    version = int((await world.client.list_all(kinds.NAMESPACE)).resource_version)
    await asyncio.sleep(1.6)
    after = await world.get(kinds.KUSTOMIZATION, "app")

    assert after == before
    assert int((await world.client.list_all(kinds.NAMESPACE)).resource_version) == version


DELETED: dict[str, tuple[dict[str, Any], bool]] = {
    "mirror with prune": ({"prune": True}, False),
    "mirror without prune": ({"prune": False}, True),
    "delete without prune": ({"prune": False, "deletionPolicy": "Delete"}, False),
    "wait": ({"deletionPolicy": "WaitForTermination"}, False),
    "orphan": ({"deletionPolicy": "Orphan"}, True),
    "suspended": ({"suspend": True}, True),
}


@pytest.mark.shows("field:Kustomization/spec.deletionPolicy")
@pytest.mark.parametrize("case", DELETED)
async def test_deletion_does_what_the_policy_says(world: Harness, case: str) -> None:
    spec, stays = DELETED[case]
    revision = await world.source({"a.yaml": configmap()})
    await world.kustomization()
    await world.applied(revision)
    await world.kustomization(**spec)
    await world.until(
        lambda o: (
            o["spec"].get("suspend", False)
            or o["status"]["observedGeneration"] == o["metadata"]["generation"]
        )
    )
    await world.client.delete(kinds.KUSTOMIZATION, ObjectKey("team", "app"))
    await world.gone(kinds.KUSTOMIZATION, "app")

    assert await world.exists(CONFIG_MAPS, "settings") is stays


async def test_deletion_without_the_service_account_lets_go_and_says_what_it_left(
    world: Harness,
) -> None:
    revision = await world.source({"a.yaml": configmap()})
    await world.kustomization()
    await world.applied(revision)
    await world.client.delete(kinds.SERVICE_ACCOUNT, ObjectKey("team", "deployer"))
    await world.client.delete(kinds.KUSTOMIZATION, ObjectKey("team", "app"))
    await world.gone(kinds.KUSTOMIZATION, "app")

    assert await world.exists(CONFIG_MAPS, "settings")
    await world.event("PruneFailed", text="team_settings__ConfigMap")


async def test_deletion_that_is_refused_keeps_the_finalizer(world: Harness) -> None:
    revision = await world.source({"a.yaml": configmap()})
    await world.kustomization()
    await world.applied(revision)
    await world.client.delete(_role_bindings(), ObjectKey("team", "deployer"))
    await world.client.delete(kinds.KUSTOMIZATION, ObjectKey("team", "app"))
    failed = await world.failed("PruneFailed")

    assert failed["metadata"]["finalizers"] == ["finalizers.fluxcd.io"]
    assert "ConfigMap/team/settings" in ready_of(failed)["message"]
    assert await world.exists(CONFIG_MAPS, "settings")


async def test_what_flux_left_is_taken_over_without_a_write(tmp_path: Path) -> None:
    """Objects, inventory and managedFields as Flux 2.9 writes them: nothing is written to them."""
    async with Harness.start(tmp_path, run=False) as world:
        await world.tenant()
        revision = await world.source({"a.yaml": configmap(), "d.yaml": deployment()})
        await world.kustomization()
        await _as_flux_left_it(world, revision)
        before = [await world.get(CONFIG_MAPS, "settings"), await _web(world)]
        await world.start_controller(Settings())
        await world.request("now")
        done = await world.until(lambda o: o["status"].get("lastHandledReconcileAt") == "now")

        assert [await world.get(CONFIG_MAPS, "settings"), await _web(world)] == before
        assert ready_of(done)["status"] == "True"
        ids = {e["id"] for e in done["status"]["inventory"]["entries"]}
        assert ids == {"team_settings__ConfigMap", "team_web_apps_Deployment"}


async def _as_flux_left_it(world: Harness, revision: str) -> None:
    labels = {
        "kustomize.toolkit.fluxcd.io/name": "app",
        "kustomize.toolkit.fluxcd.io/namespace": "team",
    }
    for text, resource in ((configmap(), CONFIG_MAPS), (deployment(), DEPLOYMENTS)):
        obj: JsonObject = orjson.loads(text)
        obj["metadata"]["labels"] = labels
        key = ObjectKey("team", obj["metadata"]["name"])
        await world.client.apply(resource, key, obj, field_manager="kustomize-controller")
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "ReconciliationSucceeded",
        "message": f"Applied revision: {revision}",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    entries = [
        {"id": "team_settings__ConfigMap", "v": "v1"},
        {"id": "team_web_apps_Deployment", "v": "v1"},
    ]
    status = {
        "conditions": [ready],
        "inventory": {"entries": entries},
        "lastAppliedRevision": revision,
        "lastAttemptedRevision": revision,
        "observedGeneration": 1,
    }
    await world.client.patch(
        kinds.KUSTOMIZATION,
        ObjectKey("team", "app"),
        {"status": status},
        patch_type="merge",
        field_manager="gotk-kustomize-controller",
        subresource="status",
    )


async def _web(world: Harness) -> JsonObject:
    """The Deployment once the stand-in for the workload controllers is done with it."""
    return await world.until(
        lambda o: (o.get("status") or {}).get("readyReplicas") == 1, "web", resource=DEPLOYMENTS
    )


def _role_bindings() -> Resource:
    return Resource(
        "rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", namespaced=True
    )
