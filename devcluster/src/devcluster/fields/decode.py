"""Decoding of request objects: types, unknown and duplicate fields, in the server's words.

Built-in kinds are decoded into structs: what does not fit is refused, what is unknown is dropped,
and the rest takes the form in which it would be written back.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

import orjson

from devcluster.fields import quantity
from devcluster.fields.encoding import canonical_time
from devcluster.fields.schema import JsonObject, Node

__all__ = ["Mismatch", "check_types", "duplicate_fields", "key_order", "unknown_fields"]


class Mismatch(ValueError):
    """A value that its Go type cannot hold; the text is the decoder's.

    Attributes:
        restored: what the server says of the same value in a strategic merge patch, whose result
            it restores from maps and slices instead of decoding it.

    """

    def __init__(self, text: str, *, restored: str = "") -> None:
        super().__init__(text)
        self.restored = restored or text


def check_types(value: JsonObject, node: Node, kind: str) -> None:
    """Refuse values of the wrong type; ``kind`` owns the fields of the first level.

    Raises:
        Mismatch: the first one, in the order of the document.

    """
    _struct(value, node, "", kind)


_NAMES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "bool"),
    (str, "string"),
    ((int, float), "number"),
    (list, "array"),
    (dict, "object"),
)


def _name(value: Any) -> str:
    return next(name for kind, name in _NAMES if isinstance(value, kind))


def _wrong(value: Any, owner: str, path: str, go_type: str, kind: str) -> Mismatch:
    """``kind`` is the kind of the Go type: struct, slice, map, string, int32, …."""
    shown = _name(value)
    if shown == "number" and _numeric(go_type):
        shown = f"number {orjson.dumps(value).decode()}"
    return Mismatch(
        f"json: cannot unmarshal {shown} into Go struct field {owner}.{path} of type {go_type}",
        restored=_unrestorable(value, go_type, kind),
    )


_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "bool"),
    (str, "string"),
    (int, "int64"),
    (float, "float64"),
    (list, "slice"),
    (dict, "map"),
)


def _unrestorable(value: Any, go_type: str, wanted: str) -> str:
    """Why the server's converter cannot make a ``go_type``, which is a ``wanted``, of ``value``."""
    kind = next(name for known, name in _KINDS if isinstance(value, known))
    if wanted == "struct":
        return f"cannot restore struct from: {kind}"
    if wanted in {"slice", "map"}:
        return f"cannot restore {wanted} from {kind}"
    # Go converts between numbers, and from an integer to a string: the converter sees these two.
    if (kind, wanted) in {("int64", "string"), ("float64", "int32"), ("float64", "int64")}:
        return f"cannot convert {kind} to {go_type}"
    return f"unrecognized type: {wanted}"


def _numeric(go_type: str) -> bool:
    return go_type in {"int32", "int64", "int", "float64"}


def _struct(value: Any, node: Node, path: str, owner: str) -> None:
    fields, go = node.fields, node.go
    prefix = f"{path}." if path else ""
    for key, item in value.items():
        child = fields.get(key)
        if child is not None and item is not None:
            _value(item, child, (prefix + key, owner, go.get(key, "").lstrip("*")))


def _value(value: Any, node: Node, where: tuple[str, str, str]) -> None:
    path, owner, go_type = where
    form = node.form
    if form == "string":
        if not isinstance(value, str):
            raise _wrong(value, owner, path, _basic(go_type, "string"), "string")
    elif form == "struct":
        if not isinstance(value, dict):
            raise _wrong(value, owner, path, go_type, "struct")
        _struct(value, node, path, node.name)
    elif form in {"list", "map"}:
        _collection(value, node, where)
    elif form in _CHECKS:
        _CHECKS[form](value, where)


def _basic(go_type: str, base: str) -> str:
    """The basic type behind a list's or map's element, or the named type of a field."""
    return go_type if go_type and "[" not in go_type else base


def _collection(value: Any, node: Node, where: tuple[str, str, str]) -> None:
    path, owner, go_type = where
    element = node.items if node.form == "list" else node.element
    if not isinstance(value, list if node.form == "list" else dict):
        raise _wrong(value, owner, path, go_type, "slice" if node.form == "list" else "map")
    inner = _element_type(go_type)
    for item in value if isinstance(value, list) else value.values():
        if item is not None and element is not None:
            _value(item, element, (path, owner, inner))


def _element_type(go_type: str) -> str:
    if go_type.startswith("[]"):
        return go_type[2:].lstrip("*")
    if go_type.startswith("map["):
        return go_type[go_type.index("]") + 1 :].lstrip("*")
    # Named lists and maps, such as ResourceList.
    return ""


def _integer(value: Any, where: tuple[str, str, str], bits: int) -> None:
    path, owner, go_type = where
    fits = isinstance(value, int) and not isinstance(value, bool)
    if isinstance(value, float) and value.is_integer():
        fits = True
    if not fits or not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise _wrong(value, owner, path, _basic(go_type, f"int{bits}"), f"int{bits}")


def _boolean(value: Any, where: tuple[str, str, str]) -> None:
    if not isinstance(value, bool):
        raise _wrong(value, where[1], where[0], _basic(where[2], "bool"), "bool")


def _number(value: Any, where: tuple[str, str, str]) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(value, where[1], where[0], _basic(where[2], "float64"), "float64")


def _int_or_string(value: Any, where: tuple[str, str, str]) -> None:
    if not isinstance(value, str):
        _integer(value, (where[0], where[1], "int32"), 32)


def _quantity(value: Any, where: tuple[str, str, str]) -> None:
    del where
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    if not quantity.valid(text):
        raise Mismatch(
            "quantities must match the regular expression"
            " '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        )


def _time(value: Any, where: tuple[str, str, str], *, micro: bool = False) -> None:
    if not isinstance(value, str):
        raise _wrong(value, where[1], where[0], "string", "string")
    try:
        canonical_time(value, micro=micro)
    except ValueError as problem:
        raise Mismatch(str(problem)) from problem


def _bytes(value: Any, where: tuple[str, str, str]) -> None:
    path, owner, _ = where
    if not isinstance(value, str):
        raise _wrong(value, owner, path, "[]uint8", "slice")
    try:
        base64.b64decode(value.replace("\n", "").replace("\r", ""), validate=True)
    except binascii.Error:
        raise Mismatch(f"illegal base64 data at input byte {_bad_base64(value)}") from None


_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/\r\n]")


def _bad_base64(text: str) -> int:
    found = _NOT_BASE64.search(text)
    if found is None:
        return len(text) // 4 * 4
    if text[found.start()] == "=" and found.start() % 4 >= 2:
        return found.start() + 1
    return found.start()


_CHECKS: dict[str, Any] = {
    "int32": lambda value, where: _integer(value, where, 32),
    "int64": lambda value, where: _integer(value, where, 64),
    "boolean": _boolean,
    "number": _number,
    "int-or-string": _int_or_string,
    "quantity": _quantity,
    "time": _time,
    "microtime": lambda value, where: _time(value, where, micro=True),
    "bytes": _bytes,
}


# --- strictness ----------------------------------------------------------------------------------


def unknown_fields(value: Any, node: Node, path: str = "") -> Iterator[str]:
    """Paths of fields that a built-in kind does not have, in the order of the document."""
    if isinstance(value, dict):
        if node.form == "struct":
            yield from _unknown_in_struct(value, node, path)
        elif node.form == "map" and node.element is not None and node.element.form == "struct":
            for key, item in value.items():
                yield from unknown_fields(item, node.element, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and node.items is not None and node.items.form == "struct":
        for index, item in enumerate(value):
            yield from unknown_fields(item, node.items, f"{path}[{index}]")


def _unknown_in_struct(value: JsonObject, node: Node, path: str) -> Iterator[str]:
    for key, item in value.items():
        child = node.fields.get(key)
        inner = f"{path}.{key}" if path else key
        if child is None:
            yield inner
        elif isinstance(item, dict | list):
            yield from unknown_fields(item, child, inner)


def duplicate_fields(raw: bytes) -> list[str]:
    """Paths of keys that a JSON document repeats within one object, in its order."""
    if not _may_repeat(raw):
        return []
    scanner = _Scanner(raw)
    scanner.value("")
    return scanner.repeated


def operation_problems(raw: bytes, repeated: list[str]) -> list[str]:
    """What is wrong with the operations of a JSON patch beside what they do."""
    problems = [f'json patch duplicate field "{path}"' for path in repeated]
    for at, operation in enumerate(orjson.loads(raw)):
        unknown = [key for key in operation if key not in _OPERATION]
        problems += [f'json patch unknown field "[{at}].{key}"' for key in unknown]
    return problems


_OPERATION = frozenset({"op", "path", "from", "value"})


AGAIN = "\0"
"""After the path of a key, in ``key_order``: where it is repeated."""


def key_order(raw: bytes) -> dict[str, int]:
    """Every key's path and its first place in the document."""
    scanner = _Scanner(raw)
    scanner.value("")
    return scanner.order


_SPACED = re.compile(rb'"\s+:')


def _may_repeat(raw: bytes) -> bool:
    """Cheap: whether the document seems to have more keys than its decoded form."""
    try:
        decoded = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return False
    return raw.count(b'":') != _count_keys(decoded) or _SPACED.search(raw) is not None


def _count_keys(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(
            _count_keys(item) for item in value.values() if isinstance(item, dict | list)
        )
    if isinstance(value, list):
        return sum(_count_keys(item) for item in value if isinstance(item, dict | list))
    return 0


class _Scanner:
    """Walks well-formed JSON text and notes its keys, and which of them are repeated."""

    _STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
    _SPACE = re.compile(r"[\s,:]*")
    _SCALAR = re.compile(r"[^\s,\]}]+")

    def __init__(self, raw: bytes) -> None:
        self._text = raw.decode("utf-8", "replace")
        self._at = 0
        self.repeated: list[str] = []
        self.order: dict[str, int] = {}

    def value(self, path: str) -> None:
        self._skip()
        sign = self._text[self._at]
        if sign == "{":
            self._object(path)
        elif sign == "[":
            self._list(path)
        elif sign == '"':
            self._string()
        else:
            self._at = self._match(self._SCALAR)

    def _object(self, path: str) -> None:
        self._at += 1
        seen: set[str] = set()
        while self._next() != "}":
            key = orjson.loads(self._string())
            inner = f"{path}.{key}" if path else key
            if key in seen:
                self.repeated.append(inner)
                self.order.setdefault(f"{inner}{AGAIN}", self._at)
            seen.add(key)
            self.order.setdefault(inner, self._at)
            self.value(inner)
        self._at += 1

    def _list(self, path: str) -> None:
        self._at += 1
        index = 0
        while self._next() != "]":
            self.value(f"{path}[{index}]")
            index += 1
        self._at += 1

    def _next(self) -> str:
        self._skip()
        return self._text[self._at]

    def _skip(self) -> None:
        self._at = self._match(self._SPACE)

    def _string(self) -> str:
        start = self._at
        self._at = self._match(self._STRING)
        return self._text[start : self._at]

    def _match(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self._text, self._at)
        return found.end() if found else len(self._text)
