"""A reader of CBOR (RFC 8949) for what strangers signed: only what COSE needs, and strictly.

Accepted is the deterministic form alone: shortest lengths, nothing indefinite, no key twice, no
byte too many. Whoever reads the same bytes otherwise must not read something else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["InvalidCbor", "Tagged", "read_cbor", "write_array"]

_MAX_DEPTH = 8
_MAX_ITEMS = 1000
_SIMPLE = {20: False, 21: True, 22: None}
_BYTES, _TEXT, _ARRAY, _OTHER = 2, 3, 4, 7


class InvalidCbor(ValueError):
    """It is not CBOR, or not in the form that is read here."""


@dataclass(frozen=True, slots=True)
class Tagged:
    """A value with its tag."""

    tag: int
    value: Any


def read_cbor(data: bytes) -> Any:
    """The one value that the bytes are: int, bytes, str, list, dict, bool, ``None``, ``Tagged``.

    Raises:
        InvalidCbor: see there.

    """
    reader = _Reader(data)
    value = reader.value(_MAX_DEPTH)
    if reader.left:
        raise InvalidCbor("something follows the value")
    return value


def write_array(*items: bytes | str) -> bytes:
    """An array of byte and text strings."""
    return _head(_ARRAY, len(items)) + b"".join(
        _head(_BYTES, len(item)) + item
        if isinstance(item, bytes)
        else _head(_TEXT, len(item.encode())) + item.encode()
        for item in items
    )


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._at = 0
        self._items = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def value(self, depth: int) -> Any:
        self._items += 1
        if not depth or self._items > _MAX_ITEMS:
            raise InvalidCbor("there is too much in it")
        kind, number = self._read_head()
        match kind:
            case 0:
                found: Any = number
            case 1:
                found = -1 - number
            case 2 | 3:
                found = self._string(kind, number)
            case 4:
                found = [self.value(depth - 1) for _ in range(self._count(number))]
            case 5:
                found = self._map(number, depth)
            case 6:
                found = Tagged(number, self.value(depth - 1))
            case _ if number in _SIMPLE:
                found = _SIMPLE[number]
            case _:
                raise InvalidCbor("a value is of an unknown kind")
        return found

    def _map(self, number: int, depth: int) -> dict[int | str, Any]:
        found: dict[int | str, Any] = {}
        for _ in range(self._count(number)):
            key = self.value(depth - 1)
            if type(key) not in {int, str} or key in found:
                raise InvalidCbor("a map has a key twice, or one that is neither number nor text")
            found[key] = self.value(depth - 1)
        return found

    def _string(self, kind: int, length: int) -> bytes | str:
        raw = self._take(length)
        if kind == _BYTES:
            return raw
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise InvalidCbor("a text is not UTF-8") from None

    def _count(self, number: int) -> int:
        if number > self.left:  # an item has a byte at least
            raise InvalidCbor("it ends too early")
        return number

    def _take(self, length: int) -> bytes:
        if length > self.left:
            raise InvalidCbor("it ends too early")
        self._at += length
        return bytes(self._data[self._at - length : self._at])

    def _read_head(self) -> tuple[int, int]:
        first = self._take(1)[0]
        kind, short = first >> 5, first & 31
        if short < 24:
            return kind, short
        if short > 27 or kind == _OTHER:
            raise InvalidCbor("a length is indefinite, or a value of an unknown kind")
        number = int.from_bytes(self._take(1 << short - 24), "big")
        if _head(kind, number)[0] != first:
            raise InvalidCbor("a length is longer than it need be")
        return kind, number


def _head(kind: int, number: int) -> bytes:
    if number < 24:
        return bytes([kind << 5 | number])
    for short in range(4):
        size = 1 << short
        if number < 1 << 8 * size:
            return bytes([kind << 5 | 24 + short]) + number.to_bytes(size, "big")
    raise InvalidCbor("a number is too large")
