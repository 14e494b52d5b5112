"""Semantic versions and version ranges with the rules of Masterminds' semver v3, as Flux has them.

Versions parse loosely (``v1.2``, ``02.1.0``). A range is a list of comparators, all of which must
hold, and ``||`` separates alternatives. A pre-release is in a range only if some comparator of
the same alternative names one (``>=1.0.0-0``), and then by its order alone. ``x``, ``X``, ``*``
and missing parts stand for any number: ``>2`` starts at 3.0.0, ``<=2`` ends before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import total_ordering

from fluvial.errors import FluvialError

__all__ = ["InvalidVersion", "Range", "Version"]

_LONGEST = 1024
_LARGEST = 2**64 - 1
_SUFFIX = (
    r"(?:-(?P<pre{0}>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
    r"(?:\+(?P<build{0}>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
)
_VERSION = re.compile(
    r"v?(?P<major>[0-9]+)(?:\.(?P<minor>[0-9]+))?(?:\.(?P<patch>[0-9]+))?" + _SUFFIX.format("")
)
_PART = r"[0-9|xX*]+"
_BARE = rf"v?{_PART}(?:\.{_PART})?(?:\.{_PART})?" + re.sub(r"\?P<\w+>", "?:", _SUFFIX.format(""))
_OPERATORS = r"(?:!=|>=|=>|<=|=<|~>|=|>|<|~|\^)?"
_HYPHEN = re.compile(rf" ?({_BARE}) - ({_BARE}) ?")
_COMPARATOR = re.compile(
    rf"(?P<operator>{_OPERATORS}) ?v?(?P<major>{_PART})(?:\.(?P<minor>{_PART}))?"
    rf"(?:\.(?P<patch>{_PART}))?" + _SUFFIX.format("")
)
_ALTERNATIVE = re.compile(rf" ?{_OPERATORS} ?{_BARE} ?(?:(?: |, ?){_OPERATORS} ?{_BARE} ?)*")


class InvalidVersion(FluvialError):
    """Neither a version nor a range; the message quotes the text."""


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """A version. Comparing ignores the build metadata; ``text`` is what was parsed."""

    major: int
    minor: int
    patch: int
    pre: str
    build: str
    text: str

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read a version; minor and patch may be missing, and ``v`` may precede.

        Raises:
            InvalidVersion: the text is not a version.

        """
        found = _VERSION.fullmatch(text) if len(text) <= _LONGEST else None
        if found is None:
            raise InvalidVersion(f"invalid version {text[:100]!r}")
        pre = found["pre"] or ""
        if any(re.fullmatch(r"0[0-9]+", part) for part in pre.split(".")):
            raise InvalidVersion(f"invalid version {text[:100]!r}: number with a leading zero")
        major, minor, patch = (int(found[part] or 0) for part in ("major", "minor", "patch"))
        if max(major, minor, patch) > _LARGEST:
            raise InvalidVersion(f"invalid version {text[:100]!r}: number too large")
        return cls(major, minor, patch, pre, found["build"] or "", text)

    @classmethod
    def parse_full(cls, text: str) -> Version:
        """Read a version that has all three numbers, as tags must to be candidates.

        Raises:
            InvalidVersion: the text is not a version, or one of the numbers is missing.

        """
        if text.count(".") < 2:
            raise InvalidVersion(f"invalid version {text[:100]!r}: it needs three numbers")
        return cls.parse(text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._key() == other._key()

    def __lt__(self, other: Version) -> bool:
        return self._key() < other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...]]:
        parts = tuple(_pre_key(part) for part in self.pre.split(".")) if self.pre else ()
        return (self.major, self.minor, self.patch, not self.pre, parts)


def _pre_key(part: str) -> tuple[bool, int, str]:
    """Numbers before words, numbers by value, words by their bytes."""
    return (False, int(part), "") if part.isdigit() else (True, 0, part)


@dataclass(frozen=True, slots=True)
class _Comparator:
    operator: str
    version: Version
    any_major: bool
    any_minor: bool
    any_patch: bool

    @property
    def is_open(self) -> bool:
        return self.any_major or self.any_minor or self.any_patch

    def holds(self, version: Version, *, with_pre: bool) -> bool:
        if version.pre and not with_pre:
            return False
        return _CHECKS[self.operator](version, self)


class Range:
    """A parsed range."""

    def __init__(self, alternatives: list[list[_Comparator]]) -> None:
        self._alternatives = [
            (comparators, any(c.version.pre for c in comparators)) for comparators in alternatives
        ]

    @classmethod
    def parse(cls, text: str) -> Range:
        """Read a range.

        Raises:
            InvalidVersion: the text is empty or not a range.

        """
        if len(text) > _LONGEST:
            raise InvalidVersion("invalid version range: too long")
        plain = re.sub(r"[ \t\n\v\f\r]+", " ", text)
        plain = _HYPHEN.sub(r">= \1, <= \2", plain)
        return cls([_parse_alternative(part, text) for part in plain.split("||")])

    def __contains__(self, version: Version) -> bool:
        return any(
            all(comparator.holds(version, with_pre=with_pre) for comparator in comparators)
            for comparators, with_pre in self._alternatives
        )


def _parse_alternative(part: str, text: str) -> list[_Comparator]:
    if not _ALTERNATIVE.fullmatch(part):
        raise InvalidVersion(f"invalid version range {text[:100]!r}")
    return [_parse_comparator(found, text) for found in _COMPARATOR.finditer(part)]


def _parse_comparator(found: re.Match[str], text: str) -> _Comparator:
    numbers: list[str] = []
    for part in ("major", "minor", "patch"):
        number = found[part] or ""
        if number in {"", "x", "X", "*"}:
            break
        numbers.append(number)
    known = len(numbers)
    suffix = (f"-{found['pre']}" if found["pre"] else "") + (
        f"+{found['build']}" if found["build"] else ""
    )
    try:
        version = Version.parse(".".join(numbers + ["0"] * (3 - known)) + suffix)
    except InvalidVersion as error:
        raise InvalidVersion(f"invalid version range {text[:100]!r}: {error}") from None
    return _Comparator(
        found["operator"],
        version,
        any_major=known == 0,
        any_minor=known == 1,
        any_patch=known == 2,
    )


# --- what each operator means; ``any_minor`` is ``2`` and ``2.x``, ``any_patch`` is ``2.1`` -------


def _equal(version: Version, limit: _Comparator) -> bool:
    return _tilde(version, limit) if limit.is_open else version == limit.version


def _not_equal(version: Version, limit: _Comparator) -> bool:
    of = limit.version
    if not limit.is_open or version.major != of.major:
        return version != of
    if limit.any_minor:
        return False
    if version.minor != of.minor:
        return True
    return version.pre != of.pre if limit.any_patch else version != of


def _greater(version: Version, limit: _Comparator) -> bool:
    of = limit.version
    if not limit.is_open or limit.any_major:
        return version > of
    if version.major != of.major:
        return version.major > of.major
    return limit.any_patch and version.minor > of.minor


def _at_most(version: Version, limit: _Comparator) -> bool:
    of = limit.version
    if not limit.is_open:
        return version <= of
    if version.major != of.major:
        return version.major < of.major
    return limit.any_minor or version.minor <= of.minor


def _tilde(version: Version, limit: _Comparator) -> bool:
    of = limit.version
    if version < of:
        return False
    zero = (of.major, of.minor, of.patch) == (0, 0, 0)
    if zero and not limit.any_minor and not limit.any_patch:
        return True
    return version.major == of.major and (limit.any_minor or version.minor == of.minor)


def _caret(version: Version, limit: _Comparator) -> bool:
    of = limit.version
    if version < of:
        return False
    if of.major > 0 or limit.any_minor or version.major > 0:
        return version.major == of.major
    if of.minor > 0 or limit.any_patch or version.minor > 0:
        return version.minor == of.minor
    return version.patch == of.patch


_CHECKS: dict[str, Callable[[Version, _Comparator], bool]] = {
    "": _equal,
    "=": _equal,
    "!=": _not_equal,
    ">": _greater,
    ">=": lambda version, limit: version >= limit.version,
    "=>": lambda version, limit: version >= limit.version,
    "<": lambda version, limit: version < limit.version,
    "<=": _at_most,
    "=<": _at_most,
    "~": _tilde,
    "~>": _tilde,
    "^": _caret,
}
