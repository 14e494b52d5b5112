"""Which version of a chart is meant, by Flux's rules: the exact one first, then the highest."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from fluvial.semver import InvalidVersion, Range, Version
from source_controller.helm.errors import NoSuchChart

__all__ = ["Candidate", "choose", "is_concrete", "with_metadata"]

_ANY = "*"
_LONGEST = 256


class Candidate(NamedTuple):
    """A version that could be chosen.

    Attributes:
        version: as it is published.
        created: RFC 3339; decides between versions of the same precedence.

    """

    version: str
    created: str = ""


def choose(candidates: Iterable[Candidate], wanted: str) -> int:
    """The place of the version that is meant.

    Args:
        candidates: in the order of the index.
        wanted: a version, a range, or ``""`` or ``*`` for the latest that is no pre-release.

    Raises:
        NoSuchChart: the range cannot be read, or no version is in it.

    """
    found = list(candidates)
    for place, candidate in enumerate(found):
        if wanted and candidate.version == wanted:
            return place
    try:
        accepted = Range.parse(wanted or _ANY)
    except InvalidVersion as error:
        raise NoSuchChart(str(error)) from error
    best: tuple[Version, datetime, int] | None = None
    for place, candidate in enumerate(found):
        try:
            version = Version.parse_full(candidate.version)
        except InvalidVersion:
            continue
        if version not in accepted:
            continue
        rank = (version, _time(candidate.created), -place)
        if best is None or best < rank:
            best = rank
    if best is None:
        raise NoSuchChart(f"no version is in the range {(wanted or _ANY)[:_LONGEST]!r}")
    return -best[2]


def is_concrete(wanted: str) -> bool:
    """Whether a version is named rather than a range: all three numbers are there."""
    try:
        Version.parse_full(wanted)
    except InvalidVersion:
        return False
    return True


def with_metadata(version: str, metadata: str) -> str:
    """A version with other build metadata, written in full; as it is if there is none.

    Raises:
        InvalidVersion: it is no version.

    """
    if not metadata:
        return version
    parsed = Version.parse(version)
    pre = f"-{parsed.pre}" if parsed.pre else ""
    return f"{parsed.major}.{parsed.minor}.{parsed.patch}{pre}+{metadata}"


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
