"""A worker: keys in, one synchronous handler, never the same key twice at once.

Handlers run on the event loop between requests. They are quick, idempotent, and read the state
themselves; a handler that returns seconds is called again after them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from devcluster import clock
from fluvial.log import Logger

__all__ = ["Worker"]

K = TypeVar("K", bound=Hashable)
_TURN = 0.003  # seconds of work between requests
_MOST = 64  # keys in one turn


class Worker(Generic[K]):
    """Calls ``handle(key)`` for each key added; owned and run by the cluster.

    Args:
        name: for logs and the task.
        handle: does the work; returns seconds after which to come back, or None.
        log: failures go here; they end nothing.

    """

    def __init__(self, name: str, handle: Callable[[K], float | None], *, log: Logger) -> None:
        self.name = name
        self._handle = handle
        self._log = log
        self._pending: dict[K, None] = {}
        self._wake = asyncio.Event()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self.idle = asyncio.Event()
        self.idle.set()

    def add(self, key: K) -> None:
        """Handle ``key`` soon."""
        self._pending[key] = None
        self.idle.clear()
        self._wake.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Handle ``key`` after a delay; a later call replaces an earlier one."""
        old = self._timers.pop(key, None)
        if old is not None:
            old.cancel()
        loop = asyncio.get_running_loop()
        self._timers[key] = loop.call_later(seconds, self._due, key)

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._drain()
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    async def _drain(self) -> None:
        handled, until = 0, clock.loop_time() + _TURN
        while self._pending:
            key = next(iter(self._pending))
            del self._pending[key]
            try:
                again = self._handle(key)
            except Exception as error:  # noqa: BLE001 (one bad object must not end the worker)
                self._log.warning(
                    "controller failed", worker=self.name, key=str(key), error=repr(error)
                )
                again = 1.0
            if again is not None:
                self.add_after(key, again)
            handled += 1
            # Requests have their turn: a long cascade must not hold the loop. But they do not
            # always go first: under load the cluster's own work would never be done.
            if handled % _MOST == 0 or clock.loop_time() >= until:
                await asyncio.sleep(0)
                until = clock.loop_time() + _TURN
        self.idle.set()
