"""What wakes a reconciler: predicates over changes, and the wiring from an informer to a queue.

A predicate sees the object before and after a change; ``None`` stands for "was not there" and "is
gone". Flux' own rule, ``any_of(generation_changed, reconcile_requested)``, keeps a reconciler from
being woken by the status it wrote itself. Subscribers run inside the informer, so they only map to
keys; a mapper that fails is logged and costs its one event, never the watch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from fluvial.api.meta import RECONCILE_REQUEST
from fluvial.log import get_logger
from fluvial.objects import JsonObject, ObjectKey, annotations_of, key_of

__all__ = [
    "Adds",
    "Mapper",
    "Predicate",
    "Subscribable",
    "all_of",
    "always",
    "any_of",
    "artifact_revision_changed",
    "became_ready",
    "generation_changed",
    "intent_changed",
    "is_settled",
    "own_key",
    "reconcile_requested",
    "watch_with",
]

_OURS: Final = "fluvial.dev/"

Predicate = Callable[[JsonObject | None, JsonObject | None], bool]
Mapper = Callable[[JsonObject], Iterable[ObjectKey]]


class Subscribable(Protocol):
    """The part of an informer that triggers need."""

    def subscribe(
        self, fn: Callable[[JsonObject | None, JsonObject | None], None], /
    ) -> Callable[[], None]:
        """Call ``fn(old, new)`` at every change; the result ends that."""
        ...


class Adds(Protocol):
    """The part of a queue that triggers need."""

    def add(self, key: ObjectKey, *, low_priority: bool = False) -> None:
        """Take a key."""
        ...


def always(old: JsonObject | None, new: JsonObject | None) -> bool:  # noqa: ARG001 - a predicate
    """Pass everything."""
    return True


def any_of(*predicates: Predicate) -> Predicate:
    """Pass what at least one of the predicates passes."""
    return lambda old, new: any(predicate(old, new) for predicate in predicates)


def all_of(*predicates: Predicate) -> Predicate:
    """Pass what all of the predicates pass."""
    return lambda old, new: all(predicate(old, new) for predicate in predicates)


def generation_changed(old: JsonObject | None, new: JsonObject | None) -> bool:
    """The spec changed, or deletion was asked for. Creation and disappearance pass."""
    if old is None or new is None:
        return True
    before, after = old.get("metadata") or {}, new.get("metadata") or {}
    return bool(before.get("generation") != after.get("generation"))


def reconcile_requested(old: JsonObject | None, new: JsonObject | None) -> bool:
    """``requestedAt`` has a new value; its removal is no request. Creation, disappearance pass."""
    if old is None or new is None:
        return True
    value = annotations_of(new).get(RECONCILE_REQUEST)
    return value is not None and value != annotations_of(old).get(RECONCILE_REQUEST)


def intent_changed(old: JsonObject | None, new: JsonObject | None) -> bool:
    """An annotation of ours (``fluvial.dev/…``) changed. Creation and disappearance pass."""
    return old is None or new is None or _intent(old) != _intent(new)


def artifact_revision_changed(old: JsonObject | None, new: JsonObject | None) -> bool:
    """A source has an artifact of another revision or content. Creation, disappearance pass.

    The digest counts as well as the revision: other ignore rules make other content of the same
    commit, and the rule is that events drive. So does the time: of a cluster that was restored from
    a backup and has gone on since, a watch that was away may see the end only, which looks as before.
    """
    if old is None or new is None:
        return True
    after = _artifact(new)
    return bool(after) and after != _artifact(old)


def became_ready(old: JsonObject | None, new: JsonObject | None) -> bool:
    """``Ready`` turned true. Creation in that state passes."""
    return new is not None and _is_ready(new) and (old is None or not _is_ready(old))


def is_settled(obj: JsonObject) -> bool:
    """Whether an object's status says that nothing is pending, so that it may wait at a start.

    Settled: reconciled at its generation, Ready true, nothing under way (a process may have been
    killed in it), no open request, not being deleted.
    """
    metadata, status = obj.get("metadata") or {}, obj.get("status") or {}
    requested = annotations_of(obj).get(RECONCILE_REQUEST, "")
    return (
        "deletionTimestamp" not in metadata
        and status.get("observedGeneration") == metadata.get("generation")
        and requested in {"", status.get("lastHandledReconcileAt")}
        and _is_ready(obj)
        and not _is_under_way(obj)
    )


def own_key(obj: JsonObject) -> Iterable[ObjectKey]:
    """Map an object to itself."""
    return (key_of(obj),)


def watch_with(
    informer: Subscribable,
    predicate: Predicate,
    mapper: Mapper,
    queue: Adds,
    *,
    settled: Callable[[JsonObject], bool] | None = None,
) -> Callable[[], None]:
    """Add the keys that ``mapper`` names to ``queue`` whenever a change passes ``predicate``.

    Both the old and the new object are mapped, so that a dependent that lost its reference wakes
    up as well.

    Args:
        informer: where the changes come from.
        predicate: which of them count.
        mapper: object to keys; synchronous and fast.
        queue: where the keys go.
        settled: tells objects that may wait from those that may not when they are first seen:
            ``is_settled`` for a kind's own informer, so that a start deals with what is pending
            first. Without it every key has normal priority.

    Returns:
        A function that ends the trigger.

    """
    log = get_logger("triggers")

    def changed(old: JsonObject | None, new: JsonObject | None) -> None:
        try:
            if not predicate(old, new):
                return
            low = old is None and new is not None and settled is not None and settled(new)
            for key in _keys(mapper, old, new):
                queue.add(key, low_priority=low)
        except Exception as error:
            # The watch serves every other object too: it must survive this one.
            log.exception("trigger failed", object=str(key_of(new or old or {})), error=str(error))

    return informer.subscribe(changed)


def _keys(mapper: Mapper, old: JsonObject | None, new: JsonObject | None) -> dict[ObjectKey, None]:
    return {key: None for obj in (old, new) if obj is not None for key in mapper(obj)}


def _intent(obj: JsonObject) -> dict[str, str]:
    return {k: v for k, v in annotations_of(obj).items() if k.startswith(_OURS)}


def _artifact(obj: JsonObject) -> tuple[Any, ...] | None:
    artifact = (obj.get("status") or {}).get("artifact")
    names = ("revision", "digest", "lastUpdateTime")
    return tuple(artifact.get(name) for name in names) if artifact else None


def _is_ready(obj: JsonObject) -> bool:
    return _has_true(obj, "Ready")


def _is_under_way(obj: JsonObject) -> bool:
    return _has_true(obj, "Reconciling")


def _has_true(obj: JsonObject, kind: str) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or []
    return any(item.get("type") == kind and item.get("status") == "True" for item in conditions)
