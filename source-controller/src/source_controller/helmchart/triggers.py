"""What wakes a HelmChart: its own spec, a request, and another artifact of its source."""

from __future__ import annotations

from collections.abc import Callable, Iterable

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
from source_controller.helmchart.sources import SOURCES
from source_controller.helmrepository.static import is_static
from source_controller.source.kind import Wiring

__all__ = ["INDEXES", "connect"]

_BY_SOURCE = "source"


def _source(obj: JsonObject) -> Iterable[str]:
    """Kind and key of the source that an object names."""
    reference = (obj.get("spec") or {}).get("sourceRef") or {}
    name = reference.get("name")
    if name:
        yield _index(str(reference.get("kind") or ""), ObjectKey(key_of(obj).namespace, str(name)))


def _index(kind: str, key: ObjectKey) -> str:
    return f"{kind}/{key}"


INDEXES = {_BY_SOURCE: _source}
"""For the informer of the objects to reconcile."""


def connect(wiring: Wiring) -> None:
    """Wire the triggers."""
    own, queue = wiring.own, wiring.queue
    watch_with(
        own, any_of(generation_changed, reconcile_requested), own_key, queue, settled=is_settled
    )

    def charts_of(kind: str) -> Callable[[JsonObject], Iterable[ObjectKey]]:
        def charts(source: JsonObject) -> Iterable[ObjectKey]:
            found = own.store.by_index(_BY_SOURCE, _index(kind, key_of(source)))
            return [key_of(chart) for chart in found]

        return charts

    for kind, resource in SOURCES.items():
        watch_with(wiring.other(resource), _news, charts_of(kind), queue)


def _news(old: JsonObject | None, new: JsonObject | None) -> bool:
    """A source has another artifact, or is another repository of a registry, or has appeared.

    What is seen at a start wakes nobody who is not waiting: own objects are queued anyway, and a
    key that waits is not queued twice.
    """
    if new is None:
        return False
    if is_static(new):
        return generation_changed(old, new)
    if old is None:
        return bool((new.get("status") or {}).get("artifact"))
    return artifact_revision_changed(old, new)
