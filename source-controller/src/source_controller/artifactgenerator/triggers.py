"""What wakes an ArtifactGenerator: itself, its sources' artifacts, and its ExternalArtifacts."""

from __future__ import annotations

from fluvial.api.meta import RECONCILE_REQUEST
from fluvial.api.source_extensions import RECONCILE_ANNOTATION
from fluvial.kube.kinds import EXTERNAL_ARTIFACT
from fluvial.objects import JsonObject, ObjectKey, annotations_of, key_of
from fluvial.runtime.triggers import (
    any_of,
    generation_changed,
    own_key,
    reconcile_requested,
    watch_with,
)
from source_controller.artifactgenerator.outputs import Outputs
from source_controller.artifactgenerator.sources import SourceLookup, sources_of
from source_controller.source.kind import Wiring

__all__ = ["INDEXES", "connect", "is_settled"]

_BY_SOURCE = "generator-source"

INDEXES = {_BY_SOURCE: sources_of}
"""For the informer of the objects to reconcile."""


def connect(wiring: Wiring, *, lookup: SourceLookup, outputs: Outputs) -> None:
    """Wire the triggers."""
    own, queue = wiring.own, wiring.queue
    asked = any_of(generation_changed, reconcile_requested, _switched)
    watch_with(own, asked, own_key, queue, settled=is_settled)

    def source_changed(source: str, is_first_sight: bool) -> None:  # noqa: FBT001  # two facts
        for obj in own.store.by_index(_BY_SOURCE, source):
            # What is in place at a start is looked at anyway, after what is pending.
            if not (is_first_sight and is_settled(obj)):
                queue.add(key_of(obj))

    lookup.connect(source_changed)
    own.subscribe(lookup.watch_kinds_of)

    def wake(key: ObjectKey) -> None:
        if own.store.get(key) is not None:  # another shard's are none of ours
            queue.add(key)

    wiring.other(EXTERNAL_ARTIFACT).subscribe(outputs.watch(wake))


def is_settled(obj: JsonObject) -> bool:
    """Whether an object's status says that nothing is pending, so that it may wait at a start."""
    metadata, status = obj.get("metadata") or {}, obj.get("status") or {}
    requested = annotations_of(obj).get(RECONCILE_REQUEST, "")
    return (
        "deletionTimestamp" not in metadata
        and requested in {"", status.get("lastHandledReconcileAt")}
        and any(
            (item.get("type"), item.get("status"), item.get("observedGeneration"))
            == ("Ready", "True", metadata.get("generation"))
            for item in status.get("conditions") or []
        )
    )


def _switched(old: JsonObject | None, new: JsonObject | None) -> bool:
    """Reconciliation was enabled or disabled."""
    before, after = annotations_of(old or {}), annotations_of(new or {})
    return before.get(RECONCILE_ANNOTATION) != after.get(RECONCILE_ANNOTATION)
