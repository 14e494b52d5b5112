"""How long to wait before a key is worked on again: after failures, and at its interval.

The controller asks after each failure and forgets after each success. Flux: 750 ms doubling up to
15 minutes (``--min-retry-delay``, ``--max-retry-delay``).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["Backoff", "jitter"]

K = TypeVar("K", bound=Hashable)


class Backoff(Generic[K]):
    """Counts the failures of each key: the n-th costs ``base * 2**(n-1)`` seconds, at most ``cap``.

    Args:
        base: seconds after the first failure; more than 0.
        cap: the longest delay in seconds; not below ``base``.

    """

    def __init__(self, base: float = 0.75, cap: float = 900.0) -> None:
        if not 0 < base <= cap:
            raise ValueError(f"backoff needs 0 < base <= cap, not base {base} and cap {cap}")
        self._base = base
        self._cap = cap
        self._failures: dict[K, int] = {}

    def next(self, key: K) -> float:
        """Count one more failure of ``key``; the seconds to wait because of it."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        try:
            return min(self._cap, self._base * 2.0**failures)
        except OverflowError:  # beyond the 1024th failure in a row
            return self._cap

    def failures(self, key: K) -> int:
        """How often in a row ``key`` has failed."""
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """``key`` succeeded, or is gone."""
        self._failures.pop(key, None)


def jitter(percentage: int) -> Callable[[float], float]:
    """A function that spreads an interval, so that equal ones do not come due together.

    Args:
        percentage: how far from the interval at most, either way; 0 to 99. Flux:
            ``--interval-jitter-percentage``.

    """
    if not 0 <= percentage < 100:
        raise ValueError(f"jitter must be at least 0 and less than 100 percent, not {percentage}")

    def spread(seconds: float) -> float:
        # Nothing secret about it.
        return seconds * (1 + percentage / 100 * random.uniform(-1, 1))  # noqa: S311 - spreads load

    return spread
