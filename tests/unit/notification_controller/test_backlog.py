"""Events that wait are bounded in number and in length."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from fluvial.log import get_logger
from fluvial.runtime.metrics import Metrics
from notification_controller.alert.backlog import Backlog
from notification_controller.alert.telling import Telling
from notification_controller.event.model import Event, InvolvedObject


class Told:
    """Takes the place of ``Telling``."""

    def __init__(self) -> None:
        self.told = self.again = 0

    def awaits(self, event: Event) -> bool:
        return event.message == "well"

    async def tell(self, _: Event, *, again: bool = False) -> int:
        self.again += again
        self.told += 1
        return 0

    async def flush(self, _: float) -> None:
        return None


def event(text: str, **metadata: Any) -> Event:
    about = InvolvedObject(kind="K", name="n", namespace="a")
    return Event(
        involved_object=about,
        severity="info",
        timestamp="",
        message=text,
        reason="",
        metadata=metadata,
    )


async def _run(backlog: Backlog) -> None:
    backlog.stop()
    async with asyncio.timeout(10):
        await backlog.run()


async def test_long_events_are_dropped_before_they_fill_the_memory() -> None:
    told = Told()
    backlog = Backlog(cast("Telling", told), log=get_logger("test"), metrics=Metrics())
    long = event("x" * (3 << 20))
    for _ in range(100):
        backlog.put(long)
    for _ in range(100):
        backlog.put(event("x", facts="y" * (1 << 19)))
    await _run(backlog)

    assert told.told == 22, "21 of three megabytes, and one of a half"


async def test_there_is_room_again_once_they_are_told() -> None:
    told = Told()
    backlog = Backlog(cast("Telling", told), log=get_logger("test"), metrics=Metrics())
    for _ in range(2):
        for _ in range(30):
            backlog.put(event("x" * (3 << 20)))
        await _run(backlog)

    assert told.told == 42


async def test_what_was_told_before_is_looked_at_only_where_it_may_end_a_failure() -> None:
    told, metrics = Told(), Metrics()
    backlog = Backlog(cast("Telling", told), log=get_logger("test"), metrics=metrics)
    for text in ("well", "x"):
        backlog.put(event(text))
        backlog.put_again(event(text))
    for _ in range(100):
        backlog.put_again(event("well", facts="y" * (3 << 20)))
    await _run(backlog)

    assert (told.told, told.again) == (13, 11)
    assert b"fluvial_received_events_handled_total 2.0" in metrics.render()
