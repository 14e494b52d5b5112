"""Users' patterns of paths, as RE2 expressions: no pattern takes exponential time.

Two dialects, as Flux has them. A *plain* pattern is compared name by name: ``*``, ``?``, classes
and escapes within one name, and ``**`` is no more than ``*``. A *deep* one is compared with a whole
path: ``**`` as a whole name stands for any number of folders, ``{a,b}`` for either, and ``[!a]``
negates as ``[^a]`` does. A slash is matched by nothing but a slash and ``**``.
"""

from __future__ import annotations

from functools import lru_cache

import re2

from fluvial.errors import FluvialError

__all__ = ["BadPattern", "DeepPattern", "PlainName", "has_wildcards", "literal_folder"]

_WILDCARDS = frozenset("*?[]")
_NOTHING = r"[^\x00-\x{10FFFF}]"
_NAME, _CHARACTER = "[^/]*", "[^/]"
_MAX_PATTERN = 4096
_MAX_BRACES = 32


class BadPattern(FluvialError):
    """A pattern is malformed or too long."""


def has_wildcards(path: str) -> bool:
    """Whether a path is a pattern: it has ``*``, ``?`` or brackets."""
    return not _WILDCARDS.isdisjoint(path)


def literal_folder(pattern: str) -> str:
    """The folder that everything a pattern matches is in: its names before the first wildcard."""
    names = []
    for name in pattern.split("/"):
        if has_wildcards(name):
            break
        if name not in {"", "."}:
            names.append(name)
    return "/".join(names)


class PlainName:
    """A pattern for one name.

    Raises:
        BadPattern: it is malformed.

    """

    def __init__(self, pattern: str) -> None:
        self.literal = pattern if _WILDCARDS.isdisjoint(pattern) and "\\" not in pattern else None
        self._expression = _compiled(_Translation(pattern, deep=False).expression())

    def matches(self, name: str) -> bool:
        """Whether a name is meant."""
        return self._expression.fullmatch(_text(name)) is not None


class DeepPattern:
    """A pattern for whole paths.

    Raises:
        BadPattern: it is malformed.

    """

    def __init__(self, pattern: str) -> None:
        self.has_slash = "/" in pattern
        self._expression = _compiled(_Translation(pattern, deep=True).expression())

    def matches(self, path: str) -> bool:
        """Whether a relative path is meant."""
        return self._expression.fullmatch(_text(path)) is not None


def _text(path: str) -> str:
    """A path that is not UTF-8 is still matched by wildcards."""
    return path.encode(errors="surrogateescape").decode(errors="replace")


@lru_cache(maxsize=1024)
def _compiled(expression: str) -> re2.Pattern:
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = True
    try:
        return re2.compile(expression, options=options)
    except re2.error:
        raise BadPattern("the pattern is too large") from None


class _Translation:
    """One pattern, read from left to right."""

    def __init__(self, pattern: str, *, deep: bool) -> None:
        if len(pattern) > _MAX_PATTERN or "\0" in pattern:
            raise BadPattern(f"the pattern has more than {_MAX_PATTERN} characters or a NUL")
        self._pattern = pattern
        self._deep = deep
        self._at = 0
        self._braces = 0

    def expression(self) -> str:
        """The same as an RE2 expression."""
        parts = []
        while self._at < len(self._pattern):
            parts.append(self._next())
        if self._braces:
            raise self._bad("a brace is not closed")
        return "".join(parts)

    def _next(self) -> str:
        char = self._pattern[self._at]
        if self._deep:
            special = self._deep_part(char)
            if special is not None:
                return special
        self._at += 1
        if char == "*":
            return _NAME
        if char == "?":
            return _CHARACTER
        if char == "[":
            return self._class()
        if char == "\\":
            char = self._escaped()
        return str(re2.escape(char))

    def _deep_part(self, char: str) -> str | None:
        """What only deep patterns have; ``None`` for all else."""
        if char == "/" and (end := self._end_of_anything(self._at + 1)):
            self._at = end
            return "(?:/.*)?"
        if char == "*" and self._is_any_folder(self._at):
            is_last = self._ends(self._at + 2)
            self._at += 2 if is_last else 3
            return ".*" if is_last else "(?:[^/]+/)*"
        if char == "{":
            self._braces += 1
            if self._braces > _MAX_BRACES:
                raise self._bad("braces are nested too deep")
            self._at += 1
            return "(?:"
        if char == "}":
            self._braces -= 1
            if self._braces < 0:
                raise self._bad("a brace is not opened")
            self._at += 1
            return ")"
        if char == "," and self._braces:
            self._at += 1
            return "|"
        return None

    def _is_any_folder(self, at: int) -> bool:
        """Whether ``**`` is there, and is a whole name."""
        before = self._pattern[at - 1] if at else "/"
        begins = before == "/" or (self._braces > 0 and before in "{,")
        after = self._pattern[at + 2 : at + 3]
        return (
            begins and self._pattern.startswith("**", at) and (after == "/" or self._ends(at + 2))
        )

    def _end_of_anything(self, at: int) -> int:
        """Where the pattern ends, if from there on it is nothing but ``**``; else 0."""
        while self._is_any_folder(at):
            if self._ends(at + 2):
                return at + 2
            at += 3
        return 0

    def _ends(self, at: int) -> bool:
        """Whether the pattern, or the alternative in braces, ends there."""
        return at >= len(self._pattern) or (self._braces > 0 and self._pattern[at] in ",}")

    def _class(self) -> str:
        """A class whose ``[`` has been read."""
        negations = "^!" if self._deep else "^"
        is_negated = self._pattern[self._at : self._at + 1] in tuple(negations)
        self._at += is_negated
        ranges: list[tuple[str, str]] = []
        while not (ranges and self._pattern[self._at : self._at + 1] == "]"):
            low = high = self._class_character()
            if self._pattern[self._at : self._at + 1] == "-":
                self._at += 1
                high = self._class_character()
            ranges.append((low, high))
        self._at += 1
        inside = "".join(
            f"{_code(low)}-{_code(high)}" for low, high in _without_slash(ranges) if low <= high
        )
        if is_negated:
            return f"[^/{inside}]"
        return f"[{inside}]" if inside else _NOTHING

    def _class_character(self) -> str:
        char = self._pattern[self._at : self._at + 1]
        if char in {"", "-", "]"}:
            raise self._bad("a class is not closed or has a bare '-' or ']'")
        self._at += 1
        return self._escaped() if char == "\\" else char

    def _escaped(self) -> str:
        """The character after a backslash that has been read."""
        char = self._pattern[self._at : self._at + 1]
        if not char:
            raise self._bad("it ends in a backslash")
        self._at += 1
        return char

    def _bad(self, problem: str) -> BadPattern:
        return BadPattern(f"pattern {self._pattern[:100]!r}: {problem}")


def _without_slash(ranges: list[tuple[str, str]]) -> list[tuple[str, str]]:
    result = []
    for low, high in ranges:
        if low <= "/" <= high:
            result += [(low, "."), ("0", high)]
        else:
            result.append((low, high))
    return result


def _code(char: str) -> str:
    return f"\\x{{{ord(char):X}}}"
