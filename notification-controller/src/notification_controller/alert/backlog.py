"""Events that were taken and not told yet."""

from __future__ import annotations

import asyncio

from fluvial.log import Logger
from fluvial.runtime.metrics import Metrics
from notification_controller.alert.telling import Telling
from notification_controller.event.model import Event

__all__ = ["Backlog"]

_AT_ONCE = 16
_MAX_PENDING = 10_000
_MAX_SIZE = 64 << 20
_FLUSH_SECONDS = 10.0


class Backlog:
    """Events that were taken and are not in lanes yet: bounded, handled by a few tasks.

    Whoever reaches the event server may post ten thousand of three megabytes, so that their texts
    are bounded, too.

    Args:
        telling: tells them.
        log: says what was dropped.
        metrics: count that.

    """

    name = "events"

    def __init__(self, telling: Telling, *, log: Logger, metrics: Metrics) -> None:
        self._telling = telling
        self._log = log
        self._queue: asyncio.Queue[Event] = asyncio.Queue(_MAX_PENDING)
        self._size = 0
        self._stopped = asyncio.Event()
        self._dropped = metrics.counter(
            "fluvial_received_events_dropped_total", "Events that found no room to wait."
        )

    def put(self, event: Event) -> None:
        """Take an event; never waits."""
        if self._queue.full() or self._size + event.size > _MAX_SIZE:
            self._dropped.inc()
            self._log.error("event dropped", reason="too many events wait")
            return
        self._queue.put_nowait(event)
        self._size += event.size

    def stop(self) -> None:
        """Finish what waits, then end."""
        self._stopped.set()

    async def run(self) -> None:
        """Tell events until ``stop`` was called; what Providers do not take soon is dropped then."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._work(), name="tell events") for _ in range(_AT_ONCE)]
            await self._stopped.wait()
            await self._queue.join()
            await self._telling.lanes.flush(_FLUSH_SECONDS)
            for task in tasks:
                task.cancel()

    async def _work(self) -> None:
        while True:
            event = await self._queue.get()
            try:
                await self._telling.tell(event)
            except Exception as error:  # noqa: BLE001 - the next event is told all the same
                self._log.exception("an event was not told", error=str(error))
            finally:
                self._size -= event.size
                self._queue.task_done()
