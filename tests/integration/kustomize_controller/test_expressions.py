"""Users' expressions: what is healthy, and when a dependency is ready."""

from __future__ import annotations

import functools
from typing import Any

import orjson
import pytest

from fluvial.kube import kinds
from fluvial.objects import JsonObject, ObjectKey
from harness.kustomize import CONFIG_MAPS, Harness, configmap, ready_of

_CHECK = {"apiVersion": "v1", "kind": "ConfigMap", "name": "state"}
_EXPRESSIONS = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "inProgress": "data.phase == 'working'",
    "failed": "data.phase == 'broken'",
    "current": "data.phase == 'done'",
}


def _says(text: str, obj: JsonObject) -> bool:
    return text in ready_of(obj).get("message", "")


async def _watch_state(world: Harness, **data: str) -> str:
    """A Kustomization that waits for an object of which only its expressions know what it means."""
    await world.apply(orjson.loads(configmap("state", **data)), CONFIG_MAPS)
    revision = await world.source({"a.yaml": configmap()})
    await world.kustomization(
        healthChecks=[_CHECK], healthCheckExprs=[_EXPRESSIONS], timeout="400ms"
    )
    return revision


@pytest.mark.shows(
    "field:Kustomization/spec.healthCheckExprs[].apiVersion",
    "field:Kustomization/spec.healthCheckExprs[].kind",
    "field:Kustomization/spec.healthCheckExprs[].current",
    "field:Kustomization/spec.healthCheckExprs[].failed",
)
async def test_an_expression_says_what_is_healthy_or_has_failed(world: Harness) -> None:
    await _watch_state(world, phase="broken")
    failed = await world.failed("HealthCheckFailed")
    message = ready_of(failed)["message"]
    assert "failed early due to stalled resources: [ConfigMap/team/state" in message

    revision = await _watch_state(world, phase="done")
    done = await world.applied(revision)
    assert ready_of(done, "Healthy")["status"] == "True"


@pytest.mark.shows("field:Kustomization/spec.healthCheckExprs[].inProgress")
async def test_what_is_not_healthy_in_time_is_told(
    world: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluvial.api.kustomize._MIN_TIMEOUT_SECONDS", 0.2)
    for data, status in (
        ({"phase": "working"}, "'InProgress'"),
        ({"other": "x"}, "'Unknown': spec.healthCheckExprs[0].inProgress: "),
    ):
        revision = await _watch_state(world, **data)
        shown = f"timeout waiting for: [ConfigMap/team/state status: {status}"
        failed = await world.until(functools.partial(_says, shown))

        assert ready_of(failed)["reason"] == "HealthCheckFailed"
        assert failed["status"]["lastAttemptedRevision"] == revision


_INVALID: dict[str, dict[str, Any]] = {
    "spec.healthCheckExprs[0].failed": {"healthCheckExprs": [_EXPRESSIONS | {"failed": "data."}]},
    "spec.dependsOn[1].readyExpr": {
        "dependsOn": [{"name": "x"}, {"name": "y", "readyExpr": "dep.status.n + "}]
    },
}


@pytest.mark.shows(
    "Kustomization/Ready/InvalidCELExpression", "Kustomization/Stalled/InvalidCELExpression"
)
async def test_an_invalid_expression_stalls_before_anything_is_done(world: Harness) -> None:
    revision = await world.source({"a.yaml": configmap()})
    for where, spec in _INVALID.items():
        await world.kustomization(**spec)
        failed = await world.failed("InvalidCELExpression")

        assert where in ready_of(failed)["message"]
        assert ready_of(failed, "Stalled")["reason"] == "InvalidCELExpression"
        assert failed["status"]["observedGeneration"] == failed["metadata"]["generation"]
    assert not await world.exists(CONFIG_MAPS, "settings")

    await world.kustomization()
    await world.applied(revision)


_READY = "has(dep.metadata.labels) && dep.metadata.labels.go == self.spec.path"


async def _let_go(world: Harness) -> None:
    labels = {"metadata": {"labels": {"go": "two"}}}
    key = ObjectKey("team", "first")
    await world.client.patch(
        kinds.KUSTOMIZATION, key, labels, patch_type="merge", field_manager="test"
    )


@pytest.mark.shows("field:Kustomization/spec.dependsOn[].readyExpr")
async def test_an_expression_says_when_a_dependency_is_ready(world: Harness) -> None:
    """Any change of the dependency is looked at, although it never becomes ready as usual."""
    await world.kustomization("first", sourceRef={"kind": "GitRepository", "name": "none"})
    revision = await world.source({"two/a.yaml": configmap()})
    depends = [{"name": "first", "readyExpr": _READY}]
    await world.kustomization("second", path="two", dependsOn=depends)
    waiting = await world.failed("DependencyNotReady", "second")
    assert "is not ready according to readyExpr" in ready_of(waiting)["message"]
    await _let_go(world)

    await world.applied(revision, "second")
