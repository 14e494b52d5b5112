"""What ends a wait before its time, and above all what does not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from fluvial.api.meta import Artifact
from fluvial.apply.model import Target
from fluvial.clock import RealClock
from fluvial.helm.cluster import Located
from fluvial.helm.errors import WaitEnded
from fluvial.kube.store import Store
from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime.wiring import BY_SOURCE
from helm_controller.helmrelease.interrupts import Interruption, Interrupts
from helm_controller.helmrelease.references import INDEXES
from helm_controller.helmrelease.turns import RestingWaits, Turn, Turns

_KEY = ObjectKey("apps", "app")
_SOURCE = {"kind": "OCIRepository", "name": "chart"}


def _release(version: int = 5, *, uid: str = "a", spec: Any = None, **metadata: Any) -> JsonObject:
    return {
        "kind": "HelmRelease",
        "metadata": {
            "namespace": "apps",
            "name": "app",
            "uid": uid,
            "resourceVersion": str(version),
            **metadata,
        },
        "spec": {"interval": "1h", "chartRef": _SOURCE, **(spec or {})},
    }


def _source(revision: str, time: str = "2026-01-02T00:00:00Z") -> JsonObject:
    return {
        "kind": "OCIRepository",
        "metadata": {"namespace": "apps", "name": "chart"},
        "status": {"artifact": {"revision": revision, "digest": "d", "lastUpdateTime": time}},
    }


def _artifact(revision: str) -> Artifact:
    time = "2026-01-02T00:00:00Z"
    return Artifact(revision=revision, digest="d", last_update_time=time, path="p", url="u")


class _Waits:
    """Never ready, until it is said so; counts how often somebody waits."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.waiting = 0
        self.begun: list[float] = []

    async def until_ready(
        self, target: Target, located: Sequence[Located], *, timeout: float
    ) -> None:
        del target, located
        self.begun.append(timeout)
        self.waiting += 1
        try:
            await self.ready.wait()
        finally:
            self.waiting -= 1


class _Run:
    """One run that waits for objects, or between two looks at a hook."""

    def __init__(self, obj: JsonObject | None = None, *, gate: bool = False) -> None:
        self.store = Store()
        self.store.add_index(BY_SOURCE, INDEXES[BY_SOURCE])
        self.store.put(obj or _release())
        self.interrupts = Interrupts(self.store, by_changes=gate)
        self.turns = Turns(1, RealClock())
        self.waits = _Waits()
        self.differs = False
        self.turn: Turn | None = None
        self.task: asyncio.Task[None] | None = None

    async def wait(self, *, of_hook: bool = False, obj: JsonObject | None = None) -> None:
        """Begin to wait."""
        self.task = asyncio.create_task(self._wait(obj or _release(), of_hook=of_hook), name="run")
        await _settle()

    async def _wait(self, obj: JsonObject, *, of_hook: bool) -> None:
        async with self.turns.turn() as self.turn:
            with self.interrupts.of(_KEY, obj) as self.turn.interruption:
                self.interrupts.releases(_KEY, _artifact("1"))
                self.turn.interruption.confirm_by(self._have_changed)
                if of_hook:
                    await self.turn.pause(3600)
                else:
                    waits: Any = RestingWaits(self.waits, self.turn)
                    await waits.until_ready(None, [], timeout=10.0)

    async def _have_changed(self) -> bool:
        return self.differs

    async def becomes(self, obj: JsonObject | None) -> None:
        """The informer tells of a change."""
        self.interrupts.changed(_release(), obj)
        await _settle()

    async def ended(self) -> str:
        """Why it was ended, ``""`` while it waits; nothing is left behind by its end."""
        assert self.task is not None
        assert self.turn is not None
        if not self.task.done():
            return ""
        assert self.waits.waiting == 0
        assert self.turn.interruption.hit
        async with asyncio.timeout(1):
            await self.turns.take(again=False)  # it has given its turn back
        self.turns.give()
        return str(self.task.exception())

    async def stop(self) -> None:
        """Let it end, whatever it waits for."""
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


_DELETING = {"deletionTimestamp": "2026-01-02T00:00:00Z"}


@pytest.mark.parametrize("gate", [False, True], ids=["off", "on"])
@pytest.mark.parametrize("of_hook", [False, True], ids=["objects", "hook"])
async def test_a_deletion_ends_every_wait(*, of_hook: bool, gate: bool) -> None:
    run = _Run(gate=gate)
    await run.wait(of_hook=of_hook)
    assert await run.ended() == ""
    await run.becomes(_release(6, **_DELETING))

    assert await run.ended() == "the wait was ended: HelmRelease apps/app is being deleted"


@pytest.mark.parametrize(
    "obj",
    [
        _release(6),
        {**_release(6), "status": {"conditions": [{"type": "Ready"}], "failures": 1}},
        _release(6, labels={"a": "b"}, annotations={"c": "d"}),
        _release(6, annotations={"reconcile.fluxcd.io/requestedAt": "seen"}),
        _release(6, spec={"suspend": True}),
        _release(6, spec={"suspend": True, "values": {"a": 1}}),
        _release(6, spec={"suspend": False}),
        _release(6, spec={"suspend": True}, **_DELETING),
        _release(4, spec={"values": {"older": True}}),
        _release(6, name="other", spec={"values": {"a": 1}}, **_DELETING),
        _release(6, namespace="elsewhere", **_DELETING),
        None,
    ],
    ids=[
        "nothing",
        "status",
        "labels",
        "old-request",
        "suspended",
        "suspended-and-changed",
        "resumed",
        "suspended-and-deleted",
        "older",
        "other-name",
        "other-namespace",
        "out-of-the-shard",
    ],
)
@pytest.mark.parametrize("of_hook", [False, True], ids=["objects", "hook"])
async def test_what_ends_no_wait(obj: JsonObject | None, *, of_hook: bool) -> None:
    """Not even behind the gate."""
    began = _release(annotations={"reconcile.fluxcd.io/requestedAt": "seen"})
    run = _Run(began, gate=True)
    await run.wait(of_hook=of_hook, obj=began)
    await run.becomes(obj)

    assert await run.ended() == ""
    await run.stop()


_CHANGES = [
    (_release(6, spec={"values": {"a": 1}}), "HelmRelease apps/app has changed"),
    (
        _release(6, annotations={"reconcile.fluxcd.io/requestedAt": "now"}),
        "HelmRelease apps/app is to be reconciled",
    ),
]


@pytest.mark.parametrize(("obj", "cause"), _CHANGES, ids=["spec", "request"])
async def test_changes_end_the_wait_for_objects_behind_the_gate(
    obj: JsonObject, cause: str
) -> None:
    run = _Run(gate=True)
    await run.wait()
    await run.becomes(obj)

    assert await run.ended() == f"the wait was ended: {cause}"


@pytest.mark.parametrize(("gate", "of_hook"), [(False, False), (True, True)], ids=["off", "hook"])
async def test_changes_end_nothing_without_the_gate_and_no_hook(
    *, gate: bool, of_hook: bool
) -> None:
    """A hook that was begun may be half way through a migration."""
    run = _Run(gate=gate)
    await run.wait(of_hook=of_hook)
    for obj, _ in _CHANGES:
        await run.becomes(obj)
    run.interrupts.source_changed(_source("2"))
    run.differs = True
    run.interrupts.add(_KEY)
    await _settle()

    assert await run.ended() == ""
    await run.becomes(_release(7, **_DELETING))
    assert "is being deleted" in await run.ended()


async def test_a_new_artifact_ends_the_wait_and_an_old_one_does_not() -> None:
    run = _Run(gate=True)
    await run.wait()
    run.interrupts.source_changed(_source("1"))
    run.interrupts.source_changed(_source("0", "2026-01-01T00:00:00Z"))
    run.interrupts.source_changed({**_source("2"), "kind": "HelmChart"})
    run.interrupts.source_changed({**_source("2"), "status": {}})
    run.interrupts.source_changed(None)
    await _settle()
    assert await run.ended() == ""
    run.interrupts.source_changed(_source("2"))
    await _settle()

    assert "OCIRepository/apps/chart has a new artifact" in await run.ended()


async def test_a_config_ends_the_wait_if_the_values_are_others() -> None:
    """Its label may have changed, or a key that nobody reads."""
    run = _Run(gate=True)
    await run.wait()
    run.interrupts.add(ObjectKey("apps", "other"))
    run.interrupts.add(_KEY)
    await _settle()
    assert await run.ended() == ""
    assert len(run.waits.begun) == 2
    assert run.waits.begun[1] <= run.waits.begun[0]  # it has not got more time by that
    run.differs = True
    run.interrupts.add(_KEY)
    await _settle()

    assert "the values have changed" in await run.ended()


@pytest.mark.parametrize("of_hook", [False, True], ids=["objects", "hook"])
async def test_a_deletion_that_came_before_the_wait_ends_it(*, of_hook: bool) -> None:
    run = _Run(_release(6, **_DELETING))
    await run.wait(of_hook=of_hook)

    assert "is being deleted" in await run.ended()


async def test_another_object_of_the_name_ends_the_wait() -> None:
    run = _Run()
    await run.wait()
    await run.becomes(_release(9, uid="b"))

    assert "HelmRelease apps/app was deleted" in await run.ended()


async def test_an_older_object_of_the_name_ends_nothing() -> None:
    """A run that read what is live is ahead of the cache: it would be begun over and over."""
    run = _Run(_release(3, uid="before"))
    await run.wait()
    assert await run.ended() == ""
    await run.becomes(_release(4, uid="before"))
    assert await run.ended() == ""
    await run.becomes(_release(7, uid="later"))

    assert await run.ended() == "the wait was ended: HelmRelease apps/app was deleted"


async def test_what_becomes_ready_meanwhile_is_ready() -> None:
    run = _Run()
    await run.wait()
    run.waits.ready.set()
    await _settle()
    assert run.task is not None

    assert run.task.done()
    assert run.task.exception() is None
    await run.becomes(_release(6, **_DELETING))  # nobody is there to be told


async def test_events_may_come_twice_and_at_once() -> None:
    run = _Run(gate=True)
    await run.wait()
    for obj, _ in _CHANGES:
        run.interrupts.changed(None, obj)
    run.interrupts.changed(None, _release(8, **_DELETING))
    run.interrupts.changed(None, _release(9, **_DELETING))
    await _settle()

    assert "is being deleted" in await run.ended()


async def test_a_cancelled_run_stays_cancelled() -> None:
    run = _Run()
    await run.wait()
    assert run.task is not None
    run.interrupts.changed(None, _release(8, **_DELETING))
    run.task.cancel()
    await asyncio.gather(run.task, return_exceptions=True)

    assert run.task.cancelled()


async def test_nothing_begins_after_a_deletion_or_an_interruption() -> None:
    fresh, deleted, hit = Interruption(), Interruption(), Interruption()
    fresh.change("a change ends waits, not runs")
    fresh.check()
    deleted.delete("gone")
    hit.hit = True
    for one in (deleted, hit):
        with pytest.raises(WaitEnded):
            one.check()

    deleted.over()
    deleted.check()
