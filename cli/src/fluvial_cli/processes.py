"""Child processes of ``fluvial dev``: started in order, watched, stopped in reverse.

A child that ends by itself ends the whole: the caller waits on ``failed``. Children get their own
session, so that Ctrl-C reaches only us and the stop stays ordered, and they die with us
(``PR_SET_PDEATHSIG``) if we are killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from fluvial.errors import FluvialError

__all__ = ["ChildFailed", "Processes", "Program"]

_PR_SET_PDEATHSIG = 1
_TAIL_LINES = 12


class ChildFailed(FluvialError):
    """A child ended or did not become ready; the message ends with the tail of its log."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to start: ``argv`` with an absolute program, log lines to ``log``."""

    name: str
    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Child:
    program: Program
    process: asyncio.subprocess.Process
    pump: asyncio.Task[None]
    ready: asyncio.Event


class Processes:
    """An ordered set of children. Use as an async context manager."""

    def __init__(self, *, grace: float = 10.0) -> None:
        """``grace``: seconds a child has after SIGTERM before SIGKILL."""
        self._grace = grace
        self._children: list[_Child] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._children:
            await self._stop(self._children.pop())

    async def start(
        self, program: Program, *, is_ready: Callable[[bytes], bool], timeout: float = 60.0
    ) -> int:
        """Start and wait until a line of its output says it is ready.

        Args:
            program: what to start.
            is_ready: tells whether an output line means readiness.
            timeout: seconds until giving up.

        Returns:
            The process id.

        Raises:
            ChildFailed: it ended, or was not ready in time.

        """
        process = await asyncio.create_subprocess_exec(
            *program.argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **program.env},
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            limit=2**20,
        )
        ready = asyncio.Event()
        pump = asyncio.create_task(
            _pump(process, log=program.log, ready=ready, is_ready=is_ready),
            name=f"log of {program.name}",
        )
        child = _Child(program, process, pump, ready)
        self._children.append(child)
        try:
            async with asyncio.timeout(timeout):
                await _first(ready.wait(), process.wait())
        except TimeoutError:
            raise ChildFailed(
                f"{program.name} was not ready after {timeout:.0f}s\n{_tail(program.log)}"
            ) from None
        if not ready.is_set():
            await pump
            raise ChildFailed(
                f"{program.name} ended with status {process.returncode}\n{_tail(program.log)}"
            )
        return process.pid

    def pids(self) -> dict[str, int]:
        """Process ids by name."""
        return {child.program.name: child.process.pid for child in self._children}

    async def restart(
        self, name: str, *, is_ready: Callable[[bytes], bool], timeout: float = 60.0
    ) -> int:
        """Start again a child that has ended or been killed."""
        child = next(c for c in self._children if c.program.name == name)
        self._children.remove(child)
        await self._stop(child)
        return await self.start(child.program, is_ready=is_ready, timeout=timeout)

    async def failed(self) -> str:
        """Wait until any child ends; returns what to tell the user."""
        if not self._children:
            await asyncio.Event().wait()
        await _first(*(child.process.wait() for child in self._children))
        child = next(c for c in self._children if c.process.returncode is not None)
        await child.pump
        return (
            f"{child.program.name} ended with status {child.process.returncode}\n"
            f"{_tail(child.program.log)}"
        )

    async def _stop(self, child: _Child) -> None:
        if child.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(self._grace):
                    await child.process.wait()
            except TimeoutError:
                child.process.kill()
                await child.process.wait()
        await child.pump


async def _pump(
    process: asyncio.subprocess.Process,
    *,
    log: Path,
    ready: asyncio.Event,
    is_ready: Callable[[bytes], bool],
) -> None:
    assert process.stdout is not None  # noqa: S101  # asked for a pipe
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab", buffering=0) as out:
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:
                continue  # a line beyond the limit: asyncio has dropped it
            if not line:
                return
            out.write(line)
            if not ready.is_set() and is_ready(line):
                ready.set()


async def _first(*waits: object) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]  # type: ignore[call-overload]  # coroutines of several types
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
    except OSError:
        return ""
    return "\n".join(f"  {line}" for line in [f"last lines of {log}:", *lines])


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
