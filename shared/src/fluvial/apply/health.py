"""Status of any object from its own content (kstatus), and of a set.

Pure: what the object says, and the time for the one rule that needs it. The rules for single
kinds are in ``health_kinds``. A running Job is in progress, as Flux has it, and not current, as
kstatus itself has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from fluvial.apply.health_kinds import RULES, Health, HealthStatus
from fluvial.objects import JsonObject, gvk_of

__all__ = ["Health", "HealthStatus", "aggregate", "compute_status", "with_pods"]


def compute_status(obj: JsonObject, *, now: datetime) -> Health:
    """Status of one object.

    Args:
        obj: the object as the API server answers it.
        now: for pods that cannot be scheduled: they fail 15 seconds after their creation.

    Returns:
        The first of: Terminating; InProgress while the newest generation is not observed; what
        the conditions Reconciling and Stalled say; the kind's own rule; the condition Ready
        (False is InProgress, never Failed); Current.

    """
    metadata = obj.get("metadata") or {}
    status = obj.get("status")
    status = status if isinstance(status, dict) else {}
    if metadata.get("deletionTimestamp"):
        return Health(HealthStatus.TERMINATING, "the object is being deleted")
    generic = _generation(metadata, status) or _abnormal(_conditions(status))
    if generic is not None:
        return generic
    gvk = gvk_of(obj)
    rule = RULES.get((gvk.group, gvk.kind))
    if rule is not None:
        return rule(obj, now)
    return _ready(_conditions(status))


def _generation(metadata: JsonObject, status: JsonObject) -> Health | None:
    generation, observed = metadata.get("generation"), status.get("observedGeneration")
    if generation is None or observed is None or generation == observed:
        return None
    text = f"generation is {generation}, the controller has seen {observed}"
    return Health(HealthStatus.IN_PROGRESS, text)


def _conditions(status: JsonObject) -> list[dict[str, Any]]:
    rows = status.get("conditions")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _abnormal(conditions: list[dict[str, Any]]) -> Health | None:
    for condition in conditions:
        if condition.get("status") != "True":
            continue
        text = str(condition.get("message") or "")
        if condition.get("type") == "Reconciling":
            return Health(HealthStatus.IN_PROGRESS, text)
        if condition.get("type") == "Stalled":
            return Health(HealthStatus.FAILED, text)
    return None


def _ready(conditions: list[dict[str, Any]]) -> Health:
    for condition in conditions:
        if condition.get("type") == "Ready":
            text = str(condition.get("message") or "")
            ready = condition.get("status") == "True"
            return Health(HealthStatus.CURRENT if ready else HealthStatus.IN_PROGRESS, text)
    return Health(HealthStatus.CURRENT, "the object is there")


def with_pods(own: Health, pods: Iterable[JsonObject], *, now: datetime) -> Health:
    """Status of a StatefulSet or ReplicaSet in view of its pods.

    Its own status does not tell a slow start from a crash: if it is in progress and one of its
    pods is crash-looping (not merely terminating or unschedulable), it has failed.
    """
    if own.status is not HealthStatus.IN_PROGRESS:
        return own
    for pod in pods:
        phase = (pod.get("status") or {}).get("phase")
        health = compute_status(pod, now=now)
        if health.status is HealthStatus.FAILED and phase == "Running":
            name = (pod.get("metadata") or {}).get("name")
            return Health(HealthStatus.FAILED, f"pod {name}: {health.message}")
    return own


def aggregate(statuses: Iterable[HealthStatus]) -> HealthStatus:
    """Any Failed is Failed, any Unknown is Unknown, all Current is Current, else InProgress."""
    found = set(statuses)
    if HealthStatus.FAILED in found:
        return HealthStatus.FAILED
    if HealthStatus.UNKNOWN in found:
        return HealthStatus.UNKNOWN
    return HealthStatus.CURRENT if found <= {HealthStatus.CURRENT} else HealthStatus.IN_PROGRESS
