"""What controllers tell of themselves: how late their event loops run, how often they reconcile.

Controllers that have no such metric, such as those without an event loop, simply have no figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

__all__ = ["LAG", "Lag", "Told", "lag_between", "parse", "scrape"]

LAG = "fluvial_event_loop_lag_seconds"
_RECONCILES = "controller_runtime_reconcile"
_LIMIT = 0.005


@dataclass(frozen=True, slots=True)
class Told:
    """A reading of one controller's metrics.

    Attributes:
        lag: cumulated counts by upper bound in seconds.
        reconciles: so far, by controller.

    """

    lag: Mapping[float, float] = field(default_factory=dict)
    reconciles: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lag:
    """How late an event loop ran its timers during a phase.

    Attributes:
        samples: how many timers were watched.
        p50_ms: half were at most this late (upper bound of the bucket).
        p99_ms: 99 of 100 were.
        max_ms: all were; infinite beyond the last bucket.
        late: share that was more than 5 ms late.

    """

    samples: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    late: float


async def scrape(url: str) -> Told:
    """Read the metrics at an address; nothing from ``""``."""
    if not url:
        return Told()
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return parse(await answer.text())


def parse(text: str) -> Told:
    """Read Prometheus' text format."""
    lag: dict[float, float] = {}
    reconciles: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        if family.name == LAG:
            lag = {
                float(one.labels["le"]): one.value
                for one in family.samples
                if one.name == f"{LAG}_bucket"
            }
        elif family.name == _RECONCILES:
            for one in family.samples:
                name = one.labels.get("controller", "")
                reconciles[name] = reconciles.get(name, 0.0) + one.value
    return Told(lag, reconciles)


def lag_between(before: Told, after: Told) -> Lag | None:
    """The lag between two readings; ``None`` where the controller tells none."""
    counts = {bound: total - before.lag.get(bound, 0.0) for bound, total in after.lag.items()}
    samples = max(counts.values(), default=0.0)
    if not samples:
        return None
    return Lag(
        samples=int(samples),
        p50_ms=_bound(counts, 0.5 * samples) * 1e3,
        p99_ms=_bound(counts, 0.99 * samples) * 1e3,
        max_ms=_bound(counts, samples) * 1e3,
        late=1 - counts.get(_LIMIT, samples) / samples,
    )


def _bound(counts: Mapping[float, float], wanted: float) -> float:
    return min(bound for bound, total in counts.items() if total >= wanted)
