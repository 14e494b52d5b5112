"""Watch streams: initial state, changes, bookmarks, and the end.

A stream keeps a position in its table's history and sleeps until the table wakes it; all changes
since are written at once. A stream that falls behind the kept history ends with a 410 event.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import orjson

from devcluster import clock, errors
from devcluster.parameters import ListOptions
from devcluster.reading import UNCACHED, Selection, check_not_future
from devcluster.store import Change, ChangeType, Store, Table
from devcluster.views import View

__all__ = ["Watch"]

_BOOKMARK_INTERVAL = 60.0
_LAST_BOOKMARK = 2.0
_DEFAULT_TIMEOUT = 1800.0
_BATCH = 256  # changes that are written at a time; what is behind waits for its reader


@dataclass(slots=True, eq=False)
class Watch:
    """One stream; iterate ``lines()`` for chunks of encoded events."""

    store: Store
    table: Table
    view: View
    selection: Selection
    options: ListOptions
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _ending: str = ""
    _closed: int = field(init=False)
    _silent_until: int = 0  # a revision that was still to come when the watch began

    def __post_init__(self) -> None:
        self._closed = self.table.closed

    def end(self, *, expired: bool = False) -> None:
        """End the stream now, with a 410 event or without a word."""
        self._ending = "expired" if expired else "cut"
        self._wake.set()

    def check(self) -> None:
        """Refuse what must be refused before the stream begins."""
        if self.options.resource_version:
            _revision(self.options.resource_version)

    def start(self) -> tuple[bytes, int]:
        """The first bytes and the position that the stream continues from."""
        options = self.options
        wanted = options.resource_version
        initial = options.initial_events
        if initial is None:
            initial = wanted in {"", "0"}
        if initial:
            try:
                check_not_future(self.store, _revision(wanted))
            except errors.ApiFailure as failure:
                return _error(failure), -1
            rows = self.table.rows(self.selection.namespace)
            lines = [self.view.line("ADDED", row) for row in rows if self.selection.matches(row)]
            if options.initial_events and options.bookmarks:
                lines.append(self.view.bookmark(self.store.revision, initial_end=True))
            return b"".join(lines), self.table.end
        revision = self.store.revision if wanted in {"", "0"} else _revision(wanted)
        if revision < self.store.compacted:
            return self._too_old(revision), -1
        if revision > self.store.revision:
            self._silent_until = revision
        return b"", self.table.position_after(revision)

    def _too_old(self, revision: int) -> bytes:
        text = f"too old resource version: {revision} ({self.store.compacted})"
        if self.table.name in UNCACHED:
            text = "The resourceVersion for the provided watch is too old."
        return _error(errors.expired(text))

    async def lines(self) -> AsyncIterator[bytes]:
        """Chunks of whole lines until the stream's timeout."""
        first, position = self.start()
        if first:
            yield first
        if position < 0:
            return
        self.table.subscribe(self._wake)
        try:
            async for chunk in self._follow(position):
                yield chunk
        finally:
            self.table.unsubscribe(self._wake)

    async def _follow(self, position: int) -> AsyncIterator[bytes]:
        end = clock.loop_time() + (self.options.timeout or _DEFAULT_TIMEOUT)
        while True:
            if self._ending:
                if self._ending == "expired":
                    yield self._too_old(0)
                return
            changes = self.table.since(position, limit=_BATCH)
            if changes is None:
                yield self._too_old(0)
                return
            position += len(changes)
            chunk = b"".join(self._encode(change) for change in changes)
            if chunk:
                yield chunk
            left = end - clock.loop_time()
            if left <= 0:
                return
            if position < self.table.end:
                continue
            if self.table.closed != self._closed:
                return
            if (
                not await _woken(self._wake, min(left, _BOOKMARK_INTERVAL))
                and self.options.bookmarks
            ):
                yield self.view.bookmark(self.store.revision)

    def _encode(self, change: Change) -> bytes:
        kind = self._seen_as(change) if change.revision > self._silent_until else None
        if not kind:
            return b""
        if not change.encoded:
            self.table.keep_encoded(change)
        return self.view.event(change, kind)

    def _seen_as(self, change: Change) -> ChangeType | None:
        selection = self.selection
        if change.previous is None:
            return "ADDED" if selection.matches(change.row) else None
        was = selection.matches(change.previous)
        if change.type == "DELETED":
            return "DELETED" if was else None
        now = selection.matches(change.row)
        if was and now:
            return "MODIFIED"
        if now:
            return "ADDED"
        return "DELETED" if was else None


def _error(failure: errors.ApiFailure) -> bytes:
    return orjson.dumps({"type": "ERROR", "object": failure.status()}) + b"\n"


def _revision(text: str) -> int:
    if text.isdigit() or not text:
        return int(text or 0)
    # As the real server has it: no reason, 500.
    raise errors.ApiFailure(
        500,
        "",
        f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}":'
        " invalid syntax",
    )


async def _woken(wake: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        return False
    wake.clear()
    return True
