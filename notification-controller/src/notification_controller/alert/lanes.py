"""One lane for each Provider: a bounded queue that tries again while the Provider is away.

A Provider that does not answer keeps its own lane waiting and nobody else; what finds a lane full
pushes out the oldest of it, which is counted. All lanes together hold a bounded number of messages
and bytes, and send a bounded number at once. Of both a namespace has its share: what one tenant's
Providers do not take costs that tenant's messages, and no more of the sending than a quarter.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from fluvial.clock import Clock
from fluvial.errors import FluvialError
from fluvial.log import Logger
from fluvial.objects import ObjectKey
from notification_controller.provider.message import Message
from notification_controller.provider.outgoing import SendFailed

__all__ = ["ENDING", "LANE_FULL", "NO_ROOM", "Job", "LaneTimes", "Lanes"]

LANE_FULL = "too many messages wait for the Provider"
NO_ROOM = "too many messages wait"
ENDING = "the controller ends"

_OVERHEAD = 1024  # characters that a message counts for beside its texts


@dataclass(frozen=True, slots=True)
class Job:
    """One message for one Provider.

    Attributes:
        alert: that tells it.
        keys: of the failures that it tells, which are forgotten if it does not arrive.

    """

    provider: ObjectKey
    alert: ObjectKey
    message: Message
    keys: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class LaneTimes:
    """Bounds of time and room.

    Attributes:
        patience: seconds for which one message is tried.
        first_pause: seconds before the second try; doubled each time.
        longest_pause: bound on that.
        burst: messages at once before a lane is slowed down.
        per_second: messages a second after that.
        lane_room: messages in one lane.
        lane_bytes: text of the messages in one lane.
        room: messages in all lanes.
        room_bytes: text of the messages in all lanes.
        at_once: messages that are being sent.
        at_once_each: of those, messages of one namespace.
        longest_try: seconds that one try may take, whatever the Provider says.

    """

    patience: float = 900.0
    first_pause: float = 1.0
    longest_pause: float = 60.0
    burst: int = 100
    per_second: float = 20.0
    lane_room: int = 1000
    lane_bytes: int = 8 << 20
    room: int = 20_000
    room_bytes: int = 64 << 20
    at_once: int = 32
    at_once_each: int = 8
    longest_try: float = 300.0


Send = Callable[[Job], Awaitable[None]]
"""Raises SendFailed."""
Ended = Callable[[Job, str, str], None]
"""Told of each job: ``delivered``, ``failed`` or ``dropped``, and why."""


@dataclass(slots=True)
class _Lane:
    waiting: deque[Job] = field(default_factory=deque)
    tokens: float = 0.0
    filled: float = 0.0
    held: int = 0


class Lanes:
    """All lanes. Use as an async context manager; leaving it gives what waits a moment.

    Args:
        send: sends one message.
        ended: told what became of each message.
        clock: measures.
        log: says what failed.
        times: see ``LaneTimes``.

    """

    def __init__(
        self,
        send: Send,
        ended: Ended,
        *,
        clock: Clock,
        log: Logger,
        times: LaneTimes | None = None,
    ) -> None:
        self._send = send
        self._ended = ended
        self._clock = clock
        self._log = log
        self._times = times or LaneTimes()
        self._lanes: dict[ObjectKey, _Lane] = {}
        self._tasks: dict[ObjectKey, asyncio.Task[None]] = {}
        self._sending = asyncio.Semaphore(self._times.at_once)
        self._shares: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self.waiting = 0
        self._held = 0

    def put(self, job: Job) -> None:
        """Take a message; never waits."""
        weight, times = job.message.event.size, self._times
        lane = self._lanes.get(job.provider)
        while (
            lane is not None
            and lane.waiting
            and (len(lane.waiting) >= times.lane_room or lane.held + weight > times.lane_bytes)
        ):
            self._push_out(lane, LANE_FULL)
        if not self._make_room(weight):
            self._ended(job, "dropped", NO_ROOM)
            return
        if lane is None:
            lane = self._lanes[job.provider] = _Lane(
                tokens=float(self._times.burst), filled=self._clock.monotonic()
            )
            self._tasks[job.provider] = asyncio.create_task(
                self._run(job.provider, lane), name=f"lane {job.provider}"
            )
        lane.waiting.append(job)
        lane.held += weight
        self._held += weight
        self.waiting += 1

    def _make_room(self, weight: int) -> bool:
        """Push out the oldest of whoever has most waiting, until there is room."""
        while self.waiting >= self._times.room or self._held + weight > self._times.room_bytes:
            lanes = {key: lane for key, lane in self._lanes.items() if lane.waiting}
            if not lanes:
                return False
            shares: Counter[str] = Counter()
            for key, lane in lanes.items():
                shares[key.namespace] += len(lane.waiting) * _OVERHEAD + lane.held
            most = shares.most_common(1)[0][0]
            longest = max(
                (lane for key, lane in lanes.items() if key.namespace == most),
                key=lambda lane: lane.held,
            )
            self._push_out(longest, NO_ROOM)
        return True

    def _push_out(self, lane: _Lane, why: str) -> None:
        job = lane.waiting.popleft()
        self._left(lane, job)
        self._ended(job, "dropped", why)

    def _left(self, lane: _Lane, job: Job) -> None:
        """A message does not wait any more."""
        weight = job.message.event.size
        lane.held -= weight
        self._held -= weight
        self.waiting -= 1

    async def flush(self, timeout: float) -> None:
        """Wait for what waits, at most ``timeout`` seconds; then drop and count the rest."""
        deadline = self._clock.monotonic() + timeout
        while self._tasks and self._clock.monotonic() < deadline:
            await asyncio.wait(
                self._tasks.values(), timeout=max(deadline - self._clock.monotonic(), 0)
            )
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for lane in self._lanes.values():
            for job in lane.waiting:
                self._ended(job, "dropped", ENDING)
        self._lanes.clear()
        self.waiting = self._held = 0

    async def _run(self, key: ObjectKey, lane: _Lane) -> None:
        """Send what is in a lane, in order, until it is empty."""
        try:
            while lane.waiting:
                await self._pace(lane)
                if not lane.waiting:  # others needed the room
                    break
                job = lane.waiting.popleft()
                try:
                    await self._deliver(job)
                except asyncio.CancelledError:
                    self._ended(job, "dropped", ENDING)
                    raise
                finally:
                    self._left(lane, job)
        finally:
            self._tasks.pop(key, None)
            if not lane.waiting:
                self._lanes.pop(key, None)

    async def _pace(self, lane: _Lane) -> None:
        times, now = self._times, self._clock.monotonic()
        lane.tokens = min(lane.tokens + (now - lane.filled) * times.per_second, times.burst)
        lane.filled = now
        if lane.tokens < 1.0:
            await self._clock.sleep((1.0 - lane.tokens) / times.per_second)
        lane.tokens -= 1.0

    async def _deliver(self, job: Job) -> None:
        began, pause = self._clock.monotonic(), self._times.first_pause
        while True:
            try:
                await self._try(job)
            except SendFailed as error:
                wait = max(pause * random.uniform(0.75, 1.25), error.after)  # noqa: S311 - spreads
                if not error.again or self._late(began, wait):
                    self._ended(job, "failed", str(error))
                    return
                self._log.info("message is tried again", why=str(error), after=round(wait, 1))
                await self._clock.sleep(wait)
                pause = min(pause * 2, self._times.longest_pause)
            else:
                self._ended(job, "delivered", "")
                return

    async def _try(self, job: Job) -> None:
        """Send a message once.

        Raises:
            SendFailed: it was not sent, whatever the reason: a lane does not end with a message.

        """
        namespace, times = job.provider.namespace, self._times
        share = self._shares.setdefault(namespace, asyncio.Semaphore(times.at_once_each))
        try:
            async with share, self._sending, asyncio.timeout(times.longest_try):
                await self._send(job)
        except SendFailed:
            raise
        except TimeoutError as error:
            raise SendFailed(f"not sent within {times.longest_try:g}s", again=True) from error
        except FluvialError as error:  # such as workers that cannot be had
            raise SendFailed(str(error), again=True) from error
        except Exception as error:
            self._log.exception("a message could not be composed", provider=str(job.provider))
            raise SendFailed("the message could not be composed", again=False) from error

    def _late(self, began: float, wait: float) -> bool:
        return self._clock.monotonic() + wait - began > self._times.patience
