"""Cached credentials: whose they are, and when they end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from clouds.clocks import TwoClocks
from fluvial.cloud.errors import LoginRefused
from fluvial.cloud.tokens import TokenCache, cache_key


@dataclass(frozen=True, slots=True)
class Value:
    number: int
    expires_at: datetime | None


class Service:
    """Gives out numbered values of a life."""

    def __init__(self, clock: TwoClocks, life: float = 3600.0) -> None:
        self.clock = clock
        self.life = life
        self.given = 0

    async def __call__(self) -> Value:
        self.given += 1
        return Value(self.given, self.clock.now() + timedelta(seconds=self.life))


@pytest.fixture
def service(clock: TwoClocks) -> Service:
    return Service(clock)


def test_the_parts_of_a_key_do_not_run_into_each_other() -> None:
    keys = {
        cache_key("aws", {"name": "a", "namespace": "b"}),
        cache_key("aws", {"name": "b", "namespace": "a"}),
        cache_key("aws", {"name": "ab", "namespace": ""}),
        cache_key("aws", {"name": "", "namespace": "ab"}),
        cache_key("aws", {"namename": "a", "space": "b"}),
        cache_key("awsname", {"name": "a", "namespace": "b"}),
    }

    assert len(keys) == 6
    assert all(len(key) == 64 for key in keys)


async def test_another_key_never_gets_what_is_kept(clock: TwoClocks, service: Service) -> None:
    cache = TokenCache(clock)
    first = await cache.get("tenant-a", service)
    second = await cache.get("tenant-b", service)

    assert (first.number, second.number) == (1, 2)
    assert (await cache.get("tenant-a", service)).number == 1


async def test_four_fifths_of_a_life_are_used(clock: TwoClocks) -> None:
    cache, service = TokenCache(clock), Service(clock, life=1000)
    await cache.get("k", service)
    clock.step(799)
    assert (await cache.get("k", service)).number == 1
    clock.step(1)
    assert (await cache.get("k", service)).number == 2


async def test_an_hour_is_the_longest(clock: TwoClocks) -> None:
    cache, service = TokenCache(clock, longest=10**6), Service(clock, life=86400)
    await cache.get("k", service)
    clock.step(3599)
    assert (await cache.get("k", service)).number == 1
    clock.step(1)
    assert (await cache.get("k", service)).number == 2


async def test_the_flag_makes_it_shorter(clock: TwoClocks, service: Service) -> None:
    cache = TokenCache(clock, longest=60)
    await cache.get("k", service)
    clock.step(60)

    assert (await cache.get("k", service)).number == 2


@pytest.mark.parametrize("which", ["wall", "running"])
async def test_either_clock_ends_it(clock: TwoClocks, service: Service, which: str) -> None:
    """A machine that slept has a late wall clock only, one whose time was set back the other."""
    cache = TokenCache(clock)
    await cache.get("k", service)
    if which == "wall":
        clock.wall += timedelta(seconds=2880)
    else:
        clock.wall -= timedelta(days=1)
        clock.running += 2880

    assert (await cache.get("k", service)).number == 2


async def test_what_has_expired_already_is_not_kept(clock: TwoClocks) -> None:
    cache, service = TokenCache(clock), Service(clock, life=-1)
    await cache.get("k", service)

    assert len(cache) == 0


async def test_what_never_expires_is_not_kept(clock: TwoClocks) -> None:
    cache = TokenCache(clock)

    async def make() -> Value:
        return Value(1, None)

    assert (await cache.get("k", make)).number == 1
    assert len(cache) == 0


async def test_the_least_used_goes_first(clock: TwoClocks, service: Service) -> None:
    cache = TokenCache(clock, size=2)
    for key in ("a", "b", "a", "c"):
        await cache.get(key, service)

    assert len(cache) == 2
    assert (await cache.get("a", service)).number == 1
    assert (await cache.get("b", service)).number == 4


async def test_size_zero_keeps_none(clock: TwoClocks, service: Service) -> None:
    cache = TokenCache(clock, size=0)
    await cache.get("k", service)
    await cache.get("k", service)

    assert (service.given, len(cache)) == (2, 0)


async def test_many_who_ask_at_once_cost_one_login(clock: TwoClocks) -> None:
    cache, gate, given = TokenCache(clock), asyncio.Event(), 0

    async def make() -> Value:
        nonlocal given
        given += 1
        await gate.wait()
        return Value(given, clock.now() + timedelta(hours=1))

    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(cache.get("k", make)) for _ in range(50)]
        await asyncio.sleep(0)
        gate.set()

    assert {task.result().number for task in asking} == {1}


async def test_a_failure_is_told_to_all_and_not_kept(clock: TwoClocks, service: Service) -> None:
    cache, gate = TokenCache(clock), asyncio.Event()

    async def refuse() -> Value:
        await gate.wait()
        raise LoginRefused("no", status=403)

    async def ask() -> str:
        with pytest.raises(LoginRefused) as caught:
            await cache.get("k", refuse)
        return str(caught.value)

    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(ask()) for _ in range(3)]
        await asyncio.sleep(0)
        gate.set()

    assert [task.result() for task in asking] == ["no"] * 3
    assert (await cache.get("k", service)).number == 1


async def test_the_next_one_takes_over_from_who_gave_up(clock: TwoClocks) -> None:
    cache, started = TokenCache(clock), asyncio.Event()

    async def hang() -> Value:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def make() -> Value:
        return Value(7, clock.now() + timedelta(hours=1))

    leader = asyncio.create_task(cache.get("k", hang))
    await started.wait()
    follower = asyncio.create_task(cache.get("k", make))
    await asyncio.sleep(0)
    leader.cancel()

    assert (await follower).number == 7
    with pytest.raises(asyncio.CancelledError):
        await leader


class Observer:
    def __init__(self) -> None:
        self.heard: list[str] = []
        self.number = -1

    def answered(self, *, hit: bool) -> None:
        self.heard.append("hit" if hit else "miss")

    def failed(self) -> None:
        self.heard.append("failed")

    def evicted(self) -> None:
        self.heard.append("evicted")

    def holds(self, number: int) -> None:
        self.number = number


async def test_it_tells_what_it_does(clock: TwoClocks, service: Service) -> None:
    observer = Observer()
    cache = TokenCache(clock, size=1, observer=observer)
    for key in ("a", "a", "b"):
        await cache.get(key, service)
    cache.forget("b")

    async def refuse() -> Value:
        raise LoginRefused("no", status=403)

    with pytest.raises(LoginRefused):
        await cache.get("c", refuse)

    assert observer.heard == ["miss", "hit", "miss", "evicted", "failed"]
    assert observer.number == len(cache) == 0


async def test_what_is_refused_is_forgotten_once_a_minute(
    clock: TwoClocks, service: Service
) -> None:
    """A service that refuses everything has no credential made for each of its answers."""
    cache = TokenCache(clock)
    for _ in range(10):
        kept = await cache.get("key", service)
        cache.refuse("key", kept.__eq__)
        clock.step(10.0)
    assert service.given == 3

    # Nobody loses what was fetched after the refusal, and none of the other keys.
    await cache.get("other", service)
    clock.step(100.0)
    cache.refuse("key", lambda value: value.number == 1)
    cache.refuse("nothing", lambda _: True)
    await cache.get("key", service)
    await cache.get("other", service)
    assert service.given == 4
