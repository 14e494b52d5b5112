"""kstatus, kind by kind: each rule where it turns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluvial.apply import HealthStatus, aggregate, compute_status
from fluvial.apply.health import with_pods
from fluvial.apply.health_kinds import RULES, Health
from fluvial.clock import format_time

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CURRENT, PROGRESS, FAILED = HealthStatus.CURRENT, HealthStatus.IN_PROGRESS, HealthStatus.FAILED


def _obj(api_version: str, kind: str, **body: Any) -> dict[str, Any]:
    metadata = {"name": "x", "generation": 1, **body.pop("metadata", {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **body}


def _status(obj: dict[str, Any]) -> HealthStatus:
    return compute_status(obj, now=NOW).status


def _condition(kind: str, status: str, reason: str = "") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": "m"}


AVAILABLE = _condition("Available", "True")
ROLLED_OUT = _condition("Progressing", "True", "NewReplicaSetAvailable")
DEPLOYED = {
    "observedGeneration": 1,
    "replicas": 2,
    "updatedReplicas": 2,
    "readyReplicas": 2,
    "availableReplicas": 2,
    "conditions": [AVAILABLE, ROLLED_OUT],
}
DEADLINE = {"replicas": 2, "progressDeadlineSeconds": 600}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (DEPLOYED, CURRENT),
        (DEPLOYED | {"observedGeneration": 0}, PROGRESS),
        (DEPLOYED | {"replicas": 1}, PROGRESS),
        (DEPLOYED | {"replicas": 3}, PROGRESS),
        (DEPLOYED | {"updatedReplicas": 1}, PROGRESS),
        (DEPLOYED | {"readyReplicas": 1}, PROGRESS),
        (DEPLOYED | {"availableReplicas": 1}, PROGRESS),
        (DEPLOYED | {"conditions": [AVAILABLE]}, PROGRESS),
        (DEPLOYED | {"conditions": [ROLLED_OUT]}, PROGRESS),
        (
            DEPLOYED
            | {"conditions": [_condition("Progressing", "False", "ProgressDeadlineExceeded")]},
            FAILED,
        ),
        ({}, PROGRESS),
    ],
)
def test_deployment(status: dict[str, Any], expected: HealthStatus) -> None:
    assert _status(_obj("apps/v1", "Deployment", spec=DEADLINE, status=status)) is expected


def test_deployment_without_deadline_need_not_report_progress() -> None:
    status = DEPLOYED | {"conditions": [AVAILABLE]}

    assert _status(_obj("apps/v1", "Deployment", spec={"replicas": 2}, status=status)) is CURRENT


STATEFUL = {
    "replicas": 3,
    "readyReplicas": 3,
    "currentReplicas": 3,
    "updatedReplicas": 3,
    "currentRevision": "r",
    "updateRevision": "r",
}


@pytest.mark.parametrize(
    ("spec", "status", "expected"),
    [
        ({}, STATEFUL, CURRENT),
        ({}, STATEFUL | {"replicas": 2}, PROGRESS),
        ({}, STATEFUL | {"replicas": 4}, PROGRESS),
        ({}, STATEFUL | {"readyReplicas": 2}, PROGRESS),
        ({}, STATEFUL | {"currentReplicas": 2}, PROGRESS),
        ({}, STATEFUL | {"updateRevision": "s"}, PROGRESS),
        ({"updateStrategy": {"type": "OnDelete"}}, {}, CURRENT),
        (
            {"updateStrategy": {"rollingUpdate": {"partition": 2}}},
            STATEFUL | {"updatedReplicas": 1, "currentReplicas": 2, "updateRevision": "s"},
            CURRENT,
        ),
        (
            {"updateStrategy": {"rollingUpdate": {"partition": 2}}},
            STATEFUL | {"updatedReplicas": 0},
            PROGRESS,
        ),
        ({"updateStrategy": {"rollingUpdate": {"partition": 0}}}, STATEFUL, CURRENT),
    ],
)
def test_stateful_set(spec: dict[str, Any], status: dict[str, Any], expected: HealthStatus) -> None:
    obj = _obj("apps/v1", "StatefulSet", spec={"replicas": 3, **spec}, status=status)

    assert _status(obj) is expected


DAEMONS = {
    "observedGeneration": 1,
    "desiredNumberScheduled": 2,
    "currentNumberScheduled": 2,
    "updatedNumberScheduled": 2,
    "numberAvailable": 2,
    "numberReady": 2,
}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (DAEMONS, CURRENT),
        *((DAEMONS | {name: 1}, PROGRESS) for name in DAEMONS if "Generation" not in name
          and name != "desiredNumberScheduled"),
        ({key: value for key, value in DAEMONS.items() if "observed" not in key}, PROGRESS),
        ({"observedGeneration": 1}, PROGRESS),
        ({"observedGeneration": 1, "desiredNumberScheduled": 0}, CURRENT),
    ],
)  # fmt: skip
def test_daemon_set(status: dict[str, Any], expected: HealthStatus) -> None:
    assert _status(_obj("apps/v1", "DaemonSet", status=status)) is expected


REPLICAS = {"replicas": 1, "fullyLabeledReplicas": 1, "availableReplicas": 1, "readyReplicas": 1}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (REPLICAS, CURRENT),
        (REPLICAS | {"fullyLabeledReplicas": 0}, PROGRESS),
        (REPLICAS | {"availableReplicas": 0}, PROGRESS),
        (REPLICAS | {"readyReplicas": 0}, PROGRESS),
        (REPLICAS | {"replicas": 2}, PROGRESS),
        (REPLICAS | {"conditions": [_condition("ReplicaFailure", "True")]}, PROGRESS),
    ],
)
def test_replica_set(status: dict[str, Any], expected: HealthStatus) -> None:
    assert _status(_obj("apps/v1", "ReplicaSet", status=status)) is expected


@pytest.mark.parametrize(
    ("spec", "status", "expected"),
    [
        ({}, {}, PROGRESS),
        ({}, {"startTime": "t", "active": 1}, PROGRESS),
        ({}, {"conditions": [_condition("Complete", "True")]}, CURRENT),
        ({}, {"conditions": [_condition("Failed", "True")]}, FAILED),
        ({}, {"conditions": [_condition("Suspended", "True")]}, CURRENT),
        ({"suspend": True}, {}, CURRENT),
    ],
    ids=["new", "running is not current", "complete", "failed", "suspended", "suspend"],
)
def test_job(spec: dict[str, Any], status: dict[str, Any], expected: HealthStatus) -> None:
    assert _status(_obj("batch/v1", "Job", spec=spec, status=status)) is expected


CRASHING = {"name": "a", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
UNSCHEDULABLE = _condition("PodScheduled", "False", "Unschedulable")


def _pod(age: float = 0, **status: Any) -> dict[str, Any]:
    created = format_time(NOW - timedelta(seconds=age))
    return _obj("v1", "Pod", metadata={"creationTimestamp": created}, status=status)


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        (_pod(), PROGRESS),
        (_pod(phase="Succeeded"), CURRENT),
        (_pod(phase="Failed"), CURRENT),
        (_pod(phase="Running"), PROGRESS),
        (_pod(phase="Running", conditions=[_condition("Ready", "True")]), CURRENT),
        (_pod(phase="Running", containerStatuses=[CRASHING]), FAILED),
        (_pod(phase="Running", initContainerStatuses=[CRASHING]), FAILED),
        (_pod(phase="Pending"), PROGRESS),
        (_pod(14, phase="Pending", conditions=[UNSCHEDULABLE]), PROGRESS),
        (_pod(16, phase="Pending", conditions=[UNSCHEDULABLE]), FAILED),
        (_pod(phase="Odd"), HealthStatus.UNKNOWN),
    ],
)
def test_pod(pod: dict[str, Any], expected: HealthStatus) -> None:
    assert _status(pod) is expected


def test_unschedulable_pod_is_to_be_looked_at_again() -> None:
    health = compute_status(_pod(5, phase="Pending", conditions=[UNSCHEDULABLE]), now=NOW)

    assert health.recheck_after == 10


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([], PROGRESS),
        ([_condition("Established", "True")], CURRENT),
        ([_condition("Established", "False", "Installing")], PROGRESS),
        ([_condition("Established", "False", "Other")], FAILED),
        ([_condition("NamesAccepted", "False"), _condition("Established", "True")], FAILED),
    ],
)
def test_definition(conditions: list[Any], expected: HealthStatus) -> None:
    obj = _obj(
        "apiextensions.k8s.io/v1", "CustomResourceDefinition", status={"conditions": conditions}
    )

    assert _status(obj) is expected


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (_obj("v1", "PersistentVolumeClaim", status={"phase": "Bound"}), CURRENT),
        (_obj("v1", "PersistentVolumeClaim", status={"phase": "Pending"}), PROGRESS),
        (_obj("v1", "Service", spec={"type": "LoadBalancer"}), PROGRESS),
        (_obj("v1", "Service", spec={"type": "LoadBalancer", "clusterIP": "10.0.0.1"}), CURRENT),
        (_obj("v1", "Service", spec={"type": "ClusterIP"}), CURRENT),
        (_obj("v1", "ConfigMap"), CURRENT),
        (_obj("v1", "Namespace"), CURRENT),
        (_obj("batch/v1", "CronJob", status={"conditions": [_condition("Ready", "False")]}), CURRENT),
        (_obj("x.io/v1", "Deployment"), CURRENT),
        (_obj("x.io/v1", "Widget", status={"conditions": [_condition("Ready", "True")]}), CURRENT),
        (_obj("x.io/v1", "Widget", status={"conditions": [_condition("Ready", "False")]}), PROGRESS),
        (_obj("x.io/v1", "Widget", status={"conditions": "odd"}), CURRENT),
        (_obj("x.io/v1", "Widget", status="odd"), CURRENT),
    ],
)  # fmt: skip
def test_other_kinds(obj: dict[str, Any], expected: HealthStatus) -> None:
    assert _status(obj) is expected


def test_order_of_the_checks() -> None:
    """Deletion, generation, the abnormal conditions in their order, then the kind."""
    conditions = [_condition("Reconciling", "True"), _condition("Stalled", "True")]
    obj = _obj("v1", "ConfigMap", status={"observedGeneration": 0, "conditions": conditions})
    deleted = _obj("v1", "ConfigMap", metadata={"deletionTimestamp": "t"}, status=obj["status"])

    assert _status(deleted) is HealthStatus.TERMINATING
    assert _status(obj) is PROGRESS
    obj["status"]["observedGeneration"] = 1
    assert _status(obj) is PROGRESS
    conditions.reverse()
    assert _status(obj) is FAILED
    conditions[0]["status"] = "False"
    assert _status(obj) is PROGRESS
    conditions[1]["status"] = "Unknown"
    assert _status(obj) is CURRENT


def test_crashing_pod_fails_what_is_in_progress() -> None:
    crashing = _pod(phase="Running", containerStatuses=[CRASHING])
    leaving = crashing | {"metadata": crashing["metadata"] | {"deletionTimestamp": "t"}}
    stuck = _pod(60, phase="Pending", conditions=[UNSCHEDULABLE])
    progress = Health(PROGRESS)

    assert with_pods(progress, [crashing], now=NOW).status is FAILED
    assert with_pods(progress, [leaving, stuck], now=NOW) is progress
    assert with_pods(Health(CURRENT), [crashing], now=NOW).status is CURRENT


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([], CURRENT),
        ([CURRENT, CURRENT], CURRENT),
        ([CURRENT, PROGRESS], PROGRESS),
        ([CURRENT, HealthStatus.NOT_FOUND], PROGRESS),
        ([CURRENT, HealthStatus.UNKNOWN, PROGRESS], HealthStatus.UNKNOWN),
        ([FAILED, HealthStatus.UNKNOWN], FAILED),
    ],
)
def test_aggregate(statuses: list[HealthStatus], expected: HealthStatus) -> None:
    assert aggregate(statuses) is expected


ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["conditions", "phase", "replicas", "updateStrategy", "type", "state"]),
            inner,
        )
    ),
    max_leaves=8,
)


@given(st.sampled_from(sorted(RULES)), ODD, ODD)
def test_no_content_breaks_it(kind: tuple[str, str], spec: Any, status: Any) -> None:
    obj = _obj(f"{kind[0]}/v1" if kind[0] else "v1", kind[1], spec=spec, status=status)

    assert _status(obj) in set(HealthStatus)
