"""Whose turn it is: trust domains in a circle, the jobs of each in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

from fluvial.workers.errors import WorkerBusy

__all__ = ["Turns"]


class Turns:
    """A number of slots for which domains wait in bounded number.

    Whoever asks for a thousand at once has one of them each time the circle comes around, and
    makes room for others where too many wait.

    Args:
        slots: that are taken at once.
        most: callers that wait.
        slice_seconds: for which a domain may use slots, one job after the other, before those of
            others that wait have one.

    """

    def __init__(self, slots: int, *, most: int, slice_seconds: float = 0.0) -> None:
        self._slice = slice_seconds
        self._used: dict[str, float] = {}
        self._free = slots
        self._most = most
        self._waiting = 0
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    async def take(self, domain: str) -> None:
        """Wait for a slot; give it back by ``give_back``.

        Args:
            domain: whose turn it is to be.

        Raises:
            WorkerBusy: too many wait, and most of them for this domain.

        """
        if self._free:
            self._free -= 1
            return
        if self._waiting >= self._most:
            self._make_room(domain)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(domain, deque()).append(turn)
        self._waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.give_back()  # it came in the very moment
            else:
                self._leave(domain, turn)
            raise

    def give_back(self, domain: str = "", used: float = 0.0) -> None:
        """Let the next one have the slot; whoever has been cancelled is passed over.

        Args:
            domain: that had it.
            used: seconds for which it did.

        """
        self._used[domain] = self._used.get(domain, 0.0) + used
        if domain not in self._queues or self._used[domain] >= self._slice:
            del self._used[domain]
            if domain in self._queues:
                self._queues.move_to_end(domain)
        else:
            self._queues.move_to_end(domain, last=False)
        while self._queues:
            domain, queue = next(iter(self._queues.items()))
            turn = queue.popleft()
            self._waiting -= 1
            if queue:
                self._queues.move_to_end(domain)
            else:
                del self._queues[domain]
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _make_room(self, domain: str) -> None:
        """Send away the last one of whoever has most waiting."""
        error = WorkerBusy(f"{self._waiting} jobs wait for a worker already")
        most = max(self._queues, key=lambda one: len(self._queues[one]), default=domain)
        if most == domain or len(self._queues[most]) < 2:
            raise error
        last = self._queues[most].pop()
        self._waiting -= 1
        if not last.done():
            last.set_exception(error)

    def _leave(self, domain: str, turn: asyncio.Future[None]) -> None:
        queue = self._queues.get(domain)
        if queue is None or turn not in queue:
            return
        queue.remove(turn)
        self._waiting -= 1
        if not queue:
            del self._queues[domain]
