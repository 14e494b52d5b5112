"""Shares of a queue: nobody takes all places, nothing is lost, and nobody waits without need."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from fluvial.runtime.queue import QueueShutDown, WorkQueue
from fluvial.runtime.shares import Shares

pytestmark = pytest.mark.looptime

Key = tuple[str, int]


def _queue(places: int = 8) -> WorkQueue[Key]:
    return WorkQueue(shares=Shares(places, lambda key: key[0]))


def _add(queue: WorkQueue[Key], group: str, count: int) -> None:
    for number in range(count):
        queue.add((group, number))


async def _taken(queue: WorkQueue[Key]) -> list[Key]:
    taken = []
    while True:
        try:
            async with asyncio.timeout(1):
                taken.append(await queue.get())
        except TimeoutError:
            return taken


async def test_one_group_leaves_half_and_the_next_half_of_that() -> None:
    queue = _queue(8)
    _add(queue, "a", 20)
    _add(queue, "b", 20)
    _add(queue, "c", 1)

    found = Counter(group for group, _ in await _taken(queue))
    assert found == {"a": 4, "b": 2, "c": 1}
    assert len(queue) == 0, "what has no place is not ready"


async def test_whoever_has_nothing_gets_something() -> None:
    queue = _queue(2)
    for group in "abcd":
        _add(queue, group, 2)

    assert Counter(group for group, _ in await _taken(queue)) == dict.fromkeys("abcd", 1)


async def test_a_key_that_had_no_place_is_the_next_when_one_is_free() -> None:
    queue = _queue(4)
    _add(queue, "a", 4)
    taken = await _taken(queue)
    assert taken == [("a", 0), ("a", 1)]
    queue.add(("b", 0))
    queue.done(("a", 0))

    assert await _taken(queue) == [("a", 2), ("b", 0)]


async def test_a_waiting_worker_is_woken_by_a_free_place() -> None:
    queue = _queue(2)
    _add(queue, "a", 2)
    assert await queue.get() == ("a", 0)
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(1)
    assert not waiting.done()

    queue.done(("a", 0))
    assert await waiting == ("a", 1)


async def test_a_place_of_others_is_room_for_all() -> None:
    queue = _queue(8)
    _add(queue, "a", 3)
    _add(queue, "b", 9)
    assert Counter(group for group, _ in await _taken(queue)) == {"a": 3, "b": 2}

    for number in range(3):
        queue.done(("a", number))
    assert Counter(group for group, _ in await _taken(queue)) == {"b": 2}


async def test_a_key_without_a_place_is_ready_once() -> None:
    queue = _queue(2)
    _add(queue, "a", 2)
    assert await _taken(queue) == [("a", 0)]
    queue.add(("a", 1))
    queue.add_first(("a", 1))
    queue.add_after(("a", 1), 5)
    assert queue.delayed == 0

    queue.done(("a", 0))
    assert await _taken(queue) == [("a", 1)]


@pytest.mark.parametrize("low_priority", [False, True])
async def test_whoever_is_added_again_keeps_its_place(*, low_priority: bool) -> None:
    """Else an object that changes all the time would never be worked on."""
    queue = _queue(2)
    _add(queue, "a", 4)
    assert await queue.get() == ("a", 0)
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add(("a", 1), low_priority=low_priority)
    await asyncio.sleep(0)

    queue.done(("a", 0))
    assert await waiting == ("a", 1)


async def test_places_that_are_free_at_once_go_to_those_who_wait_longest() -> None:
    queue = _queue(8)
    _add(queue, "a", 3)
    _add(queue, "b", 9)
    assert Counter(group for group, _ in [await queue.get() for _ in range(5)]) == {"a": 3, "b": 2}
    workers = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    for number in range(3):  # nobody takes anything meanwhile
        queue.done(("a", number))
    await asyncio.sleep(1)
    assert {one.result() for one in workers if one.done()} == {("b", 2), ("b", 3)}

    queue.done(("b", 2))
    await asyncio.sleep(1)
    assert ("b", 4) in {one.result() for one in workers if one.done()}


async def test_what_was_begun_is_the_first_of_those_without_a_place() -> None:
    queue = _queue(2)
    _add(queue, "a", 4)
    assert await queue.get() == ("a", 0)
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add_first(("a", 3))
    await asyncio.sleep(0)

    queue.done(("a", 0))
    assert await waiting == ("a", 3)


async def test_it_is_idle_only_when_nobody_waits_for_a_place() -> None:
    queue = _queue(2)
    _add(queue, "a", 2)
    await queue.get()
    idle = asyncio.create_task(queue.wait_idle())
    queue.done(("a", 0))
    await asyncio.sleep(1)
    assert not idle.done()
    queue.done(await queue.get())
    await idle


async def test_a_shut_down_hands_out_who_waits_for_a_place() -> None:
    queue = _queue(2)
    _add(queue, "a", 3)
    assert await queue.get() == ("a", 0)
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.shut_down()
    queue.done(("a", 0))
    assert await waiting == ("a", 1)
    queue.done(("a", 1))
    assert await queue.get() == ("a", 2)
    queue.done(("a", 2))
    with pytest.raises(QueueShutDown):
        await queue.get()


async def test_a_shut_down_without_drain_drops_who_waits_for_a_place() -> None:
    queue = _queue(2)
    _add(queue, "a", 3)
    assert await queue.get() == ("a", 0)
    queue.shut_down(drain=False)
    queue.done(("a", 0))
    with pytest.raises(QueueShutDown):
        await queue.get()


async def test_whatever_happens_each_key_is_worked_on_and_no_group_has_too_much() -> None:
    rng = random.Random(7)  # noqa: S311 - picks test data
    queue, places = _queue(6), 6
    held: Counter[str] = Counter()
    seen: Counter[Key] = Counter()

    async def work() -> None:
        while True:
            try:
                key = await queue.get()
            except QueueShutDown:
                return
            others = held.total() - held[key[0]]
            held[key[0]] += 1
            assert held[key[0]] <= max(1, (places - others) // 2)
            seen[key] += 1
            await asyncio.sleep(rng.random())
            held[key[0]] -= 1
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(places)]
    added: set[Key] = set()
    for _ in range(400):
        key = (rng.choice("aaaaaabc"), rng.randrange(9))
        added.add(key)
        match rng.randrange(4):
            case 0:
                queue.add_first(key)
            case 1:
                queue.add_after(key, rng.random())
            case number:
                queue.add(key, low_priority=number == 2)
        await asyncio.sleep(rng.random() / 20)
    await asyncio.sleep(2)
    await queue.wait_idle()
    queue.shut_down()
    await asyncio.gather(*workers)

    assert set(seen) == added
