"""Durations and times as kubectl's tables print them."""

from __future__ import annotations

from typing import Any

from devcluster import clock

__all__ = ["age", "human"]

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400


def human(seconds: float) -> str:
    """A duration with at most two units, coarser the longer it is."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    minutes = whole // _MINUTE
    if minutes < 10:
        return _two(minutes, "m", whole % _MINUTE, "s")
    if minutes < 180:
        return f"{minutes}m"
    return _long(whole)


def _long(whole: int) -> str:
    hours = whole // _HOUR
    if hours < 8:
        return _two(hours, "h", whole % _HOUR // _MINUTE, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 8 * 24:
        return _two(hours // 24, "d", hours % 24, "h")
    if whole < 2 * _YEAR:
        return f"{hours // 24}d"
    if whole < 8 * _YEAR:
        return _two(whole // _YEAR, "y", whole % _YEAR // _DAY, "d")
    return f"{whole // _YEAR}y"


def _two(high: int, high_unit: str, low: int, low_unit: str) -> str:
    return f"{high}{high_unit}{low}{low_unit}" if low else f"{high}{high_unit}"


def age(stamp: Any) -> str:
    """The time since an RFC 3339 stamp; ``<unknown>`` without one."""
    if not stamp:
        return "<unknown>"
    try:
        return human((clock.now() - clock.parse_time(str(stamp))).total_seconds())
    except ValueError:
        return "<unknown>"
