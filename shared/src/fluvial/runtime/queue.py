"""The work queue between triggers and a controller's workers.

Triggers (informer callbacks, timers) add keys; workers take them with ``get`` and hand them back
with ``done``. One event loop, no locks. The invariants, which everything above relies on:

- A key is held by at most one worker. An add meanwhile is remembered and queues the key once
  more when it is handed back, so that no event is lost and none is worked on twice.
- A key waits at most once: either ready or under one timer, the earliest that was asked for. A
  plain add cancels the timer, since the run it causes will set its own.
- All timers together cost one timer of the event loop.
- Keys added by ``add_first`` come before all others: what was begun is ended before more is begun,
  so that a burst does not end for everybody at its very end.
- Keys added with ``low_priority`` come after all others (after a start: what was already settled),
  but one in eight keys is taken from them, so that they never starve.
- Where there are ``Shares``, a key whose group holds enough is passed over, and stands first in line
  as soon as the group may hold one more.
- After ``shut_down`` nothing is accepted any more, and ``get`` raises once nothing is left.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

from fluvial.errors import FluvialError
from fluvial.runtime.backoff import Backoff
from fluvial.runtime.shares import Shares

__all__ = ["QueueObserver", "QueueShutDown", "WorkQueue"]

K = TypeVar("K", bound=Hashable)

_LOW_SHARE = 8  # at least one key in this many comes from the low-priority ones
_STALE_SLACK = 64  # superseded timer entries tolerated before the heap is rebuilt


class QueueShutDown(FluvialError):
    """The queue is shut down and empty; the worker that asked should end."""


class QueueObserver(Protocol):
    """What metrics want to know; called on the loop, must not raise."""

    def added(self, key: Hashable) -> None:
        """A key became ready."""
        ...

    def taken(self, key: Hashable) -> None:
        """A worker took a key."""
        ...

    def finished(self, key: Hashable) -> None:
        """A worker handed a key back."""
        ...

    def retried(self, key: Hashable) -> None:
        """A key was added under backoff."""
        ...

    def dropped(self, key: Hashable) -> None:
        """A ready key was discarded by a shut-down."""
        ...


class WorkQueue(Generic[K]):
    """A set of keys in order, each worked on by one worker at a time.

    Args:
        backoff: delays of ``add_rate_limited``; Flux's defaults where it is not given.
        observer: told about every step, for metrics.
        shares: how many keys each group may hold; all where it is not given.

    """

    def __init__(
        self,
        *,
        backoff: Backoff[K] | None = None,
        observer: QueueObserver | None = None,
        shares: Shares[K] | None = None,
    ) -> None:
        self._backoff: Backoff[K] = backoff or Backoff()
        self._observer = observer
        self._shares = shares
        self._first: OrderedDict[K, None] = OrderedDict()
        self._high: OrderedDict[K, None] = OrderedDict()
        self._low: OrderedDict[K, None] = OrderedDict()
        self._since_low = 0
        self._processing: set[K] = set()
        self._again: dict[K, bool] = {}  # added while being processed -> low priority
        self._due: dict[K, tuple[float, int, bool]] = {}  # loop time, sequence, low priority
        self._heap: list[tuple[float, int, K]] = []  # may hold entries that ``_due`` supersedes
        self._sequence = 0
        self._timer: asyncio.TimerHandle | None = None
        self._getters: deque[asyncio.Future[None]] = deque()
        self._idlers: list[asyncio.Future[None]] = []
        self._down = False

    def __len__(self) -> int:
        """Keys that are ready to be taken: not processed, under no timer, within their share."""
        return len(self._first) + len(self._high) + len(self._low)

    @property
    def processing(self) -> int:
        """Keys that workers hold."""
        return len(self._processing)

    def is_processing(self, key: K) -> bool:
        """Whether a worker holds ``key``."""
        return key in self._processing

    @property
    def delayed(self) -> int:
        """Keys under a timer."""
        return len(self._due)

    def due_in(self, key: K) -> float | None:
        """Seconds until the timer of ``key`` fires; ``None`` without a timer."""
        entry = self._due.get(key)
        return None if entry is None else entry[0] - asyncio.get_running_loop().time()

    def failures(self, key: K) -> int:
        """How often in a row ``key`` was added under backoff."""
        return self._backoff.failures(key)

    def add(self, key: K, *, low_priority: bool = False) -> None:
        """Make ``key`` ready, once; its timer, if it has one, is cancelled."""
        if self._down:
            return
        self._due.pop(key, None)
        if key in self._processing:
            self._again[key] = self._again.get(key, True) and low_priority
            return
        self._enqueue(key, self._low if low_priority else self._high)

    def add_first(self, key: K) -> None:
        """Make ``key`` ready before those that ``add`` made so; its timer is cancelled."""
        if self._down or key in self._processing:
            self.add(key)
            return
        self._due.pop(key, None)
        if key in self._high:
            del self._high[key]
            self._first[key] = None
        else:
            self._enqueue(key, self._first)

    def add_after(self, key: K, delay: float, *, low_priority: bool = False) -> None:
        """Make ``key`` ready in ``delay`` seconds, unless it already is or will be earlier."""
        if delay <= 0:
            self.add(key, low_priority=low_priority)
            return
        if self._down or self._is_ready(key) or key in self._again:
            return
        when = asyncio.get_running_loop().time() + delay
        current = self._due.get(key)
        if current is not None and current[0] <= when:
            return
        self._sequence += 1
        self._due[key] = (when, self._sequence, low_priority)
        heapq.heappush(self._heap, (when, self._sequence, key))
        self._compact()
        self._arm()

    def add_rate_limited(self, key: K) -> None:
        """Count a failure of ``key`` and make it ready after the backoff."""
        if self._down:
            return
        if self._observer:
            self._observer.retried(key)
        self.add_after(key, self._backoff.next(key))

    def forget(self, key: K) -> None:
        """Reset the backoff of ``key``; its timer stays."""
        self._backoff.forget(key)

    async def get(self) -> K:
        """Take the next key; it must be handed back with ``done``.

        Raises:
            QueueShutDown: nothing is left and nothing will come.

        """
        while (key := self._pop()) is None:
            if self._down and not self._shares:
                raise QueueShutDown("the queue is shut down")
            getter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                self._abandon(getter)
                raise
        self._processing.add(key)
        if self._shares is not None:
            self._shares.taken(key)
        if self._observer:
            self._observer.taken(key)
        return key

    def done(self, key: K) -> None:
        """Hand back a key; it becomes ready again if it was added meanwhile."""
        if key not in self._processing:
            return
        self._processing.remove(key)
        if self._observer:
            self._observer.finished(key)
        if self._shares is not None:
            self._shares.given_back(key)
            for kept in self._shares.released():
                self._high[kept] = None
                self._high.move_to_end(kept, last=False)
                self._wake_one()
        low_priority = self._again.pop(key, None)
        if low_priority is not None and not self._down:
            # The new run supersedes the timer that the last one may have set before the add.
            self._due.pop(key, None)
            self._enqueue(key, self._low if low_priority else self._high)
        if self._down:
            self._wake_all()
        self._notify_idle()

    def shut_down(self, *, drain: bool = True) -> None:
        """Accept nothing more and drop all timers.

        With ``drain`` the keys that are ready are still handed out; without, only those that
        workers hold are finished. Dropping ready keys loses nothing where a successor lists
        everything when it starts, which is so for every controller.
        """
        self._down = True
        self._due.clear()
        self._heap.clear()
        self._again.clear()
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if not drain:
            self._drop_ready()
        self._wake_all()
        self._notify_idle()

    async def wait_idle(self) -> None:
        """Wait until no key is ready or held; timers do not count."""
        while self or self._processing:
            idler: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idlers.append(idler)
            await idler

    def _is_ready(self, key: K) -> bool:
        in_line = key in self._first or key in self._high or key in self._low
        return in_line or (self._shares is not None and key in self._shares)

    def _enqueue(self, key: K, line: OrderedDict[K, None]) -> None:
        """Put a key in line; one that stands in a better line stays there."""
        if key in self._first or key in self._high or key in line:
            return
        if self._shares is not None and key in self._shares:
            # Nobody may take it now, and it keeps its place for when somebody may.
            if line is self._first:
                self._shares.hurry(key)
            return
        if key in self._low:
            del self._low[key]
        elif self._observer:
            self._observer.added(key)
        line[key] = None
        self._wake_one()

    def _pop(self) -> K | None:
        """The next key; ``None`` if there is none that may be taken."""
        while self:
            line = self._first or self._high
            if self._low and (not line or self._since_low >= _LOW_SHARE - 1):
                line = self._low
            key, _ = line.popitem(last=False)
            if self._shares is None or self._shares.may_take(key):
                self._since_low = 0 if line is self._low else self._since_low + 1
                return key
            self._shares.park(key)
        return None

    def _drop_ready(self) -> None:
        if self._shares is not None:
            self._high.update(dict.fromkeys(self._shares.take_out()))
        for ready in (self._first, self._high, self._low):
            while ready:
                key, _ = ready.popitem()
                if self._observer:
                    self._observer.dropped(key)

    def _wake_one(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _wake_all(self) -> None:
        for getter in self._getters:
            if not getter.done():
                getter.set_result(None)

    def _abandon(self, getter: asyncio.Future[None]) -> None:
        """A waiting worker was cancelled: a wake-up it had already got goes to the next."""
        woken = getter.done() and not getter.cancelled()
        getter.cancel()
        if getter in self._getters:
            self._getters.remove(getter)
        if woken and self:
            self._wake_one()

    def _notify_idle(self) -> None:
        if self or self._processing:
            return
        idlers, self._idlers = self._idlers, []
        for idler in idlers:
            if not idler.done():
                idler.set_result(None)

    def _arm(self) -> None:
        if not self._heap:
            return
        when = self._heap[0][0]
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(when, self._fire)

    def _fire(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._heap and self._heap[0][0] <= now:
            _, sequence, key = heapq.heappop(self._heap)
            entry = self._due.get(key)
            if entry is not None and entry[1] == sequence:
                self.add(key, low_priority=entry[2])
        self._arm()

    def _compact(self) -> None:
        if len(self._heap) <= 2 * len(self._due) + _STALE_SLACK:
            return
        self._heap = [(when, sequence, key) for key, (when, sequence, _) in self._due.items()]
        heapq.heapify(self._heap)
