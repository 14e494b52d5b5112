"""Get, list and what a watch selects: options, selectors, pages."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from devcluster import errors
from devcluster.kinds import Kind
from devcluster.request import truth
from devcluster.selectors import FieldSelector, LabelSelector, parse_fields, parse_labels
from devcluster.store import Row, Store, Table

__all__ = ["ListOptions", "Page", "Reader", "Selection"]


@dataclass(frozen=True, slots=True)
class ListOptions:
    """Parsed ``metav1.ListOptions``."""

    labels: LabelSelector
    fields: FieldSelector
    limit: int = 0
    token: str = ""
    resource_version: str = ""
    match: str = ""
    timeout: float | None = None
    bookmarks: bool = False
    initial_events: bool | None = None

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> ListOptions:
        """From the query; 400 on what cannot be read."""
        initial = query.get("sendInitialEvents")
        return cls(
            labels=parse_labels(query.get("labelSelector", "")),
            fields=parse_fields(query.get("fieldSelector", "")),
            limit=_number(query, "limit"),
            token=query.get("continue", ""),
            resource_version=query.get("resourceVersion", ""),
            match=query.get("resourceVersionMatch", ""),
            timeout=_number(query, "timeoutSeconds") or None,
            bookmarks=truth(query.get("allowWatchBookmarks")),
            initial_events=None if initial is None else truth(initial),
        )


def _number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "")
    try:
        return int(text or 0)
    except ValueError as error:
        raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows of a table a list or watch is about."""

    namespace: str
    labels: LabelSelector
    fields: FieldSelector
    read: Callable[[Row], Callable[[str], str]]

    def matches(self, row: Row) -> bool:
        if self.namespace and row.namespace != self.namespace:
            return False
        if self.labels and not self.labels.matches(row.labels):
            return False
        return not self.fields or self.fields.matches(self.read(row))


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of one answer with the list's metadata."""

    rows: list[Row]
    meta: dict[str, Any]


class Reader:
    """Lists and single reads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, kind: Kind, *, namespace: str, name: str) -> Row:
        """Raises NotFound."""
        key = f"{namespace}/{name}" if namespace else name
        row = self._store.table(kind.table).by_key.get(key)
        if row is None:
            raise errors.not_found(group=kind.group, plural=kind.plural, name=name)
        return row

    def selection(self, kind: Kind, *, namespace: str, options: ListOptions) -> Selection:
        """Checks that the kind has the fields selected on."""
        for path, _, _ in options.fields.terms:
            if path not in {"metadata.name", "metadata.namespace"}:
                raise errors.bad_request(f"field label not supported: {path}")
        return Selection(namespace, options.labels, options.fields, _read_metadata)

    def list(self, kind: Kind, *, namespace: str, options: ListOptions) -> Page:
        """One page, or everything when no limit is given."""
        chosen = self.selection(kind, namespace=namespace, options=options)
        table = self._store.table(kind.table)
        revision, start = self._snapshot(options)
        rows = self._rows(table, namespace=namespace, start=start, revision=revision)
        limit = options.limit
        found: list[Row] = []
        for row in rows:
            if not chosen.matches(row):
                continue
            found.append(row)
            if limit and len(found) > limit:
                break
        meta: dict[str, Any] = {"resourceVersion": str(revision)}
        if limit and len(found) > limit:
            found.pop()
            meta["continue"] = _token(revision, found[-1].key + "\0")
            if not chosen.labels and not chosen.fields:
                rest = sum(1 for _ in rows) + 1
                meta["remainingItemCount"] = rest
        return Page(found, meta)

    def _snapshot(self, options: ListOptions) -> tuple[int, str]:
        """The revision to read at and the key to start from."""
        if not options.token:
            if options.match == "Exact":
                return self._old(int(options.resource_version)), ""
            return self._store.revision, ""
        revision, start = _parse_token(options.token)
        if revision < 0:
            return self._store.revision, start
        if revision < self._store.compacted:
            raise errors.expired(
                "The provided continue parameter is too old to display a consistent list result."
                " You can start a new list without the continue parameter, or use the continue"
                " token in this response to retrieve the remainder of the results. Continuing with"
                " the provided token results in an inconsistent list - objects that were created,"
                " modified, or deleted between the time the first chunk was returned and now may"
                " show up in the list.",
                fresh_token=_token(-1, start),
            )
        return revision, start

    def _old(self, revision: int) -> int:
        if revision < self._store.compacted:
            raise errors.expired("The resourceVersion for the provided list is too old.")
        return revision

    def _rows(self, table: Table, *, namespace: str, start: str, revision: int) -> Iterator[Row]:
        if (
            revision >= self._store.revision
            or not table.history
            or (table.history[-1].revision <= revision)
        ):
            return table.rows(namespace, after=start)
        rows = table.as_of(revision)
        prefix = f"{namespace}/" if namespace else ""
        keys = sorted(key for key in rows if key.startswith(prefix) and key >= start)
        return iter([rows[key] for key in keys])


def _read_metadata(row: Row) -> Callable[[str], str]:
    return lambda path: row.name if path == "metadata.name" else row.namespace


def _token(revision: int, start: str) -> str:
    raw = orjson.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": start})
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _parse_token(token: str) -> tuple[int, str]:
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        data = orjson.loads(raw)
        return int(data["rv"]), str(data["start"])
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise errors.bad_request("continue key is not valid") from error
