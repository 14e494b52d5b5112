"""Who may work: a few reconciles at once, while any number of others wait for the cluster.

An action lasts as long as its objects and hooks take. Who waits for them gives its turn to another,
and takes one again before it goes on; those that have begun come before those that have not, so
that little is held in memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from fluvial.apply.model import Target
from fluvial.clock import Clock
from fluvial.helm.cluster import Located
from fluvial.helm.waiting import Waits
from helm_controller.helmrelease.interrupts import Interruption

__all__ = ["RestingWaits", "Turn", "Turns"]


class Turns:
    """Hands out turns.

    Args:
        limit: how many there are.
        clock: the time.

    """

    def __init__(self, limit: int, clock: Clock) -> None:
        self._free = limit
        self._clock = clock
        self._going_on: deque[asyncio.Future[None]] = deque()
        self._beginning: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
        """A turn, while the context is open."""
        await self.take(again=False)
        turn = Turn(self, self._clock)
        try:
            yield turn
        finally:
            turn.end()

    async def take(self, *, again: bool) -> None:
        """Wait for a turn; ``again``: to go on with what has begun."""
        if self._free > 0:
            self._free -= 1
            return
        waiting = self._going_on if again else self._beginning
        mine = asyncio.get_running_loop().create_future()
        waiting.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self.give()
            elif mine in waiting:  # else it has been passed over
                waiting.remove(mine)
            raise

    def give(self) -> None:
        """Give a turn to whoever waits for one."""
        for waiting in (self._going_on, self._beginning):
            while waiting:
                next_one = waiting.popleft()
                if not next_one.done():
                    next_one.set_result(None)
                    return
        self._free += 1


class Turn:
    """One reconcile's turn; also its clock, since who sleeps needs no turn.

    Attributes:
        interruption: ends what is waited for; made anew for each run that may be interrupted.

    """

    def __init__(self, turns: Turns, clock: Clock) -> None:
        self._turns = turns
        self._clock = clock
        self._resting = 0
        self._held = True
        self._taking = False
        self.interruption = Interruption()

    def now(self) -> datetime:
        """Wall time."""
        return self._clock.now()

    def monotonic(self) -> float:
        """Seconds on the clock that deadlines are measured with."""
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait, without a turn."""
        async with self.rest():
            await self._clock.sleep(seconds)

    async def pause(self, seconds: float) -> None:
        """Wait, without a turn, between two looks at something; raises WaitEnded."""
        async with self.rest():
            await self.interruption.sleep(self._clock.sleep(seconds))

    @asynccontextmanager
    async def rest(self) -> AsyncIterator[None]:
        """Be without a turn while the context is open; it may be opened in several tasks."""
        self._resting += 1
        if self._held:
            self._held = False
            self._turns.give()
        try:
            yield
        except asyncio.CancelledError:
            self._resting -= 1
            raise
        except BaseException:
            self._resting -= 1
            # What failed is dealt with, which is work.
            await self._go_on()
            raise
        self._resting -= 1
        await self._go_on()

    async def _go_on(self) -> None:
        """Take a turn again, unless another task of the run still rests, or has done so."""
        if not self._resting and not self._held and not self._taking:
            self._taking = True
            try:
                await self._turns.take(again=True)
                self._held = True
            finally:
                self._taking = False

    def end(self) -> None:
        """Give the turn back."""
        if self._held:
            self._held = False
            self._turns.give()


class RestingWaits:
    """Waits for objects without a turn.

    Args:
        waits: how they are waited for.
        turn: of the reconcile.

    """

    def __init__(self, waits: Waits, turn: Turn) -> None:
        self._waits = waits
        self._turn = turn

    async def until_ready(
        self, target: Target, located: Sequence[Located], *, timeout: float
    ) -> None:
        """Wait for objects to be ready; raises WaitFailed, with the objects that are not."""
        turn, left = self._turn, timeout
        deadline = turn.monotonic() + timeout
        async with turn.rest():
            while not await turn.interruption.through(
                self._waits.until_ready(target, located, timeout=left)
            ):
                left = deadline - turn.monotonic()
