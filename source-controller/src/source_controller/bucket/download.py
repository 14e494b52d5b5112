"""Fetching the objects of an index, several at once, each pinned to the content that was listed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from source_controller.bucket.stores.errors import (
    Changed,
    NoBucket,
    NoObject,
    StoreError,
    TooLarge,
    Unreachable,
)
from source_controller.bucket.stores.model import Body, Item, Limits, Store

__all__ = ["download", "fetch_small"]


async def download(
    store: Store, index: dict[str, Item], folder: Path, limits: Limits
) -> dict[str, Item]:
    """Write every object of an index to a file below a folder.

    Args:
        store: the bucket.
        index: by key; the keys are paths, see ``index.check_keys``.
        folder: that is empty.
        limits: downloads at once, and bytes.

    Returns:
        The index of what was fetched: an object that is gone is not in it, and one that has
        changed meanwhile has the etag of what came.

    Raises:
        StoreError: an object could not be fetched.
        OSError: a file could not be written.

    """
    job = _Job(store, index, folder, limits)
    failures: list[Exception] = []
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(min(limits.parallel, len(index))):
                group.create_task(job.work(), name=f"bucket-download-{number}")
    except* (StoreError, OSError) as found:
        failures += _leaves(found)
    if failures:
        raise failures[0]
    return job.fetched


async def fetch_small(store: Store, key: str, *, limit: int) -> bytes | None:
    """The content of a small object, ``None`` if there is none.

    Raises:
        StoreError: it could not be fetched, or has more than ``limit`` bytes.

    """
    content = bytearray()
    try:
        async with store.open(key) as body:
            async for block in body.blocks():
                content += block
                if len(content) > limit:
                    raise TooLarge(f"object {key!r} has more than {limit} bytes")
    except NoBucket:
        raise
    except NoObject:
        return None
    return bytes(content)


class _Job:
    def __init__(self, store: Store, index: dict[str, Item], folder: Path, limits: Limits) -> None:
        self._store = store
        self._pending: Iterator[Item] = iter(index.values())
        self._folder = folder
        self._limits = limits
        self._bytes = 0
        self.fetched: dict[str, Item] = {}

    async def work(self) -> None:
        """Fetch until nothing is left."""
        for item in self._pending:
            found = await self._fetch(item)
            if found is not None:
                self.fetched[found.key] = found

    async def _fetch(self, item: Item) -> Item | None:
        pinned: Item | None = item
        for left in range(self._limits.attempts - 1, -1, -1):
            try:
                async with self._store.open(item.key, pinned=pinned) as body:
                    await self._write(item.key, body)
                    return replace(item, etag=body.etag or item.etag)
            except NoBucket:
                raise
            except NoObject:
                return None
            except Changed:
                pinned = None
                if not left:
                    raise
            except Unreachable:
                if not left:
                    raise
        raise AssertionError("unreachable")

    async def _write(self, key: str, body: Body) -> None:
        path = self._folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        size = 0
        try:
            with path.open("wb") as out:  # pieces of 64 KiB, to the page cache
                async for block in body.blocks():
                    size += len(block)
                    self._bytes += len(block)
                    self._check(key, size)
                    out.write(block)
        except Unreachable:
            self._bytes -= size  # it is fetched once more
            path.unlink()
            raise

    def _check(self, key: str, size: int) -> None:
        limits = self._limits
        if size > limits.max_object:
            raise TooLarge(f"object {key!r} has more than {limits.max_object} bytes")
        if self._bytes > limits.max_total:
            raise TooLarge(f"the objects have more than {limits.max_total} bytes together")


def _leaves(group: BaseExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
