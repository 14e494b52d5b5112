"""Time for the API server, so that nothing else in the package reads a clock."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

__all__ = ["format_micro", "format_time", "loop_time", "now", "parse_time", "stamp"]


def now() -> datetime:
    """Wall time, aware, UTC."""
    return datetime.now(UTC)


def format_time(moment: datetime) -> str:
    """``metav1.Time``: RFC 3339, UTC, whole seconds."""
    return moment.isoformat(timespec="seconds")[:19] + "Z"


def format_micro(moment: datetime) -> str:
    """``metav1.MicroTime``: RFC 3339, UTC, microseconds."""
    return moment.isoformat(timespec="microseconds")[:26] + "Z"


def stamp() -> str:
    """Now, as ``metav1.Time``."""
    return format_time(now())


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time with a zone; ``ValueError`` otherwise."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time without a zone: {text!r}")
    return moment.astimezone(UTC)


def loop_time() -> float:
    """Seconds on the running loop's monotonic clock."""
    return asyncio.get_running_loop().time()
