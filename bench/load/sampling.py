"""CPU time and memory of process groups: a process and all its descendants, from ``/proc``.

Memory is the sum of the proportional set sizes (PSS): a page that k processes share counts once,
in k parts. Where the kernel does not tell it (another user's process that is not traceable) the
resident set stands in, which counts shared pages for each.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["GroupUse", "Sampler", "cpu_seconds", "group_of", "memory_mib"]

_PROC = Path("/proc")
_GONE = (FileNotFoundError, ProcessLookupError)


@dataclass(frozen=True, slots=True)
class GroupUse:
    """What a process group used.

    Attributes:
        name: of the group.
        cpu_seconds: user and system time, ended children included.
        peak_mib: the largest sum over the group at one moment.
        exact: it is PSS; otherwise resident set sizes are in it.

    """

    name: str
    cpu_seconds: float
    peak_mib: float
    exact: bool = True


def group_of(pid: int, proc: Path = _PROC) -> tuple[int, ...]:
    """A process and its descendants that live now; empty if it is gone."""
    found: list[int] = []
    pending = [pid]
    while pending:
        one = pending.pop()
        with suppress(*_GONE):
            for task in (proc / str(one) / "task").iterdir():
                with suppress(*_GONE):
                    pending += [int(child) for child in (task / "children").read_text().split()]
            found.append(one)
    return tuple(found)


def cpu_seconds(pids: Iterable[int], proc: Path = _PROC) -> float:
    """User and system time of processes, and of the children that they have waited for."""
    ticks = 0
    for pid in pids:
        with suppress(*_GONE):
            fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_mib(pids: Iterable[int], proc: Path = _PROC) -> tuple[float, bool]:
    """Sum of the PSS in MiB, and whether it is exact."""
    kib, exact = 0, True
    for pid in pids:
        with suppress(*_GONE):
            try:
                kib += _pss(proc / str(pid) / "smaps_rollup")
            except PermissionError:
                kib += _resident(proc / str(pid) / "statm")
                exact = False
    return kib / 1024, exact


def _pss(file: Path) -> int:
    for line in file.read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def _resident(file: Path) -> int:
    return int(file.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


class Sampler:
    """Looks at process groups at intervals while its context lasts.

    Args:
        groups: pid of each group's first process, by name.
        alone: groups of a single process, whose children are others' groups.
        period: seconds between two looks.

    """

    def __init__(
        self,
        groups: Mapping[str, int],
        *,
        alone: Collection[str] = (),
        period: float = 0.5,
    ) -> None:
        self._groups = dict(groups)
        self._alone = frozenset(alone)
        self._period = period
        self._before: dict[str, float] = {}
        self._peak = dict.fromkeys(groups, 0.0)
        self._exact = dict.fromkeys(groups, True)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._look)
        self._before = self._cpu()
        self._task = asyncio.create_task(self._run(), name="sampler")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def uses(self) -> tuple[GroupUse, ...]:
        """What each group has used since the context began."""
        await asyncio.to_thread(self._look)
        now = self._cpu()
        return tuple(
            GroupUse(
                name,
                max(0.0, now[name] - self._before[name]),
                self._peak[name],
                exact=self._exact[name],
            )
            for name in self._groups
        )

    def _pids(self, name: str) -> tuple[int, ...]:
        pid = self._groups[name]
        return (pid,) if name in self._alone else group_of(pid)

    def _cpu(self) -> dict[str, float]:
        return {name: cpu_seconds(self._pids(name)) for name in self._groups}

    def _look(self) -> None:
        for name in self._groups:
            mib, exact = memory_mib(self._pids(name))
            self._peak[name] = max(self._peak[name], mib)
            self._exact[name] = self._exact[name] and exact

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._period)
            await asyncio.to_thread(self._look)
