"""The stand-in's statuses, as health checks read them."""

from __future__ import annotations

from typing import Any

import pytest

from devcluster.workloads import Health, status_of

_NOW = "2026-01-01T00:00:00Z"


def _workload(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "w", "uid": "u", "generation": 3}, "spec": spec}


def _conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}


def test_deployment_becomes_available() -> None:
    status = status_of("Deployment", _workload(replicas=2), Health(), now=_NOW)

    assert status["observedGeneration"] == 3
    assert status["availableReplicas"] == status["updatedReplicas"] == 2
    assert "unavailableReplicas" not in status
    assert _conditions(status) == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("True", "NewReplicaSetAvailable"),
    }


@pytest.mark.parametrize(
    ("health", "progress"),
    [
        (Health(ready=False), ("True", "ReplicaSetUpdated")),
        (Health(ready=False, failed=True), ("False", "ProgressDeadlineExceeded")),
    ],
    ids=["in progress", "failed"],
)
def test_deployment_that_is_not_ready(health: Health, progress: tuple[str, str]) -> None:
    status = status_of("Deployment", _workload(replicas=2), health, now=_NOW)

    assert status["unavailableReplicas"] == 2
    assert "readyReplicas" not in status
    assert _conditions(status)["Available"][0] == "False"
    assert _conditions(status)["Progressing"] == progress


def test_times_change_only_with_what_they_tell_of() -> None:
    obj = _workload(replicas=1)
    obj["status"] = status_of("Deployment", obj, Health(), now=_NOW)
    again = status_of("Deployment", obj, Health(), now="2026-01-02T00:00:00Z")
    broken = status_of(
        "Deployment", obj, Health(ready=False, failed=True), now="2026-01-02T00:00:00Z"
    )

    assert again == obj["status"]
    assert {c["lastTransitionTime"] for c in broken["conditions"]} == {"2026-01-02T00:00:00Z"}


def test_job_completes_or_fails() -> None:
    done = status_of("Job", _workload(completions=2), Health(), now=_NOW)
    failed = status_of("Job", _workload(), Health(ready=False, failed=True), now=_NOW)
    suspended = status_of("Job", _workload(suspend=True), Health(), now=_NOW)

    assert (done["succeeded"], done["completionTime"]) == (2, _NOW)
    assert set(_conditions(done)) == {"SuccessCriteriaMet", "Complete"}
    assert set(_conditions(failed)) == {"FailureTarget", "Failed"}
    assert set(_conditions(suspended)) == {"Suspended"}


@pytest.mark.parametrize("kind", ["StatefulSet", "ReplicaSet", "DaemonSet"])
def test_sets_report_ready_counts(kind: str) -> None:
    ready = status_of(kind, _workload(replicas=1), Health(), now=_NOW)
    waiting = status_of(kind, _workload(replicas=1), Health(ready=False), now=_NOW)
    name = "numberReady" if kind == "DaemonSet" else "readyReplicas"

    assert ready[name] == 1
    assert waiting.get(name, 0) == 0
    assert ready["observedGeneration"] == 3


@pytest.mark.parametrize(
    ("policy", "health", "phase", "ready"),
    [
        ("Always", Health(), "Running", True),
        ("Always", Health(ready=False), "Running", False),
        ("Always", Health(ready=False, failed=True), "Failed", False),
        ("Never", Health(), "Succeeded", False),
        ("OnFailure", Health(), "Succeeded", False),
        ("Never", Health(ready=False), "Running", False),
    ],
)
def test_a_pod_runs_or_has_ended(policy: str, health: Health, phase: str, *, ready: bool) -> None:
    pod = _workload(restartPolicy=policy, containers=[{"name": "c", "image": "i"}])
    pod["status"] = {"phase": "Pending", "qosClass": "Burstable"}

    status = status_of("Pod", pod, health, now=_NOW)

    assert (status["phase"], status["qosClass"]) == (phase, "Burstable")
    assert [one["ready"] for one in status["containerStatuses"]] == [ready]
    assert {c["type"]: c["status"] for c in status["conditions"]}["Ready"] == str(ready)


@pytest.mark.parametrize(
    ("before", "after"),
    [({}, "Available"), ({"phase": "Pending"}, "Available"), ({"phase": "Bound"}, "Bound")],
)
def test_a_new_volume_is_available(before: dict[str, str], after: str) -> None:
    volume = {**_workload(), "status": before}

    assert status_of("PersistentVolume", volume, Health(), now=_NOW)["phase"] == after


def test_a_suspended_job_counts_its_pods() -> None:
    status = status_of("Job", _workload(suspend=True), Health(), now=_NOW)

    assert (status["ready"], status["terminating"]) == (0, 0)
    assert _conditions(status) == {"Suspended": ("True", "JobSuspended")}
