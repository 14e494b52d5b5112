"""What a phase costs the controllers: everything around the work is measured here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.load.audit import AuditLog, Request, count
from bench.load.controllers import Started
from bench.load.lag import Told, lag_between, scrape
from bench.load.phases import Work
from bench.load.results import PhaseResult
from bench.load.sampling import Sampler

__all__ = ["Meter"]

_QUIET_SECONDS = 1.0
_LONGEST_SETTLING = 60.0
_POLL = 0.25


@dataclass(frozen=True, slots=True)
class Meter:
    """Measures phases.

    Attributes:
        audit: the control plane's.
        agents: how the user agent of each controller begins, by its name.
        started: the controllers.
        groups: first process of each group, by name.
        alone: groups of one process.

    """

    audit: AuditLog
    agents: Mapping[str, str]
    started: Sequence[Started]
    groups: Mapping[str, int]
    alone: tuple[str, ...]

    async def settle(self) -> None:
        """Wait until the controllers ask nothing more; what they asked is dropped."""
        await self._until_quiet([])

    async def phase(
        self, name: str, work: Callable[[], Awaitable[Work]], *, until_quiet: bool = True
    ) -> PhaseResult:
        """Do the work and measure it.

        Args:
            name: of the phase.
            work: what is done.
            until_quiet: measure on until the controllers ask nothing more: their last events, and
                what they do about their own writes, are part of the phase.

        """
        await asyncio.to_thread(self.audit.news)
        before = await self._told()
        requests: list[Request] = []
        async with Sampler(self.groups, alone=self.alone) as sampler:
            done = await work()
            settled = await self._until_quiet(requests) if until_quiet else 0.0
            uses = await sampler.uses()
        requests += await asyncio.to_thread(self.audit.news)
        after = await self._told()
        lags = {one: lag_between(before[one], after[one]) for one in after}
        return PhaseResult(
            phase=name,
            objects=done.objects,
            seconds=done.seconds,
            settled=settled,
            latency=done.latency,
            requests=count(requests, self.agents),
            reconciles=_reconciles(before, after),
            uses=uses,
            lag={one: lag for one, lag in lags.items() if lag is not None},
            failures=done.failures,
            notes=done.notes,
        )

    async def _told(self) -> dict[str, Told]:
        return {one.name: await scrape(one.metrics) for one in self.started}

    async def _until_quiet(self, requests: list[Request]) -> float:
        """Read on until nothing was asked for a second; how long that took, without that second."""
        started = last = time.perf_counter()
        while time.perf_counter() - last < _QUIET_SECONDS:
            if last - started > _LONGEST_SETTLING:
                break
            await asyncio.sleep(_POLL)
            news = await asyncio.to_thread(self.audit.news)
            requests += news
            if any(one.count for one in count(news, self.agents) if one.verb != "watch"):
                last = time.perf_counter()
        return last - started


def _reconciles(before: Mapping[str, Told], after: Mapping[str, Told]) -> dict[str, float]:
    return {
        f"{process}/{controller}": total - before[process].reconciles.get(controller, 0.0)
        for process, told in after.items()
        for controller, total in told.reconciles.items()
    }
