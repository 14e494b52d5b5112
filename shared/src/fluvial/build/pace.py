"""Long work on the event loop in short pieces.

A thread would not help: the interpreter runs one at a time, and hands over late. What can be cut
into pieces of less than a millisecond or so runs on the loop and lets others run in between.
"""

from __future__ import annotations

import asyncio

__all__ = ["Pace"]

_PIECE_SECONDS = 0.001


class Pace:
    """Call ``breathe`` after every piece; one for each stretch of work."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()

    async def breathe(self) -> None:
        """Let others run if a millisecond has passed since they last could."""
        if self._loop.time() - self._since > _PIECE_SECONDS:
            await asyncio.sleep(0)
            self._since = self._loop.time()
