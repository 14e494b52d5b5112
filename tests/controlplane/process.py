"""One child process: its log in a file, its end noticed, stopped by its own process id."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["Child", "ChildDied"]

_TAIL_BYTES = 3000
# On Linux the kernel kills the child when the thread that started it ends, so that a killed test
# run leaves nothing behind. The check of the parent closes the gap before prctl.
_DIE_WITH_PARENT = """\
import ctypes, os, sys
parent = int(sys.argv[1])
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != parent:
    os._exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class ChildDied(Exception):
    """A program ended by itself; the message has the tail of its log."""


class Child:
    """A running program. Made by ``start``."""

    def __init__(self, *, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process
        self._wait = asyncio.create_task(process.wait(), name=f"wait for {name}")

    @classmethod
    async def start(cls, *, name: str, command: Sequence[str], log: Path) -> Child:
        """Start ``command`` (a path, then arguments) with both outputs in the file ``log``."""
        if sys.platform == "linux":
            launcher = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid())]
            command = [*launcher, *command]
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # an interrupt at the terminal is ours to pass on, in order
            )
        return cls(name=name, process=process, log=log)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def check(self) -> None:
        """Do nothing while the program runs.

        Raises:
            ChildDied: it ended.

        """
        if self._process.returncode is not None:
            code = self._process.returncode
            raise ChildDied(f"{self.name} ended with code {code}; its last lines:\n{self.tail()}")

    async def wait(self) -> None:
        """Return when the program has ended."""
        await asyncio.shield(self._wait)

    async def stop(self, *, grace: float) -> None:
        """Ask it to end, and kill it after ``grace`` seconds; returns when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(grace):
                await self.wait()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """End it without a warning; returns when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self.wait()

    def tail(self) -> str:
        """The last 3,000 bytes of its log, whole lines."""
        data = self.log.read_bytes()
        text = data[-_TAIL_BYTES:].decode(errors="replace")
        return text if len(data) <= _TAIL_BYTES else text.partition("\n")[2]
