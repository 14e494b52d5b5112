"""What a run is doing, written only if it takes long enough for somebody to look.

Most runs are over before anybody could read what they are doing, and each write costs the API
server, every watcher and this process more than the run itself. So a word of progress waits for a
moment: if the run ends, or has a newer word, meanwhile, it is never sent. Until then tools see an
object whose observed generation, or handled request, is an older one, and wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType

from fluvial.errors import FluvialError

__all__ = ["Progress"]


class Progress:
    """The words of one run; use it as ``async with``, around its steps.

    Args:
        after: seconds until a word is sent.
        send: sends the newest; its failure is no matter, for the end of the run is written too.

    """

    def __init__(self, after: float, send: Callable[[], Awaitable[None]]) -> None:
        self._after = after
        self._send = send
        self._timer: asyncio.TimerHandle | None = None
        self._sending: asyncio.Task[None] | None = None
        self._pending = False

    async def __aenter__(self) -> None:
        """Nothing is pending."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Forget what was not sent, and wait for what is on its way."""
        self._pending = False
        if self._timer is not None:
            self._timer.cancel()
        sending = self._sending
        if sending is None:
            return
        if isinstance(error, asyncio.CancelledError):
            sending.cancel()
            await asyncio.wait((sending,))
        else:
            await sending

    def say(self) -> None:
        """There is a new word."""
        self._pending = True
        if self._timer is None and self._sending is None:
            self._start()

    def _start(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._after, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._sending = asyncio.create_task(self._run(), name="source-progress")

    async def _run(self) -> None:
        self._pending = False
        try:
            await self._send()
        except FluvialError:
            pass  # the end of the run meets the same, and says so
        finally:
            self._sending = None
            if self._pending:
                self._start()
