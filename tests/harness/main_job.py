"""The main job, played on both control planes: the same scenarios, the same expectations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import orjson

from fluvial.kube import kinds
from fluvial.kube.resource import Resource
from fluvial.objects import ObjectKey
from harness.kustomize import CONFIG_MAPS, DEPLOYMENTS, Harness, configmap, deployment, ready_of

__all__ = ["SCENARIOS"]

SHELVES = Resource("example.com", "v1", "shelves", "Shelf", namespaced=True)


async def a_definition_and_its_objects_in_one_set(world: Harness) -> None:
    """Definitions go first, and are usable before the rest is checked."""
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
    }
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "shelves.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "shelves", "singular": "shelf", "kind": "Shelf"},
            "versions": [version],
        },
    }
    shelf = {
        "apiVersion": "example.com/v1",
        "kind": "Shelf",
        "metadata": {"name": "one", "namespace": "team"},
        "spec": {"size": 3},
    }
    files = {
        "a.json.yaml": orjson.dumps(shelf).decode(),
        "z.json.yaml": orjson.dumps(definition).decode(),
    }
    revision = await world.source(files)
    await world.kustomization(serviceAccountName=None, wait=True)
    await world.applied(revision)
    assert (await world.get(SHELVES, "one"))["spec"] == {"size": 3}
    await world.client.delete(kinds.KUSTOMIZATION, ObjectKey("team", "app"))
    await world.gone(kinds.KUSTOMIZATION, "app")
    await world.gone(kinds.CRD, "shelves.example.com", "")


async def an_upgrade_changes_adds_and_prunes(world: Harness) -> None:
    """Only what differs is written."""
    first = {"a.yaml": configmap("a"), "b.yaml": configmap("b"), "c.yaml": configmap("c")}
    await world.source(first)
    await world.kustomization()
    await world.until(lambda o: ready_of(o).get("status") == "True")
    before = await world.get(CONFIG_MAPS, "a")
    second = {"a.yaml": configmap("a"), "b.yaml": configmap("b", k="new"), "d.yaml": configmap("d")}
    revision = await world.source(second)
    done = await world.applied(revision)

    assert await world.get(CONFIG_MAPS, "a") == before
    assert (await world.get(CONFIG_MAPS, "b"))["data"] == {"k": "new"}
    assert not await world.exists(CONFIG_MAPS, "c")
    ids = {entry["id"] for entry in done["status"]["inventory"]["entries"]}
    assert ids == {f"team_{name}__ConfigMap" for name in "abd"}


async def a_deployment_is_waited_for(world: Harness) -> None:
    """Ready follows the Deployment's own status."""
    revision = await world.source({"d.yaml": deployment()})
    await world.kustomization(wait=True)
    done = await world.applied(revision)

    assert ready_of(done, "Healthy")["status"] == "True"
    assert (await world.get(DEPLOYMENTS, "web"))["status"]["readyReplicas"] == 1


async def a_forbidden_object_stops_its_stage(world: Harness) -> None:
    """Nothing of the stage is written, and the reason names who may not do what."""
    await world.source({"a.yaml": configmap("ours"), "b.yaml": configmap("theirs", "kube-system")})
    await world.kustomization()
    failed = await world.failed("ReconciliationFailed")

    message = ready_of(failed)["message"]
    assert "ConfigMap/kube-system/theirs" in message
    assert "system:serviceaccount:team:deployer" in message
    assert not await world.exists(CONFIG_MAPS, "ours")


async def an_immutable_change_is_forced(world: Harness) -> None:
    """The object is deleted, waited for and made again."""
    await world.source({"d.yaml": deployment()})
    await world.kustomization(force=True)
    await world.until(lambda o: ready_of(o).get("status") == "True")
    before = await world.get(DEPLOYMENTS, "web")
    revision = await world.source({"d.yaml": deployment().replace('"app": "web"', '"app": "new"')})
    await world.applied(revision)
    after = await world.get(DEPLOYMENTS, "web")

    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert after["spec"]["selector"]["matchLabels"] == {"app": "new"}


async def invalid_objects_are_listed_with_their_fields(world: Harness) -> None:
    """Every object that the server refuses is in the message."""
    bad = deployment("bad").replace('"image": "example.com/app:1"', '"image": ""')
    worse = configmap("Not-A-Name")
    await world.source({"a.yaml": bad, "b.yaml": worse, "c.yaml": configmap("good")})
    await world.kustomization()
    failed = await world.failed("ReconciliationFailed")

    message = ready_of(failed)["message"]
    assert "Deployment/team/bad" in message
    assert "spec.template.spec.containers[0].image" in message
    assert "ConfigMap/team/Not-A-Name" in message
    assert not await world.exists(CONFIG_MAPS, "good")


async def a_secret_is_applied_once_and_never_shown(world: Harness) -> None:
    """``stringData`` is merged, so that the next run finds nothing to do."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": "team"},
        "stringData": {"password": "correct-horse-battery"},
    }
    revision = await world.source({"s.yaml": orjson.dumps(secret).decode()})
    await world.kustomization()
    await world.applied(revision)
    before = await world.get(kinds.SECRET, "s")
    await world.request("again")
    done = await world.until(lambda o: o["status"].get("lastHandledReconcileAt") == "again")

    assert await world.get(kinds.SECRET, "s") == before
    assert "correct-horse" not in orjson.dumps(done).decode()


async def deletion_removes_everything_in_reverse(world: Harness) -> None:
    """The finalizer goes when the objects have gone."""
    revision = await world.source({"a.yaml": configmap("a"), "d.yaml": deployment()})
    await world.kustomization(deletionPolicy="WaitForTermination")
    await world.applied(revision)
    await world.client.delete(kinds.KUSTOMIZATION, ObjectKey("team", "app"))
    await world.gone(kinds.KUSTOMIZATION, "app")

    assert not await world.exists(CONFIG_MAPS, "a")
    assert not await world.exists(DEPLOYMENTS, "web")


SCENARIOS: dict[str, Callable[[Harness], Awaitable[None]]] = {
    scenario.__name__.replace("_", " "): scenario
    for scenario in (
        a_definition_and_its_objects_in_one_set,
        an_upgrade_changes_adds_and_prunes,
        a_deployment_is_waited_for,
        a_forbidden_object_stops_its_stage,
        an_immutable_change_is_forced,
        invalid_objects_are_listed_with_their_fields,
        a_secret_is_applied_once_and_never_shown,
        deletion_removes_everything_in_reverse,
    )
}
