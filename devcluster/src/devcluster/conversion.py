"""The few conversions between served versions of one stored object.

Custom resources convert by strategy None: only ``apiVersion`` differs, and that is not stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devcluster.kinds import Kind

__all__ = ["converts", "from_stored", "to_stored"]

JsonObject = dict[str, Any]

# events.k8s.io name -> core name
_EVENT_FIELDS = {
    "note": "message",
    "regarding": "involvedObject",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}


def converts(kind: Kind) -> bool:
    """Whether the stored form differs from the served one in more than its version."""
    return kind.group == "events.k8s.io" or (
        kind.plural == "horizontalpodautoscalers" and kind.version == "v1"
    )


def to_stored(kind: Kind, obj: JsonObject) -> JsonObject:
    """The object in the version that is stored; the same one where nothing converts."""
    if not converts(kind):
        return obj
    if kind.group == "events.k8s.io":
        return _rename(obj, _EVENT_FIELDS)
    return _hpa_v2(obj)


def from_stored(kind: Kind, obj: JsonObject) -> JsonObject:
    """The stored object as ``kind`` serves it."""
    if not converts(kind):
        return obj
    if kind.group == "events.k8s.io":
        renamed = _rename(obj, {core: new for new, core in _EVENT_FIELDS.items()})
        return {k: v for k, v in renamed.items() if not _unset(k, v)}
    return _hpa_v1(obj)


def _unset(name: str, value: Any) -> bool:
    """The deprecated source and times stay, empty; other fields that are not set are left out."""
    if value in ("", {}):
        return name != "deprecatedSource"
    return value is None and not name.endswith("Timestamp") and name != "eventTime"


def _rename(obj: Mapping[str, Any], names: Mapping[str, str]) -> JsonObject:
    return {names.get(key, key): value for key, value in obj.items()}


def _cpu(metric: Mapping[str, Any]) -> bool:
    resource = metric.get("resource", {})
    return (
        metric.get("type") == "Resource"
        and resource.get("name") == "cpu"
        and resource.get("target", {}).get("type") == "Utilization"
    )


def _hpa_v2(obj: JsonObject) -> JsonObject:
    spec = dict(obj.get("spec", {}))
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    if percent is not None:
        target = {"type": "Utilization", "averageUtilization": percent}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    return {**obj, "spec": spec}


def _hpa_v1(obj: JsonObject) -> JsonObject:
    spec = dict(obj.get("spec", {}))
    for metric in spec.pop("metrics", ()):
        if _cpu(metric):
            percent = metric["resource"]["target"]["averageUtilization"]
            spec["targetCPUUtilizationPercentage"] = percent
    status = {
        name: value
        for name, value in obj.get("status", {}).items()
        if name not in {"currentMetrics", "conditions"}
    }
    converted = {**obj, "spec": spec}
    if status:
        converted["status"] = status
    return converted
