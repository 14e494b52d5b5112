"""Keeps a running cluster in its state file: at the start, at intervals, on demand, at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from devcluster.state import Saved, StateFile
from fluvial.log import Logger

__all__ = ["Keeper"]


class Keeper:
    """Saves what changed.

    Objects are gathered in one turn of the event loop, so a file is the cluster at one moment; a
    thread writes them, so requests go on meanwhile.

    Args:
        file: where to.
        gather: the cluster at this moment.
        interval: seconds between looks whether something changed.
        log: failures at intervals go here; the next interval tries again.

    """

    def __init__(
        self, file: StateFile, *, gather: Callable[[], Saved], interval: float, log: Logger
    ) -> None:
        self._file = file
        self._gather = gather
        self._interval = interval
        self._log = log
        self._saved = 0  # the revision of the file
        self._one = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def lock(self) -> None:
        """Take the file; raises StateError when somebody else has it."""
        self._file.lock()

    async def start(self) -> None:
        """Save once, and from now on at intervals."""
        self._saved = 0
        await self.save()
        self._task = asyncio.create_task(self._run(), name="devcluster-state")

    async def save(self) -> None:
        """Save now, if anything changed; OSError when that is not possible."""
        async with self._one:
            saved = self._gather()
            if saved.revision != self._saved:
                await asyncio.to_thread(self._file.write, saved)
                self._saved = saved.revision

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.save()
            except OSError as error:
                self._log.error("state not saved", path=str(self._file.path), error=str(error))

    async def stop(self) -> None:
        """Save for the last time and let the file go; a cluster that never ran saves nothing.

        Raises:
            OSError: the last save failed; the file is as the one before left it.

        """
        if not self._file.locked:
            return
        try:
            if self._task is not None:
                self._task.cancel()
                with suppress(asyncio.CancelledError):
                    await self._task
                self._task = None
                await self.save()
        finally:
            self._file.unlock()
