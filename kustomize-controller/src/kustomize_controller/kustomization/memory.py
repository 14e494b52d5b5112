"""What the process remembers of each Kustomization between its runs.

Nothing here is needed for correctness: after a restart everything is compared live once. Manifests
are never kept, only ids and hashes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fluvial.apply import PruneResult, Verified
from fluvial.objects import JsonObject, ObjectKey

__all__ = ["Memories", "Memory", "PendingHealth", "Removal"]


@dataclass(frozen=True, slots=True)
class PendingHealth:
    """An attempt that has been applied and whose health is awaited.

    Attributes:
        attempt: its identity.
        digest: of the applied set, for the history.
        started: on the monotonic clock, when its reconcile began.
        changed: whether the apply changed anything.
        silent: a run that found everything in place; it reports only what is new.

    """

    attempt: str
    digest: str
    started: float
    changed: bool
    silent: bool


@dataclass(frozen=True, slots=True)
class Removal:
    """Objects that were deleted with their Kustomization; ``started`` is on the monotonic clock."""

    pruned: PruneResult
    started: float


@dataclass(slots=True)
class Memory:
    """One Kustomization's.

    Attributes:
        uid: of the object that all of this is about.
        cached: resource version that the cache had last.
        latest: the object as the API server last answered it to us.
        known: what is verified of its objects.
        request: the reconcile request that the current attempt belongs to.
        pending: the attempt that waits for health.
        removal: what the deletion of the object has deleted, while its end is awaited.

    """

    uid: str = ""
    cached: int = 0
    latest: JsonObject | None = None
    known: Verified = field(default_factory=Verified)
    request: str = ""
    pending: PendingHealth | None = None
    removal: Removal | None = None


class Memories:
    """All memories, by key."""

    def __init__(self, on_forget: Callable[[ObjectKey], None]) -> None:
        """``on_forget`` is told of every object that is gone."""
        self._by_key: dict[ObjectKey, Memory] = {}
        self._on_forget = on_forget

    def of(self, key: ObjectKey, cached: JsonObject) -> Memory:
        """The memory of an object, made where there is none.

        What is known of another object of that name is nothing; neither is anything after a
        cluster was restored from a backup, where the cache goes back to an older version.
        """
        uid, version = _uid(cached), _version(cached)
        memory = self._by_key.get(key)
        if memory is None or memory.uid != uid or version < memory.cached:
            memory = self._by_key[key] = Memory(uid)
        memory.cached = version
        return memory

    def newest(self, key: ObjectKey, cached: JsonObject) -> JsonObject:
        """The newer of the cached object and the API server's last answer to us.

        Resource versions of one resource compare as integers (KEP-5504).
        """
        latest = self.of(key, cached).latest
        if latest is None:
            return cached
        return latest if _version(latest) > _version(cached) else cached

    def forget(self, key: ObjectKey) -> None:
        """The object is gone."""
        self._by_key.pop(key, None)
        self._on_forget(key)


def _uid(obj: JsonObject) -> str:
    return str(obj["metadata"].get("uid", ""))


def _version(obj: JsonObject) -> int:
    text = str(obj["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdecimal() else 0
