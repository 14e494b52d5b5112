"""The rules of kstatus for single kinds, in the order in which it checks them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from fluvial.clock import parse_time
from fluvial.objects import JsonObject

__all__ = ["RULES", "Health", "HealthStatus", "Rule"]

_UNSCHEDULABLE_SECONDS = 15.0


class HealthStatus(StrEnum):
    """The words of kstatus."""

    IN_PROGRESS = "InProgress"
    FAILED = "Failed"
    CURRENT = "Current"
    TERMINATING = "Terminating"
    NOT_FOUND = "NotFound"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Health:
    """Status and why; ``recheck_after`` (seconds) if time alone may change it."""

    status: HealthStatus
    message: str = ""
    recheck_after: float | None = None


Rule = Callable[[JsonObject, datetime], Health]


def _current(message: str) -> Health:
    return Health(HealthStatus.CURRENT, message)


def _progress(message: str, recheck_after: float | None = None) -> Health:
    return Health(HealthStatus.IN_PROGRESS, message, recheck_after)


def _failed(message: str) -> Health:
    return Health(HealthStatus.FAILED, message)


def _part(obj: JsonObject, *path: str) -> dict[str, Any]:
    value: Any = obj
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _number(part: dict[str, Any], name: str, default: int = 0) -> int:
    value = part.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _condition(obj: JsonObject, kind: str) -> dict[str, Any]:
    rows = _part(obj, "status").get("conditions")
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and row.get("type") == kind:
            return row
    return {}


def _is_true(obj: JsonObject, kind: str) -> bool:
    return bool(_condition(obj, kind).get("status") == "True")


def _always(_obj: JsonObject, _now: datetime) -> Health:
    return _current("the object is there")


def _first_short(checks: list[tuple[bool, str]]) -> Health | None:
    return next((_progress(text) for short, text in checks if short), None)


def _deployment(obj: JsonObject, _now: datetime) -> Health:
    spec, status = _part(obj, "spec"), _part(obj, "status")
    progressing = _condition(obj, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return _failed("the rollout exceeded its progress deadline")
    wanted, total = _number(spec, "replicas", 1), _number(status, "replicas")
    updated, ready = _number(status, "updatedReplicas"), _number(status, "readyReplicas")
    available = _number(status, "availableReplicas")
    rolled_out = "progressDeadlineSeconds" not in spec or (
        progressing.get("status") == "True"
        and progressing.get("reason") == "NewReplicaSetAvailable"
    )
    short = _first_short(
        [
            (wanted > total, f"{total} of {wanted} replicas exist"),
            (wanted > updated, f"{updated} of {wanted} replicas are updated"),
            (total > wanted, f"{total - wanted} old replicas are to end"),
            (updated > available, f"{available} of {updated} updated replicas are available"),
            (wanted > ready, f"{ready} of {wanted} replicas are ready"),
            (not rolled_out, "the new ReplicaSet is not available"),
            (not _is_true(obj, "Available"), "the Deployment is not available"),
        ]
    )
    return short or _current(f"{wanted} replicas are available")


def _stateful_set(obj: JsonObject, _now: datetime) -> Health:
    spec, status = _part(obj, "spec"), _part(obj, "status")
    strategy = _part(obj, "spec", "updateStrategy")
    if strategy.get("type") == "OnDelete":
        return _current("pods are updated when they are deleted")
    wanted, total = _number(spec, "replicas", 1), _number(status, "replicas")
    ready, current = _number(status, "readyReplicas"), _number(status, "currentReplicas")
    short = _first_short(
        [
            (wanted > total, f"{total} of {wanted} replicas exist"),
            (wanted > ready, f"{ready} of {wanted} replicas are ready"),
            (total > wanted, f"{total - wanted} replicas are to end"),
        ]
    )
    if short is not None:
        return short
    partition = _number(_part(strategy, "rollingUpdate"), "partition", -1)
    if partition != -1:
        updated = _number(status, "updatedReplicas")
        if updated < wanted - partition:
            return _progress(f"{updated} of {wanted - partition} replicas are updated")
        return _current(f"{updated} replicas are updated beyond partition {partition}")
    short = _first_short(
        [
            (wanted > current, f"{current} of {wanted} replicas are current"),
            (
                status.get("currentRevision") != status.get("updateRevision"),
                "replicas of the old revision are left",
            ),
        ]
    )
    return short or _current(f"{wanted} replicas are ready")


def _daemon_set(obj: JsonObject, _now: datetime) -> Health:
    status = _part(obj, "status")
    if _part(obj, "metadata").get("generation") is None or "observedGeneration" not in status:
        return _progress("the controller has not seen the DaemonSet")
    if "desiredNumberScheduled" not in status:
        return _progress("the number of pods is not known yet")
    wanted = _number(status, "desiredNumberScheduled")
    counts = {
        "scheduled": _number(status, "currentNumberScheduled"),
        "updated": _number(status, "updatedNumberScheduled"),
        "available": _number(status, "numberAvailable"),
        "ready": _number(status, "numberReady"),
    }
    short = _first_short(
        [(wanted > n, f"{n} of {wanted} pods are {what}") for what, n in counts.items()]
    )
    return short or _current(f"{wanted} pods are ready")


def _replica_set(obj: JsonObject, _now: datetime) -> Health:
    status = _part(obj, "status")
    if _is_true(obj, "ReplicaFailure"):
        return _progress(str(_condition(obj, "ReplicaFailure").get("message") or "pods fail"))
    wanted = _number(_part(obj, "spec"), "replicas", 1)
    total = _number(status, "replicas")
    counts = {
        "labelled": _number(status, "fullyLabeledReplicas"),
        "available": _number(status, "availableReplicas"),
        "ready": _number(status, "readyReplicas"),
    }
    checks = [(wanted > n, f"{n} of {wanted} replicas are {what}") for what, n in counts.items()]
    checks.append((total > wanted, f"{total - wanted} replicas are to end"))
    return _first_short(checks) or _current(f"{wanted} replicas are ready")


def _job(obj: JsonObject, _now: datetime) -> Health:
    """Flux's own rule: only an end is an end, and a suspended Job need not come to one."""
    if _is_true(obj, "Complete"):
        return _current("the Job is complete")
    if _is_true(obj, "Failed"):
        return _failed(str(_condition(obj, "Failed").get("message") or "the Job has failed"))
    if _is_true(obj, "Suspended") or _part(obj, "spec").get("suspend") is True:
        return _current("the Job is suspended")
    return _progress("the Job is running" if _part(obj, "status").get("startTime") else "not begun")


def _claim(obj: JsonObject, _now: datetime) -> Health:
    phase = _part(obj, "status").get("phase")
    return _current("the claim is bound") if phase == "Bound" else _progress(f"phase is {phase}")


def _service(obj: JsonObject, _now: datetime) -> Health:
    spec = _part(obj, "spec")
    if spec.get("type") == "LoadBalancer" and not spec.get("clusterIP"):
        return _progress("no cluster address is assigned")
    return _current("the Service is there")


def _pod(obj: JsonObject, now: datetime) -> Health:
    phase = _part(obj, "status").get("phase")
    match phase:
        case "Succeeded":
            return _current("the pod has completed")
        case "Failed":
            return _current("the pod has ended with a failure")
        case "Running":
            return _running_pod(obj)
        case "Pending":
            return _pending_pod(obj, now)
        case None | "":
            return _progress("the pod has not been seen by a scheduler")
        case _:
            return Health(HealthStatus.UNKNOWN, f"pod phase {phase!r} is not known")


def _running_pod(obj: JsonObject) -> Health:
    if _is_true(obj, "Ready"):
        return _current("the pod is ready")
    crashing = []
    for name in ("initContainerStatuses", "containerStatuses"):
        rows = _part(obj, "status").get(name)
        crashing += [
            str(row.get("name"))
            for row in (rows if isinstance(rows, list) else [])
            if isinstance(row, dict)
            and _part(row, "state", "waiting").get("reason") == "CrashLoopBackOff"
        ]
    if crashing:
        return _failed(f"containers crash again and again: {', '.join(crashing)}")
    return _progress("the pod is running and not ready")


def _pending_pod(obj: JsonObject, now: datetime) -> Health:
    scheduled = _condition(obj, "PodScheduled")
    if scheduled.get("status") != "False" or scheduled.get("reason") != "Unschedulable":
        return _progress("the pod is pending")
    try:
        created = parse_time(str(_part(obj, "metadata").get("creationTimestamp")))
    except ValueError:
        return _failed("the pod cannot be scheduled")
    left = _UNSCHEDULABLE_SECONDS - (now - created).total_seconds()
    if left > 0:
        return _progress("the pod has not been scheduled", left)
    return _failed("the pod cannot be scheduled")


def _definition(obj: JsonObject, _now: datetime) -> Health:
    names, established = _condition(obj, "NamesAccepted"), _condition(obj, "Established")
    if names.get("status") == "False":
        return _failed(str(names.get("message") or "the names are not accepted"))
    if established.get("status") == "True":
        return _current("the definition is established")
    if established.get("status") == "False" and established.get("reason") != "Installing":
        return _failed(str(established.get("message") or "the definition is not established"))
    return _progress("the definition is being established")


RULES: dict[tuple[str, str], Rule] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "ReplicaSet"): _replica_set,
    ("extensions", "Deployment"): _deployment,
    ("extensions", "DaemonSet"): _daemon_set,
    ("extensions", "ReplicaSet"): _replica_set,
    ("batch", "Job"): _job,
    ("batch", "CronJob"): _always,
    ("", "ConfigMap"): _always,
    ("", "Secret"): _always,
    ("policy", "PodDisruptionBudget"): _always,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Service"): _service,
    ("", "Pod"): _pod,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
}
