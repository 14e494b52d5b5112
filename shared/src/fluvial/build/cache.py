"""Results of builds, by what went into them, bounded in bytes.

Only builds without secrets get here: what was decrypted or substituted is never cached. Objects
are kept encoded, so the size is exact and nobody can change what another will get.
"""

from __future__ import annotations

from collections import OrderedDict

import orjson

from fluvial.objects import JsonObject

__all__ = ["BuildCache", "Encoded", "decode", "encode"]

Encoded = tuple[bytes, ...]
"""Objects as JSON, one by one."""


def encode(obj: JsonObject) -> bytes:
    """An object in the form that is cached."""
    return orjson.dumps(obj)


def decode(encoded: bytes) -> JsonObject:
    """A new copy of the object."""
    obj: JsonObject = orjson.loads(encoded)
    return obj


class BuildCache:
    """Least recently used first out.

    Args:
        max_bytes: bound on the sum of the encoded objects.

    """

    def __init__(self, max_bytes: int = 64 * 1024**2) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, Encoded] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """Bytes of encoded objects."""
        return self._bytes

    def get(self, key: str) -> Encoded | None:
        """The objects, or ``None``."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, key: str, entry: Encoded) -> None:
        """Keep the objects, unless they alone are larger than the cache."""
        size = _size(entry)
        if size > self._max_bytes:
            return
        self._drop(key)
        self._entries[key] = entry
        self._bytes += size
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= _size(entry)


def _size(entry: Encoded) -> int:
    return sum(map(len, entry)) + 64
