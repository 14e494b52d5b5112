"""A fenced child process: one program, one folder to read, bounded memory, time and output.

The fence is Landlock, put up by ``launcher`` in the child itself before it becomes the program.
Where the kernel has none, everything else still holds (clean environment, limits, kill of the
whole process group), ``landlock_version`` answers 0, and what the program is given must have been
checked harder.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fluvial.build import launcher
from fluvial.build.errors import BuildTimeout, EngineFailed, KustomizeError
from fluvial.workers.landlock import landlock_version

__all__ = ["Limits", "Outcome", "run_fenced"]

_CHUNK: Final = 256 * 1024
_MAX_STDERR: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one child.

    Attributes:
        memory: bytes of address space; programs in Go need 800 MB before they do anything.
        output: bytes on standard output.

    """

    memory: int = 2 * 1024**3
    output: int = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a child ended: exit code, negative for a signal, and what it wrote."""

    code: int
    stdout: bytes = field(repr=False)
    stderr: str = field(repr=False)


async def run_fenced(
    program: Path,
    arguments: list[str],
    *,
    root: Path,
    timeout: float,
    limits: Limits,
    environment: dict[str, str],
) -> Outcome:
    """Run ``program`` in ``root``, able to read only there.

    Args:
        program: statically linked, since no library can be read.
        arguments: passed as they are.
        root: working folder and fence; absolute, without links.
        timeout: seconds until the process group is killed.
        limits: memory and output.
        environment: all of it.

    Raises:
        BuildTimeout: it was killed after ``timeout``.
        KustomizeError: it wrote more than ``limits.output`` and was killed.
        EngineFailed: it could not be started or fenced in.

    """
    command = [
        *(sys.executable, "-I", "-S", launcher.__file__),
        *(str(root), str(limits.memory), str(landlock_version()), str(program), *arguments),
    ]
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=root,
            env=environment,
            start_new_session=True,
            limit=_CHUNK,
        )
    except OSError as error:
        raise EngineFailed(f"the build could not be started: {error.strerror}") from error
    try:
        async with asyncio.timeout(timeout):
            outcome = await _collect(process, limits.output)
    except TimeoutError:
        raise BuildTimeout(f"the build took longer than {timeout:g} seconds") from None
    finally:
        await _ended(process)
    if outcome.code == launcher.FENCE_FAILED:
        raise EngineFailed(outcome.stderr.strip())
    return outcome


async def _collect(process: asyncio.subprocess.Process, max_output: int) -> Outcome:
    if process.stdout is None or process.stderr is None:
        raise EngineFailed("the build has no output streams")
    async with asyncio.TaskGroup() as group:
        output = group.create_task(_read(process, process.stdout, max_output), name="build-stdout")
        errors = group.create_task(_read_head(process.stderr), name="build-stderr")
    stdout = output.result()
    if stdout is None:
        raise KustomizeError(f"the build's output is larger than {max_output // 1024**2} MiB")
    code = await process.wait()
    return Outcome(code, stdout, errors.result().decode(errors="replace"))


async def _read(
    process: asyncio.subprocess.Process, stream: asyncio.StreamReader, limit: int
) -> bytes | None:
    """All of it; once it is too much, the process is killed and the answer is ``None``."""
    chunks: list[bytes] = []
    size = 0
    while chunk := await stream.read(_CHUNK):
        size += len(chunk)
        if size > limit:
            _kill(process)
            return None
        chunks.append(chunk)
    return b"".join(chunks)


async def _read_head(stream: asyncio.StreamReader) -> bytes:
    """The first part; the rest is read and dropped so that the child never blocks."""
    head = bytearray()
    while chunk := await stream.read(_CHUNK):
        head += chunk[: _MAX_STDERR - len(head)]
    return bytes(head)


def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill the process group, unless the process has ended and its number may be another's."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """The process is dead when this returns, and before a cancellation is passed on."""
    _kill(process)
    waiter = asyncio.create_task(process.wait(), name="build-reap")
    try:
        await asyncio.shield(waiter)
    except asyncio.CancelledError:
        await asyncio.wait([waiter])
        raise
