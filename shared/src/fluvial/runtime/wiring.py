"""What wakes an object that is made from a source: itself, its source, its dependencies, its inputs.

A kind says by ``INDEXES`` of its own which sources, dependencies, ConfigMaps and Secrets its objects
name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fluvial.durations import parse_duration
from fluvial.kube import kinds
from fluvial.kube.informer import Informer, InformerFactory
from fluvial.objects import JsonObject, ObjectKey, key_of
from fluvial.runtime.dependencies import progress_of, waits_for_expression
from fluvial.runtime.queue import WorkQueue
from fluvial.runtime.triggers import (
    Adds,
    any_of,
    generation_changed,
    intent_changed,
    is_settled,
    reconcile_requested,
    watch_with,
)

__all__ = [
    "BY_CONFIG",
    "BY_DEPENDENCY",
    "BY_SOURCE",
    "config_id",
    "connect",
    "wake_by_source",
    "watch_configs",
]

BY_SOURCE: Final = "source"
BY_DEPENDENCY: Final = "dependency"
BY_CONFIG: Final = "config"


def config_id(kind: str, key: ObjectKey) -> str:
    """The value under which objects are indexed by what they read."""
    return f"{kind}/{key}"


def connect(
    own: Informer,
    everyone: Informer,
    informers: InformerFactory,
    queue: WorkQueue[ObjectKey],
    *,
    config_selector: str,
    spread: Callable[[float], float],
) -> None:
    """Wire the triggers.

    Args:
        own: the objects of this shard, with the three indexes.
        everyone: all objects of the kind, since a dependency may be in another shard.
        informers: where further informers come from.
        queue: what the triggers fill.
        config_selector: label selector of ConfigMaps and Secrets that are watched, metadata only;
            ``""`` watches none.
        spread: a point within an interval, in seconds.

    """
    own.subscribe(_own_changes(queue, spread))
    watch_with(everyone, _progressed, _indexed(own, BY_DEPENDENCY, _own_id), queue)
    watch_with(everyone, _changed, _judging(own), queue)
    watch_configs(own, informers, queue, config_selector)


def watch_configs(
    own: Informer, informers: InformerFactory, queue: Adds, config_selector: str
) -> None:
    """Have objects added when a ConfigMap or Secret that they name has changed.

    Args:
        own: the objects, with the index ``BY_CONFIG``.
        informers: where further informers come from.
        queue: what is filled.
        config_selector: as for ``connect``.

    """
    if not config_selector:
        return
    for resource in (kinds.CONFIG_MAP, kinds.SECRET):
        watched = informers.informer(resource, label_selector=config_selector, metadata_only=True)
        watch_with(
            watched,
            _changed_in(watched),
            _indexed(own, BY_CONFIG, _config_id(resource.kind)),
            queue,
        )


def wake_by_source(
    own: Informer, queue: WorkQueue[ObjectKey], *, tried: Callable[[JsonObject, str], bool]
) -> Callable[[str, str], None]:
    """A function that wakes the objects of a source, named by its ``source_id``.

    Its second argument is a revision, or ``""``; objects that have ``tried`` that one are let be.
    """

    def wake(source: str, unless_tried: str) -> None:
        for obj in own.store.by_index(BY_SOURCE, source):
            if not (unless_tried and tried(obj, unless_tried)):
                queue.add(key_of(obj))

    return wake


def _own_changes(
    queue: WorkQueue[ObjectKey], spread: Callable[[float], float]
) -> Callable[[JsonObject | None, JsonObject | None], None]:
    """Changed and pending objects at once; what is in place at the start within its interval."""
    matters = any_of(generation_changed, reconcile_requested, intent_changed)

    def changed(old: JsonObject | None, new: JsonObject | None) -> None:
        if not matters(old, new):
            return
        obj = new or old or {}
        if old is None and is_settled(obj):
            queue.add_after(key_of(obj), spread(_interval(obj)), low_priority=True)
        else:
            queue.add(key_of(obj))

    return changed


def _interval(obj: JsonObject) -> float:
    try:
        return parse_duration(str(obj["spec"]["interval"]))
    except (KeyError, ValueError):
        return 0.0


def _indexed(
    own: Informer, index: str, identify: Callable[[JsonObject], str]
) -> Callable[[JsonObject], list[ObjectKey]]:
    return lambda obj: [key_of(found) for found in own.store.by_index(index, identify(obj))]


def _own_id(obj: JsonObject) -> str:
    return str(key_of(obj))


def _config_id(kind: str) -> Callable[[JsonObject], str]:
    return lambda obj: config_id(kind, key_of(obj))


def _progressed(old: JsonObject | None, new: JsonObject | None) -> bool:
    return progress_of(old) != progress_of(new)


def _changed(old: JsonObject | None, new: JsonObject | None) -> bool:
    """Whether something else changed than what ``_progressed`` looks at."""
    return old is not None and new is not None and not _progressed(old, new)


def _judging(own: Informer) -> Callable[[JsonObject], list[ObjectKey]]:
    """The objects that wait for an expression over this one to be true."""
    return lambda obj: [
        key_of(found)
        for found in own.store.by_index(BY_DEPENDENCY, _own_id(obj))
        if waits_for_expression(found)
    ]


def _changed_in(watched: Informer) -> Callable[[JsonObject | None, JsonObject | None], bool]:
    """A predicate: whether an object came, went or changed after the first look at all of them."""

    def changed(old: JsonObject | None, new: JsonObject | None) -> bool:
        if old is None:
            return watched.synced
        if new is None:
            return True
        return bool(old["metadata"]["resourceVersion"] != new["metadata"]["resourceVersion"])

    return changed
