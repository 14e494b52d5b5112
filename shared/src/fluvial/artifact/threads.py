"""Blocking file work in a thread that is never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["Cancelled", "StopFlag", "in_thread"]

T = TypeVar("T")


class Cancelled(Exception):  # it is no error, and never leaves this module's users
    """Raised in the thread once nobody waits for its result."""


class StopFlag:
    """Tells the thread that its caller has gone."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask the thread to stop at its next check."""
        self._event.set()

    def check(self) -> None:
        """Raise ``Cancelled`` if asked to stop; call it once per file or block."""
        if self._event.is_set():
            raise Cancelled


async def in_thread(function: Callable[[StopFlag], T]) -> T:
    """Run ``function`` in a thread and wait for it.

    A cancelled caller asks the thread to stop and returns only after it has, so that nobody
    removes files under a thread that still writes.
    """
    stop = StopFlag()
    future = asyncio.get_running_loop().run_in_executor(None, function, stop)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        stop.set()
        while not future.done():
            with contextlib.suppress(asyncio.CancelledError):  # raised again below
                await asyncio.wait((future,))
        if not future.cancelled():
            future.exception()
        raise
