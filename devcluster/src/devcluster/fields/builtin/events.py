"""Events, as the core group takes them and as ``events.k8s.io`` insists on them."""

from __future__ import annotations

from typing import Any

from devcluster.fields.builtin import names
from devcluster.fields.builtin.checker import Checker
from devcluster.fields.schema import JsonObject

__all__ = ["core_event", "create_event", "update_event"]

_LONGEST = {"reportingInstance": 128, "action": 128, "reason": 128, "message": 1024}
# What the newer group calls a field of the core group's.
_NEW = {"involvedObject": "regarding", "message": "note"}
_UNSET = {
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "source": "deprecatedSource",
}
_FIXED = (
    *("involvedObject", "reason", "message", "source", "firstTimestamp", "lastTimestamp"),
    *("count", "type", "eventTime", "action", "related"),
    *("reportingController", "reportingInstance"),
)


def core_event(checker: Checker, obj: JsonObject) -> None:
    """An event of the core group, new or changed."""
    _common(checker, obj, controller="reportingComponent", renamed={})


def create_event(checker: Checker, obj: JsonObject) -> None:
    """A new event of ``events.k8s.io``."""
    _common(checker, obj, controller="reportingController", renamed=_NEW)
    _series(checker, obj)
    if not obj.get("eventTime"):
        checker.required("eventTime")
    kind = obj.get("type") or ""
    if kind not in {"Normal", "Warning"}:
        checker.invalid("type", "", f"has invalid value: {kind}")
    for field, name in _UNSET.items():
        if _is_set(obj.get(name)):
            checker.invalid(field, "", "needs to be unset")


def update_event(checker: Checker, new: JsonObject, old: JsonObject) -> None:
    """A changed event of ``events.k8s.io``: little more than its series may change."""
    _common(checker, new, controller="reportingController", renamed=_NEW)
    if new.get("series") != old.get("series"):
        _series(checker, new)
    for field in _FIXED:
        name = {**_NEW, **_UNSET}.get(field, field)
        checker.unchanged(field, new.get(name), old.get(name))


def _common(checker: Checker, obj: JsonObject, *, controller: str, renamed: dict[str, str]) -> None:
    involved = (obj.get(renamed.get("involvedObject", "involvedObject")) or {}).get("namespace", "")
    own = obj["metadata"].get("namespace", "")
    path, text = "involvedObject.namespace", "does not match event.namespace"
    if not obj.get("eventTime"):
        if involved != own and (involved or own != "default"):
            checker.invalid(path, involved, text)
        return
    if not involved and own not in {"default", "kube-system"}:
        checker.invalid(path, involved, text)
    given = obj.get(controller) or ""
    if not given:
        checker.required(controller)
    checker.problems(controller, given, names.label_key(given))
    for field, limit in _LONGEST.items():
        value = obj.get(renamed.get(field, field)) or ""
        if not value and field != "message":
            checker.required(field)
        if len(value) > limit:
            checker.invalid(field, "", f"can have at most {limit} characters")


def _series(checker: Checker, obj: JsonObject) -> None:
    series = obj.get("series")
    if series is None:
        return
    if (series.get("count") or 0) < 2:
        checker.invalid("series.count", "", "should be at least 2")
    if not series.get("lastObservedTime"):
        checker.required("series.lastObservedTime")


def _is_set(value: Any) -> bool:
    return any(value.values()) if isinstance(value, dict) else bool(value)
