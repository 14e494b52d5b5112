"""Get and list: selection, consistent pages, lists of the past."""

from __future__ import annotations

import base64
import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from devcluster import errors, selectable
from devcluster.kinds import Kind
from devcluster.parameters import ListOptions
from devcluster.selectors import FieldSelector, LabelSelector
from devcluster.store import Row, Store, Table
from devcluster.wire.gojson import complaint

__all__ = ["UNCACHED", "Page", "Reader", "Selection", "check_not_future", "parse_revision"]

UNCACHED = frozenset({("", "events")})
"""The tables that the real server keeps no copy of in memory: what it says of them differs."""

_TOKEN_VERSION = "meta.k8s.io/v1"  # noqa: S105 (a format, no password)
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9_-]")
_TOO_MANY = 2**64

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
        check_not_future(self._store, parse_revision(revision, single=True))
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
        prefix = f"{namespace}/" if namespace else ""
        revision, start = self._snapshot(options)
        rows = self._rows(table, namespace=namespace, start=prefix + start, revision=revision)
        limit = 0 if _takes_any(kind, options) else options.limit
        found: list[Row] = []
        for row in rows:
            if chosen.matches(row):
                found.append(row)
                if len(found) == limit:
                    break
        meta: dict[str, Any] = {"resourceVersion": str(revision)}
        # Whatever is left counts, selected or not; only of everything is it told how much.
        left = sum(1 for _ in rows)
        if left:
            meta["continue"] = _token(revision, found[-1].key.removeprefix(prefix) + "\0")
            if not chosen.labels and not chosen.fields:
                meta["remainingItemCount"] = left
        return Page(found, meta)

    def _snapshot(self, options: ListOptions) -> tuple[int, str]:
        """The revision to read at and the key to start from."""
        store = self._store
        if not options.token:
            wanted = parse_revision(options.resource_version)
            check_not_future(store, wanted)
            limited = options.limit > 0 and wanted and not options.match
            if options.match == "Exact" or limited:
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


def _takes_any(kind: Kind, options: ListOptions) -> bool:
    """Whether any state will do: then the real server answers from memory, and in one page."""
    any_state = options.resource_version == "0" and not options.token
    return any_state and kind.table not in UNCACHED


def parse_revision(text: str, *, single: bool = False) -> int:
    """A resourceVersion parameter; 0 when empty.

    Raises:
        ApiFailure: it is no number; 400, and 500 for a ``single`` object, as the real server has it.

    """
    if not text:
        return 0
    why = "" if text.isdigit() else "invalid syntax"
    if not why and int(text) >= _TOO_MANY:
        why = "value out of range"
    if not why:
        return int(text)
    message = (
        f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": {why}'
    )
    if single:
        raise errors.ApiFailure(500, "", message)
    raise errors.bad_request(f"invalid resource version: {message}")


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
    raw = orjson.dumps({"v": _TOKEN_VERSION, "rv": revision, "start": start})
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _parse_token(token: str) -> tuple[int, str]:
    """The revision and where to go on; raises 400 for what is no token."""
    try:
        return _token_parts(token)
    except ValueError as error:
        text = f"invalid continue token: continue key is not valid: {error}"
        raise errors.bad_request(text) from error


def _token_parts(token: str) -> tuple[int, str]:
    bad = _NOT_BASE64.search(token)
    if bad or len(token) % 4 == 1:
        at = bad.start() if bad else len(token) - 1
        raise ValueError(f"illegal base64 data at input byte {at}")
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    why = complaint(raw)
    if why:
        raise ValueError(why)
    data = orjson.loads(raw)
    if not isinstance(data, dict):
        raise ValueError("json: cannot unmarshal into Go value of type storage.continueToken")  # noqa: TRY004 (one error for all)
    version, revision, start = data.get("v", ""), data.get("rv", 0), data.get("start", "")
    if version != _TOKEN_VERSION:
        raise ValueError(f"server does not recognize this encoded version {version}")
    if not revision:
        raise ValueError(f"incorrect encoded start resourceVersion (version {version})")
    if not start:
        raise ValueError(f"encoded start key empty (version {version})")
    key = str(start).removeprefix("/")
    if posixpath.normpath(f"/{key}") != f"/{key}":
        raise ValueError(start)
    return int(revision), key
