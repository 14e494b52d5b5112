"""Hold an async context manager open in an event loop of its own, in a thread.

A server that lasts a whole test session needs this: each test has its own event loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

__all__ = ["in_thread"]

_SECONDS = 90.0
T = TypeVar("T")


@contextmanager
def in_thread(make: Callable[[], AbstractAsyncContextManager[T]]) -> Iterator[T]:
    """Enter what ``make`` returns in a thread, and leave it there at the end.

    Whatever entering it raises is raised here. It is given 90 seconds.
    """
    ready: Future[tuple[T, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    ended: Future[None] = Future()
    thread = threading.Thread(target=_run, args=(make, ready, ended), daemon=True)
    thread.start()
    value, loop, stop = ready.result(timeout=_SECONDS)
    try:
        yield value
    finally:
        if not ended.done():
            loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=_SECONDS)
    ended.result(timeout=0)


def _run(
    make: Callable[[], AbstractAsyncContextManager[T]],
    ready: Future[tuple[T, asyncio.AbstractEventLoop, asyncio.Event]],
    ended: Future[None],
) -> None:
    async def hold() -> None:
        stop = asyncio.Event()
        async with make() as value:
            ready.set_result((value, asyncio.get_running_loop(), stop))
            await stop.wait()

    try:
        asyncio.run(hold())
    except Exception as error:  # noqa: BLE001 - handed to the thread that waits for it
        (ended if ready.done() else ready).set_exception(error)
    else:
        ended.set_result(None)
