"""Slots: one domain's flood is not another one's wait."""

from __future__ import annotations

import asyncio

import pytest

from fluvial.workers.errors import WorkerBusy
from fluvial.workers.turns import Turns


def _start(turns: Turns, domain: str, got: list[str]) -> asyncio.Task[None]:
    async def one() -> None:
        await turns.take(domain)
        got.append(domain)

    return asyncio.create_task(one(), name=domain)


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_domains_take_turns() -> None:
    turns, got = Turns(1, most=100), list[str]()
    await turns.take("first")
    tasks = [_start(turns, domain, got) for domain in ("a", "a", "a", "b", "c")]
    await _settle()
    for _ in tasks:
        turns.give_back()
        await _settle()

    assert got == ["a", "b", "c", "a", "a"]
    turns.give_back()
    async with asyncio.timeout(1):
        await turns.take("free again")


async def test_a_domain_keeps_its_turn_for_a_slice_of_time() -> None:
    turns, got = Turns(1, most=100, slice_seconds=1.0), list[str]()
    await turns.take("a")
    tasks = [_start(turns, domain, got) for domain in ("b", "a", "a", "a", "b", "c")]
    await _settle()
    for used in (0.5, 0.4, 0.2, 5.0, 0.5, 0.0):
        turns.give_back(got[-1] if got else "a", used)
        await _settle()

    assert got == ["a", "a", "b", "c", "a", "b"]
    assert all(task.done() for task in tasks)


async def test_who_has_most_waiting_makes_room() -> None:
    turns, got = Turns(1, most=4), list[str]()
    await turns.take("first")
    flood = [_start(turns, "evil", got) for _ in range(4)]
    await _settle()
    with pytest.raises(WorkerBusy, match="4 jobs wait"):
        await turns.take("evil")
    other = _start(turns, "good", got)
    await _settle()

    assert [task.done() for task in flood] == [False, False, False, True]
    with pytest.raises(WorkerBusy):
        await flood[-1]
    for _ in range(4):
        turns.give_back()
        await _settle()
    assert got == ["evil", "good", "evil", "evil"]
    assert other.done()


async def test_room_is_not_taken_from_the_only_one_of_a_domain() -> None:
    turns, got = Turns(1, most=2), list[str]()
    await turns.take("first")
    waiting = [_start(turns, domain, got) for domain in "ab"]
    await _settle()
    with pytest.raises(WorkerBusy):
        await turns.take("c")
    for _ in waiting:
        turns.give_back()
        await _settle()

    assert got == ["a", "b"]


@pytest.mark.parametrize("given", [False, True])
async def test_who_goes_takes_no_slot_along(given: bool) -> None:  # noqa: FBT001  # a parameter
    turns, got = Turns(1, most=10), list[str]()
    await turns.take("first")
    leaving, staying = _start(turns, "a", got), _start(turns, "b", got)
    await _settle()
    if given:
        turns.give_back()
    leaving.cancel()
    await _settle()
    if not given:
        turns.give_back()
    await _settle()

    assert leaving.cancelled()
    assert staying.done()
    turns.give_back()
    async with asyncio.timeout(1):
        await turns.take("free again")


async def test_who_is_cancelled_together_with_whoever_has_the_slot_is_passed_over() -> None:
    """As when everything ends at once: nothing else than the cancellations may come out."""
    turns = Turns(1, most=10)

    async def job(domain: str) -> None:
        await turns.take(domain)
        try:
            await asyncio.Event().wait()
        finally:
            turns.give_back()

    tasks = [asyncio.create_task(job(domain)) for domain in ("a", "a", "b", "b", "c")]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(1):
        await turns.take("d")

    assert [type(end) for end in ends] == [asyncio.CancelledError] * 5
