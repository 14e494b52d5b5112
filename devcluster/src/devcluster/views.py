"""Turning rows into bytes: the kind in one of its versions, metadata only, or a table.

A view is made per request; what it produces for a change is cached on the change, so that twenty
watchers of one form cost one encoding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from devcluster import conversion, errors
from devcluster.kinds import Kind
from devcluster.show.maker import TableMaker
from devcluster.store import Change, ChangeType, Row, encode

__all__ = ["Form", "View", "negotiate"]

Form = Literal["full", "metadata", "table"]
_PARTIAL = b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":'


def negotiate(accept: str) -> tuple[Form, str]:
    """The form asked for in ``Accept`` and the meta version; raises 406 when none can be given.

    JSON is the only encoding: protobuf and CBOR are passed over where JSON is named as well.
    """
    if not accept:
        return "full", "v1"
    for clause in accept.split(","):
        media, _, rest = clause.strip().partition(";")
        if media.strip() not in {"application/json", "*/*", "application/*"}:
            continue
        params = dict(part.strip().partition("=")[::2] for part in rest.split(";") if "=" in part)
        wanted, version = params.get("as", ""), params.get("v", "v1")
        if not wanted:
            return "full", "v1"
        if params.get("g") != "meta.k8s.io" or version not in {"v1", "v1beta1"}:
            continue
        if wanted == "Table":
            return "table", version
        if wanted in {"PartialObjectMetadata", "PartialObjectMetadataList"}:
            return "metadata", version
    raise errors.not_acceptable()


@dataclass(slots=True)
class View:
    """How one request wants to see a kind."""

    kind: Kind
    form: Form = "full"
    meta_version: str = "v1"
    include: str = "Metadata"
    tables: TableMaker | None = None
    _prefix: bytes = field(init=False, default=b"")
    _converts: bool = field(init=False, default=False)
    _header_due: bool = field(init=False, default=True)

    def __post_init__(self) -> None:
        head = orjson.dumps({"kind": self.kind.kind, "apiVersion": self.kind.api_version})
        self._prefix = head[:-1] + b","
        self._converts = conversion.converts(self.kind)

    def full(self, row: Row) -> bytes:
        """The whole object."""
        if self._converts:
            body = orjson.dumps(conversion.from_stored(self.kind, row.decode()))
            return self._prefix + body[1:]
        return self._prefix + row.body[1:]

    def one(self, row: Row) -> bytes:
        """A single object as a response."""
        if self.form == "metadata":
            return _PARTIAL.replace(b"/v1", b"/" + self.meta_version.encode()) + row.metadata + b"}"
        if self.form == "table":
            return orjson.dumps(self._table([row], {"resourceVersion": str(row.revision)}))
        return self.full(row)

    def dump(self, obj: Mapping[str, Any]) -> bytes:
        """An object that was not stored (dry run, reviews) in this view's form."""
        rest = {k: v for k, v in obj.items() if k not in {"kind", "apiVersion"}}
        if self.form == "metadata":
            return (
                _PARTIAL.replace(b"/v1", b"/" + self.meta_version.encode())
                + orjson.dumps(obj["metadata"])
                + b"}"
            )
        body = orjson.dumps(rest)
        return self._prefix + body[1:]

    def many(self, rows: Iterable[Row], meta: Mapping[str, Any]) -> bytes:
        """A list response; ``meta`` is the ListMeta."""
        if self.form == "table":
            return orjson.dumps(self._table(list(rows), meta))
        if self.form == "metadata":
            version = f"meta.k8s.io/{self.meta_version}"
            head = {"kind": "PartialObjectMetadataList", "apiVersion": version, "metadata": meta}
            items = [self.one(row) for row in rows]
        else:
            kind = self.kind
            head = {
                "kind": kind.list_kind or kind.kind + "List",
                "apiVersion": kind.api_version,
                "metadata": meta,
            }
            items = [self._item(row) for row in rows]
        return orjson.dumps(head)[:-1] + b',"items":[' + b",".join(items) + b"]}"

    def _item(self, row: Row) -> bytes:
        # Items of built-in lists carry no kind and apiVersion; those of custom resources do.
        if self.kind.crd:
            return self._prefix + row.body[1:]
        if self._converts:
            return orjson.dumps(conversion.from_stored(self.kind, row.decode()))
        return row.body

    def _table(
        self, rows: list[Row], meta: Mapping[str, Any], *, header: bool = True
    ) -> dict[str, Any]:
        if self.tables is None:
            raise errors.not_acceptable()
        objects = [conversion.from_stored(self.kind, row.decode()) for row in rows]
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
        """One watch line for a row; the first table of a watch has the column definitions."""
        if self.form == "table":
            meta = {"resourceVersion": str(row.revision)}
            table = self._table([row], meta, header=self._header_due)
            self._header_due = False
            return orjson.dumps({"type": as_type, "object": table}) + b"\n"
        return b'{"type":"' + as_type.encode() + b'","object":' + self.one(row) + b"}\n"

    def bookmark(self, revision: int, *, initial_end: bool = False) -> bytes:
        """A bookmark line; ``initial_end`` marks the end of the initial events."""
        meta: dict[str, Any] = {"resourceVersion": str(revision)}
        if initial_end:
            meta["annotations"] = {"k8s.io/initial-events-end": "true"}
        if self.form == "metadata":
            version = f"meta.k8s.io/{self.meta_version}"
            obj: dict[str, Any] = {"kind": "PartialObjectMetadata", "apiVersion": version}
        elif self.form == "table":
            obj = {"kind": "Table", "apiVersion": f"meta.k8s.io/{self.meta_version}"}
            obj |= {"metadata": meta, "columnDefinitions": None, "rows": []}
        else:
            obj = {"kind": self.kind.kind, "apiVersion": self.kind.api_version}
        obj["metadata"] = meta
        return orjson.dumps({"type": "BOOKMARK", "object": obj}) + b"\n"


def _restamped(row: Row, revision: int) -> Row:
    """The row as a watch tells of it when it leaves a selector at ``revision``."""
    obj = row.decode()
    obj["metadata"]["resourceVersion"] = str(revision)
    body, meta_end = encode(obj)
    return Row(row.namespace, row.name, revision, row.uid, body, meta_end, row.labels, row.owners)
