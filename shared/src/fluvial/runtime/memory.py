"""What a process remembers of each object between its runs.

Nothing here is needed for correctness: after a restart everything is compared live once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from fluvial.objects import JsonObject, ObjectKey

__all__ = ["Memories", "ObjectMemory"]


@dataclass(slots=True)
class ObjectMemory:
    """Of one object; kinds add what they need.

    Attributes:
        uid: of the object that all of this is about.
        cached: resource version that the cache had last.
        latest: the object as the API server last answered it to us.
        request: the reconcile request that the current attempt belongs to.

    """

    uid: str = ""
    cached: int = 0
    latest: JsonObject | None = None
    request: str = ""


M = TypeVar("M", bound=ObjectMemory)


class Memories(Generic[M]):
    """All memories, by key."""

    def __init__(self, make: Callable[[], M], *, on_forget: Callable[[ObjectKey], None]) -> None:
        """``make`` gives an empty memory; ``on_forget`` is told of every object that is gone."""
        self._by_key: dict[ObjectKey, M] = {}
        self._make = make
        self._on_forget = on_forget

    def of(self, key: ObjectKey, cached: JsonObject) -> M:
        """The memory of an object, made where there is none.

        What is known of another object of that name is nothing; neither is anything after a
        cluster was restored from a backup, where the cache goes back to an older version.
        """
        uid, version = _uid(cached), _version(cached)
        memory = self._by_key.get(key)
        if memory is None or memory.uid != uid or version < memory.cached:
            memory = self._by_key[key] = self._make()
            memory.uid = uid
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

    def peek(self, key: ObjectKey) -> M | None:
        """The memory that there is of whatever object has this name, ``None`` where there is none."""
        return self._by_key.get(key)

    def forget(self, key: ObjectKey) -> None:
        """The object is gone."""
        self._by_key.pop(key, None)
        self._on_forget(key)


def _uid(obj: JsonObject) -> str:
    return str(obj["metadata"].get("uid", ""))


def _version(obj: JsonObject) -> int:
    text = str(obj["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdecimal() else 0
