"""Times as Go writes them in releases: RFC 3339 with as many decimals as there are."""

from __future__ import annotations

import re
from datetime import UTC, datetime

__all__ = ["format_nano", "normal", "seconds_only"]

_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:[.,]([0-9]+))?(Z|[-+][0-9]{2}:[0-9]{2})",
    re.ASCII,
)
_ZERO = "0001-01-01T00:00:00Z"


def format_nano(moment: datetime) -> str:
    """A moment in UTC."""
    return normal(moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))


def normal(text: str) -> str:
    """A time as Go writes it after it read this one; ``""`` for none and for year one.

    Raises:
        ValueError: it is not RFC 3339.

    """
    if not text:
        return ""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError("a time is not RFC 3339")
    whole, decimals, zone = found[1], (found[2] or "")[:9].rstrip("0"), found[3]
    datetime.fromisoformat(whole)
    if zone[1:] == "00:00":
        zone = "Z"
    written = f"{whole}{'.' if decimals else ''}{decimals}{zone}"
    return "" if written == _ZERO else written


def seconds_only(text: str) -> str:
    """The time in UTC with whole seconds, as statuses have it; ``""`` for none.

    Raises:
        ValueError: it is not RFC 3339.

    """
    written = normal(text)
    if not written:
        return ""
    found = _TIME.fullmatch(written)
    zone = found[3] if found else "Z"
    moment = datetime.fromisoformat(f"{written[:19]}{'+00:00' if zone == 'Z' else zone}")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
