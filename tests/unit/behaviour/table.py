"""The check of tests/behaviour.yaml: rows against tests, fields of the CRDs against tests.

Tests are read, not run: what counts is a ``shows`` marker on a test function or on one of its
parameters, and that the test is neither skipped nor expected to fail.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

__all__ = [
    "BadTable",
    "Row",
    "Shown",
    "field_gaps",
    "leaf_fields",
    "read_rows",
    "refusal_gaps",
    "row_gaps",
    "shown_in",
]

FIELD = "field:"
REFUSED = "refused:"
_NOT_RUN = frozenset({"skip", "xfail"})


class BadTable(Exception):
    """The table or a marker cannot be read; the text says where."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table; ``not_yet`` is empty where a test is due."""

    id: str
    not_yet: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A ``shows`` marker: what is shown and by which test."""

    what: str
    test: str


def read_rows(document: Mapping[str, Any]) -> tuple[Row, ...]:
    """The rows of the table.

    Raises:
        BadTable: a row says neither when it is produced nor why not, or both, or is there twice.

    """
    rows: dict[str, Row] = {}
    for entry in document["rows"]:
        name = entry["id"]
        if bool(entry.get("when")) == bool(entry.get("not_yet")) or entry.keys() - _KEYS:
            raise BadTable(f"{name}: exactly one of 'when' and 'not_yet', and nothing else")
        if name in rows:
            raise BadTable(f"{name} is there twice")
        rows[name] = Row(name, entry.get("not_yet", ""))
    return tuple(rows.values())


_KEYS = {"id", "when", "not_yet"}


def shown_in(source: str, where: str) -> Iterator[Shown]:
    """The markers of one test module.

    Args:
        source: its text.
        where: its path, for messages.

    Raises:
        BadTable: a marker is not on a test, or its arguments are not plain strings.

    """
    tree = ast.parse(source)
    counted: set[ast.Call] = set()
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            calls = [call for one in function.decorator_list for call in _shows_calls(one)]
            test = f"{where}::{function.name}"
            if calls and not function.name.startswith("test_"):
                raise BadTable(f"{test}: shows is not on a test")
            counted.update(calls)
            if not _is_run(function):
                continue
            for call in calls:
                yield from (Shown(what, test) for what in _texts(call, test))
    lost = [call for call in _shows_calls(tree) if call not in counted]
    if lost:
        raise BadTable(f"{where}:{lost[0].lineno}: shows is not on a test")


def row_gaps(rows: Sequence[Row], shown: Iterable[Shown]) -> list[str]:
    """What is wrong between the rows and the tests; empty if nothing is."""
    tests: dict[str, list[str]] = {}
    for one in shown:
        if not one.what.startswith((FIELD, REFUSED)):
            tests.setdefault(one.what, []).append(one.test)
    known = {row.id: row for row in rows}
    gaps = [
        f"{row.id}: no test shows it" for row in rows if not row.not_yet and row.id not in tests
    ]
    for what, by in tests.items():
        row = known.get(what)
        if row is None:
            gaps.append(f"{what}: shown by {by[0]}, and no row of the table")
        elif row.not_yet:
            gaps.append(f"{what}: marked not_yet, and shown by {by[0]}")
    return gaps


def leaf_fields(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    """Paths of the leaves below a schema: lists as ``[]``, maps as one leaf."""
    if schema.get("properties"):
        for name, child in schema["properties"].items():
            yield from leaf_fields(child, f"{path}.{name}")
    elif schema.get("type") == "array":
        yield from leaf_fields(schema["items"], f"{path}[]")
    else:
        yield path


def field_gaps(
    kind: str,
    fields: Iterable[str],
    *,
    shown: Iterable[Shown],
    refused: Iterable[str],
    schema_only: Iterable[str],
) -> list[str]:
    """Fields of a kind that nobody accounts for, and accounts of fields that do not exist.

    Args:
        kind: whose fields.
        fields: every leaf field.
        shown: all markers.
        refused: fields that the controller refuses, with everything below them; an entry with
            ``=value`` refuses one value and leaves the field to be tested.
        schema_only: fields whose only effect is in the schema.

    """
    leaves = list(fields)
    prefix = f"{FIELD}{kind}/"
    tested = {
        one.what.removeprefix(prefix): one.test for one in shown if one.what.startswith(prefix)
    }
    refusals = [entry for entry in refused if "=" not in entry]
    listed = set(schema_only)
    gaps = [
        f"{kind}: {leaf} is neither tested nor refused"
        for leaf in leaves
        if leaf not in tested and leaf not in listed and not _is_below(leaf, refusals)
    ]
    gaps += [
        f"{kind}: {name} is no field, and {test} shows it"
        for name, test in tested.items()
        if name not in leaves
    ]
    gaps += [
        f"{kind}: {name} is refused, and {test} shows it"
        for name, test in tested.items()
        if _is_below(name, refusals)
    ]
    gaps += [
        f"{kind}: {entry} is refused, and no field"
        for entry in refusals
        if not any(_is_below(leaf, [entry]) for leaf in leaves)
    ]
    return gaps + [f"{kind}: {name} is listed, and no field" for name in listed - set(leaves)]


def refusal_gaps(kind: str, refused: Iterable[str], shown: Iterable[Shown]) -> list[str]:
    """Refusals of a kind that no test shows, and tests of refusals that there are not."""
    prefix = f"{REFUSED}{kind}/"
    tests = {
        one.what.removeprefix(prefix): one.test for one in shown if one.what.startswith(prefix)
    }
    entries = set(refused)
    gaps = [f"{kind}: no test shows that {entry} is refused" for entry in entries - set(tests)]
    return gaps + [
        f"{kind}: {name} is not refused, and {test} shows it"
        for name, test in tests.items()
        if name not in entries
    ]


def read_yaml(path: Path) -> Any:
    """One YAML document."""
    return yaml.safe_load(path.read_text())


def _is_below(leaf: str, entries: Iterable[str]) -> bool:
    return any(leaf == entry or leaf.startswith((f"{entry}.", f"{entry}[")) for entry in entries)


def _shows_calls(node: ast.AST) -> Iterator[ast.Call]:
    for child in ast.walk(node):
        if isinstance(child, ast.Call) and _mark_of(child.func) == "shows":
            yield child


def _is_run(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    marks = (
        _mark_of(one.func if isinstance(one, ast.Call) else one) for one in function.decorator_list
    )
    return not _NOT_RUN.intersection(marks)


def _mark_of(node: ast.expr) -> str:
    """``name`` of ``pytest.mark.name``, else ``""``."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
        return node.attr if node.value.attr == "mark" else ""
    return ""


def _texts(call: ast.Call, test: str) -> Iterator[str]:
    if call.keywords or not call.args:
        raise BadTable(f"{test}: shows takes rows, as plain strings")
    for argument in call.args:
        if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
            raise BadTable(f"{test}: shows takes rows, as plain strings")
        yield argument.value
