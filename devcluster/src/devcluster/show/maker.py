"""Makes ``meta.k8s.io`` Tables: columns of each kind, a row of cells per object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import orjson

from devcluster.kinds import Kind
from devcluster.show import core_cells, group_cells, workload_cells
from devcluster.show.age import age
from devcluster.show.jsonpath import find

__all__ = ["TableMaker"]

JsonObject = dict[str, Any]
_CELLS = core_cells.CELLS | workload_cells.CELLS | group_cells.CELLS


class TableMaker:
    """Columns come from ``data/columns.json`` for built-in kinds, from the kind for custom ones."""

    def __init__(self) -> None:
        raw = resources.files("devcluster").joinpath("data/columns.json").read_bytes()
        self._builtin: dict[str, list[JsonObject]] = {
            name: [_column(*column) for column in columns]
            for name, columns in orjson.loads(raw).items()
        }

    def table(
        self,
        kind: Kind,
        objects: Sequence[JsonObject],
        *,
        meta: Mapping[str, Any],
        include: str,
        version: str,
        header: bool = True,
    ) -> JsonObject:
        """A Table of ``objects`` (in the kind's version).

        Args:
            kind: of all objects.
            objects: without kind and apiVersion.
            meta: the Table's ListMeta.
            include: the query's includeObject: None, Metadata or Object.
            version: of meta.k8s.io.
            header: False for all but the first event of a watch.

        """
        return {
            "kind": "Table",
            "apiVersion": f"meta.k8s.io/{version}",
            "metadata": dict(meta),
            "columnDefinitions": self._columns(kind) if header else None,
            "rows": [
                {"cells": self._cells(kind, obj), "object": _included(kind, obj, include, version)}
                for obj in objects
            ],
        }

    def _columns(self, kind: Kind) -> list[JsonObject]:
        if not kind.crd:
            return self._builtin[f"{kind.group}/{kind.version}/{kind.plural}"]
        columns = [_column("Name", "string", "name", 0)]
        for column in kind.columns:
            path = column["jsonPath"]
            note = column.get("description") or (
                f"Custom resource definition column (in JSONPath format): {path}"
            )
            columns.append(
                _column(
                    column["name"],
                    column["type"],
                    column.get("format", ""),
                    column.get("priority", 0),
                    note,
                )
            )
        return columns

    def _cells(self, kind: Kind, obj: JsonObject) -> list[Any]:
        name = obj["metadata"].get("name", "")
        if kind.crd:
            return [name, *(_custom_cell(column, obj) for column in kind.columns)]
        if not name:
            return [_blank(column) for column in self._columns(kind)]  # a bookmark
        cells: list[Any] = _CELLS[kind.table](obj)
        return cells


def _blank(column: Mapping[str, Any]) -> Any:
    if column["name"] == "Age":
        return "<unknown>"
    return 0 if column["type"] == "integer" else ""


def _column(name: str, kind: str, form: str, priority: int, note: str = "") -> JsonObject:
    return {"name": name, "type": kind, "format": form, "description": note, "priority": priority}


def _custom_cell(column: Mapping[str, Any], obj: JsonObject) -> Any:
    values = find(column["jsonPath"], obj)
    if not values or values[0] is None:
        return None
    value, kind = values[0], column["type"]
    if kind == "string":
        return value if isinstance(value, str) else _shown(value)
    if kind == "date":
        return age(value) if "T" in str(value) else "<invalid>"
    if kind == "integer" and isinstance(value, int | float):
        return int(value)
    if kind in {"integer", "number", "boolean"} and isinstance(value, int | float | bool):
        return value
    return None


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value}"
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _included(kind: Kind, obj: JsonObject, include: str, version: str) -> JsonObject | None:
    if include == "None":
        return None
    if include == "Object":
        return {"kind": kind.kind, "apiVersion": kind.api_version, **obj}
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": obj["metadata"],
    }
