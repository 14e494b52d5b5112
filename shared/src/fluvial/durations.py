"""Durations as Go and Flux write them: ``10m``, ``1h30m``, ``250ms``."""

from __future__ import annotations

import re

__all__ = ["format_duration", "parse_duration"]

_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")


def parse_duration(text: str) -> float:
    """Seconds in a Go duration; ``0`` needs no unit.

    Raises:
        ValueError: not a duration; the message names the text and the expected shape.

    """
    body = text[1:] if text[:1] in {"+", "-"} else text
    if body == "0":
        return 0.0
    total, position = 0.0, 0
    for part in _PART.finditer(body):
        if part.start() != position:
            break
        total += float(part[1]) * _UNITS[part[2]]
        position = part.end()
    if not body or position != len(body):
        raise ValueError(
            f'invalid duration {text!r}: use a number and a unit, such as "10m" or "1h30m"'
        )
    return -total if text.startswith("-") else total


def format_duration(seconds: float) -> str:
    """Go's ``time.Duration.String``: ``1m30s``, ``1.5s``, ``250ms``, ``0s``."""
    if seconds < 0:
        return "-" + format_duration(-seconds)
    nanos = round(seconds * 1e9)
    if nanos == 0:
        return "0s"
    if nanos < 1_000_000_000:
        for unit, size in (("ms", 1_000_000), ("µs", 1_000), ("ns", 1)):
            if nanos >= size:
                return f"{_decimal(nanos, size)}{unit}"
    minutes, rest = divmod(nanos, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h" if hours else ""
    if hours or minutes:
        text += f"{minutes}m"
    return f"{text}{_decimal(rest, 1_000_000_000)}s"


def _decimal(value: int, unit: int) -> str:
    whole, fraction = divmod(value, unit)
    if not fraction:
        return str(whole)
    digits = len(str(unit)) - 1
    return f"{whole}.{fraction:0{digits}d}".rstrip("0")
