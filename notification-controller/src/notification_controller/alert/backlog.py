"""Events that were taken and not told yet."""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass

from fluvial.log import Logger
from fluvial.runtime.metrics import Metrics
from notification_controller.alert.telling import Telling
from notification_controller.event.model import Event

__all__ = ["Backlog"]

_AT_ONCE = 16
_MAX_PENDING = 10_000
_MAX_SIZE = 64 << 20
_DRAIN_SECONDS = 10.0
_FLUSH_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Item:
    """An event, and whether it was told before."""

    event: Event
    again: bool = False


class Backlog:
    """Events that were taken and are not in lanes yet: bounded, handled by a few tasks.

    Whoever reaches the event server may post ten thousand of three megabytes, so that their texts
    are bounded, too. Events of one object are handled one after the other: what ends a failure
    must not overtake it.

    Args:
        telling: tells them.
        log: says what was dropped.
        metrics: count that.

    """

    name = "events"

    def __init__(self, telling: Telling, *, log: Logger, metrics: Metrics) -> None:
        self._telling = telling
        self._log = log
        self._queues: tuple[asyncio.Queue[_Item], ...] = tuple(
            asyncio.Queue() for _ in range(_AT_ONCE)
        )
        self._waiting = 0
        self._size = 0
        self._stopped = asyncio.Event()
        self._dropped = metrics.counter(
            "fluvial_received_events_dropped_total", "Events that found no room to wait."
        )
        self._handled = metrics.counter(
            "fluvial_received_events_handled_total", "Events that all Alerts were asked about."
        )
        metrics.gauge(
            "fluvial_received_events_waiting",
            "Events that no Alert was asked about yet: what a process that is killed loses.",
        ).set_function(lambda: self._waiting)

    def put(self, event: Event) -> None:
        """Take an event; never waits."""
        if self._waiting >= _MAX_PENDING or self._size + event.size > _MAX_SIZE:
            self._dropped.inc()
            self._log.error("event dropped", reason="too many events wait")
            return
        self._enqueue(_Item(event))

    def put_again(self, event: Event) -> None:
        """Take an event that was told before: it may end a failure that began since then."""
        has_room = self._waiting < _MAX_PENDING // 2 and self._size + event.size <= _MAX_SIZE // 2
        if has_room and self._telling.awaits(event):
            self._enqueue(_Item(event, again=True))

    def _enqueue(self, item: _Item) -> None:
        self._queues[_part(item.event)].put_nowait(item)
        self._waiting += 1
        self._size += item.event.size

    def is_open(self) -> bool:
        """Whether what is put in will still be told."""
        return not self._stopped.is_set()

    def stop(self) -> None:
        """Finish what waits, then end."""
        self._stopped.set()

    async def run(self) -> None:
        """Tell events until ``stop`` was called; what Providers do not take soon is dropped then."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._work(queue), name=f"tell events {number}")
                for number, queue in enumerate(self._queues)
            ]
            await self._stopped.wait()
            await self._drain()
            for task in tasks:
                task.cancel()
            await self._telling.flush(_FLUSH_SECONDS)

    async def _drain(self) -> None:
        """Let what waits be handled, for some seconds; drop and count the rest."""
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                for queue in self._queues:
                    await queue.join()
        except TimeoutError:
            self._dropped.inc(self._waiting)
            self._log.error("events dropped", reason="the controller ends", number=self._waiting)

    async def _work(self, queue: asyncio.Queue[_Item]) -> None:
        while True:
            item = await queue.get()
            try:
                await self._telling.tell(item.event, again=item.again)
            except Exception as error:  # noqa: BLE001 - the next event is told all the same
                self._dropped.inc(not item.again)
                self._log.exception("an event was not told", error=str(error))
            else:
                self._handled.inc(not item.again)
            finally:
                self._waiting -= 1
                self._size -= item.event.size
                queue.task_done()


def _part(event: Event) -> int:
    """Which task handles events of an object."""
    obj = event.involved_object
    name = f"{obj.kind}/{obj.namespace}/{obj.name}".encode(errors="surrogatepass")
    return zlib.crc32(name) % _AT_ONCE
