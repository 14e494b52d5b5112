"""How fast one answers what others change: at once, and ever more slowly where they do not stop."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Paces"]

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True)
class _Pace:
    """When it was answered last, and how long the next time waits."""

    last: float
    delay: float


class Paces(Generic[K]):
    """Delays of answers; times in seconds on one clock.

    Args:
        first: between the first two answers; doubled each time.
        longest: to which that grows.
        peace: without a change after an answer until the next one is a first one again; at least
            twice the delay.

    """

    def __init__(self, *, first: float, longest: float, peace: float) -> None:
        self._first, self._longest, self._peace = first, longest, peace
        self._paces: dict[K, _Pace] = {}

    def earliest(self, key: K, wanted: float) -> float:
        """When to answer what should be answered at a time ``wanted``."""
        pace = self._paces.get(key)
        return wanted if pace is None else max(wanted, pace.last + pace.delay)

    def answered(self, key: K, now: float) -> None:
        """It is answered now."""
        pace = self._paces.get(key)
        again = pace is not None and not self._is_over(pace, now)
        delay = min(2 * pace.delay, self._longest) if pace and again else self._first
        self._paces[key] = _Pace(now, delay)

    def sweep(self, now: float) -> None:
        """Forget where there is peace."""
        for key in [key for key, pace in self._paces.items() if self._is_over(pace, now)]:
            del self._paces[key]

    def _is_over(self, pace: _Pace, now: float) -> bool:
        return now - pace.last > max(2 * pace.delay, self._peace)
