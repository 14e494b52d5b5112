"""What all kinds of object storage have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Body", "Item", "Limits", "Store"]

_MIB = 1 << 20
_MAX_KEY = 1024  # characters, of every storage
_MAX_ETAG, _MAX_VERSION, _MAX_DIGITS = 256, 64, 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds; sizes in bytes, times in seconds.

    Attributes:
        max_entries: objects that are kept of one bucket.
        max_listed: objects that one bucket lists, ignored ones included.
        max_pages: of one list.
        max_object: content of one object.
        max_total: content of all objects.
        max_answer: anything that is kept in memory, such as a page of a list.
        parallel: downloads at once.
        attempts: of one request, the first included.

    """

    max_entries: int = 200_000
    max_listed: int = 1_000_000
    max_pages: int = 10_000
    max_object: int = 256 * _MIB
    max_total: int = 1024 * _MIB
    max_answer: int = 16 * _MIB
    parallel: int = 32
    attempts: int = 3


@dataclass(frozen=True, slots=True)
class Item:
    """One object as it is listed.

    Attributes:
        key: its full name.
        etag: without quotes; changes with the content.
        size: in bytes.
        version: what pins the content where the etag does not: the generation, for GCS.

    """

    key: str
    etag: str
    size: int
    version: str = ""

    @classmethod
    def read(cls, key: str, etag: str, size: str, version: str = "") -> Item:
        """One object as an answer has it.

        Raises:
            ValueError: its etag could not be sent, its size is none, or it has no name, or one that
                no storage takes.

        """
        if len(key) > _MAX_KEY or len(version) > _MAX_VERSION:
            raise ValueError("a name or a version that is too long to be one")
        plain = etag.removeprefix("W/").strip('"')
        if not key or not plain.isprintable() or not plain.isascii() or '"' in plain:
            raise ValueError("no name, or an etag that could not be sent")
        if not 0 < len(plain) <= _MAX_ETAG or not size.isascii() or not size.isdigit():
            raise ValueError("no etag, or no size")
        return cls(key, plain, int(size[:_MAX_DIGITS]), version)


class Body(Protocol):
    """The content of one object, while it is being read."""

    @property
    def etag(self) -> str:
        """Of this content, without quotes."""
        ...

    def blocks(self) -> AsyncIterator[bytes]:
        """The content, piece by piece.

        Raises:
            Unreachable: it stopped.

        """
        ...


class Store(Protocol):
    """One bucket."""

    def pages(self, prefix: str) -> AsyncIterator[tuple[Item, ...]]:
        """All objects whose keys begin with a prefix, in the storage's own order.

        Raises:
            StoreError: the storage could not tell.

        """
        ...

    def open(self, key: str, *, pinned: Item | None = None) -> AbstractAsyncContextManager[Body]:
        """One object.

        Args:
            key: its full name.
            pinned: as it was listed; ``None`` for whatever is there now.

        Raises:
            NoObject: there is none.
            Changed: it is not the pinned one.
            StoreError: the storage could not give it.

        """
        ...
