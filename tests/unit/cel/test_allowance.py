"""One namespace's slow expressions are not another one's wait."""

from __future__ import annotations

import asyncio

import pytest

from fluvial.cel import evaluator
from fluvial.cel.allowance import Allowance
from fluvial.cel.evaluator import CelEvaluator, EvaluatorBusy, ExpressionFailed, Program, cel_pool
from fluvial.clock import RealClock
from fluvial.log import get_logger
from fluvial.workers.errors import WorkerBusy


class StillClock(RealClock):
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self._passed = 1000.0

    def monotonic(self) -> float:
        return self._passed

    def pass_(self, seconds: float) -> None:
        """Go on."""
        self._passed += seconds


_LONG = {"l": list(range(9000))}
_SLOW = Program("slow", "l.all(a, l == l)")
_QUICK = Program("quick", "l.size() > 0")


def test_what_is_quick_costs_nothing() -> None:
    allowance = Allowance(StillClock())
    for _ in range(1000):
        allowance.charge("team", 0.1)

    assert allowance.wait_of("team") == 0


def test_a_namespace_has_its_part_of_the_time_and_no_more() -> None:
    clock = StillClock()
    allowance = Allowance(clock)
    worked = 0
    for _ in range(1000):
        if not allowance.wait_of("slow"):
            allowance.charge("slow", 5.0)
            worked += 5
        clock.pass_(1.0)

    assert worked <= 0.06 * 1000
    assert allowance.wait_of("other") == 0
    allowance.of("other").admit()
    with pytest.raises(WorkerBusy, match=r"namespace slow .* again in"):
        allowance.of("slow").admit()
    clock.pass_(200.0)
    allowance.of("slow").admit()


@pytest.mark.slow
async def test_whoever_is_slow_is_put_off_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what waited already when it turned out."""
    monkeypatch.setattr(evaluator, "_SECONDS", 0.5)
    monkeypatch.setattr("fluvial.cel.allowance._MOST", 0.2)
    async with cel_pool(size=1, log=get_logger("test")) as pool:
        cel = CelEvaluator(pool, clock=StillClock())
        slow = [cel.first([_SLOW], data=_LONG, namespace="slow") for _ in range(10)]
        outcomes = await asyncio.gather(*slow, return_exceptions=True)
        answer = await cel.first([_QUICK], data=_LONG, namespace="good")
        with pytest.raises(EvaluatorBusy, match="taken long"):
            await cel.first([_QUICK], data=_LONG, namespace="slow")

    assert answer == 0
    assert [type(one) for one in outcomes] == [ExpressionFailed, *[EvaluatorBusy] * 9]


@pytest.mark.slow
async def test_a_process_serves_what_waits_for_its_namespace_before_it_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluator, "_SLICE", 60.0)
    async with cel_pool(size=1, log=get_logger("test")) as pool:
        cel = CelEvaluator(pool)
        pids = set[int]()

        async def one(namespace: str) -> None:
            assert await cel.first([_QUICK], data=_LONG, namespace=namespace) == 0
            pids.update(pool.pids)

        await asyncio.gather(*(one(f"team-{number % 2}") for number in range(20)))

    assert len(pids) == 2
