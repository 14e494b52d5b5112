"""The work queue: one worker per key, no lost event, one timer, ordered end."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Hashable

import pytest

from fluvial.runtime.backoff import Backoff
from fluvial.runtime.queue import QueueShutDown, WorkQueue

pytestmark = pytest.mark.looptime


async def test_keys_come_out_in_the_order_they_went_in() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in "cab":
        queue.add(key)

    assert [await queue.get() for _ in range(3)] == ["c", "a", "b"]


async def test_a_ready_key_is_ready_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add("a")

    assert len(queue) == 1


async def test_an_add_during_processing_queues_the_key_once_more_when_it_is_done() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    key = await queue.get()
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0, "it must not be handed out while it is held"
    queue.done(key)

    assert len(queue) == 1
    assert await queue.get() == "a"
    queue.done("a")
    assert len(queue) == 0


async def test_no_key_is_held_twice_and_the_last_version_is_always_seen() -> None:
    queue: WorkQueue[int] = WorkQueue()
    wanted: Counter[int] = Counter()
    seen: dict[int, int] = {}
    held: set[int] = set()
    overlaps = runs = 0

    async def worker() -> None:
        nonlocal overlaps, runs
        while True:
            try:
                key = await queue.get()
            except QueueShutDown:
                return
            overlaps += key in held
            held.add(key)
            version = wanted[key]
            await asyncio.sleep(0)
            seen[key] = version
            runs += 1
            held.discard(key)
            queue.done(key)

    chance = random.Random(7)  # noqa: S311 - a repeatable mix of keys
    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(worker(), name=f"worker-{number}")
        for count in range(5000):
            key = chance.randrange(50)
            wanted[key] += 1
            queue.add(key)
            if count % 40 == 0:
                await asyncio.sleep(0)
        await queue.wait_idle()
        queue.shut_down()

    assert overlaps == 0
    assert seen == wanted
    assert runs < 5000


async def test_add_after_keeps_the_earliest_time() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 30)
    queue.add_after("a", 10)
    queue.add_after("a", 20)
    start = asyncio.get_running_loop().time()
    await queue.get()

    assert asyncio.get_running_loop().time() - start == pytest.approx(10, abs=0.01)
    assert queue.delayed == 0


async def test_a_plain_add_cancels_the_timer() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 10)
    queue.add("a")
    queue.done(await queue.get())
    await asyncio.sleep(20)

    assert len(queue) == 0
    assert queue.delayed == 0


async def test_a_delayed_add_of_a_ready_key_sets_no_timer() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add_after("a", 5)

    assert queue.delayed == 0


async def test_a_timer_set_by_a_run_is_superseded_by_an_event_during_that_run() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.add_after("a", 600)
    queue.done("a")

    assert len(queue) == 1
    assert queue.delayed == 0


async def test_a_timer_that_fires_during_processing_queues_the_key_once_more() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await queue.get()
    queue.add_after("a", 1)
    await asyncio.sleep(2)
    assert len(queue) == 0
    queue.done("a")

    assert len(queue) == 1


async def test_no_delay_is_a_plain_add() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 0)

    assert len(queue) == 1


async def test_all_timers_share_one_timer_of_the_loop() -> None:
    queue: WorkQueue[int] = WorkQueue()
    loop = asyncio.get_running_loop()
    before = len([handle for handle in loop._scheduled if not handle.cancelled()])  # type: ignore[attr-defined]
    for key in range(500):
        queue.add_after(key, 600 - key)
    after = len([handle for handle in loop._scheduled if not handle.cancelled()])  # type: ignore[attr-defined]

    assert queue.delayed == 500
    assert after - before == 1


async def test_superseded_timers_do_not_pile_up() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for _ in range(10_000):
        queue.add_after("a", 3600)
        queue.add("a")
        queue.done(await queue.get())

    assert len(queue._heap) < 100


async def test_timers_fire_in_the_order_of_their_times() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("late", 3)
    queue.add_after("early", 1)
    queue.add_after("middle", 2)

    assert [await queue.get() for _ in range(3)] == ["early", "middle", "late"]


async def test_a_cancelled_worker_hands_its_wake_up_to_the_next() -> None:
    queue: WorkQueue[str] = WorkQueue()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(queue.get(), name="first")
        second = group.create_task(queue.get(), name="second")
        await asyncio.sleep(0)
        queue.add("a")  # wakes the first
        first.cancel()  # before it ran
        assert await asyncio.wait_for(second, 1) == "a"

    assert first.cancelled()


async def test_a_worker_cancelled_while_nothing_came_leaves_no_trace() -> None:
    queue: WorkQueue[str] = WorkQueue()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), 1)
    queue.add("a")

    assert await asyncio.wait_for(queue.get(), 1) == "a"


async def test_what_was_begun_comes_before_what_is_new_in_its_own_order() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("settled", low_priority=True)
    for key in ("new", "begun", "other"):
        queue.add(key)
    queue.add_first("begun")
    queue.add_first("begun too")
    queue.add_first("settled")
    queue.add("begun")

    assert len(queue) == 5
    taken = [await queue.get() for _ in range(5)]
    assert taken == ["begun", "begun too", "settled", "new", "other"]


async def test_first_is_ready_once_without_its_timer_and_not_while_it_is_held() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 5)
    queue.add_first("a")
    queue.add_after("a", 5)
    assert (len(queue), queue.delayed) == (1, 0)
    assert await queue.get() == "a"
    queue.add_first("a")
    assert len(queue) == 0

    queue.done("a")
    assert await queue.get() == "a"
    queue.done("a")
    queue.add_first("b")
    queue.shut_down(drain=False)
    queue.add_first("c")
    assert len(queue) == 0


async def test_low_priority_waits_for_the_rest() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("settled", low_priority=True)
    queue.add("pending")

    assert [await queue.get(), await queue.get()] == ["pending", "settled"]


async def test_an_event_raises_the_priority_of_a_waiting_key() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", low_priority=True)
    queue.add("b", low_priority=True)
    queue.add("b")
    queue.add("b", low_priority=True)

    assert [await queue.get(), await queue.get()] == ["b", "a"]
    assert len(queue) == 0


async def test_low_priority_does_not_starve() -> None:
    queue: WorkQueue[int] = WorkQueue()
    queue.add(-1, low_priority=True)
    taken: list[int] = []
    for number in range(20):
        queue.add(number)
        queue.add(1000 + number)
        taken.append(await queue.get())
        queue.done(taken[-1])

    assert -1 in taken


async def test_an_add_during_processing_keeps_the_higher_priority() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await queue.get()
    queue.add("a", low_priority=True)
    queue.add("a")
    queue.add("b", low_priority=True)
    queue.add("c")
    queue.done("a")

    assert [await queue.get() for _ in range(3)] == ["c", "a", "b"]


async def test_rate_limited_adds_wait_longer_each_time_until_forgotten() -> None:
    queue: WorkQueue[str] = WorkQueue(backoff=Backoff(base=1, cap=100))
    loop = asyncio.get_running_loop()
    waits = []
    for attempt in range(4):
        if attempt == 3:
            queue.forget("a")
        start = loop.time()
        queue.add_rate_limited("a")
        queue.done(await queue.get())
        waits.append(round(loop.time() - start, 2))

    assert waits == [1, 2, 4, 1]


async def test_shut_down_drains_what_is_ready_and_drops_timers() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add_after("b", 1)
    queue.shut_down()
    queue.add("c")
    queue.add_after("d", 1)
    queue.add_rate_limited("e")

    assert await queue.get() == "a"
    with pytest.raises(QueueShutDown):
        await queue.get()
    assert queue.delayed == 0


async def test_shut_down_without_drain_keeps_only_what_is_held() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("held")
    await queue.get()
    queue.add("ready")
    queue.add("held")
    queue.shut_down(drain=False)
    assert queue.processing == 1
    queue.done("held")

    with pytest.raises(QueueShutDown):
        await queue.get()


async def test_shut_down_wakes_every_waiting_worker() -> None:
    queue: WorkQueue[str] = WorkQueue()
    waiting = [asyncio.ensure_future(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.shut_down()
    results = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(result) for result in results] == [QueueShutDown] * 3


async def test_idle_means_nothing_ready_and_nothing_held() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    idle = asyncio.ensure_future(queue.wait_idle())
    await queue.get()
    await asyncio.sleep(0)
    assert not idle.done()
    queue.done("a")

    await asyncio.wait_for(idle, 1)


async def test_done_of_a_key_that_is_not_held_does_nothing() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.done("a")

    assert len(queue) == 0


async def test_the_observer_sees_every_step() -> None:
    class Observer:
        def __init__(self) -> None:
            self.seen: list[tuple[str, Hashable]] = []

        def added(self, key: Hashable) -> None:
            self.seen.append(("added", key))

        def taken(self, key: Hashable) -> None:
            self.seen.append(("taken", key))

        def finished(self, key: Hashable) -> None:
            self.seen.append(("finished", key))

        def retried(self, key: Hashable) -> None:
            self.seen.append(("retried", key))

        def dropped(self, key: Hashable) -> None:
            self.seen.append(("dropped", key))

    observer = Observer()
    queue: WorkQueue[str] = WorkQueue(observer=observer)
    queue.add("a", low_priority=True)
    queue.add("a")
    queue.done(await queue.get())
    queue.add_rate_limited("a")
    await asyncio.sleep(1)
    queue.shut_down(drain=False)

    assert observer.seen == [
        ("added", "a"),
        ("taken", "a"),
        ("finished", "a"),
        ("retried", "a"),
        ("added", "a"),
        ("dropped", "a"),
    ]
