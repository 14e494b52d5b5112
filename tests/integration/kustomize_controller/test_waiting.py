"""Dependencies and health: awaited by events, without holding a worker."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fluvial.kube import kinds
from fluvial.objects import ObjectKey
from harness.kustomize import DEPLOYMENTS, Harness, configmap, deployment, ready_of
from kustomize_controller.assemble import Settings

NEVER = {"devcluster.fluvial.dev/health": "never"}
FAILS = {"devcluster.fluvial.dev/health": "fail"}


@pytest.mark.shows(
    "Kustomization/Ready/DependencyNotReady",
    "event:Kustomization/DependencyNotReady",
    "field:Kustomization/spec.dependsOn[].name",
)
async def test_a_dependency_that_becomes_ready_wakes_its_dependent(world: Harness) -> None:
    """No polling: the requeue of 30 s is longer than the test waits."""
    await world.source({"a.yaml": configmap("second")})
    await world.kustomization("second", dependsOn=[{"name": "first"}])
    waiting = await world.failed("DependencyNotReady", "second")
    assert "team/first" in ready_of(waiting)["message"]
    await world.event("DependencyNotReady", name="second")
    revision = await world.source({"b.yaml": configmap("first")}, name="other")
    await world.kustomization("first", sourceRef={"kind": "GitRepository", "name": "other"})
    await world.applied(revision, "first")
    await world.until(lambda o: ready_of(o).get("status") == "True", "second")


async def test_with_the_same_source_the_dependency_must_have_its_revision(world: Harness) -> None:

    good = {"one/a.yaml": configmap("one"), "two/b.yaml": configmap("two")}
    revision = await world.source(good)
    await world.kustomization("first", path="./one")
    await world.kustomization("second", path="./two", dependsOn=[{"name": "first"}])
    await world.applied(revision, "second")
    broken = {"one/a.yaml": "a: [", "two/b.yaml": configmap("two", k="new")}
    await world.source(broken)
    await world.failed("BuildFailed", "first")
    waiting = await world.failed("DependencyNotReady", "second")

    assert "team/first" in ready_of(waiting)["message"]
    kept = await world.get(kinds.CONFIG_MAP, "two")
    assert kept["data"] == {"k": "v"}


@pytest.mark.shows("field:Kustomization/spec.dependsOn[].namespace")
async def test_dependencies_in_other_namespaces_can_be_blocked(tmp_path: Path) -> None:
    async with Harness.start(tmp_path, settings=Settings(cross_namespace=False)) as world:
        await world.tenant()
        await world.source({"a.yaml": configmap()})
        await world.kustomization(dependsOn=[{"name": "x", "namespace": "other"}])
        failed = await world.failed("AccessDenied")

        assert "Kustomization/other/x" in ready_of(failed)["message"]


@pytest.mark.shows(
    "Kustomization/Ready/Progressing",
    "Kustomization/Healthy/Progressing",
    "Kustomization/Healthy/Succeeded",
    "event:Kustomization/Health check passed",
    "field:Kustomization/spec.wait",
)
async def test_wait_is_over_when_everything_is_healthy(world: Harness) -> None:
    slow = {"devcluster.fluvial.dev/health": "slow:0.3"}
    revision = await world.source({"d.yaml": deployment(**slow)})
    await world.kustomization(wait=True)
    running = await world.until(lambda o: ready_of(o, "Healthy").get("status") == "Unknown")
    assert ready_of(running)["status"] == "Unknown"
    assert ready_of(running)["reason"] == "Progressing"
    assert "Running health checks" in ready_of(running, "Reconciling")["message"]
    done = await world.applied(revision)

    assert ready_of(done, "Healthy")["reason"] == "Succeeded"
    await world.event("Progressing", text="Health check passed in")


@pytest.mark.shows(
    "Kustomization/Ready/HealthCheckFailed", "Kustomization/Healthy/HealthCheckFailed"
)
async def test_a_failed_object_ends_the_wait_at_once(world: Harness) -> None:
    await world.source({"d.yaml": deployment(**FAILS)})
    await world.kustomization(wait=True, timeout="30m")
    failed = await world.failed("HealthCheckFailed")

    assert "Deployment/team/web" in ready_of(failed)["message"]
    assert ready_of(failed, "Healthy")["status"] == "False"
    assert failed["status"].get("lastAppliedRevision") is None
    assert failed["status"]["history"][0]["lastReconciledStatus"] == "HealthCheckFailed"


@pytest.mark.shows(
    "field:Kustomization/spec.healthChecks[].kind",
    "field:Kustomization/spec.healthChecks[].name",
    "field:Kustomization/spec.healthChecks[].namespace",
    "field:Kustomization/spec.healthChecks[].apiVersion",
)
async def test_only_the_named_objects_count_without_wait(world: Harness) -> None:
    revision = await world.source(
        {"a.yaml": deployment("well"), "b.yaml": deployment("ill", **NEVER)}
    )
    check = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "well", "namespace": "team"}
    await world.kustomization(healthChecks=[check])
    done = await world.applied(revision)

    assert ready_of(done, "Healthy")["status"] == "True"


async def test_waiting_holds_no_worker(tmp_path: Path) -> None:
    """More waits than workers, and the next Kustomization is not delayed by them."""
    async with Harness.start(tmp_path, settings=Settings(concurrency=2)) as world:
        await world.tenant()
        await world.source({"d.yaml": deployment("never", **NEVER)}, name="never")
        for number in range(6):
            ref = {"kind": "GitRepository", "name": "never"}
            name = f"w{number}"
            await world.kustomization(
                name, sourceRef=ref, wait=True, timeout="30m", namePrefix=f"{name}-"
            )
        for number in range(6):
            await world.until(
                lambda o: ready_of(o, "Healthy").get("status") == "Unknown", f"w{number}"
            )
        revision = await world.source({"a.yaml": configmap()})
        await world.kustomization()
        await world.applied(revision)


async def test_a_new_revision_replaces_a_wait_at_once(world: Harness) -> None:
    await world.source({"d.yaml": deployment(**NEVER)})
    await world.kustomization(wait=True, timeout="30m")
    await world.until(lambda o: ready_of(o, "Healthy").get("status") == "Unknown")
    revision = await world.source({"d.yaml": deployment()})
    await world.applied(revision)

    found = await world.get(DEPLOYMENTS, "web")
    assert found["status"]["readyReplicas"] == 1
    assert await _cancellations(world) == []


@pytest.mark.shows(
    "Kustomization/Ready/HealthCheckCanceled",
    "Kustomization/Healthy/HealthCheckCanceled",
    "event:Kustomization/Health check canceled",
)
async def test_behind_the_gate_a_replaced_wait_is_told(tmp_path: Path) -> None:
    """Once for each, about the revision that was awaited; and never what nobody was told of."""
    settings = Settings(tells_replaced_waits=True)
    async with Harness.start(tmp_path, settings=settings) as world:
        await world.tenant()
        first = await world.source({"d.yaml": deployment(**NEVER)})
        await world.kustomization(wait=True, timeout="30m")
        await _waits_for(world, first)
        second = await world.source({"d.yaml": deployment(**NEVER, other="x")})
        await _waits_for(world, second)
        event = await world.event("HealthCheckCanceled", text=first)
        assert event["type"] == "Normal"
        await world.kustomization(wait=True, timeout="30m", suspend=True)
        left = await world.until(
            lambda o: ready_of(o, "Healthy").get("reason") == "HealthCheckCanceled"
        )
        assert ready_of(left)["reason"] == "HealthCheckCanceled"
        assert ready_of(left)["status"] == ready_of(left, "Healthy")["status"] == "False"
        await world.event("HealthCheckCanceled", text=second)
        third = await world.source({"d.yaml": deployment()})
        await world.kustomization(wait=True, timeout="30m", suspend=False)
        await world.applied(third)
        await world.request("now")
        await world.until(lambda o: o["status"].get("lastHandledReconcileAt") == "now")

        assert len(await _cancellations(world)) == 2


async def _waits_for(world: Harness, revision: str) -> None:
    await world.until(
        lambda o: (
            ready_of(o, "Healthy").get("status") == "Unknown"
            and o["status"].get("lastAttemptedRevision") == revision
            and "Running health checks" in ready_of(o, "Reconciling").get("message", "")
        )
    )


async def _cancellations(world: Harness) -> list[str]:
    """What was told of waits that were replaced."""
    events = (await world.client.list_all(kinds.EVENT, namespace="team")).items
    return [one["message"] for one in events if one["reason"] == "HealthCheckCanceled"]


@pytest.mark.shows("field:Kustomization/spec.postBuild.substituteFrom[].name")
async def test_a_changed_config_wakes_whoever_names_it(world: Harness) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "vars",
            "namespace": "team",
            "labels": {"reconcile.fluxcd.io/watch": "Enabled"},
        },
    }
    await world.apply(config | {"data": {"size": "small"}}, kinds.CONFIG_MAP)
    revision = await world.source({"a.yaml": configmap(size="${size}")})
    reference = {"kind": "ConfigMap", "name": "vars"}
    await world.kustomization(postBuild={"substituteFrom": [reference]})
    await world.applied(revision)
    await world.apply(config | {"data": {"size": "large"}}, kinds.CONFIG_MAP)

    await world.until(
        lambda o: o["data"] == {"size": "large"}, "settings", resource=kinds.CONFIG_MAP
    )


async def test_a_wait_survives_events_that_change_nothing(world: Harness) -> None:
    """Annotating the object or its source again does not restart the attempt."""
    await world.source({"d.yaml": deployment(**NEVER)})
    await world.kustomization(wait=True, timeout="30m")
    first = await world.until(lambda o: ready_of(o, "Healthy").get("status") == "Unknown")
    await world.client.patch(
        kinds.KUSTOMIZATION,
        ObjectKey("team", "app"),
        {"metadata": {"labels": {"touched": "yes"}}},
        patch_type="merge",
        field_manager="test",
    )
    await asyncio.sleep(0.3)
    now = await world.get(kinds.KUSTOMIZATION, "app")

    assert now["status"] == first["status"]
