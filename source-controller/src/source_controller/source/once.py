"""Do equal things once: many objects that ask the same at the same time get one answer.

The key must hold everything that the answer depends on, trust included: who has an equal key gets
what another one fetched.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from fluvial.clock import Clock
from fluvial.errors import FluvialError

__all__ = ["Once"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _LeaderGone(Exception):  # a signal between those who wait
    """Who did the work gave up for reasons of its own, such as its own deadline."""


@dataclass(frozen=True, slots=True)
class _Kept(Generic[V]):
    value: V
    made: float


class Once(Generic[K, V]):
    """Single flight, and answers that are kept for a while.

    Args:
        clock: ages answers.
        keep: seconds that an answer is kept at most.
        size: number of answers that are kept at most.
        valid: whether a kept answer can still be given; quick.
        weigh: the weight of an answer, such as its bytes on disk.
        max_weight: of all kept answers together; the newest stays whatever it weighs.

    """

    def __init__(
        self,
        clock: Clock,
        *,
        keep: float,
        size: int,
        valid: Callable[[V], bool] = lambda _: True,
        weigh: Callable[[V], int] = lambda _: 0,
        max_weight: int = 0,
    ) -> None:
        self._clock = clock
        self._keep = keep
        self._size = size
        self._valid = valid
        self._weigh = weigh
        self._max_weight = max_weight
        self._kept: OrderedDict[K, _Kept[V]] = OrderedDict()
        self._flights: dict[K, asyncio.Future[V]] = {}

    async def get(
        self, key: K, make: Callable[[], Awaitable[V]], *, max_age: float | None = None
    ) -> V:
        """The answer, made by the first who asks.

        A failure is told to all who wait for it, and not kept; but a deadline or cancellation of
        the one who does the work is its own, and the next one takes over.

        Args:
            key: see above.
            make: makes the answer.
            max_age: seconds; older ones are made again, with 0 or less even one in the making is.

        Raises:
            FluvialError, OSError: as ``make``.

        """
        fresh = max_age is not None and max_age <= 0
        while not fresh:
            kept = self._find(key, self._keep if max_age is None else min(max_age, self._keep))
            if kept is not None:
                return kept.value
            flight = self._flights.get(key)
            if flight is None:
                break
            try:
                return await asyncio.shield(flight)
            except _LeaderGone:
                continue
        return await self._lead(key, make)

    async def _lead(self, key: K, make: Callable[[], Awaitable[V]]) -> V:
        flight: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self._flights[key] = flight
        started = self._clock.monotonic()
        try:
            value = await make()
        except BaseException as error:
            shared = isinstance(error, (FluvialError, OSError)) and not isinstance(
                error, TimeoutError
            )
            flight.set_exception(error if shared else _LeaderGone())
            flight.exception()  # nobody may be waiting
            raise
        else:
            flight.set_result(value)
            # Its age counts from the question: what changed since is not in the answer.
            self._kept[key] = _Kept(value, started)
            self._kept.move_to_end(key)
            self._tidy()
            return value
        finally:
            if self._flights.get(key) is flight:
                del self._flights[key]

    def _find(self, key: K, age: float) -> _Kept[V] | None:
        self._tidy()
        kept = self._kept.get(key)
        if kept is None or self._clock.monotonic() - kept.made > age:
            return None
        if not self._valid(kept.value):
            del self._kept[key]
            return None
        return kept

    def _tidy(self) -> None:
        now = self._clock.monotonic()
        old = [key for key, kept in self._kept.items() if now - kept.made > self._keep]
        for key in old:
            del self._kept[key]
        weight = sum(self._weigh(kept.value) for kept in self._kept.values())
        while len(self._kept) > self._size or (weight > self._max_weight and len(self._kept) > 1):
            _, dropped = self._kept.popitem(last=False)
            weight -= self._weigh(dropped.value)
