"""Which requests are repeated, when, and for how long. The only place that decides it.

    answer               idempotent verbs          POST (may have had an effect)
    429                  after the delay           after the delay: it was not processed
    503 + Retry-After    after the delay           after the delay: the server asks for it
    502, 503, 504        after the delay           no
    500                  the same, 3 attempts      no
    not connected        after the delay           after the delay: nothing was sent
    reset, cut, timeout  after the delay           no
    401                  once, at once, if there are other credentials

Idempotent are GET, PUT, DELETE, PATCH but for JSON patches, and everything with dry run. A DELETE
that is repeated may answer NotFound although it was ours; a merge patch with a resourceVersion
may answer Conflict although it was ours: both make the caller read again. A 500 is mostly a
verdict (a webhook that fails, a field of the wrong type under server-side apply), sometimes a
moment of weakness: hence few attempts.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime

from fluvial.clock import Clock

__all__ = ["RateLimiter", "RetryPolicy", "retry_after_seconds", "should_retry_status"]

_REPEATABLE = frozenset({500, 502, 503, 504})
_ATTEMPTS_AFTER_500 = 3


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bounds of the repetitions of one request.

    Attributes:
        budget: seconds from the first attempt after which nothing is repeated; 0 repeats nothing.
        base: delay before the second attempt, doubled each time.
        cap: the longest delay without a Retry-After.

    """

    budget: float = 10.0
    base: float = 0.1
    cap: float = 2.0

    def delay(self, attempt: int, retry_after: float | None) -> float:
        """Seconds to wait after failed attempt number ``attempt`` (from 1), with jitter."""
        if retry_after is not None:
            return retry_after + random.uniform(0, 0.1 + 0.1 * retry_after)  # noqa: S311 - jitter
        ceiling = min(self.cap, self.base * float(2 ** min(attempt - 1, 16)))
        return ceiling * random.uniform(0.5, 1.0)  # noqa: S311 - jitter


def should_retry_status(
    status: int, *, attempt: int, idempotent: bool, retry_after: float | None
) -> bool:
    """True if an answer to attempt number ``attempt`` (from 1) invites the same request again."""
    if status == 429:
        return True
    if status not in _REPEATABLE or (status == 500 and attempt >= _ATTEMPTS_AFTER_500):
        return False
    return idempotent or (status == 503 and retry_after is not None)


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """The Retry-After header in seconds (RFC 9110: a number or a date), or ``None``."""
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, (parsedate_to_datetime(text) - now).total_seconds())
    except (ValueError, TypeError):
        return None


class RateLimiter:
    """A token bucket: ``qps`` requests a second, ``burst`` at once; ``qps <= 0`` limits nothing."""

    def __init__(self, *, qps: float, burst: int, clock: Clock) -> None:
        self._qps = qps
        self._burst = max(1, burst)
        self._clock = clock
        self._tokens = float(self._burst)
        self._at = clock.monotonic()
        self._turn = asyncio.Lock()

    @property
    def enabled(self) -> bool:
        """False if every request passes at once."""
        return self._qps > 0

    def disable(self) -> None:
        """Let everything pass from now on."""
        self._qps = 0.0

    async def wait(self) -> None:
        """Take a token, in order of arrival."""
        if not self.enabled:
            return
        async with self._turn:
            now = self._clock.monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._qps)
            self._at = now
            self._tokens -= 1.0
            if self._tokens < 0:
                await self._clock.sleep(-self._tokens / self._qps)
