"""What blocks the event loop is measured."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from fluvial.log import get_logger
from fluvial.runtime.manager import Manager
from fluvial.runtime.options import CommonOptions


class LateClock:
    """A loop that runs the second timer 1.5 s late; after the third the measuring ends."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.timers = 0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.timers += 1
        if self.timers > 3:
            raise asyncio.CancelledError
        self.seconds += seconds + (1.5 if self.timers == 2 else 0)


async def test_a_late_timer_is_counted_and_told() -> None:
    lines: list[dict[str, Any]] = []

    def keep(_: Any, __: str, event: Any) -> Any:
        lines.append(dict(event))
        raise structlog.DropEvent

    structlog.configure(processors=[keep])
    manager = Manager(
        CommonOptions(), name="test", version="1", log=get_logger("test"), clock=LateClock()
    )
    try:
        with pytest.raises(asyncio.CancelledError):
            await manager._watch_loop()
    finally:
        structlog.reset_defaults()
    value = manager.metrics.registry.get_sample_value

    assert value("fluvial_event_loop_lag_seconds_count") == 3
    assert value("fluvial_event_loop_lag_seconds_sum") == pytest.approx(1.5)
    assert [line["seconds"] for line in lines] == [1.5]
