"""The objects of one resource as the last list and watch told them, with named indexes.

Written by a ``Reflector`` alone, read by everybody on the same event loop. The objects handed out
are the stored ones: **nobody changes them**; whoever needs another object makes a copy. A store
made with ``verify=True`` (tests, debugging) finds out who did not keep to that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from fluvial.errors import FluvialError
from fluvial.objects import JsonObject, ObjectKey, key_of

__all__ = ["Change", "IndexFunction", "ObjectMutated", "Store"]

IndexFunction = Callable[[JsonObject], Iterable[str]]
"""Values under which an object is found in an index."""


class ObjectMutated(FluvialError):
    """Somebody changed a stored object in place; ``key`` says which."""

    def __init__(self, key: ObjectKey) -> None:
        super().__init__(f"the stored object {key} was changed in place: copy before changing")
        self.key = key


@dataclass(frozen=True, slots=True)
class Change:
    """One object before and after; ``old`` is ``None`` for a new one, ``new`` for a gone one.

    A deletion's ``old`` is the last known state. An object that was deleted and made again
    unseen is two changes, because its uid is another.
    """

    old: JsonObject | None
    new: JsonObject | None


Changes = list[Change]
Objects = list[JsonObject]  # names, because ``Store.list`` hides the type in its class


class _Index:
    """Value → keys, for one function; knows what it filed each key under."""

    def __init__(self, function: IndexFunction) -> None:
        self.function = function
        self._keys: dict[str, dict[ObjectKey, None]] = {}
        self._values: dict[ObjectKey, tuple[str, ...]] = {}

    def put(self, key: ObjectKey, obj: JsonObject) -> None:
        values = tuple(dict.fromkeys(self.function(obj)))
        if values == self._values.get(key, ()):
            return
        self.drop(key)
        if values:
            self._values[key] = values
        for value in values:
            self._keys.setdefault(value, {})[key] = None

    def drop(self, key: ObjectKey) -> None:
        for value in self._values.pop(key, ()):
            keys = self._keys[value]
            del keys[key]
            if not keys:
                del self._keys[value]

    def keys(self, value: str) -> Iterator[ObjectKey]:
        return iter(self._keys.get(value, ()))


class Store:
    """Key → object. Objects are compared by uid and resourceVersion; by content where asked."""

    def __init__(
        self, indexes: Mapping[str, IndexFunction] | None = None, *, verify: bool = False
    ) -> None:
        self._objects: dict[ObjectKey, JsonObject] = {}
        self._indexes = {name: _Index(function) for name, function in (indexes or {}).items()}
        self._prints: dict[ObjectKey, bytes] | None = {} if verify else None

    def __len__(self) -> int:
        return len(self._objects)

    def __contains__(self, key: ObjectKey) -> bool:
        return key in self._objects

    def get(self, key: ObjectKey) -> JsonObject | None:
        """The stored object; do not change it."""
        obj = self._objects.get(key)
        if obj is not None and self._prints is not None:
            self._verify(key, obj)
        return obj

    def list(self) -> Objects:
        """All stored objects; do not change them."""
        return list(self._objects.values())

    def keys(self) -> frozenset[ObjectKey]:
        """All keys."""
        return frozenset(self._objects)

    def by_index(self, name: str, value: str) -> Objects:
        """The objects that the index files under a value; do not change them.

        Raises:
            KeyError: there is no such index.

        """
        return [self._objects[key] for key in self._indexes[name].keys(value)]

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Add an index over what is there and what comes; the same function again is fine.

        Raises:
            ValueError: another function has the name.

        """
        known = self._indexes.get(name)
        if known is not None:
            if known.function is not function:
                raise ValueError(f"index {name!r} exists with another function")
            return
        index = _Index(function)
        for key, obj in self._objects.items():
            index.put(key, obj)
        self._indexes[name] = index

    def put(self, obj: JsonObject) -> Changes:
        """Add or replace one object; nothing happens if it is the version that is there."""
        key = key_of(obj)
        old = self._objects.get(key)
        if old is not None and _version(old) == _version(obj):
            return []
        self._set(key, obj)
        if old is not None and _uid(old) != _uid(obj):
            return [Change(old, None), Change(None, obj)]
        return [Change(old, obj)]

    def remove(self, obj: JsonObject) -> Changes:
        """Remove an object that the server says is gone; ``old`` is the last state it told."""
        key = key_of(obj)
        known = self._objects.get(key)
        if known is None:
            return []
        self._drop(key)
        return [Change(obj if _uid(known) == _uid(obj) else known, None)]

    def drop(self, key: ObjectKey) -> Changes:
        """Remove an object by its key, with the last known state."""
        known = self._objects.get(key)
        if known is None:
            return []
        self._drop(key)
        return [Change(known, None)]

    def replace(self, objects: Iterable[JsonObject], *, by_content: bool = False) -> Changes:
        """Take a complete list as the truth; the changes from what was there, deletions last.

        Args:
            objects: all there are.
            by_content: an object in the version that is there may differ nevertheless: the server
                was restored from a backup, and has come to that version once more.

        """
        changes: Changes = []
        listed: set[ObjectKey] = set()
        for obj in objects:
            key = key_of(obj)
            listed.add(key)
            old = self._objects.get(key)
            if by_content and old is not None and _version(old) == _version(obj) and old != obj:
                self._set(key, obj)
                changes.append(Change(old, obj))
            else:
                changes += self.put(obj)
        for key in [key for key in self._objects if key not in listed]:
            changes += self.drop(key)
        return changes

    def verify(self) -> None:
        """Compare every object with its state when it was stored; only with ``verify=True``.

        Raises:
            ObjectMutated: one was changed in place.

        """
        if self._prints is not None:
            for key, obj in self._objects.items():
                self._verify(key, obj)

    def _set(self, key: ObjectKey, obj: JsonObject) -> None:
        if self._prints is not None:
            if key in self._objects:
                self._verify(key, self._objects[key])
            self._prints[key] = _print(obj)
        self._objects[key] = obj
        for index in self._indexes.values():
            index.put(key, obj)

    def _drop(self, key: ObjectKey) -> None:
        del self._objects[key]
        if self._prints is not None:
            self._prints.pop(key, None)
        for index in self._indexes.values():
            index.drop(key)

    def _verify(self, key: ObjectKey, obj: JsonObject) -> None:
        if self._prints is not None and self._prints[key] != _print(obj):
            raise ObjectMutated(key)


def _print(obj: JsonObject) -> bytes:
    return orjson.dumps(obj)


def _metadata(obj: JsonObject, name: str) -> Any:
    return (obj.get("metadata") or {}).get(name)


def _uid(obj: JsonObject) -> Any:
    return _metadata(obj, "uid")


def _version(obj: JsonObject) -> tuple[Any, Any]:
    return _uid(obj), _metadata(obj, "resourceVersion")
