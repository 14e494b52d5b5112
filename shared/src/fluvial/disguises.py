"""Every form in which a secret text may stand in what somebody says, and a fast search for many.

Programs quote, escape and encode what they complain about: JSON as Python and as Go write it, Go's
quoted strings, YAML's single quotes, addresses, and base64, in which a secret looks different at
each of three places of a longer text. What somebody takes apart, turns round or encrypts is not
found, and cannot be.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, quote_plus

__all__ = ["MOST", "Search", "forms_of"]

MOST: Final = 50_000
"""Secrets that are looked for; of more nothing can be said, so that nothing is shown."""

_SHORTEST_ENCODED: Final = 4
_SHORTEST_PIECE: Final = 8
"""Characters of base64 that would hardly stand in other words by chance."""

_GO_JSON: Final = str.maketrans(
    {one: f"\\u{ord(one):04x}" for one in ("<", ">", "&", "\u2028", "\u2029")}
)
_GO_ESCAPES: Final = {
    **dict(zip("\a\b\f\n\r\t\v", ("\\a", "\\b", "\\f", "\\n", "\\r", "\\t", "\\v"), strict=True)),
    "\\": "\\\\",
}
_URL_SAFE: Final = str.maketrans("+/", "-_")


def forms_of(secret: str) -> set[str]:
    """The forms of one text; takes some 5 to 30 microseconds."""
    found = {secret, secret.strip()}
    if not (secret.isascii() and secret.isalnum()):
        plain = json.dumps(secret, ensure_ascii=False)[1:-1]
        found |= {json.dumps(secret)[1:-1], plain, plain.translate(_GO_JSON)}
        found |= {_go_quoted(secret, '"'), _go_quoted(secret, "'"), secret.replace("'", "''")}
        data = secret.encode(errors="replace")
        found |= {quote(data, safe=""), quote_plus(data)}
    if len(secret) >= _SHORTEST_ENCODED:
        found.update(_encoded(secret.encode(errors="replace")))
    return {form for form in found if form}


def _go_quoted(text: str, mark: str) -> str:
    return "".join(_go_character(one, mark) for one in text)


def _go_character(one: str, mark: str) -> str:
    if one == mark:
        return f"\\{one}"
    if one in _GO_ESCAPES:
        return _GO_ESCAPES[one]
    if one.isprintable():
        return one
    code = ord(one)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _encoded(data: bytes) -> Iterator[str]:
    """Base64 as a whole, and what is the same wherever it stands in a longer text."""
    whole = base64.b64encode(data).decode()
    for form in (whole, *_pieces(data)):
        yield form
        if "+" in form or "/" in form:
            yield form.translate(_URL_SAFE)


def _pieces(data: bytes) -> Iterator[str]:
    for before in range(3):
        text = base64.b64encode(bytes(before) + data).decode()
        # A character is of 6 bits; those at the ends have bits of the neighbours, too.
        piece = text[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
        if len(piece) >= _SHORTEST_PIECE:
            yield piece


class Search:
    """Finds which of many texts stand in another one.

    It asks for each of them, or for each part of the text that has the length of one, whichever is
    less work.

    Args:
        forms: what to look for.

    """

    __slots__ = ("_by_length", "_count")

    def __init__(self, forms: Iterable[str]) -> None:
        by_length: dict[int, set[str]] = {}
        for form in forms:
            by_length.setdefault(len(form), set()).add(form)
        self._by_length = by_length
        self._count = sum(map(len, by_length.values()))

    def work(self, text: str) -> int:
        """How much it is to search a text: 100 million are less than half a second."""
        return min(self._work_by_form(text), self._work_by_part(text))

    def found(self, text: str) -> list[str]:
        """Those that are in a text, the longest first."""
        by_part = self._work_by_part(text) < self._work_by_form(text)
        hits: set[str] = set()
        for length, forms in self._by_length.items():
            if length > len(text):
                continue
            if by_part:
                hits.update(_in_both(text, length, forms))
            else:
                hits.update(form for form in forms if form in text)
        return sorted(hits, key=lambda one: (-len(one), one))

    def _work_by_form(self, text: str) -> int:
        return self._count * (len(text) + _STEP)

    def _work_by_part(self, text: str) -> int:
        lengths = [length for length in self._by_length if length <= len(text)]
        return len(text) * (_STEP * len(lengths) + sum(lengths))


_STEP: Final = 100
"""Characters that are compared in the time of one look into a set, beside reading the part."""


def _in_both(text: str, length: int, forms: set[str]) -> Iterator[str]:
    """Forms among the parts of a text, one part after the other: all at once take gigabytes."""
    for start in range(len(text) - length + 1):
        part = text[start : start + length]
        if part in forms:
            yield part
