"""Time comes from here and from nowhere else, so that tests can make it.

Nothing outside this module calls ``time.time()``, ``time.monotonic()`` or makes a naive datetime.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "RealClock", "format_time", "parse_time"]


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> datetime:
        """Wall time, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds on the clock that deadlines are measured with."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; cancellation is passed on."""
        ...


class RealClock:
    """The machine's clock. Monotonic time is the event loop's where one runs."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        try:
            return asyncio.get_running_loop().time()
        except RuntimeError:
            return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as Kubernetes' ``metav1.Time`` prints it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time.

    Raises:
        ValueError: the text is not RFC 3339 or has no zone.

    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time without a zone: {text!r}")
    return moment.astimezone(UTC)
