"""Objects as the server writes them back: its structs decide what is kept, dropped or filled in.

A field that is empty and optional disappears (``paused: false``), a struct is always there
(``resources: {}``), quantities and times take their canonical form. Custom resources have no
structs and stay as they are.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
from typing import Any

from devcluster.fields import quantity
from devcluster.fields.schema import Node

__all__ = ["as_written", "canonical_time"]


def as_written(value: Any, node: Node, known: Any = None) -> Any:
    """The value as it would be read back; itself if nothing changes.

    Args:
        value: a JSON value of the node's type; unknown fields are dropped.
        node: the type.
        known: a value that is in this form already; parts that are the same object are skipped.

    Raises:
        ValueError: a quantity or time that cannot be read.

    """
    if value is known:
        return value
    form = node.form
    if form == "struct":
        return _struct(value, node, known) if isinstance(value, dict) else value
    if form == "list":
        return _list(value, node, known) if isinstance(value, list) else value
    if form == "map":
        return _map(value, node, known) if isinstance(value, dict) else value
    scalar = _SCALARS.get(form)
    return scalar(value) if scalar is not None and value is not None else value


# Instead of a value: the field is not written.
_LEFT_OUT: Any = object()


def _struct(value: dict[str, Any], node: Node, known: Any) -> dict[str, Any]:
    before: dict[str, Any] = known if isinstance(known, dict) else {}
    out: dict[str, Any] | None = None
    for key, item in value.items():
        new = _field(item, key, node, before)
        if new is item:
            continue
        if out is None:
            out = dict(value)
        if new is _LEFT_OUT:
            del out[key]
        else:
            out[key] = new
    for key, zero in node.always:
        if key not in value:
            out = dict(value) if out is None else out
            out[key] = zero
    return value if out is None else out


def _field(item: Any, key: str, node: Node, before: dict[str, Any]) -> Any:
    """One field of a struct as it is written."""
    rule = node.rules.get(key)
    if rule is None:
        return _LEFT_OUT
    if item is None:
        if rule in "poz":
            return _LEFT_OUT
        return next((zero for name, zero in node.always if name == key), None)
    new = as_written(item, node.fields[key], before.get(key))
    if not new:
        if rule == "o":
            return _LEFT_OUT
        if rule == "a" and isinstance(new, list | dict):
            return None
    return new


def _list(value: list[Any], node: Node, known: Any) -> list[Any]:
    items = node.items
    if items is None or items.form in _PLAIN:
        if None in value:
            return ["" if item is None else item for item in value]
        return value
    before: list[Any] = known if isinstance(known, list) else []
    out = [
        as_written(
            _zero(items) if item is None else item, items, before[at] if at < len(before) else None
        )
        for at, item in enumerate(value)
    ]
    if all(new is old for new, old in zip(out, value, strict=True)):
        return value
    return out


def _map(value: dict[str, Any], node: Node, known: Any) -> dict[str, Any]:
    element = node.element
    if element is None or element.form in _PLAIN:
        if None in value.values():
            return {key: "" if item is None else item for key, item in value.items()}
        return value
    if element.form == "quantity":
        return _amounts(value)
    before: dict[str, Any] = known if isinstance(known, dict) else {}
    out = {
        key: as_written(_zero(element) if item is None else item, element, before.get(key))
        for key, item in value.items()
    }
    if all(out[key] is item for key, item in value.items()):
        return value
    return out


def _amounts(value: dict[str, Any]) -> dict[str, Any]:
    """Amounts of resources by name."""
    out = {
        key: quantity.in_thousandths("0" if item is None else str(item))
        for key, item in value.items()
    }
    return value if out == value else out


def _zero(node: Node) -> Any:
    return {"quantity": "0"}.get(node.form, {} if node.form == "struct" else None)


_PLAIN = frozenset({"string", "bytes", "int32", "int64", "boolean", "number"})

# Go's layout of a time, part by part.
_PARTS = (
    *(("2006", r"\d{4}"), ("-", "-"), ("01", r"\d\d"), ("-", "-"), ("02", r"\d\d"), ("T", "T")),
    *(("15", r"\d\d"), (":", ":"), ("04", r"\d\d"), (":", ":"), ("05", r"\d\d(\.\d+)?")),
    ("Z07:00", r"Z|[+-]\d\d:\d\d"),
)
_TIME = re.compile(r"^(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)$")


def _unread(text: str) -> tuple[str, str]:
    """Where reading a time stops, and the part of the layout that is wanted there."""
    rest = text
    for part, pattern in _PARTS:
        found = re.match(pattern, rest)
        if found is None:
            return rest, part
        rest = rest[found.end() :]
    return rest, _PARTS[0][0]


@functools.lru_cache(maxsize=1024)
def canonical_time(text: str, *, micro: bool = False) -> str:
    """The time in UTC, in whole seconds or with six digits.

    Raises:
        ValueError: not an RFC 3339 time, in the server's words.

    """
    layout = "2006-01-02T15:04:05.000000Z07:00" if micro else "2006-01-02T15:04:05Z07:00"
    match = _TIME.match(text)
    if match is None:
        at, part = _unread(text)
        raise ValueError(f'parsing time "{text}" as "{layout}": cannot parse "{at}" as "{part}"')
    day, clock, fraction, zone = match.groups()
    if micro and len(fraction or "") != 7:
        raise ValueError(
            f'parsing time "{text}" as "{layout}": cannot parse "{fraction or ""}{zone}"'
            ' as ".000000"'
        )
    offset = "+00:00" if zone in "Zz" else zone
    moment = dt.datetime.fromisoformat(f"{day}T{clock}{offset}").astimezone(dt.UTC)
    base = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{base}.{(fraction or '.')[1:7]:0<6}Z" if micro else f"{base}Z"


def _quantity(value: Any) -> Any:
    text = value if isinstance(value, str) else str(value)
    new = quantity.canonical(text)
    return value if new == value else new


def _time(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    new = canonical_time(value)
    return value if new == value else new


def _microtime(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    new = canonical_time(value, micro=True)
    return value if new == value else new


_SCALARS = {"quantity": _quantity, "time": _time, "microtime": _microtime}
