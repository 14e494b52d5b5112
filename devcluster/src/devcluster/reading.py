"""Get and list: selection, consistent pages, lists of the past."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from devcluster import errors, selectable
from devcluster.kinds import Kind
from devcluster.parameters import ListOptions
from devcluster.selectors import FieldSelector, LabelSelector
from devcluster.store import Row, Store, Table

__all__ = ["Page", "Reader", "Selection", "check_not_future", "parse_revision"]

_TOO_OLD_TO_CONTINUE = (
    "The provided continue parameter is too old to display a consistent list result. You can start"
    " a new list without the continue parameter, or use the continue token in this response to"
    " retrieve the remainder of the results. Continuing with the provided token results in an"
    " inconsistent list - objects that were created, modified, or deleted between the time the"
    " first chunk was returned and now may show up in the list."
)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows of a table a list or watch is about."""

    namespace: str
    labels: LabelSelector
    fields: FieldSelector
    read: Callable[[Row], Callable[[str], str]]

    def matches(self, row: Row) -> bool:
        """Whether the row is one of them."""
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

    def get(self, kind: Kind, *, namespace: str, name: str, revision: str = "") -> Row:
        """Raises NotFound; 504 when ``revision`` lies in the future."""
        check_not_future(self._store, parse_revision(revision))
        key = f"{namespace}/{name}" if namespace else name
        row = self._store.table(kind.table).by_key.get(key)
        if row is None:
            raise errors.not_found(group=kind.group, plural=kind.plural, name=name)
        return row

    def selection(self, kind: Kind, *, namespace: str, options: ListOptions) -> Selection:
        """Checks that the kind has the fields selected on."""
        selectable.check_fields(kind, options.fields)
        return Selection(namespace, options.labels, options.fields, selectable.reader(kind))

    def list(self, kind: Kind, *, namespace: str, options: ListOptions) -> Page:
        """One page, or everything when no limit is given."""
        chosen = self.selection(kind, namespace=namespace, options=options)
        table = self._store.table(kind.table)
        revision, start = self._snapshot(options)
        rows = self._rows(table, namespace=namespace, start=start, revision=revision)
        limit = options.limit
        found: list[Row] = []
        for row in rows:
            if chosen.matches(row):
                found.append(row)
                if limit and len(found) > limit:
                    break
        meta: dict[str, Any] = {"resourceVersion": str(revision)}
        if limit and len(found) > limit:
            found.pop()
            meta["continue"] = _token(revision, found[-1].key + "\0")
            if not chosen.labels and not chosen.fields:
                meta["remainingItemCount"] = sum(1 for _ in rows) + 1
        return Page(found, meta)

    def _snapshot(self, options: ListOptions) -> tuple[int, str]:
        """The revision to read at and the key to start from."""
        store = self._store
        if not options.token:
            wanted = parse_revision(options.resource_version)
            check_not_future(store, wanted)
            if options.match == "Exact" or (options.limit and wanted and not options.match):
                return self._past(wanted), ""
            return store.revision, ""
        if options.resource_version not in {"", "0"}:
            raise errors.bad_request(
                "specifying resource version is not allowed when using continue"
            )
        revision, start = _parse_token(options.token)
        if revision < 0:
            return store.revision, start
        if revision < store.compacted:
            raise errors.expired(_TOO_OLD_TO_CONTINUE, fresh_token=_token(-1, start))
        return revision, start

    def _past(self, revision: int) -> int:
        if revision < self._store.compacted:
            raise errors.expired("The resourceVersion for the provided list is too old.")
        return revision

    def _rows(self, table: Table, *, namespace: str, start: str, revision: int) -> Iterator[Row]:
        newest = table.history[-1].revision if table.history else 0
        if newest <= revision:
            return table.rows(namespace, after=start)
        rows = table.as_of(revision)
        prefix = f"{namespace}/" if namespace else ""
        keys = sorted(key for key in rows if key.startswith(prefix) and key >= start)
        return iter([rows[key] for key in keys])


def parse_revision(text: str) -> int:
    """A resourceVersion parameter; 0 when empty, 400 when it is no number."""
    if text.isdigit() or not text:
        return int(text or 0)
    raise errors.bad_request(
        f'invalid resource version: resourceVersion: Invalid value: "{text}": strconv.ParseUint:'
        f' parsing "{text}": invalid syntax'
    )


def check_not_future(store: Store, revision: int) -> None:
    """504 for a revision that is not there yet (the real server waits for it a while)."""
    if revision <= store.revision:
        return
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    raise errors.ApiFailure(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {revision}, current: {store.revision}",
        details={"causes": [cause], "retryAfterSeconds": 1},
        headers={"Retry-After": "1"},
    )


def _token(revision: int, start: str) -> str:
    raw = orjson.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": start})
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _parse_token(token: str) -> tuple[int, str]:
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        data = orjson.loads(raw)
        return int(data["rv"]), str(data["start"])
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise errors.bad_request(
            f"invalid continue token: continue key is not valid: {_why(token)}"
        ) from error


def _why(token: str) -> str:
    """What Go's decoders say of a token that is none: the first byte that is no JSON."""
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except binascii.Error:
        return f"illegal base64 data at input byte {len(token)}"
    if not raw:
        return "unexpected end of JSON input"
    shown = chr(raw[0]) if 0x20 <= raw[0] < 0x7F else f"\\u{raw[0]:04x}"
    return f"invalid character '{shown}' looking for beginning of value"
