"""JSON merge patches (RFC 7386): maps merge, everything else is replaced, null deletes."""

from __future__ import annotations

from typing import Any

from fluvial.helm.clientside.values import alike
from fluvial.objects import JsonObject

__all__ = ["three_way", "two_way"]


def two_way(before: JsonObject, after: JsonObject) -> JsonObject:
    """The patch that makes one object of the other; ``{}`` where they are the same."""
    patch: JsonObject = {key: None for key in before if key not in after}
    for key, new in after.items():
        old = before.get(key)
        if key in before and isinstance(old, dict) and isinstance(new, dict):
            below = two_way(old, new)
            if below:
                patch[key] = below
        elif key not in before or not alike(old, new):
            patch[key] = new
    return patch


def three_way(original: JsonObject, modified: JsonObject, live: JsonObject) -> JsonObject:
    """The patch that changes a live object where it must, and deletes what ``original`` had more.

    Args:
        original: as it was written last.
        modified: as it is wanted.
        live: as it is.

    """
    changes = _only(two_way(live, modified), nulls=False)
    deletions = _only(two_way(original, modified), nulls=True)
    return _joined(deletions, changes)


def _only(patch: JsonObject, *, nulls: bool) -> JsonObject:
    """What a patch deletes, or all but that; an empty map is a value."""
    kept: JsonObject = {}
    for key, value in patch.items():
        if isinstance(value, dict) and value:
            below = _only(value, nulls=nulls)
            if below:
                kept[key] = below
        elif (value is None) is nulls:
            kept[key] = _clean(value)
    return kept


def _clean(value: Any) -> Any:
    """A value whose lists have no maps with nulls: these would not delete anything."""
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items() if item is not None}
    return value


def _joined(deletions: JsonObject, changes: JsonObject) -> JsonObject:
    out: dict[str, Any] = {**deletions}
    for key, value in changes.items():
        old = out.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            out[key] = _joined(old, value)
        else:
            out[key] = value
    return out
