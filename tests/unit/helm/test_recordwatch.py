"""Which changes of a release's records wake its owner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from fluvial.apply import WatchLimits
from fluvial.clock import RealClock
from fluvial.helm.recordwatch import RecordWatch
from fluvial.kube.errors import Forbidden
from fluvial.kube.informer import InformerFactory
from fluvial.kube.store import Store
from fluvial.log import get_logger
from fluvial.objects import JsonObject, ObjectKey

OWNER = ObjectKey("team", "app")
_PREFIX = "sh.helm.release.v1."


class FakeInformers:
    """Gives one informer, whose store a test writes to."""

    def __init__(self) -> None:
        self.store = Store()
        self.error: Exception | None = None
        self.given = 0
        self._transform: Callable[[JsonObject], JsonObject | None] = lambda obj: obj
        self._hear: list[Callable[[JsonObject | None, JsonObject | None], None]] = []

    def informer(self, _resource: Any, **options: Any) -> FakeInformers:
        self.given += 1
        self._transform = options["transform"]
        for name, function in options["indexes"].items():
            self.store.add_index(name, function)
        return self

    def release(self, informer: FakeInformers) -> None:
        assert informer is self
        self.given -= 1

    def subscribe(self, hear: Any) -> Callable[[], None]:
        self._hear.append(hear)
        return lambda: self._hear.remove(hear)

    def put(self, number: int, version: int, status: str = "deployed", uid: str = "") -> None:
        self.put_secret(_secret(number, version, status, uid))

    def put_secret(self, secret: JsonObject) -> None:
        kept = self._transform(secret)
        self._tell(self.store.put(kept) if kept is not None else self.store.remove(secret))

    def remove(self, number: int, version: int) -> None:
        kept = self._transform(_secret(number, version, "deployed", ""))
        assert kept is not None
        self._tell(self.store.remove(kept))

    def _tell(self, changes: Any) -> None:
        for change in changes:
            for hear in self._hear:
                hear(change.old, change.new)


def _secret(number: int, version: int, status: str, uid: str) -> JsonObject:
    metadata = {"namespace": "team", "name": f"{_PREFIX}app.v{number}", "uid": uid or f"u{number}"}
    labels = {"owner": "helm", "name": "app", "status": status}
    return {"metadata": {**metadata, "resourceVersion": str(version), "labels": labels}}


@asynccontextmanager
async def _watching(
    woken: list[ObjectKey], *, busy: set[ObjectKey] | None = None, limit: int = 100
) -> AsyncIterator[tuple[FakeInformers, RecordWatch]]:
    """A watch of a release of which the owner has seen revision 2 in version 20."""
    informers = FakeInformers()
    watch = RecordWatch(
        cast("InformerFactory", informers),
        wake=woken.append,
        is_busy=lambda key: key in (busy or ()),
        clock=RealClock(),
        log=get_logger("test"),
        limits=WatchLimits(objects=limit),
    )
    watch.follow(OWNER, namespace="team", name="app", record="2 u2@20")
    informers.put(1, 10, "superseded")
    informers.put(2, 20)
    task = asyncio.create_task(watch.run(), name="records")
    try:
        yield informers, watch
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert informers.given == 0


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("change", "wakes"),
    [
        pytest.param(lambda one: one.put(3, 30), True, id="upgraded or rolled back"),
        pytest.param(lambda one: one.put(2, 30), True, id="changed"),
        pytest.param(lambda one: one.put(2, 30, "uninstalled"), True, id="uninstalled"),
        pytest.param(lambda one: one.put(2, 30, uid="other"), True, id="made again"),
        pytest.param(lambda one: one.remove(2, 30), True, id="deleted"),
        pytest.param(lambda one: one.remove(1, 30), False, id="an old one deleted"),
        pytest.param(lambda one: one.put(1, 30, "superseded"), False, id="an old one changed"),
        pytest.param(lambda one: one.put(3, 30, "pending-upgrade"), False, id="being upgraded"),
        pytest.param(lambda one: one.put(2, 30, "uninstalling"), False, id="being uninstalled"),
    ],
)
async def test_what_somebody_does_to_records(
    change: Callable[[FakeInformers], None], *, wakes: bool
) -> None:
    woken: list[ObjectKey] = []
    async with _watching(woken) as (informers, _):
        await asyncio.sleep(10)
        assert woken == []
        change(informers)
        await asyncio.sleep(10)

    assert woken == ([OWNER] if wakes else [])


@pytest.mark.looptime
@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"labels": {"name": "app", "status": "deployed"}}, id="not Helm's"),
        pytest.param({"labels": {"owner": "helm", "name": "web"}}, id="another release's"),
        pytest.param({"labels": None}, id="no labels"),
        pytest.param({"name": f"{_PREFIX}app.v03"}, id="a number that Helm does not write"),
    ],
)
async def test_what_a_run_takes_for_no_record_wakes_nobody(change: JsonObject) -> None:
    """Its owner would look again and again, and never find what it was woken for."""
    woken: list[ObjectKey] = []
    async with _watching(woken) as (informers, watch):
        secret = _secret(3, 30, "deployed", "")
        secret["metadata"] |= change
        informers.put_secret(secret)
        for _ in range(3):
            await asyncio.sleep(10)
            watch.follow(OWNER, namespace="team", name="app", record="2 u2@20")
        await asyncio.sleep(10)

    assert woken == []


@pytest.mark.looptime
async def test_own_writes_wake_nobody() -> None:
    """Their events may come before the owner has ended, or after."""
    woken: list[ObjectKey] = []
    busy = {OWNER}
    async with _watching(woken, busy=busy) as (informers, watch):
        informers.put(3, 30, "pending-upgrade")
        informers.put(3, 31)
        await asyncio.sleep(10)
        watch.follow(OWNER, namespace="team", name="app", record="3 u3@32")
        busy.clear()
        await asyncio.sleep(10)
        informers.put(3, 32)
        await asyncio.sleep(10)

    assert woken == []


@pytest.mark.looptime
async def test_what_happens_while_the_owner_works_wakes_it_then() -> None:
    woken: list[ObjectKey] = []
    busy = {OWNER}
    async with _watching(woken, busy=busy) as (informers, watch):
        informers.put(3, 30)
        informers.put(4, 40)
        await asyncio.sleep(10)
        watch.follow(OWNER, namespace="team", name="app", record="3 u3@30")
        busy.clear()
        await asyncio.sleep(10)

    assert woken == [OWNER]


@pytest.mark.looptime
async def test_two_that_release_the_same_get_ever_slower() -> None:
    woken: list[ObjectKey] = []
    async with _watching(woken) as (informers, watch):
        for number in range(3, 1003, 2):
            informers.put(number, 10 * number)
            await asyncio.sleep(1)
            mine = number + 1
            informers.put(mine, 10 * mine)
            watch.follow(OWNER, namespace="team", name="app", record=f"{mine} u{mine}@{10 * mine}")

    assert 1 <= len(woken) <= 12


@pytest.mark.looptime
async def test_who_has_left_is_not_woken() -> None:
    woken: list[ObjectKey] = []
    async with _watching(woken) as (informers, watch):
        watch.release(OWNER)
        informers.put(3, 30)
        await asyncio.sleep(10)

    assert woken == []


@pytest.mark.looptime
@pytest.mark.parametrize("forbidden", [True, False], ids=["forbidden", "too many"])
async def test_without_the_watch_there_is_the_timer(*, forbidden: bool) -> None:
    """It is tried again after a while."""
    woken: list[ObjectKey] = []
    async with _watching(woken, limit=100 if forbidden else 1) as (informers, _):
        informers.error = Forbidden("no") if forbidden else None
        await asyncio.sleep(10)
        assert informers.given == 0
        informers.put(3, 30)
        await asyncio.sleep(10)
        assert woken == []
        informers.error = None
        informers.remove(1, 40)
        informers.remove(2, 41)
        await asyncio.sleep(700)
        informers.put(3, 50)
        await asyncio.sleep(10)

    assert woken == [OWNER]
