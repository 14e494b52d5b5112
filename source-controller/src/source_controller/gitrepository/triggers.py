"""What wakes a GitRepository: its own spec, a request, and a new artifact of what it includes."""

from __future__ import annotations

from collections.abc import Iterable

from fluvial.objects import JsonObject, ObjectKey, key_of
from fluvial.runtime.triggers import (
    any_of,
    artifact_revision_changed,
    generation_changed,
    is_settled,
    own_key,
    reconcile_requested,
    watch_with,
)
from source_controller.source.kind import Wiring

__all__ = ["INDEXES", "connect"]

_BY_INCLUDE = "include"


def _included(obj: JsonObject) -> Iterable[str]:
    """Keys of the repositories that an object includes."""
    namespace = key_of(obj).namespace
    for include in (obj.get("spec") or {}).get("include") or []:
        name = (include.get("repository") or {}).get("name")
        if name:
            yield str(ObjectKey(namespace, name))


INDEXES = {_BY_INCLUDE: _included}
"""For the informer of the objects to reconcile."""


def connect(wiring: Wiring) -> None:
    """Wire the triggers."""
    own, queue = wiring.own, wiring.queue
    watch_with(
        own, any_of(generation_changed, reconcile_requested), own_key, queue, settled=is_settled
    )

    def dependents(obj: JsonObject) -> Iterable[ObjectKey]:
        return [key_of(item) for item in own.store.by_index(_BY_INCLUDE, str(key_of(obj)))]

    def changed(old: JsonObject | None, new: JsonObject | None) -> bool:
        # What is seen first at a start is no change: own objects are queued anyway.
        return old is not None and artifact_revision_changed(old, new)

    watch_with(wiring.everyone, changed, dependents, queue)
