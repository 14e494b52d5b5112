"""Credentials that were got once and are good for a while.

Flux: token cache. The key is a digest over everything that a credential depends on (``key_of``),
so two askers share one only if all of that is equal, whose identity it is among it. A credential
is dropped after 80 % of its life, and after an hour at the latest, by the wall clock or by the
monotonic one, whichever says so first: neither a sleeping machine nor a corrected clock lets an
old one live. One asker fetches, the others wait for it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar, cast

from fluvial.clock import Clock
from fluvial.errors import FluvialError

__all__ = ["CacheObserver", "Expiring", "TokenCache", "cache_key"]

_USED_PART = 0.8
_LONGEST_SECONDS = 3600.0
_RENEWED_SECONDS = 60.0


class Expiring(Protocol):
    """What can be cached."""

    @property
    def expires_at(self) -> datetime | None:
        """``None`` for what never expires: it is not cached, having cost nothing."""
        ...


class CacheObserver(Protocol):
    """Hears what the cache does; ``fluvial.runtime.token_metrics`` has one."""

    def answered(self, *, hit: bool) -> None:
        """Somebody got a credential: a kept one, or one that was just fetched."""

    def failed(self) -> None:
        """Somebody got none."""

    def evicted(self) -> None:
        """A credential went before its time, for another one."""

    def holds(self, number: int) -> None:
        """So many are kept now."""


V = TypeVar("V", bound=Expiring)


class _LeaderGone(Exception):  # a signal between those who wait
    """Who asked gave up for reasons of its own, such as its own deadline."""


@dataclass(frozen=True, slots=True)
class _Kept:
    value: Expiring
    wall: datetime
    monotonic: float


def cache_key(kind: str, parts: Mapping[str, str]) -> str:
    """Hex that is equal only if the kind and every part is; tells nothing about them.

    Args:
        kind: of credential, such as ``aws``.
        parts: everything that it depends on, by name.

    """
    hasher = hashlib.sha256()
    for text in (kind, *(text for name in sorted(parts) for text in (name, parts[name]))):
        data = text.encode()
        hasher.update(len(data).to_bytes(8, "big") + data)
    return hasher.hexdigest()


class TokenCache:
    """Keeps the most recently used credentials, with single flight.

    Args:
        clock: for both times.
        size: number that is kept at most (``--token-cache-max-size``); 0 keeps none.
        longest: seconds that one is kept at most (``--token-cache-max-duration``).
        observer: for metrics.

    """

    def __init__(
        self,
        clock: Clock,
        *,
        size: int = 100,
        longest: float = _LONGEST_SECONDS,
        observer: CacheObserver | None = None,
    ) -> None:
        self._clock = clock
        self._size = size
        self._longest = min(longest, _LONGEST_SECONDS)
        self._observer = observer
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._flights: dict[str, asyncio.Future[Any]] = {}
        self._refused: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._kept)

    async def get(self, key: str, make: Callable[[], Awaitable[V]]) -> V:
        """The credential of a key, fetched by the first who asks.

        A failure is told to all who wait for it, and not kept; a deadline or cancellation of the
        one who fetches is its own, and the next one takes over.

        Args:
            key: from ``cache_key``.
            make: fetches it.

        """
        while True:
            known = self._current(key)
            if known is not None:
                self._answered(hit=True)
                return cast("V", known)
            flight = self._flights.get(key)
            if flight is None:
                return await self._lead(key, make)
            try:
                return cast("V", await asyncio.shield(flight))
            except _LeaderGone:
                continue

    def forget(self, key: str) -> None:
        """The service refused a credential: the next one is fetched."""
        if self._kept.pop(key, None) is not None:
            self._count()

    def refuse(self, key: str, refused: Callable[[Any], bool]) -> None:
        """Forget what a service refused, at most once a minute for each key.

        So a service that refuses everything has no new credential made for each of its answers.

        Args:
            key: from ``cache_key``.
            refused: whether it was this one; another one may have been fetched since.

        """
        kept, now = self._kept.get(key), self._clock.monotonic()
        if kept is None or not refused(kept.value):
            return
        recent = {name: at for name, at in self._refused.items() if now - at < _RENEWED_SECONDS}
        if key not in recent:
            recent[key] = now
            self.forget(key)
        self._refused = recent

    async def _lead(self, key: str, make: Callable[[], Awaitable[V]]) -> V:
        flight: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self._flights[key] = flight
        wall, monotonic = (
            self._clock.now(),
            self._clock.monotonic(),
        )  # life begins before it is asked
        try:
            value = await make()
        except FluvialError as error:
            if self._observer is not None:
                self._observer.failed()
            _fail(flight, error)
            raise
        except BaseException:
            _fail(flight, _LeaderGone())
            raise
        else:
            self._answered(hit=False)
            self._keep(key, value, wall, monotonic)
            flight.set_result(value)
            return value
        finally:
            del self._flights[key]

    def _current(self, key: str) -> Expiring | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        if self._clock.now() >= kept.wall or self._clock.monotonic() >= kept.monotonic:
            del self._kept[key]
            self._count()
            return None
        self._kept.move_to_end(key)
        return kept.value

    def _keep(self, key: str, value: Expiring, wall: datetime, monotonic: float) -> None:
        if value.expires_at is None or not self._size:
            return
        life = (value.expires_at - wall).total_seconds()
        seconds = min(life * _USED_PART, self._longest)
        if seconds <= 0:
            return
        self._kept[key] = _Kept(value, wall + timedelta(seconds=seconds), monotonic + seconds)
        self._kept.move_to_end(key)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)
            if self._observer is not None:
                self._observer.evicted()
        self._count()

    def _answered(self, *, hit: bool) -> None:
        if self._observer is not None:
            self._observer.answered(hit=hit)

    def _count(self) -> None:
        if self._observer is not None:
            self._observer.holds(len(self._kept))


def _fail(flight: asyncio.Future[Any], error: Exception) -> None:
    flight.set_exception(error)
    flight.exception()  # nobody may be waiting, and that is fine
