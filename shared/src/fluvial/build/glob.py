r"""Prefixes and suffixes that match a shell pattern, in one pass over the text.

``*`` matches any text (``/`` too), ``?`` one character, ``[a-z]`` and ``[^a-z]`` one of a class,
``\`` takes the next character as it is. All lengths at which a prefix matches are found at once by
stepping a set of pattern positions, kept as the bits of one integer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

__all__ = ["BadPattern", "prefix_lengths"]

_Test = Callable[[str], bool]
_STAR: Final = None


class BadPattern(ValueError):
    """The pattern is malformed."""


def prefix_lengths(pattern: str, text: str) -> Iterator[int]:
    """Lengths in characters, from 1 up, of the prefixes of ``text`` that match.

    Raises:
        BadPattern: a class is not closed or empty, or a backslash is last.

    """
    tests = _parse(pattern)
    stars = sum(1 << at for at, test in enumerate(tests) if test is _STAR)
    accept = 1 << len(tests)
    masks: dict[str, int] = {}
    state = _skip_stars(1, stars)
    for length, character in enumerate(text, start=1):
        mask = masks.get(character)
        if mask is None:
            mask = sum(1 << at for at, test in enumerate(tests) if test and test(character))
            masks[character] = mask
        state = _skip_stars((state & mask) << 1 | state & stars, stars)
        if state & accept:
            yield length
        if not state:
            return


def _skip_stars(state: int, stars: int) -> int:
    """A star also matches nothing. Stars never follow each other, so one step is enough."""
    return state | (state & stars) << 1


def _parse(pattern: str) -> list[_Test | None]:
    tests: list[_Test | None] = []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        if character == "*":
            if not tests or tests[-1] is not _STAR:
                tests.append(_STAR)
            at += 1
        elif character == "?":
            tests.append(_anything)
            at += 1
        elif character == "[":
            test, at = _class(pattern, at + 1)
            tests.append(test)
        else:
            literal, at = _escaped(pattern, at)
            tests.append(literal.__eq__)
    return tests


def _anything(_: str) -> bool:
    return True


def _escaped(pattern: str, at: int) -> tuple[str, int]:
    if pattern[at] == "\\":
        at += 1
    if at >= len(pattern):
        raise BadPattern(pattern)
    return pattern[at], at + 1


def _class(pattern: str, at: int) -> tuple[_Test, int]:
    negated = pattern[at : at + 1] == "^"
    at += negated
    ranges: list[tuple[str, str]] = []
    while at < len(pattern):
        if pattern[at] == "]" and ranges:
            return _in_ranges(tuple(ranges), negated=negated), at + 1
        low, at = _class_member(pattern, at)
        high = low
        if pattern[at : at + 1] == "-":
            high, at = _class_member(pattern, at + 1)
        ranges.append((low, high))
    raise BadPattern(pattern)


def _class_member(pattern: str, at: int) -> tuple[str, int]:
    if at >= len(pattern) or pattern[at] in "-]":
        raise BadPattern(pattern)
    return _escaped(pattern, at)


def _in_ranges(ranges: tuple[tuple[str, str], ...], *, negated: bool) -> _Test:
    def test(character: str) -> bool:
        return any(low <= character <= high for low, high in ranges) != negated

    return test
