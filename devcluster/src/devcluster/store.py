"""Objects in memory: encoded once, one revision for all kinds, a bounded history for watches.

A row keeps the JSON bytes of an object without ``kind`` and ``apiVersion`` (so that any served
version and any list form is made by putting a prefix in front) and the few facts that indexes
need. A change keeps the row before and after it; the rows are shared with the table, so history
costs memory only for what has been replaced. Watchers keep a position in the table's history
and are woken: nothing is copied or encoded per watcher.

Everything here is synchronous: one event loop owns it and a commit is never half done.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Literal

import orjson

from devcluster import errors

__all__ = ["Change", "ChangeType", "Row", "Store", "Table", "encode", "ordered_metadata", "row_of"]

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]
_MAX_ENCODED = 1024  # changes of a table whose watch lines are kept
_NO_LABELS: Mapping[str, str] = {}
# The order in which the API server writes metadata; some of its error texts quote objects.
_META_ORDER = (
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
)
_OUTSIDE = frozenset({"kind", "apiVersion", "metadata"})


_HEAD = b'{"metadata":'
_MAX_OBJECT = 1_571_000  # bytes; what fits into a request to etcd, which takes 1.5 MiB


def ordered_metadata(own: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata in the API server's order."""
    ordered = {name: own[name] for name in _META_ORDER if name in own}
    return ordered if len(ordered) == len(own) else {**ordered, **own}


def encode(obj: Mapping[str, Any]) -> tuple[bytes, int]:
    """The stored form, and where its metadata ends.

    The object without ``kind`` and ``apiVersion``, metadata first, so that metadata-only answers
    are a slice.
    """
    own = obj["metadata"]
    ordered = {name: own[name] for name in _META_ORDER if name in own}
    meta = _HEAD + orjson.dumps(ordered if len(ordered) == len(own) else ordered | own)
    rest = orjson.dumps({k: v for k, v in obj.items() if k not in _OUTSIDE})
    body = meta + (b"," + rest[1:] if len(rest) > 2 else b"}")
    return body, len(meta)


@dataclass(frozen=True, slots=True)
class Row:
    """One object at one revision."""

    namespace: str
    name: str
    revision: int
    uid: str
    body: bytes
    meta_end: int
    labels: Mapping[str, str] = field(default_factory=dict)
    owners: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def metadata(self) -> bytes:
        """The encoded metadata."""
        return self.body[len(_HEAD) : self.meta_end]

    def decode(self) -> dict[str, Any]:
        """A fresh object without kind and apiVersion."""
        obj: dict[str, Any] = orjson.loads(self.body)
        return obj


def row_of(body: bytes, meta_end: int) -> Row:
    """The row of a stored form, as ``encode`` made it."""
    return _row(orjson.loads(body[len(_HEAD) : meta_end]), body, meta_end)


def _row(meta: Mapping[str, Any], body: bytes, meta_end: int) -> Row:
    return Row(
        namespace=meta.get("namespace", ""),
        name=meta["name"],
        revision=int(meta["resourceVersion"]),
        uid=meta["uid"],
        body=body,
        meta_end=meta_end,
        labels=meta.get("labels") or _NO_LABELS,
        owners=tuple(owner["uid"] for owner in meta.get("ownerReferences") or ()),
    )


@dataclass(slots=True)
class Change:
    """One step of the history; ``encoded`` caches what watches send, by form."""

    revision: int
    type: ChangeType
    row: Row
    previous: Row | None
    encoded: dict[tuple[str, ...], bytes] = field(default_factory=dict)


class Table:
    """The objects of one resource and the recent changes to them."""

    __slots__ = ("_encoded", "_wake", "base", "by_key", "closed", "history", "keys", "name")

    def __init__(self, name: tuple[str, str]) -> None:
        self.name = name
        self.by_key: dict[str, Row] = {}
        self.keys: list[str] = []
        self.history: deque[Change] = deque()
        self.base = 0  # how many changes have been dropped from the left
        self.closed = 0  # how often its watches were ended
        self._wake: set[asyncio.Event] = set()
        self._encoded: deque[Change] = deque()

    def rows(self, namespace: str = "", *, after: str = "") -> Iterator[Row]:
        """Rows in key order, of one namespace or all, from the first key >= ``after``."""
        prefix = f"{namespace}/" if namespace else ""
        at = bisect_left(self.keys, max(prefix, after))
        while at < len(self.keys) and self.keys[at].startswith(prefix):
            yield self.by_key[self.keys[at]]
            at += 1

    def as_of(self, revision: int) -> dict[str, Row]:
        """The rows as they were at ``revision``, which must not be compacted."""
        rows = dict(self.by_key)
        for change in reversed(self.history):
            if change.revision <= revision:
                break
            if change.previous is None:
                rows.pop(change.row.key, None)
            else:
                rows[change.row.key] = change.previous
        return rows

    def position_after(self, revision: int) -> int:
        """The absolute position of the first change newer than ``revision``."""
        at = len(self.history)
        for change in reversed(self.history):
            if change.revision <= revision:
                break
            at -= 1
        return self.base + at

    @property
    def end(self) -> int:
        """The absolute position after the last change."""
        return self.base + len(self.history)

    def since(self, position: int, *, limit: int) -> list[Change] | None:
        """At most ``limit`` changes from ``position`` on; None when some have been dropped."""
        if position < self.base:
            return None
        if self.end - position <= limit:
            recent = list(islice(reversed(self.history), self.end - position))
            recent.reverse()
            return recent
        start = position - self.base
        return list(islice(self.history, start, start + limit))

    def keep_encoded(self, change: Change) -> None:
        """Note that a change is being encoded for watches; only the latest keep what was made."""
        self._encoded.append(change)
        if len(self._encoded) > _MAX_ENCODED:
            self._encoded.popleft().encoded.clear()

    def subscribe(self, event: asyncio.Event) -> None:
        """Set ``event`` at each change until ``unsubscribe``."""
        self._wake.add(event)

    def unsubscribe(self, event: asyncio.Event) -> None:
        self._wake.discard(event)

    def close_watches(self) -> None:
        """End the watches that are open now, once they have told all that happened."""
        self.closed += 1
        self.wake()

    def wake(self) -> None:
        for event in self._wake:
            event.set()

    def __len__(self) -> int:
        return len(self.keys)


class Store:
    """All tables, the revision, and the bound on history.

    Args:
        max_changes: how many changes are kept for watches and old lists, all tables together.
        max_bytes: how many bytes of replaced objects may be kept for them.

    """

    def __init__(self, *, max_changes: int = 20_000, max_bytes: int = 48 * 2**20) -> None:
        self.revision = 1
        self.compacted = 1
        self._max_changes = max_changes
        self._max_bytes = max_bytes
        self._tables: dict[tuple[str, str], Table] = {}
        self._order: deque[tuple[Table, int]] = deque()
        self._kept_bytes = 0
        self._listeners: list[Callable[[Table, Change], None]] = []
        self.by_owner: dict[str, set[tuple[Table, str]]] = {}
        self.by_uid: dict[str, tuple[Table, str]] = {}

    def table(self, name: tuple[str, str]) -> Table:
        """The table of (group, plural), made on first use."""
        found = self._tables.get(name)
        if found is None:
            found = self._tables[name] = Table(name)
        return found

    def tables(self) -> list[Table]:
        return list(self._tables.values())

    def listen(self, listener: Callable[[Table, Change], None]) -> None:
        """Call ``listener`` synchronously after each commit; it must not write itself."""
        self._listeners.append(listener)

    def load(self, rows: Iterable[tuple[tuple[str, str], Row]], *, revision: int) -> None:
        """Take in what was saved, before anything else is stored; nothing listens to it.

        Args:
            rows: the objects with the names of their tables.
            revision: the one to go on from; older watches and lists get 410.

        """
        for name, row in rows:
            table = self.table(name)
            table.keys.append(row.key)
            table.by_key[row.key] = row
            self.by_uid[row.uid] = (table, row.key)
            self._reindex(table, row.key, None, row)
        for table in self._tables.values():
            table.keys.sort()
        self.revision = self.compacted = revision

    def announce(self, table: Table) -> None:
        """Tell those who listen of everything in a table, as if it had just come."""
        for row in list(table.rows()):
            change = Change(row.revision, "ADDED", row, None)
            for listener in self._listeners:
                listener(table, change)

    def reread(self, table: Table, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Show the rows of a table as ``change`` makes them, without a write: nobody is told.

        Args:
            table: the table.
            change: from what is stored to what is read; the same object for no difference.

        """
        for key, row in list(table.by_key.items()):
            obj = row.decode()
            shown = change(obj)
            if shown is not obj:
                body, meta_end = encode(shown)
                table.by_key[key] = replace(row, body=body, meta_end=meta_end)

    def put(self, table: Table, obj: dict[str, Any]) -> Row:
        """Create or replace; sets ``metadata.resourceVersion`` to the new revision."""
        self.revision += 1
        meta = obj["metadata"]
        meta["resourceVersion"] = str(self.revision)
        body, meta_end = encode(obj)
        if len(body) > _MAX_OBJECT:
            raise errors.ApiFailure(500, "", "etcdserver: request is too large")
        row = _row(meta, body, meta_end)
        key = row.key
        previous = table.by_key.get(key)
        if previous is None:
            insort(table.keys, key)
        table.by_key[key] = row
        self.by_uid[row.uid] = (table, key)
        self._reindex(table, key, previous, row)
        self._commit(table, "MODIFIED" if previous else "ADDED", row, previous)
        return row

    def delete(self, table: Table, obj: dict[str, Any]) -> Row:
        """Remove; ``obj`` is its last state, which gets the revision of the deletion."""
        self.revision += 1
        meta = obj["metadata"]
        meta["resourceVersion"] = str(self.revision)
        namespace, name = meta.get("namespace", ""), meta["name"]
        key = f"{namespace}/{name}" if namespace else name
        previous = table.by_key.pop(key)
        del table.keys[bisect_left(table.keys, key)]
        self.by_uid.pop(previous.uid, None)
        body, meta_end = encode(obj)
        row = Row(
            namespace=namespace,
            name=name,
            revision=self.revision,
            uid=previous.uid,
            body=body,
            meta_end=meta_end,
            labels=meta.get("labels") or _NO_LABELS,
            owners=previous.owners,
        )
        self._reindex(table, key, previous, None)
        self._commit(table, "DELETED", row, previous)
        return row

    def _reindex(self, table: Table, key: str, before: Row | None, after: Row | None) -> None:
        old = set(before.owners) if before else set()
        new = set(after.owners) if after else set()
        if old == new:
            return
        entry = (table, key)
        for uid in old - new:
            children = self.by_owner.get(uid)
            if children is not None:
                children.discard(entry)
                if not children:
                    del self.by_owner[uid]
        for uid in new - old:
            self.by_owner.setdefault(uid, set()).add(entry)

    def _commit(self, table: Table, kind: ChangeType, row: Row, previous: Row | None) -> None:
        change = Change(row.revision, kind, row, previous)
        cost = len(previous.body) if previous else 0
        table.history.append(change)
        self._order.append((table, cost))
        self._kept_bytes += cost
        self._compact()
        for listener in self._listeners:
            listener(table, change)
        table.wake()

    def _compact(self) -> None:
        while len(self._order) > self._max_changes or self._kept_bytes > self._max_bytes:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        table, cost = self._order.popleft()
        self._kept_bytes -= cost
        dropped = table.history.popleft()
        table.base += 1
        self.compacted = dropped.revision

    def compact(self) -> None:
        """Forget all history now: older watches and lists get 410."""
        while self._order:
            self._drop_oldest()
        self.compacted = self.revision
        for table in self._tables.values():
            table.wake()
