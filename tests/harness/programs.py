"""Running the project's own commands as a user does."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Ended", "children_of", "run", "running"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    output: str


async def run(*argv: str, timeout: float = 60.0) -> Ended:
    """Run ``python -m ARGV`` to its end; output and errors together."""
    process = await _start(argv)
    try:
        async with asyncio.timeout(timeout):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        output, _ = await process.communicate()
        raise AssertionError(f"{argv[0]} did not end: {output.decode()}") from None
    return Ended(process.returncode or 0, output.decode())


@asynccontextmanager
async def running(
    *argv: str, until: bytes, timeout: float = 60.0
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run ``python -m ARGV``; enter once it has printed a line that starts with ``until``."""
    process = await _start(argv)
    assert process.stdout is not None
    seen = b""
    try:
        async with asyncio.timeout(timeout):
            while True:
                line = await process.stdout.readline()
                seen += line
                if line.startswith(until):
                    break
                if not line:
                    raise AssertionError(f"{argv[0]} ended: {seen.decode()}")
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.communicate()


def children_of(pid: int) -> set[int]:
    """All descendants of a process."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found |= {int(child)} | children_of(int(child))
    return found


async def _start(argv: tuple[str, ...]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "COLUMNS": "200"},
    )
