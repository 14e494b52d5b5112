"""What Go's JSON decoder says of a text that is no JSON: tools show it, so it is told alike."""

from __future__ import annotations

import re

__all__ = ["complaint"]

_SPACE = re.compile(rb"[ \t\r\n]*")
_NUMBER = re.compile(rb"-?(0|[1-9][0-9]*)?(\.[0-9]*)?([eE][+-]?[0-9]*)?")
_LITERALS = {b"t": b"true", b"f": b"false", b"n": b"null"}
_ESCAPES = b'bfnrt\\/"'
_HEX = b"0123456789abcdefABCDEF"
_END = "unexpected end of JSON input"


class _Bad(Exception):
    """The first fault of a text, in words."""


def complaint(text: bytes) -> str:
    """The message for the first syntax error in ``text``; empty when there is none."""
    try:
        at = _after_space(text, _Scanner(text).value(_after_space(text, 0)))
        if at < len(text):
            raise _unwanted(text, at, "after top-level value")
    except _Bad as bad:
        return str(bad)
    except RecursionError:
        return "invalid character '[' exceeded max depth"
    return ""


class _Scanner:
    def __init__(self, text: bytes) -> None:
        self._text = text

    def value(self, at: int) -> int:
        """Where the value that begins at ``at`` ends."""
        head = self._need(at)
        if head == b"{":
            return self._object(_after_space(self._text, at + 1))
        if head == b"[":
            return self._array(_after_space(self._text, at + 1))
        if head == b'"':
            return self._string(at + 1)
        if head in _LITERALS:
            return self._literal(at, _LITERALS[head])
        if head == b"-" or head.isdigit():
            return self._number(at)
        raise _unwanted(self._text, at, "looking for beginning of value")

    def _need(self, at: int) -> bytes:
        if at >= len(self._text):
            raise _Bad(_END)
        return self._text[at : at + 1]

    def _object(self, at: int) -> int:
        if self._need(at) == b"}":
            return at + 1
        while True:
            if self._need(at) != b'"':
                raise _unwanted(self._text, at, "looking for beginning of object key string")
            at = _after_space(self._text, self._string(at + 1))
            if self._need(at) != b":":
                raise _unwanted(self._text, at, "after object key")
            at = _after_space(self._text, self.value(_after_space(self._text, at + 1)))
            if self._need(at) == b"}":
                return at + 1
            if self._need(at) != b",":
                raise _unwanted(self._text, at, "after object key:value pair")
            at = _after_space(self._text, at + 1)

    def _array(self, at: int) -> int:
        if self._need(at) == b"]":
            return at + 1
        while True:
            at = _after_space(self._text, self.value(at))
            if self._need(at) == b"]":
                return at + 1
            if self._need(at) != b",":
                raise _unwanted(self._text, at, "after array element")
            at = _after_space(self._text, at + 1)

    def _string(self, at: int) -> int:
        while True:
            char = self._need(at)
            if char == b'"':
                return at + 1
            if char < b" ":
                raise _unwanted(self._text, at, "in string literal")
            at = self._escape(at + 1) if char == b"\\" else at + 1

    def _escape(self, at: int) -> int:
        char = self._need(at)
        if char != b"u":
            if char not in _ESCAPES:
                raise _unwanted(self._text, at, "in string escape code")
            return at + 1
        for place in range(at + 1, at + 5):
            if self._need(place) not in _HEX:
                raise _unwanted(self._text, place, "in \\u hexadecimal character escape")
        return at + 5

    def _literal(self, at: int, word: bytes) -> int:
        for place, wanted in enumerate(word):
            if self._need(at + place) != bytes([wanted]):
                where = f"in literal {word.decode()} (expecting '{chr(wanted)}')"
                raise _unwanted(self._text, at + place, where)
        return at + len(word)

    def _number(self, at: int) -> int:
        found = _NUMBER.match(self._text, at)
        if found is None or found[1] is None:
            where, end = "in numeric literal", at + 1
        elif found[2] == b".":
            where, end = "after decimal point in numeric literal", found.end(2)
        elif found[3] is not None and not found[3][-1:].isdigit():
            where, end = "in exponent of numeric literal", found.end()
        else:
            return found.end()
        self._need(end)
        raise _unwanted(self._text, end, where)


def _after_space(text: bytes, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _unwanted(text: bytes, at: int, where: str) -> _Bad:
    return _Bad(f"invalid character {_quoted(text[at])} {where}")


def _quoted(char: int) -> str:
    special = {0x27: r"'\''", 0x22: "'\"'", 0x5C: r"'\\'", 0x0A: r"'\n'", 0x0D: r"'\r'"}
    special |= {0x09: r"'\t'", 0x07: r"'\a'", 0x08: r"'\b'", 0x0C: r"'\f'", 0x0B: r"'\v'"}
    if char in special:
        return special[char]
    if char < 0x20 or char == 0x7F:
        return f"'\\x{char:02x}'"
    # The decoder counts bytes, and shows each as the character of that number.
    text = chr(char)
    return f"'{text}'" if text.isprintable() else f"'\\u{char:04x}'"
