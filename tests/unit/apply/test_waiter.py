"""Waits in virtual time: what they cost, what wakes them, how they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fluvial.apply import HealthWaiter, Owner, Target, WaitRequest
from fluvial.clock import RealClock
from fluvial.kube.client import KubeClient, ListPage
from fluvial.kube.errors import Forbidden, NotFound
from fluvial.kube.informer import InformerFactory
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey, ObjectRef

pytestmark = pytest.mark.looptime

OWNER = Owner("kustomize.toolkit.fluxcd.io", "Kustomization", "flux-system", "apps")
PLURALS = {"Widget": "widgets", "StatefulSet": "statefulsets", "Job": "jobs", "Pod": "pods"}


class Cluster:
    """Objects by name, read as the tenant, and the metadata watches over them."""

    def __init__(self) -> None:
        self.objects: dict[ObjectKey, JsonObject] = {}
        self.pods: list[JsonObject] = []
        self.reads: list[tuple[float, str]] = []
        self.hears: list[Callable[[Any, Any], None]] = []
        self.forbidden = False
        self.seconds = 0.0  # that a read takes
        self.watched = True
        self.used: list[Resource] = []
        self.released: list[Any] = []
        self._version = 0

    def put(self, name: str, **body: Any) -> None:
        self._version += 1
        key = ObjectKey("n", name)
        old = self.objects.get(key)
        metadata = {"name": name, "namespace": "n", "resourceVersion": str(self._version)}
        self.objects[key] = {"metadata": metadata, **body}
        for hear in self.hears:
            hear(old, self.objects[key])

    def condition(self, name: str, kind: str, status: str) -> None:
        conditions = [{"type": kind, "status": status}]
        self.put(name, apiVersion="x.io/v1", kind="Widget", status={"conditions": conditions})

    # -- the tenant's client -------------------------------------------------------------------

    async def get(self, resource: Resource, key: ObjectKey, **_: Any) -> JsonObject:
        self.reads.append((asyncio.get_running_loop().time(), key.name))
        if self.seconds:
            await asyncio.sleep(self.seconds)
        if self.forbidden:
            raise Forbidden("no", status=403)
        if key not in self.objects:
            raise NotFound("gone", status=404, details={"name": key.name})
        return self.objects[key]

    async def list_page(self, resource: Resource, **options: Any) -> ListPage:
        now = asyncio.get_running_loop().time()
        self.reads.append((now, f"pods {options['label_selector']}"))
        return ListPage(self.pods, "1")

    # -- discovery -----------------------------------------------------------------------------

    async def resource_for_kind(self, group: str, kind: str, **_: Any) -> Resource:
        return Resource(group, "v1", PLURALS[kind], kind, namespaced=True)

    # -- informers -----------------------------------------------------------------------------

    def informer(self, resource: Resource, **_: Any) -> Any:
        self.used.append(resource)
        return SimpleNamespace(
            synced=self.watched,
            error=None,
            store=SimpleNamespace(get=self.objects.get),
            subscribe=self._subscribe,
        )

    def _subscribe(self, hear: Callable[[Any, Any], None]) -> Callable[[], None]:
        self.hears.append(hear)
        return lambda: self.hears.remove(hear)

    def release(self, informer: Any) -> None:
        self.released.append(informer)


@asynccontextmanager
async def running(
    cluster: Cluster, *, watch: bool = True
) -> AsyncIterator[tuple[HealthWaiter, list[Any]]]:
    ended: list[Any] = []
    informers = cast("InformerFactory", cluster) if watch else None
    waiter = HealthWaiter(done=ended.append, clock=RealClock(), informers=informers)
    task = asyncio.create_task(waiter.run(), name="waiter")
    yield waiter, ended
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert cluster.hears == []


def request(
    cluster: Cluster, *names: str, seconds: float = 300, key: str = "k", **more: Any
) -> WaitRequest:
    now = asyncio.get_running_loop().time()
    target = Target(client=cast("KubeClient", cluster), mapper=cast("Any", cluster), owner=OWNER)
    return WaitRequest(
        key=key,
        attempt=more.pop("attempt", "1"),
        refs=tuple(ref(name) for name in names),
        target=target,
        deadline=now + seconds,
        started=now,
        **more,
    )


def ref(name: str, kind: str = "Widget", group: str = "x.io") -> ObjectRef:
    return ObjectRef(group, kind, "n", name)


async def test_idle_wait_costs_two_requests_a_minute() -> None:
    cluster = Cluster()
    for name in ("a", "b", "c"):
        cluster.condition(name, "Ready", "False")
    async with running(cluster) as (waiter, ended):
        waiter.start(request(cluster, "a", "b", "c", seconds=3600))
        await asyncio.sleep(15)
        first = len(cluster.reads)
        await asyncio.sleep(600)

        assert first == 3
        assert len(cluster.reads) - first == 20
        assert {name for _, name in cluster.reads[first:]} == {"a", "b", "c"}
        assert ended == []


async def test_idle_wait_for_pods_costs_no_more() -> None:
    cluster = Cluster()
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "s"}}}
    cluster.put("s", apiVersion="apps/v1", kind="StatefulSet", spec=spec, status={})
    async with running(cluster) as (waiter, _):
        refs = (ref("s", "StatefulSet", "apps"),)
        waiter.start(_with_refs(request(cluster, seconds=3600), refs))
        await asyncio.sleep(15)
        first = len(cluster.reads)
        await asyncio.sleep(600)

        assert first == 2
        assert len(cluster.reads) - first == 20
        assert {name for _, name in cluster.reads[first:]} == {"pods app=s"}


async def test_crashing_pod_is_found_although_its_set_does_not_change() -> None:
    cluster = Cluster()
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "s"}}}
    cluster.put("s", apiVersion="apps/v1", kind="StatefulSet", spec=spec, status={})
    async with running(cluster) as (waiter, ended):
        refs = (ref("s", "StatefulSet", "apps"),)
        waiter.start(_with_refs(request(cluster, seconds=3600), refs))
        await asyncio.sleep(1)
        crashing = {"name": "c", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
        status = {"phase": "Running", "containerStatuses": [crashing]}
        cluster.pods = [{"apiVersion": "v1", "kind": "Pod", "metadata": {}, "status": status}]
        await asyncio.sleep(31)

        assert ended == ["k"]
        result = waiter.result("k", "1")
        assert result is not None
        assert "StatefulSet/n/s status: 'Failed'" in result.message


async def test_watch_wakes_at_once() -> None:
    cluster = Cluster()
    cluster.condition("a", "Ready", "False")
    async with running(cluster) as (waiter, ended):
        waiter.start(request(cluster, "a"))
        await asyncio.sleep(20)
        cluster.condition("a", "Ready", "True")
        await asyncio.sleep(0.5)

        assert ended == ["k"]
        result = waiter.result("k", "1")
        assert result is not None
        assert result.healthy
        assert result.elapsed == pytest.approx(20.2)
        assert len(waiter) == 0


async def test_many_changes_are_one_read() -> None:
    cluster = Cluster()
    cluster.condition("a", "Ready", "False")
    async with running(cluster) as (waiter, _):
        waiter.start(request(cluster, "a"))
        await asyncio.sleep(1)
        before = len(cluster.reads)
        for _n in range(50):
            cluster.condition("a", "Ready", "False")
            await asyncio.sleep(0.001)
        await asyncio.sleep(1)

        assert len(cluster.reads) - before == 1


async def test_without_a_watch_it_polls_slower_and_slower() -> None:
    cluster = Cluster()
    cluster.condition("a", "Ready", "False")
    async with running(cluster, watch=False) as (waiter, _):
        waiter.start(request(cluster, "a", seconds=3600))
        await asyncio.sleep(300)

        times = [at for at, _ in cluster.reads]
        gaps = [round(later - earlier, 3) for earlier, later in pairwise(times)]
        assert gaps[:3] == [2.0, 3.0, 4.5]
        assert max(gaps) == 15.0
        assert gaps == sorted(gaps)


async def test_object_that_carries_no_label_is_polled() -> None:
    """A health check may name anything; no watch of ours sees it."""
    cluster = Cluster()
    async with running(cluster) as (waiter, ended):
        waiter.start(request(cluster, "later"))
        await asyncio.sleep(60)
        cluster.hears, hears = [], cluster.hears
        cluster.condition("later", "Ready", "True")
        cluster.hears = hears
        await asyncio.sleep(30.5)

        assert ended == ["k"]


async def test_five_hundred_waits_do_not_delay_another() -> None:
    cluster = Cluster()
    cluster.condition("a", "Ready", "False")
    cluster.condition("good", "Ready", "True")
    async with running(cluster) as (waiter, ended):
        for number in range(500):
            waiter.start(request(cluster, "a", key=f"k{number}", seconds=3600))
        await asyncio.sleep(1)
        waiter.start(request(cluster, "good", key="last"))
        await asyncio.sleep(0.01)

        assert ended == ["last"]
        assert len(waiter) == 500
        assert len(cluster.used) == 1
        before = len(cluster.reads)
        await asyncio.sleep(120)
        assert len(cluster.reads) - before == 2000


async def test_deadline_lists_all_that_is_not_current() -> None:
    cluster = Cluster()
    cluster.condition("a", "Ready", "False")
    cluster.condition("good", "Ready", "True")
    async with running(cluster) as (waiter, ended):
        waiter.start(request(cluster, "a", "good", "absent", seconds=60))
        await asyncio.sleep(59.9)
        assert ended == []
        await asyncio.sleep(0.2)

        result = waiter.result("k", "1")
        assert result is not None
        assert result.message == (
            "timeout waiting for: [Widget/n/a status: 'InProgress', "
            "Widget/n/absent status: 'NotFound']"
        )
        assert result.elapsed == pytest.approx(60)


async def test_first_failure_ends_it_unless_told_otherwise() -> None:
    cluster = Cluster()
    cluster.condition("bad", "Stalled", "True")
    cluster.condition("slow", "Ready", "False")
    async with running(cluster) as (waiter, ended):
        waiter.start(request(cluster, "bad", "slow", key="fast"))
        waiter.start(request(cluster, "bad", "slow", key="patient", fail_fast=False))
        await asyncio.sleep(1)
        assert ended == ["fast"]
        cluster.condition("slow", "Ready", "True")
        await asyncio.sleep(1)

        assert ended == ["fast", "patient"]
        for key in ended:
            result = waiter.result(key, "1")
            assert result is not None
            assert result.message == (
                "failed early due to stalled resources: [Widget/n/bad status: 'Failed']"
            )


async def test_job_that_cleans_itself_up_is_a_success() -> None:
    cluster = Cluster()
    job = ref("j", "Job", "batch")
    async with running(cluster) as (waiter, ended):
        waiter.start(_with_refs(request(cluster), (job,), ttl=frozenset({job})))
        await asyncio.sleep(0.1)

        assert ended == ["k"]


async def test_new_attempt_replaces_and_the_same_one_goes_on() -> None:
    cluster = Cluster()
    cluster.condition("a", "Ready", "False")
    async with running(cluster) as (waiter, ended):
        waiter.start(request(cluster, "a", seconds=60))
        await asyncio.sleep(30)
        waiter.start(request(cluster, "a", seconds=60))
        await asyncio.sleep(29.9)
        assert waiter.waiting("k", "1")
        waiter.start(request(cluster, "a", attempt="2", seconds=60))
        await asyncio.sleep(30)

        assert ended == []
        assert not waiter.waiting("k", "1")
        await asyncio.sleep(31)
        assert ended == ["k"]
        assert waiter.result("k", "1") is None
        assert waiter.result("k", "2") is not None


async def test_cancelled_wait_is_forgotten() -> None:
    cluster = Cluster()
    cluster.condition("a", "Ready", "False")
    async with running(cluster) as (waiter, ended):
        waiter.start(request(cluster, "a", seconds=60))
        await asyncio.sleep(1)
        waiter.cancel("k")
        reads = len(cluster.reads)
        await asyncio.sleep(120)

        assert ended == []
        assert len(cluster.reads) == reads


async def test_forbidden_read_is_unknown_until_it_is_allowed() -> None:
    cluster = Cluster()
    cluster.condition("a", "Ready", "True")
    cluster.forbidden = True
    async with running(cluster) as (waiter, ended):
        waiter.start(request(cluster, "a"))
        await asyncio.sleep(1)
        assert ended == []
        cluster.forbidden = False
        await asyncio.sleep(2)

        assert ended == ["k"]


async def test_nothing_to_wait_for_is_healthy() -> None:
    cluster = Cluster()
    async with running(cluster) as (waiter, ended):
        waiter.start(request(cluster))

        assert ended == ["k"]
        result = waiter.result("k", "1")
        assert result is not None
        assert result.healthy


async def test_watch_ends_some_time_after_its_last_use() -> None:
    cluster = Cluster()
    cluster.condition("a", "Ready", "False")
    cluster.condition("b", "Ready", "True")
    async with running(cluster) as (waiter, _):
        waiter.start(request(cluster, "b", key="first"))
        job = ref("j", "Job", "batch")
        waiter.start(_with_refs(request(cluster, seconds=3600), (job,)))
        await asyncio.sleep(250)
        assert cluster.released == []
        await asyncio.sleep(100)

        assert len(cluster.released) == 1


def _with_refs(
    base: WaitRequest, refs: tuple[ObjectRef, ...], *, ttl: frozenset[ObjectRef] = frozenset()
) -> WaitRequest:
    return WaitRequest(
        key=base.key,
        attempt=base.attempt,
        refs=refs,
        target=base.target,
        deadline=base.deadline,
        started=base.started,
        jobs_with_ttl=ttl,
    )


async def test_no_wait_is_given_up_before_anybody_has_looked() -> None:
    """Where the API server is slow and many wait, reads queue up longer than timeouts last."""
    cluster = Cluster()
    cluster.seconds = 1.0
    for number in range(100):
        cluster.condition(f"good-{number}", "Ready", "True")
    cluster.condition("bad", "Ready", "False")
    async with running(cluster) as (waiter, ended):
        for number in range(100):
            waiter.start(request(cluster, f"good-{number}", seconds=5, key=f"k{number}"))
        waiter.start(request(cluster, "bad", seconds=5, key="bad"))
        await asyncio.sleep(60)

        assert len(ended) == 101
        results = [waiter.result(f"k{number}", "1") for number in range(100)]
        assert all(result is not None and result.healthy for result in results)
        late = waiter.result("bad", "1")
        assert late is not None
        assert late.message.startswith("timeout waiting for: [Widget/n/bad status: 'InProgress'")
