"""How often an object that others change wakes its owner, and which states are the same."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from fluvial.apply import Entry, Known, OwnedWatches, Verified, encode_id
from fluvial.apply.hashing import outline
from fluvial.apply.owned_kinds import outliner
from fluvial.clock import RealClock
from fluvial.kube.informer import InformerFactory
from fluvial.kube.kinds import CONFIG_MAP
from fluvial.kube.resource import Resource
from fluvial.kube.store import Store
from fluvial.log import get_logger
from fluvial.objects import JsonObject, ObjectKey, ObjectRef

OWNER = ObjectKey("flux-system", "app")
GROUP = "kustomize.toolkit.fluxcd.io"
LABEL = f"{GROUP}/name"
OWNED = {LABEL: OWNER.name, f"{GROUP}/namespace": OWNER.namespace}
REF = ObjectRef("", "ConfigMap", "team", "a")


class FakeInformer:
    """A store that a test writes to."""

    def __init__(self) -> None:
        self.store = Store()
        self.synced = True
        self.error: Exception | None = None
        self._hear: list[Callable[[JsonObject | None, JsonObject | None], None]] = []

    def subscribe(self, subscriber: Any) -> Any:
        self._hear.append(subscriber)
        return lambda: self._hear.remove(subscriber)

    def remove(self, version: int) -> None:
        """As a watch tells it: with the version of the deletion."""
        kept = outliner(LABEL)(live(version))
        assert kept is not None
        for change in self.store.remove(kept):
            for hear in self._hear:
                hear(change.old, change.new)

    def put(self, version: int, **more: Any) -> None:
        kept = outliner(LABEL)(live(version, **more))
        assert kept is not None
        for change in self.store.put(kept):
            for hear in self._hear:
                hear(change.old, change.new)


class FakeInformers:
    """Gives one informer."""

    def __init__(self) -> None:
        self.one = FakeInformer()

    def informer(self, *args: Any, **options: Any) -> FakeInformer:
        del args, options
        return self.one

    def release(self, informer: FakeInformer) -> None:
        assert informer is self.one


class FakeMapper:
    """Knows ConfigMaps."""

    async def resource_for_kind(self, group: str, kind: str, *, version_hint: str = "") -> Resource:
        del group, kind, version_hint
        return CONFIG_MAP


def live(version: int, **more: Any) -> JsonObject:
    metadata: JsonObject = {"namespace": "team", "name": "a", "uid": "u", "labels": OWNED}
    metadata["resourceVersion"] = str(version)
    return {"kind": "ConfigMap", "metadata": metadata | more}


def verified(version: int) -> Known:
    return Known("d", "l", "u", str(version), outline=outline(live(version)))


@asynccontextmanager
async def watching(
    wake: Callable[[ObjectKey], None], *, busy: set[ObjectKey] | None = None
) -> AsyncIterator[tuple[Any, Verified]]:
    informers, known = FakeInformers(), Verified()
    watches = OwnedWatches(
        cast("InformerFactory", informers),
        selector=LABEL,
        wake=wake,
        is_busy=lambda key: key in (busy or ()),
        clock=RealClock(),
        log=get_logger("test"),
    )
    known.record(REF, verified(1))
    informers.one.put(1)
    entries = [Entry(encode_id(REF), "v1")]
    await watches.follow(OWNER, entries, mapper=cast("Any", FakeMapper()), known=known)
    task = asyncio.create_task(watches.run(), name="owned")
    try:
        yield informers.one, known
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Fight:
    """The owner writes as soon as it is woken; somebody else writes again, for ever.

    Attributes:
        times: when the owner was woken.

    """

    def __init__(self) -> None:
        self.times: list[float] = []
        self._version = 1

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Watch what is fought about."""
        async with watching(self._correct) as (self._informer, self._known):
            yield

    def disturb(self) -> None:
        """The other one writes."""
        self._version += 1
        self._informer.put(self._version)

    def _correct(self, _key: ObjectKey) -> None:
        self.times.append(asyncio.get_running_loop().time())
        self._version += 1
        self._known.record(REF, verified(self._version))
        self._informer.put(self._version)

    @property
    def gaps(self) -> list[int]:
        """Seconds between two corrections."""
        return [round(later - earlier) for earlier, later in itertools.pairwise(self.times)]


@pytest.mark.looptime
async def test_two_managers_that_disagree_do_not_keep_each_other_busy() -> None:
    loop, fight = asyncio.get_running_loop(), Fight()
    async with fight.going_on():
        started = loop.time()
        while loop.time() - started < 2000:
            fight.disturb()
            await asyncio.sleep(1)
        fought, gaps = len(fight.times), fight.gaps
        assert round(fight.times[0] - started) == 0, "the first correction is immediate"
        await asyncio.sleep(3000)
        calm = loop.time()
        fight.times.clear()
        fight.disturb()
        await asyncio.sleep(1)

    assert gaps == sorted(gaps)
    assert 8 <= fought <= 14
    assert max(gaps) <= 601
    assert fight.times[0] - calm < 1, "after a while of peace it is immediate again"


@pytest.mark.looptime
async def test_one_that_takes_its_time_is_no_better() -> None:
    """A manager that looks every ten seconds fights as one does that is told at once."""
    fight = Fight()
    async with fight.going_on():
        for _ in range(200):
            fight.disturb()
            await asyncio.sleep(10)

    assert 2 < len(fight.times) <= 15
    assert fight.gaps == sorted(fight.gaps)


@pytest.mark.looptime
async def test_the_event_of_an_own_write_may_come_first() -> None:
    woken: list[ObjectKey] = []
    async with watching(woken.append) as (informer, known):
        informer.put(2)
        known.record(REF, verified(2))
        await asyncio.sleep(10)

    assert woken == []
    assert not known.is_suspect(REF)


@pytest.mark.looptime
async def test_an_owner_that_is_at_work_is_woken_when_it_has_ended() -> None:
    woken: list[ObjectKey] = []
    busy = {OWNER}
    async with watching(woken.append, busy=busy) as (informer, known):
        informer.put(2)
        await asyncio.sleep(10)
        assert woken == []
        known.record(REF, verified(2))  # it was its own
        informer.put(3)
        await asyncio.sleep(10)
        busy.clear()
        await asyncio.sleep(1)

    assert woken == [OWNER]


@pytest.mark.looptime
async def test_a_deletion_is_not_lost_to_a_read_of_before() -> None:
    """Its event may come while the owner still works with what it has just read or written."""
    woken: list[ObjectKey] = []
    busy = {OWNER}
    async with watching(woken.append, busy=busy) as (informer, known):
        informer.put(2)
        informer.remove(3)
        known.record(REF, verified(2))
        await asyncio.sleep(10)
        assert woken == []
        busy.clear()
        await asyncio.sleep(10)

    assert woken == [OWNER]
    assert known.is_suspect(REF)


@pytest.mark.looptime
async def test_what_was_read_after_it_left_the_watch_is_no_news() -> None:
    """Without its label an object leaves the watch; what was compared then counts."""
    woken: list[ObjectKey] = []
    busy = {OWNER}
    async with watching(woken.append, busy=busy) as (informer, known):
        informer.remove(2)
        known.record(REF, verified(2))
        busy.clear()
        await asyncio.sleep(10)

    assert woken == []


@pytest.mark.looptime
async def test_an_object_that_is_handed_over_wakes_nobody() -> None:
    """Its next owner has it already; whoever took it back would delete it with the next commit."""
    woken: list[ObjectKey] = []
    async with watching(woken.append) as (informer, _):
        informer.put(2, labels={**OWNED, LABEL: "another"})
        await asyncio.sleep(10)
        assert woken == []
        informer.put(3)
        await asyncio.sleep(10)

    assert woken == [OWNER]


@pytest.mark.looptime
async def test_a_cluster_that_was_restored_wakes() -> None:
    woken: list[ObjectKey] = []
    async with watching(woken.append) as (informer, known):
        known.record(REF, verified(9))
        informer.put(9)
        informer.put(3)
        await asyncio.sleep(10)

    assert woken == [OWNER]
    assert known.is_suspect(REF)


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        (live(1, generation=1), live(2, generation=1), True),
        (live(1, generation=1), {**live(2, generation=1), "status": {"ready": True}}, True),
        (live(1, generation=1), live(2, generation=1, managedFields=[{"manager": "x"}]), True),
        (live(1, generation=1), live(2, generation=2), False),
        (live(1, generation=1), live(2, generation=1, labels={"a": "b"}), False),
        (live(1, generation=1), live(2, generation=1, annotations={"a": "b"}), False),
        (live(1, generation=1), live(2, generation=1, finalizers=["a/b"]), False),
        (live(1, generation=1), live(2, generation=1, deletionTimestamp="now"), False),
        (live(1, generation=1), live(2, generation=1, uid="v"), False),
        (live(1), live(1), True),
        (live(1), live(2), False),
    ],
)
def test_an_outline_tells_what_metadata_can(
    before: JsonObject, after: JsonObject, *, same: bool
) -> None:
    assert (outline(before) == outline(after)) is same
