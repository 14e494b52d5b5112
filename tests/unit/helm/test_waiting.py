"""Hooks end, objects become ready, and whoever waits hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Any, cast

import pytest

from fluvial.apply.expressions import HealthExpressions
from fluvial.apply.health import Health, HealthStatus
from fluvial.apply.masking import Masker
from fluvial.apply.model import Owner, Target
from fluvial.apply.waiter import HealthWaiter
from fluvial.apply.waits import WaitRequest, WaitResult
from fluvial.clock import RealClock
from fluvial.helm.cluster import Located, ReleaseObjects
from fluvial.helm.errors import WaitFailed
from fluvial.helm.waiting import HealthWaits, wait_for_hook
from fluvial.kube.errors import ServerError
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey, ObjectRef

_PODS = Resource("", "v1", "pods", "Pod", namespaced=True)
_JOBS = Resource("batch", "v1", "jobs", "Job", namespaced=True)
_MAPS = Resource("", "v1", "configmaps", "ConfigMap", namespaced=True)


def _target(health: HealthExpressions | None = None) -> Target:
    owner = Owner("helm.toolkit.fluxcd.io", "HelmRelease", "apps", "app")
    nothing = cast("Any", None)
    masker = Masker(["s3cr3t"])
    return Target(nothing, nothing, owner, masker=masker, clock=RealClock(), health=health)


class _Objects(ReleaseObjects):
    """Shows the states of an object one after the other, the last one for ever."""

    def __init__(self, *states: JsonObject | Exception | None) -> None:
        super().__init__(_target(), name="app", namespace="apps")
        self._states = list(states)
        self.reads = 0

    async def live(self, one: Located) -> JsonObject | None:
        self.reads += 1
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        if isinstance(state, Exception):
            raise state
        return state


def _located(resource: Resource, **spec: Any) -> Located:
    obj = {"apiVersion": resource.api_version, "kind": resource.kind, "spec": spec}
    ref = ObjectRef(resource.group, resource.kind, "apps", "x")
    return Located(obj, ref, resource, ObjectKey("apps", "x"))


def _pod(phase: str, message: str = "") -> JsonObject:
    return {"kind": "Pod", "status": {"phase": phase, "message": message}}


def _job(*conditions: str, **spec: Any) -> JsonObject:
    listed = [{"type": one, "status": "True", "message": f"{one}: s3cr3t"} for one in conditions]
    return {"kind": "Job", "spec": spec, "status": {"conditions": listed}}


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("resource", "states", "reads"),
    [
        (_PODS, [_pod("Pending"), _pod("Running"), _pod("Succeeded")], 3),
        (_JOBS, [_job(), ServerError("busy"), _job("Complete")], 3),
        (_JOBS, [_job(suspend=True)], 1),
        (_MAPS, [None], 0),
    ],
    ids=["pod", "job", "suspended", "other"],
)
async def test_hooks_are_waited_for(
    resource: Resource, states: list[JsonObject | Exception | None], reads: int
) -> None:
    objects = _Objects(*states)
    await wait_for_hook(_target(), objects, [_located(resource)], timeout=10)

    assert objects.reads == reads


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("resource", "states", "problem"),
    [
        (_PODS, [_pod("Running"), _pod("Failed", "s3cr3t")], r"Pod/apps/x has failed: \*\*\*"),
        (_PODS, [_pod("Failed")], "Pod/apps/x has failed: phase Failed"),
        (_JOBS, [_job("Failed")], r"Job/apps/x has failed: Failed: \*\*\*"),
        (_JOBS, [_job(), None], "Job/apps/x is gone before it has ended"),
        (_JOBS, [_job()], r"timeout waiting for: \[Job/apps/x status: 'InProgress'\]"),
        (_PODS, [ServerError("busy")], r"timeout waiting for: \[Pod/apps/x"),
    ],
    ids=["pod", "pod-silent", "job", "gone", "time", "unreadable"],
)
async def test_failures_of_hooks_are_told(
    resource: Resource, states: list[JsonObject | Exception | None], problem: str
) -> None:
    with pytest.raises(WaitFailed, match=problem):
        await wait_for_hook(_target(), _Objects(*states), [_located(resource)], timeout=10)


class _Expressions(HealthExpressions):
    """Says what it is told, of ConfigMaps only."""

    statuses: list[HealthStatus]

    def __init__(self, *statuses: HealthStatus) -> None:
        super().__init__(cast("Any", None), "apps", {})
        object.__setattr__(self, "statuses", list(statuses))

    def covers(self, ref: ObjectRef) -> bool:
        return ref.kind == "ConfigMap"

    async def read(self, _: ObjectRef, live: JsonObject) -> Health:
        assert live == {}
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return Health(status, "s3cr3t is true")


@pytest.mark.looptime
async def test_a_hook_is_waited_for_by_what_the_user_says() -> None:
    objects = _Objects({}, ServerError("busy"), {})
    statuses = (HealthStatus.IN_PROGRESS, HealthStatus.UNKNOWN, HealthStatus.CURRENT)
    target = _target(_Expressions(*statuses))
    await wait_for_hook(target, objects, [_located(_MAPS)], timeout=60)

    assert objects.reads == 4
    target = _target(_Expressions(HealthStatus.FAILED))
    with pytest.raises(WaitFailed, match=r"ConfigMap/apps/x has failed: \*\*\* is true"):
        await wait_for_hook(target, objects, [_located(_MAPS)], timeout=60)
    with pytest.raises(WaitFailed, match="is gone before it was ready"):
        await wait_for_hook(target, _Objects(None), [_located(_MAPS)], timeout=60)
    await wait_for_hook(target, _Objects(_pod("Succeeded")), [_located(_PODS)], timeout=60)


async def test_a_job_may_delete_itself() -> None:
    located = _located(_JOBS, ttlSecondsAfterFinished=0)
    objects = _Objects(None)
    await wait_for_hook(_target(), objects, [located], timeout=10)

    assert objects.reads == 1


class _Waiter:
    """Stands for the controller's waiter: what it is asked, and what it answers."""

    def __init__(self, waits: HealthWaits, *, message: str = "", answers: bool = True) -> None:
        self._waits = waits
        self._message = message
        self._answers = answers
        self.requests: list[WaitRequest] = []
        self.cancelled: list[Hashable] = []

    def start(self, request: WaitRequest) -> None:
        self.requests.append(request)
        if self._answers:
            self._waits.done("somebody else")
            self._waits.done(request.key)

    def result(self, key: Hashable, attempt: str) -> WaitResult:
        return WaitResult(attempt, not self._message, self._message, 0.0, {})

    def cancel(self, key: Hashable) -> None:
        self.cancelled.append(key)


def _using(waits: HealthWaits, **options: Any) -> _Waiter:
    waiter = _Waiter(waits, **options)
    waits.use(cast("HealthWaiter", waiter))
    return waiter


async def test_what_is_ready_is_heard_of() -> None:
    waits = HealthWaits()
    waiter = _using(waits)
    ttl = _located(_JOBS, ttlSecondsAfterFinished=5)
    await waits.until_ready(_target(), [_located(_PODS), ttl, ttl], timeout=7)

    request = waiter.requests[0]
    assert [str(ref) for ref in request.refs] == ["Pod/apps/x", "Job/apps/x"]
    assert request.jobs_with_ttl == {ttl.ref}
    assert request.deadline - request.started == pytest.approx(7)
    assert waiter.cancelled == [request.key]


async def test_what_is_not_ready_is_told() -> None:
    waits = HealthWaits()
    _using(waits, message="timeout waiting for: [Pod]")

    with pytest.raises(WaitFailed, match="timeout waiting for"):
        await waits.until_ready(_target(), [_located(_PODS)], timeout=7)


async def test_waits_of_two_releases_are_apart() -> None:
    waits = HealthWaits()
    waiter = _using(waits, answers=False)
    first = asyncio.create_task(waits.until_ready(_target(), [], timeout=7), name="first")
    second = asyncio.create_task(waits.until_ready(_target(), [], timeout=7), name="second")
    await asyncio.sleep(0)
    waits.done(waiter.requests[1].key)
    await second

    assert not first.done()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert waiter.cancelled == [waiter.requests[1].key, waiter.requests[0].key]


async def test_nobody_waits_without_a_waiter() -> None:
    with pytest.raises(RuntimeError):
        await HealthWaits().until_ready(_target(), [], timeout=1)
