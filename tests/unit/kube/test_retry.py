"""Delays, budgets and the request limit, in virtual time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from fluvial.clock import RealClock
from fluvial.kube.retry import RateLimiter, RetryPolicy, retry_after_seconds, should_retry_status

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", None),
        ("7", 7.0),
        ("  0 ", 0.0),
        ("-1", None),
        ("soon", None),
        ("Thu, 01 Jan 2026 00:01:00 GMT", 60.0),
        ("Thu, 01 Jan 2025 00:00:00 GMT", 0.0),
        ("9" * 400, 999999999.0),
    ],
)
def test_retry_after(text: str, seconds: float | None) -> None:
    headers = {"Retry-After": text} if text else {}

    assert retry_after_seconds(headers, NOW) == seconds


def test_delays_grow_to_a_cap_and_never_below_what_the_server_wants() -> None:
    policy = RetryPolicy(base=0.1, cap=2.0)

    assert all(0.05 <= policy.delay(1, None) <= 0.1 for _ in range(50))
    assert all(1.0 <= policy.delay(1000, None) <= 2.0 for _ in range(50))
    assert all(3.0 <= policy.delay(1, 3.0) <= 3.4 for _ in range(50))


@pytest.mark.parametrize(
    ("status", "attempt", "idempotent", "retry_after", "again"),
    [
        (429, 9, False, None, True),
        (500, 1, True, None, True),
        (500, 3, True, None, False),
        (500, 1, False, 1.0, False),
        (503, 9, True, None, True),
        (503, 1, False, None, False),
        (503, 1, False, 1.0, True),
        (504, 1, False, 1.0, False),
        (501, 1, True, 1.0, False),
        (409, 1, True, 1.0, False),
    ],
)
def test_what_is_repeated(
    *, status: int, attempt: int, idempotent: bool, retry_after: float | None, again: bool
) -> None:
    found = should_retry_status(
        status, attempt=attempt, idempotent=idempotent, retry_after=retry_after
    )

    assert found is again


@pytest.mark.looptime
async def test_the_limit_lets_a_burst_through_and_then_a_steady_flow() -> None:
    loop = asyncio.get_running_loop()
    limiter = RateLimiter(qps=10, burst=5, clock=RealClock())
    started = loop.time()
    for _ in range(5):
        await limiter.wait()
    assert loop.time() == started

    await asyncio.gather(*(limiter.wait() for _ in range(10)))
    assert loop.time() - started == pytest.approx(1.0, abs=0.02)
    await asyncio.sleep(100)
    before = loop.time()
    for _ in range(6):
        await limiter.wait()
    assert loop.time() - before == pytest.approx(0.1, abs=0.02)


@pytest.mark.looptime
async def test_no_limit_takes_no_time() -> None:
    limiter = RateLimiter(qps=0, burst=0, clock=RealClock())
    before = asyncio.get_running_loop().time()
    for _ in range(1000):
        await limiter.wait()

    assert not limiter.enabled
    assert asyncio.get_running_loop().time() == before
