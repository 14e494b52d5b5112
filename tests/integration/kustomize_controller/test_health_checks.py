"""``healthChecks``: which objects count, whoever made them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fluvial.kube import kinds
from fluvial.objects import ObjectKey
from harness.kustomize import CONFIG_MAPS, DEPLOYMENTS, Harness, configmap, deployment, ready_of

HEALTH = "devcluster.fluvial.dev/health"
NEVER = {HEALTH: "never"}


async def recover(world: Harness, name: str, namespace: str = "team") -> None:
    """Let a Deployment that never became ready do so."""
    await world.client.patch(
        DEPLOYMENTS,
        ObjectKey(namespace, name),
        {"metadata": {"annotations": {HEALTH: None}}},
        patch_type="merge",
        field_manager="somebody",
    )


CHECKS: dict[str, tuple[dict[str, str], str]] = {
    "in full": (
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": "other"},
        "other",
    ),
    "apps/v1 by default": ({"kind": "Deployment", "name": "web", "namespace": "other"}, "other"),
    "its own namespace by default": (
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "team",
    ),
}


@pytest.mark.slow
@pytest.mark.shows(
    "field:Kustomization/spec.healthChecks[].apiVersion",
    "field:Kustomization/spec.healthChecks[].kind",
    "field:Kustomization/spec.healthChecks[].name",
    "field:Kustomization/spec.healthChecks[].namespace",
)
@pytest.mark.parametrize("case", CHECKS)
async def test_an_object_of_others_is_awaited(world: Harness, case: str) -> None:
    """It is not part of the set, and its becoming healthy ends the wait."""
    check, namespace = CHECKS[case]
    await world.tenant("other")
    await world.apply(orjson.loads(deployment("web", namespace, **NEVER)), DEPLOYMENTS)
    revision = await world.source({"a.yaml": configmap()})
    await world.kustomization(healthChecks=[check], serviceAccountName=None)
    waiting = await world.until(lambda o: ready_of(o, "Healthy").get("status") == "Unknown")
    assert ready_of(waiting)["status"] == "Unknown"
    assert await world.exists(CONFIG_MAPS, "settings")
    await recover(world, "web", namespace)

    done = await world.applied(revision)
    assert ready_of(done, "Healthy")["status"] == "True"


async def test_what_does_not_exist_is_named_when_the_time_is_over(
    world: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluvial.api.kustomize._MIN_TIMEOUT_SECONDS", 0.2)
    await world.source({"a.yaml": configmap()})
    check = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "gone"}
    await world.kustomization(healthChecks=[check], timeout="300ms")
    failed = await world.failed("HealthCheckFailed")

    assert "Deployment/team/gone" in ready_of(failed)["message"]


async def test_what_the_tenant_may_not_read_is_not_read(
    world: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A health check in another namespace tells the tenant nothing about it."""
    monkeypatch.setattr("fluvial.api.kustomize._MIN_TIMEOUT_SECONDS", 0.2)
    await world.tenant("other")
    await world.apply(orjson.loads(deployment("web", "other")), DEPLOYMENTS)
    await world.source({"a.yaml": configmap()})
    check = {"kind": "Deployment", "name": "web", "namespace": "other"}
    await world.kustomization(healthChecks=[check], timeout="300ms")
    failed = await world.failed("HealthCheckFailed")

    assert "Deployment/other/web" in ready_of(failed)["message"]


async def test_with_wait_the_list_is_not_looked_at(world: Harness) -> None:
    revision = await world.source({"d.yaml": deployment()})
    check = {"kind": "Deployment", "name": "gone"}
    await world.kustomization(wait=True, healthChecks=[check])
    done = await world.applied(revision)

    assert ready_of(done, "Healthy")["status"] == "True"


async def test_a_kustomization_does_not_wait_for_itself(world: Harness) -> None:
    spec: dict[str, Any] = {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "name": "app",
    }
    revision = await world.source({"a.yaml": configmap()})
    await world.kustomization(healthChecks=[spec])

    await world.applied(revision)


async def test_without_checks_health_is_not_reported_any_more(world: Harness) -> None:
    revision = await world.source({"d.yaml": deployment()})
    await world.kustomization(wait=True)
    await world.applied(revision)
    await world.kustomization(wait=False)
    done = await world.applied(revision)

    assert ready_of(done, "Healthy") == {}


async def test_a_secret_in_a_name_is_not_in_what_is_said_of_its_health(
    world: Harness, capfd: pytest.CaptureFixture[str]
) -> None:
    """The inventory has the name, as the cluster does; messages, events and logs do not repeat it."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "vars", "namespace": "team"},
        "stringData": {"token": "hunter2abc"},
    }
    await world.apply(secret, kinds.SECRET)
    await world.source({"d.yaml": deployment("x-${token}", **{HEALTH: "fail"})})
    build = {"substituteFrom": [{"kind": "Secret", "name": "vars"}]}
    await world.kustomization(wait=True, timeout="30m", postBuild=build)
    failed = await world.failed("HealthCheckFailed")
    await world.event("HealthCheckFailed")
    events = (await world.client.list_all(kinds.EVENT)).items

    assert await world.exists(DEPLOYMENTS, "x-hunter2abc")
    assert "hunter2abc" not in str(failed["status"]["conditions"])
    assert [e["message"] for e in events if "hunter2abc" in str(e)] == []
    logged = [line for text in capfd.readouterr() for line in text.splitlines()]
    assert [line for line in logged if "hunter2abc" in line] == []


async def test_a_change_of_what_became_healthy_is_written_at_once(world: Harness) -> None:
    """Its status has made new versions since; the health check has seen that nothing else did."""
    substitute = {"substitute": {"mode": "one"}}
    files = {"d.yaml": deployment("web", mode="${mode}"), "c.yaml": configmap()}
    revision = await world.source(files)
    await world.kustomization(wait=True, postBuild=substitute)
    before = await world.applied(revision)
    assert world.cluster is not None
    last = max(entry.seq for entry in world.cluster.control.requests())

    substitute["substitute"]["mode"] = "two"
    await world.kustomization(wait=True, postBuild=substitute)
    generation = before["metadata"]["generation"] + 1
    await world.until(
        lambda o: (
            o["status"]["observedGeneration"] == generation and ready_of(o)["status"] == "True"
        )
    )

    live = await world.get(DEPLOYMENTS, "web")
    assert live["metadata"]["annotations"]["mode"] == "two"
    writes = [
        (entry.method, entry.status)
        for entry in world.cluster.control.requests(after=last)
        if entry.write and "/deployments/" in entry.path and entry.impersonated
    ]
    assert writes == [("PATCH", 200)]
