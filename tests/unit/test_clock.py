"""The clock, and times as Kubernetes writes them."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from fluvial.clock import RealClock, format_time, parse_time


def test_wall_time_is_aware_and_utc() -> None:
    assert RealClock().now().utcoffset() == timedelta(0)


def test_monotonic_time_without_a_loop_is_the_machines() -> None:
    before = time.monotonic()
    assert RealClock().monotonic() >= before


@pytest.mark.looptime
async def test_monotonic_time_is_that_of_the_running_loop() -> None:
    clock = RealClock()
    start = clock.monotonic()
    await clock.sleep(3600)

    assert clock.monotonic() - start == pytest.approx(3600)
    assert clock.monotonic() == asyncio.get_running_loop().time()


def test_times_are_written_in_utc_with_whole_seconds() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 999_999, tzinfo=timezone(timedelta(hours=2)))

    assert format_time(moment) == "2026-01-02T01:04:05Z"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05+02:00", datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.123456Z", datetime(2026, 1, 2, 3, 4, 5, 123_456, tzinfo=UTC)),
    ],
)
def test_times_are_read(text: str, moment: datetime) -> None:
    assert parse_time(text) == moment


@pytest.mark.parametrize("text", ["2026-01-02T03:04:05", "yesterday", ""])
def test_a_time_without_a_zone_or_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"zone|isoformat"):
        parse_time(text)
