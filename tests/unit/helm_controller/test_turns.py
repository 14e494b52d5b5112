"""A few work at once; who waits lets others work, and goes on before anybody begins."""

from __future__ import annotations

import asyncio

import pytest

from fluvial.clock import RealClock
from helm_controller.helmrelease.turns import Turn, Turns


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class _Worker:
    """Takes a turn, and rests and goes on when it is told to."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.working = False
        self.turn: Turn | None = None
        self.may_rest = asyncio.Event()
        self.may_go_on = asyncio.Event()
        self.may_end = asyncio.Event()
        self.task = asyncio.create_task(self._run(), name="worker")

    async def _run(self) -> None:
        async with self.turns.turn() as self.turn:
            self.working = True
            await self.may_rest.wait()
            self.working = False
            async with self.turn.rest():
                await self.may_go_on.wait()
            self.working = True
            await self.may_end.wait()
        self.working = False

    def stop(self) -> None:
        """Let it end as soon as it has its turns."""
        for event in (self.may_rest, self.may_go_on, self.may_end):
            event.set()


async def _end(*workers: _Worker) -> None:
    for one in workers:
        one.stop()
    async with asyncio.timeout(5):
        await asyncio.gather(*(one.task for one in workers))


async def test_no_more_than_the_limit_work_at_once() -> None:
    turns = Turns(2, RealClock())
    workers = [_Worker(turns) for _ in range(5)]
    await _settle()

    assert [one.working for one in workers] == [True, True, False, False, False]

    workers[0].may_rest.set()
    await _settle()
    assert [one.working for one in workers] == [False, True, True, False, False]
    await _end(*workers)


async def test_who_rests_lets_another_begin_and_goes_on_before_the_next() -> None:
    turns = Turns(1, RealClock())
    first, second, third = (_Worker(turns) for _ in range(3))
    await _settle()
    first.may_rest.set()
    await _settle()
    assert (first.working, second.working, third.working) == (False, True, False)

    first.may_go_on.set()
    await _settle()
    assert (first.working, second.working, third.working) == (False, True, False)

    second.may_rest.set()
    await _settle()
    assert (first.working, second.working, third.working) == (True, False, False)
    await _end(first, second, third)


@pytest.mark.parametrize("resting", [True, False])
async def test_a_turn_of_a_cancelled_one_is_not_lost(*, resting: bool) -> None:
    turns = Turns(1, RealClock())
    first = _Worker(turns)
    await _settle()
    if resting:
        first.may_rest.set()
        await _settle()
    first.task.cancel()
    await asyncio.gather(first.task, return_exceptions=True)

    second = _Worker(turns)
    await _settle()
    assert second.working
    await _end(second)


async def test_one_that_is_cancelled_while_it_waits_for_its_turn_takes_none() -> None:
    turns = Turns(1, RealClock())
    first, second, third = (_Worker(turns) for _ in range(3))
    await _settle()
    second.task.cancel()
    await asyncio.gather(second.task, return_exceptions=True)

    await _end(first, third)
    assert not third.working


async def test_a_turn_that_is_handed_over_to_a_cancelled_one_goes_on() -> None:
    turns = Turns(1, RealClock())
    first, second, third = (_Worker(turns) for _ in range(3))
    await _settle()
    first.may_rest.set()
    while second.turn is None and not second.task.done() and first.working:
        await asyncio.sleep(0)
    # The second has been given the turn.
    second.task.cancel()
    await asyncio.gather(second.task, return_exceptions=True)
    await _settle()

    assert third.working
    await _end(third)


async def test_several_rests_at_once_are_one() -> None:
    turns = Turns(1, RealClock())
    order: list[str] = []

    async def nap(turn: Turn, event: asyncio.Event) -> None:
        async with turn.rest():
            await event.wait()

    async with turns.turn() as turn:
        short, long = asyncio.Event(), asyncio.Event()
        naps = [asyncio.create_task(nap(turn, event)) for event in (short, long)]
        await _settle()
        other = _Worker(turns)
        await _settle()
        assert other.working
        short.set()
        await _settle()
        assert naps[0].done()
        long.set()
        await _settle()
        assert not naps[1].done()
        other.may_rest.set()
        async with asyncio.timeout(5):
            await asyncio.gather(*naps)
        order.append("went on")
    await _end(other)
    third = _Worker(turns)
    await _settle()

    assert order == ["went on"]
    assert third.working
    await _end(third)


async def test_who_waited_in_vain_goes_on_with_a_turn() -> None:
    """What follows a failure is work like any other."""
    turns = Turns(1, RealClock())
    may_fail = asyncio.Event()
    dealt_with = asyncio.Event()

    async def wait_in_vain(turn: Turn) -> None:
        async with turn.rest():
            await may_fail.wait()
            raise ValueError("in vain")

    async def fail() -> None:
        async with turns.turn() as turn:
            with pytest.raises(ValueError, match="in vain"):
                await wait_in_vain(turn)
            dealt_with.set()

    failing = asyncio.create_task(fail(), name="failing")
    await _settle()
    other = _Worker(turns)
    await _settle()
    assert other.working

    may_fail.set()
    await _settle()
    assert not dealt_with.is_set()

    other.may_rest.set()
    await _settle()
    assert dealt_with.is_set()
    await failing
    await _end(other)


async def test_all_may_be_cancelled_at_once() -> None:
    turns = Turns(1, RealClock())
    workers = [_Worker(turns) for _ in range(4)]
    await _settle()
    for one in workers:
        one.task.cancel()
    ends = await asyncio.gather(*(one.task for one in workers), return_exceptions=True)
    last = _Worker(turns)
    await _settle()

    assert [type(end) for end in ends] == [asyncio.CancelledError] * 4
    assert last.working
    await _end(last)
