"""Lanes: what one tenant's Providers do not take is nobody else's loss."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fluvial.clock import RealClock
from fluvial.log import get_logger
from fluvial.objects import ObjectKey
from notification_controller.alert.lanes import Job, Lanes, LaneTimes
from notification_controller.event.model import Event, InvolvedObject
from notification_controller.provider.message import Message
from notification_controller.provider.outgoing import SendFailed

pytestmark = pytest.mark.looptime


class LoopClock(RealClock):
    """The event loop's time."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


def job(namespace: str, provider: str = "chat", text: str = "done") -> Job:
    about = InvolvedObject(kind="Kustomization", name="app", namespace=namespace)
    event = Event(involved_object=about, severity="info", timestamp="", message=text, reason="R")
    return Job(ObjectKey(namespace, provider), ObjectKey(namespace, "all"), Message(event))


class Seen:
    """What became of messages."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, str]] = []

    def ended(self, job: Job, outcome: str, _why: str) -> None:
        self.ends.append((job.provider.namespace, outcome))


@asynccontextmanager
async def running(
    send: Callable[[Job], Awaitable[None]], seen: Seen, **times: Any
) -> AsyncIterator[Lanes]:
    log = get_logger("test")
    lanes = Lanes(send, seen.ended, clock=LoopClock(), log=log, times=LaneTimes(**times))
    try:
        yield lanes
    finally:
        await lanes.flush(0)


async def test_a_tenant_with_many_dead_services_leaves_others_their_turn() -> None:
    seen = Seen()

    async def send(job: Job) -> None:
        if job.provider.namespace == "evil":
            await asyncio.Event().wait()

    async with running(send, seen) as lanes:
        for number in range(100):
            lanes.put(job("evil", f"dead-{number}"))
        await asyncio.sleep(1)
        lanes.put(job("good"))
        await asyncio.sleep(1)

        assert seen.ends == [("good", "delivered")]


async def test_one_try_ends_whatever_the_provider_says() -> None:
    seen = Seen()

    async def send(_: Job) -> None:
        await asyncio.Event().wait()

    async with running(send, seen, longest_try=10.0, patience=0.0) as lanes:
        lanes.put(job("a"))
        await asyncio.sleep(11)

        assert seen.ends == [("a", "failed")]


async def test_who_fills_all_lanes_loses_his_own_messages() -> None:
    seen = Seen()

    async def send(_: Job) -> None:
        raise SendFailed("away", again=True)

    async with running(send, seen, room=20, lane_room=10) as lanes:
        for number in range(40):
            lanes.put(job("evil", f"dead-{number % 5}"))
        lanes.put(job("good"))
        lanes.put(job("good"))

        assert lanes.waiting == 20
        assert {namespace for namespace, _ in seen.ends} == {"evil"}
    assert seen.ends.count(("good", "dropped")) == 2, "only at the end"


async def test_long_messages_count_by_their_length() -> None:
    seen = Seen()

    async def send(_: Job) -> None:
        raise SendFailed("away", again=True)

    async with running(send, seen, lane_bytes=2500, room_bytes=4600) as lanes:
        for _ in range(5):
            lanes.put(job("evil", "one", "x" * 1000))
        assert lanes.waiting == 2
        for _ in range(5):
            lanes.put(job("evil", "two", "x" * 1000))
        assert lanes.waiting == 4
        lanes.put(job("evil", "three", "x" * 1000))
        assert lanes.waiting == 4
        lanes.put(job("good", text="x" * 500))

        assert lanes.waiting == 5
        assert ("good", "dropped") not in seen.ends


async def test_a_message_that_cannot_be_composed_does_not_end_its_lane() -> None:
    seen = Seen()

    async def send(job: Job) -> None:
        if job.message.event.message == "bad":
            raise KeyError("bad")

    async with running(send, seen) as lanes:
        lanes.put(job("a", text="bad"))
        lanes.put(job("a"))
        await asyncio.sleep(1)
        lanes.put(job("a"))
        await asyncio.sleep(1)

        assert seen.ends == [("a", "failed"), ("a", "delivered"), ("a", "delivered")]
        assert lanes.waiting == 0


async def test_a_service_that_is_away_for_minutes_gets_everything_in_its_order() -> None:
    """Nothing is lost, nothing overtakes, and it is not asked more often than once a minute."""
    seen, tries, taken = Seen(), list[float](), list[str]()
    loop = asyncio.get_running_loop()

    async def send(job: Job) -> None:
        tries.append(loop.time())
        if loop.time() < 600:
            raise SendFailed("the service answers 503: ", again=True)
        taken.append(job.message.event.message)

    async with running(send, seen) as lanes:
        for number in range(50):
            lanes.put(job("a", text=f"message {number}"))
        await asyncio.sleep(900)

        assert taken == [f"message {number}" for number in range(50)]
        assert seen.ends == [("a", "delivered")] * 50
        assert len([moment for moment in tries if moment < 600]) < 25


async def test_a_service_that_is_away_for_longer_costs_the_oldest_message_alone() -> None:
    seen, taken = Seen(), list[str]()
    loop = asyncio.get_running_loop()

    async def send(job: Job) -> None:
        if loop.time() < 1000:
            raise SendFailed("the service answers 503: ", again=True)
        taken.append(job.message.event.message)

    async with running(send, seen) as lanes:
        for number in range(3):
            lanes.put(job("a", text=f"message {number}"))
        await asyncio.sleep(1200)

        assert seen.ends == [("a", "failed"), ("a", "delivered"), ("a", "delivered")]
        assert taken == ["message 1", "message 2"]


async def test_a_service_is_not_asked_before_it_says() -> None:
    seen, tries = Seen(), list[float]()
    loop = asyncio.get_running_loop()

    async def send(_: Job) -> None:
        tries.append(loop.time())
        if len(tries) < 3:
            raise SendFailed("the service answers 429: ", again=True, after=120)

    async with running(send, seen) as lanes:
        began = loop.time()
        lanes.put(job("a"))
        await asyncio.sleep(300)

        assert seen.ends == [("a", "delivered")]
        waits = [later - earlier for earlier, later in zip([began, *tries], tries, strict=False)]
        assert waits[0] == pytest.approx(0, abs=1)
        assert [wait >= 120 for wait in waits[1:]] == [True, True]


async def test_a_wait_beyond_patience_is_none() -> None:
    seen = Seen()

    async def send(_: Job) -> None:
        raise SendFailed("the service answers 429: ", again=True, after=600)

    async with running(send, seen, patience=500.0) as lanes:
        lanes.put(job("a"))
        await asyncio.sleep(1)

        assert seen.ends == [("a", "failed")]
