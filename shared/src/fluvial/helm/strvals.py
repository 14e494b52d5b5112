r"""Helm's ``--set``: ``a.b[0]=x,c={1,2},d\.e=y`` sets values in a map.

Odd as parts of it are, they are Helm's, and charts are released by it: a list ends a value only
if it begins one, ``a[0].b=`` without a value sets nothing, and names may be empty. Problems are
told without the text, which may come from a Secret.
"""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["DEEPEST_NAME", "LARGEST_INDEX", "StrvalsError", "set_values"]

LARGEST_INDEX: Final = 65536
DEEPEST_NAME: Final = 30
_MOST_PLACES: Final = 1_000_000

_DECIMAL: Final = re.compile(r"[-+]?[0-9]{1,400}", re.ASCII)
_INT64: Final = range(-(2**63), 2**63)
_WORDS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None}

Values = dict[str, Any]


class StrvalsError(ValueError):
    """The text cannot be read; the message does not quote it."""


class _End(Exception):
    """The text has ended, which mostly is as it should be."""


def set_values(values: Values, text: str, *, strings: bool = False) -> None:
    """Set what a text says in a map, in place; lists that grow are replaced.

    Args:
        values: is changed, also where the text turns out to be wrong later on.
        text: in the grammar of ``--set``.
        strings: whether every value is a string (``--set-string``).

    Raises:
        StrvalsError: the text is not in the grammar, or does not fit what is there.

    """
    parser = _Parser(text, strings=strings)
    try:
        while True:
            parser.key(values, 0)
    except _End:
        return
    except RecursionError:
        raise StrvalsError("it nests too deeply") from None


class _Parser:
    def __init__(self, text: str, *, strings: bool) -> None:
        self._text = text
        self._at = 0
        self._strings = strings
        self._room = _Room()

    def _next(self) -> str:
        if self._at >= len(self._text):
            raise _End
        self._at += 1
        return self._text[self._at - 1]

    def _until(self, stops: str) -> tuple[str, str]:
        """The text up to one of these characters, and which; ``""`` is the end."""
        found: list[str] = []
        try:
            while (character := self._next()) not in stops:
                found.append(self._next() if character == "\\" else character)
        except _End:
            return "".join(found), ""
        return "".join(found), character

    def key(self, values: Values, level: int) -> None:
        """One name with its value."""
        name, stop = self._until("=[,.")
        if stop == "":
            if not name:
                raise _End
            raise StrvalsError("a name has no value")
        if stop == "[":
            self._indexed(values, name, level)
        elif stop == "=":
            self._assigned(values, name)
        elif stop == ",":
            raise StrvalsError("a name has no value (it cannot end with a comma)")
        else:
            self._nested(values, name, level + 1)

    def _assigned(self, values: Values, name: str) -> None:
        try:
            value = self._value()
        except _End:
            _set(values, name, "")
            raise
        _set(values, name, value)

    def _indexed(self, values: Values, name: str, level: int) -> None:
        index = self._index()
        found = values.get(name, [])
        if not isinstance(found, list):
            raise StrvalsError("an index is used on what is not a list")
        items = _Items(found, self._room)
        try:
            self._item(items, index, level)
        finally:
            _set(values, name, items.items)

    def _nested(self, values: Values, name: str, level: int) -> None:
        if level > DEEPEST_NAME:
            raise StrvalsError(f"a name nests deeper than {DEEPEST_NAME} levels")
        inner = values.get(name, {})
        if not isinstance(inner, dict):
            raise StrvalsError("a name is used on what is not a map")
        try:
            self.key(inner, level)
        finally:
            if inner:
                _set(values, name, inner)
        if not inner:
            raise StrvalsError("a name has no value")

    def _index(self) -> int:
        text, stop = self._until("]")
        if stop == "":
            raise _End
        if not _DECIMAL.fullmatch(text) or int(text) not in _INT64:
            raise StrvalsError("an index is not a number")
        return int(text)

    def _item(self, items: _Items, index: int, level: int) -> None:
        """What follows an index."""
        if index < 0:
            raise StrvalsError("an index is negative")
        rest, stop = self._until("[.=")
        if rest:
            raise StrvalsError("something follows an index")
        if stop == "":
            raise _End
        if stop == "=":
            try:
                value = self._value()
            except _End:
                value = ""
            items.put(index, value)
        elif stop == "[":
            inner_index = self._index()
            inner = items.get(index)
            if not isinstance(inner, list | None):
                raise StrvalsError("an index is used on what is not a list")
            nested = _Items(inner or [], self._room)
            self._item(nested, inner_index, level)
            items.put(index, nested.items)
        else:
            self._item_map(items, index, level)

    def _item_map(self, items: _Items, index: int, level: int) -> None:
        inner = items.get(index)
        if not isinstance(inner, dict):
            inner = {}
            if index < len(items.items):
                items.put(index, inner)
        self.key(inner, level)
        items.put(index, inner)

    def _value(self) -> Any:
        """A value or a list of them; ``_End`` where there is nothing at all."""
        first = self._next()
        if first == "{":
            return self._list()
        self._at -= 1
        return self._typed(self._until(",")[0])

    def _list(self) -> list[Any]:
        items: list[Any] = []
        while True:
            text, stop = self._until(",}")
            if stop == "":
                raise StrvalsError("a list does not end with }")
            items.append(self._typed(text))
            if stop == "}":
                if self._text[self._at : self._at + 1] == ",":
                    self._at += 1
                return items

    def _typed(self, text: str) -> Any:
        if self._strings:
            return text
        if len(text) <= 5 and (word := text.casefold()) in _WORDS:
            return _WORDS[word]
        if text == "0":
            return 0
        if text[:1] != "0" and _DECIMAL.fullmatch(text) and int(text) in _INT64:
            return int(text)
        return text


class _Room:
    """How many places lists may still grow by: a short text could ask for many GiB."""

    def __init__(self) -> None:
        self._left = _MOST_PLACES

    def take(self, places: int) -> None:
        self._left -= places
        if self._left < 0:
            raise StrvalsError(f"lists grow by more than {_MOST_PLACES:,} places")


class _Items:
    """A list that is changed in place as long as it is long enough, as a slice of Go is."""

    def __init__(self, items: list[Any], room: _Room) -> None:
        self.items = items
        self._room = room

    def get(self, index: int) -> Any:
        return self.items[index] if index < len(self.items) else None

    def put(self, index: int, value: Any) -> None:
        if index > LARGEST_INDEX:
            raise StrvalsError(f"an index is greater than {LARGEST_INDEX}")
        if index >= len(self.items):
            self._room.take(index + 1)
            self.items = [*self.items, *[None] * (index + 1 - len(self.items))]
        self.items[index] = value


def _set(values: Values, name: str, value: Any) -> None:
    if name:
        values[name] = value
