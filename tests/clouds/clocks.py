"""Two clocks that a test moves, together or apart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fluvial.clock import RealClock

__all__ = ["TwoClocks"]


class TwoClocks(RealClock):
    """Wall time and monotonic time.

    Attributes:
        wall: now.
        running: the monotonic clock, seconds.

    """

    def __init__(self) -> None:
        self.wall = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        self.running = 1000.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.running

    def step(self, seconds: float) -> None:
        """Let both run."""
        self.wall += timedelta(seconds=seconds)
        self.running += seconds
