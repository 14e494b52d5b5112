"""Turning rows into bytes: the kind in one of its versions, metadata only, or a table.

A view is made per request; what it produces for a change is cached on the change, so that twenty
watchers of one form cost one encoding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from devcluster import conversion, errors
from devcluster.kinds import Kind
from devcluster.negotiation import Form, Wanted
from devcluster.show.maker import TableMaker
from devcluster.store import Change, ChangeType, Row, encode

__all__ = ["View"]

_INCLUDED = frozenset({"Metadata", "Object", "None"})
_PARTIAL = b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":'


@dataclass(slots=True)
class View:
    """How one request wants to see a kind."""

    kind: Kind
    wanted: Wanted
    include: str
    tables: TableMaker
    _prefix: bytes = field(init=False, default=b"")
    _converts: bool = field(init=False, default=False)
    _header_due: bool = field(init=False, default=True)

    def __post_init__(self) -> None:
        head = orjson.dumps({"kind": self.kind.kind, "apiVersion": self.kind.api_version})
        self._prefix = head[:-1] + b","
        self._converts = conversion.converts(self.kind)
        if self.form == "table" and self.include not in _INCLUDED:
            raise errors.bad_request(
                "Unable to convert to Table as requested: includeObject: Invalid value:"
                f" \"{self.include}\": must be 'Metadata', 'Object', 'None', or empty"
            )

    @property
    def form(self) -> Form:
        return self.wanted.form

    @property
    def meta_version(self) -> str:
        return self.wanted.version

    def full(self, row: Row) -> bytes:
        """The whole object."""
        if self._converts:
            body = orjson.dumps(conversion.from_stored(self.kind, row.decode()))
            return self._prefix + body[1:]
        return self._prefix + row.body[1:]

    def one(self, row: Row) -> bytes:
        """A single object as a response."""
        self._check_list(is_list=False)
        if self.form == "metadata":
            return self._partial(row)
        if self.form == "table":
            return orjson.dumps(self._table([row], {"resourceVersion": str(row.revision)}))
        return self.full(row)

    def _check_list(self, *, is_list: bool) -> None:
        """406 when metadata of a list is asked of an object, or the other way round."""
        if self.wanted.is_list is None or self.wanted.is_list is is_list:
            return
        package = (self.kind.group or "core").partition(".")[0]
        if is_list:
            text = f"PartialObjectMetadata, but the requested object is a list (*{package}.{self.kind.kind}List)"
        else:
            text = (
                "PartialObjectMetadataList, but the requested object is not a list"
                f" (*{package}.{self.kind.kind})"
            )
        raise errors.ApiFailure(406, "NotAcceptable", f"you requested {text}")

    def dump(self, obj: Mapping[str, Any]) -> bytes:
        """An object that was not stored (dry run, reviews) in this view's form."""
        rest = {k: v for k, v in obj.items() if k not in {"kind", "apiVersion"}}
        if self.form == "metadata":
            return (
                _PARTIAL.replace(b"/v1", b"/" + self.meta_version.encode())
                + orjson.dumps(obj["metadata"])
                + b"}"
            )
        if self.form == "table":
            meta = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            return orjson.dumps(self._rows([rest], meta))
        body = orjson.dumps(rest)
        return self._prefix + body[1:]

    def many(self, rows: Iterable[Row], meta: Mapping[str, Any]) -> bytes:
        """A list response; ``meta`` is the ListMeta."""
        self._check_list(is_list=True)
        if self.form == "table":
            return orjson.dumps(self._table(list(rows), meta))
        if self.form == "metadata":
            version = f"meta.k8s.io/{self.meta_version}"
            head = {"kind": "PartialObjectMetadataList", "apiVersion": version, "metadata": meta}
            items = [self._partial(row) for row in rows]
        else:
            kind = self.kind
            head = {
                "kind": kind.list_kind or kind.kind + "List",
                "apiVersion": kind.api_version,
                "metadata": meta,
            }
            items = [self._item(row) for row in rows]
        if self.form == "metadata" and not items:
            return orjson.dumps({**head, "items": None})
        return orjson.dumps(head)[:-1] + b',"items":[' + b",".join(items) + b"]}"

    def _shown(self, row: Row) -> bytes:
        return self._partial(row) if self.form == "metadata" else self.full(row)

    def _partial(self, row: Row) -> bytes:
        return _PARTIAL.replace(b"/v1", b"/" + self.meta_version.encode()) + row.metadata + b"}"

    def _item(self, row: Row) -> bytes:
        # Items of built-in lists carry no kind and apiVersion; those of custom resources do.
        if self.kind.crd:
            return self._prefix + row.body[1:]
        if self._converts:
            return orjson.dumps(conversion.from_stored(self.kind, row.decode()))
        return row.body

    def _table(self, rows: list[Row], meta: Mapping[str, Any]) -> dict[str, Any]:
        objects = [conversion.from_stored(self.kind, row.decode()) for row in rows]
        return self._rows(objects, meta)

    def _rows(self, objects: list[dict[str, Any]], meta: Mapping[str, Any]) -> dict[str, Any]:
        """A table; the first one of a watch has the column definitions."""
        header, self._header_due = self._header_due, False
        return self.tables.table(
            self.kind,
            objects,
            meta=meta,
            include=self.include,
            version=self.meta_version,
            header=header,
        )

    def event(self, change: Change, as_type: ChangeType) -> bytes:
        """One watch line for ``change`` seen as ``as_type``."""
        if self.form == "table" and self._header_due:
            return self.line(as_type, self._told(change, as_type))
        key = (as_type, self.form, self.kind.version, self.meta_version, self.include)
        line = change.encoded.get(key)
        if line is None:
            line = self.line(as_type, self._told(change, as_type))
            change.encoded[key] = line
        return line

    @staticmethod
    def _told(change: Change, as_type: ChangeType) -> Row:
        """The state that an event shows: the last selected one when an object leaves."""
        if as_type == "DELETED" and change.type != "DELETED" and change.previous is not None:
            return _restamped(change.previous, change.revision)
        return change.row

    def line(self, as_type: str, row: Row) -> bytes:
        """One watch line for a row."""
        if self.form == "table":
            table = self._table([row], {"resourceVersion": str(row.revision)})
            return orjson.dumps({"type": as_type, "object": table}) + b"\n"
        return b'{"type":"' + as_type.encode() + b'","object":' + self._shown(row) + b"}\n"

    def bookmark(self, revision: int, *, initial_end: bool = False) -> bytes:
        """A bookmark line; ``initial_end`` marks the end of the initial events."""
        meta: dict[str, Any] = {"resourceVersion": str(revision)}
        if initial_end:
            meta["annotations"] = {"k8s.io/initial-events-end": "true"}
        if self.form == "metadata":
            version = f"meta.k8s.io/{self.meta_version}"
            obj: dict[str, Any] = {"kind": "PartialObjectMetadata", "apiVersion": version}
            obj["metadata"] = meta
        elif self.form == "table":
            obj = self._rows([{"metadata": meta}], {"resourceVersion": str(revision)})
        else:
            obj = {"kind": self.kind.kind, "apiVersion": self.kind.api_version, "metadata": meta}
        return orjson.dumps({"type": "BOOKMARK", "object": obj}) + b"\n"


def _restamped(row: Row, revision: int) -> Row:
    """The row as a watch tells of it when it leaves a selector at ``revision``."""
    obj = row.decode()
    obj["metadata"]["resourceVersion"] = str(revision)
    body, meta_end = encode(obj)
    return Row(row.namespace, row.name, revision, row.uid, body, meta_end, row.labels, row.owners)
