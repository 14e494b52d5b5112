"""A controller process from start to end, in this process, against devcluster."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import structlog
from aiohttp import web

from devcluster import DevCluster
from devcluster_fixtures import devcluster  # noqa: F401 - a fixture
from fluvial.clock import RealClock
from fluvial.kube.config import load_client
from fluvial.kube.http import HttpKubeClient
from fluvial.kube.kinds import CONFIG_MAP, EVENT, LEASE
from fluvial.log import get_logger
from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime.controller import Controller
from fluvial.runtime.leader import LeaderElector, LeadershipLost
from fluvial.runtime.manager import Manager
from fluvial.runtime.options import CommonOptions
from fluvial.runtime.outcome import Result
from fluvial.runtime.queue import WorkQueue
from fluvial.runtime.triggers import always, own_key, watch_with

SECONDS = 20.0
LEASE_KEY = ObjectKey("default", "test-controller-leader-election")
LOOPBACK = "127.0.0.1:0"
OWN_TASKS = {"events", "loop-lag", "lease", "configmap", "configmap-worker-1"}


@pytest.fixture
def kubeconfig(devcluster: DevCluster, tmp_path: Path) -> Path:  # noqa: F811 - the fixture
    path = tmp_path / "kubeconfig"
    path.write_bytes(orjson.dumps(devcluster.kubeconfig()))
    return path


@pytest.fixture
async def admin(kubeconfig: Path) -> AsyncIterator[HttpKubeClient]:
    async with await load_client(kubeconfig=kubeconfig, user_agent="test", environ={}) as client:
        yield client


@pytest.fixture
def lines() -> Any:
    """The log, line by line."""
    kept: list[dict[str, Any]] = []

    def keep(_: Any, level: str, event: Any) -> Any:
        kept.append({"level": level, **event})
        raise structlog.DropEvent

    structlog.configure(processors=[keep])
    yield kept
    structlog.reset_defaults()


class Job:
    """A runnable that records what happens to it."""

    def __init__(self, story: list[str], name: str = "job") -> None:
        self.name = name
        self.story = story
        self.stopping = asyncio.Event()
        self.ignores_stop = False
        self.fails = False

    async def run(self) -> None:
        self.story.append(f"{self.name} runs")
        if self.fails:
            raise RuntimeError("broken")
        try:
            await self.stopping.wait()
            if self.ignores_stop:
                await asyncio.sleep(1000)
            self.story.append(f"{self.name} finished")
        except asyncio.CancelledError:
            self.story.append(f"{self.name} cancelled")
            raise

    def stop(self) -> None:
        self.stopping.set()


def options(kubeconfig: Path, *, leader: bool = False, **more: Any) -> CommonOptions:
    return CommonOptions(
        kubeconfig=(kubeconfig,),
        metrics_addr=LOOPBACK,
        health_addr=LOOPBACK,
        kube_api_qps=0,
        enable_leader_election=leader,
        leader_election_lease_duration=3,
        leader_election_renew_deadline=2,
        leader_election_retry_period=0.02,
        runtime_namespace="default",
        **more,
    )


def manage(chosen: CommonOptions, *, grace: float = SECONDS) -> Manager:
    return Manager(
        chosen, name="test-controller", version="1.2.3", log=get_logger("setup"), grace=grace
    )


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(manager: Manager) -> AsyncIterator[asyncio.Task[int]]:
    """Run it; the test must make it end."""
    task = asyncio.create_task(manager.run(), name="manager")
    yield task
    async with asyncio.timeout(SECONDS):
        await asyncio.wait((task,))
    assert task.done()


def said(lines: list[dict[str, Any]], message: str) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == message]


async def fetch(manager: Manager, name: str, path: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"http://{manager.addresses[name]}{path}") as answer,
    ):
        return answer.status, await answer.text()


async def test_a_controller_lives_and_ends_in_order(
    kubeconfig: Path, admin: HttpKubeClient, lines: list[dict[str, Any]]
) -> None:
    """The whole of it: caches, work, events, probes, SIGTERM, lease, exit code."""
    seen: list[str] = []
    async with manage(options(kubeconfig, leader=True)) as manager:
        informer = manager.informers.informer(CONFIG_MAP, namespace="default")
        queue: WorkQueue[ObjectKey] = WorkQueue(
            observer=manager.metrics.queue("configmap", manager.clock)
        )

        async def reconcile(key: ObjectKey) -> Result:
            obj: JsonObject | None = informer.store.get(key)
            assert obj is not None
            seen.append(key.name)
            manager.events.event(obj, type="Normal", reason="Seen", message="hello")
            return Result(600)

        controller = Controller(
            name="configmap",
            kind="ConfigMap",
            queue=queue,
            reconcile=reconcile,
            concurrency=2,
            log=get_logger("configmap"),
            metrics=manager.metrics,
            clock=manager.clock,
        )
        controller.on_stop(watch_with(informer, always, own_key, queue))
        manager.add(controller)
        async with running(manager) as task:
            await until(lambda: said(lines, "ready"))
            ready = said(lines, "ready")[0]
            await admin.create(CONFIG_MAP, config_map("fresh"), field_manager="test")
            await until(lambda: "fresh" in seen)
            assert await fetch(manager, "health", "/readyz") == (200, "ok")
            assert await fetch(manager, "health", "/healthz") == (200, "ok")
            _, text = await fetch(manager, "metrics", "/metrics")
            tasks = {each.get_name() for each in asyncio.all_tasks()}
            os.kill(os.getpid(), signal.SIGTERM)
        events = await admin.list_all(EVENT, namespace="default")
        lease = await admin.get(LEASE, LEASE_KEY)

    assert task.result() == 0
    assert tasks >= OWN_TASKS
    assert not OWN_TASKS & {each.get_name() for each in asyncio.all_tasks()}
    assert ready["healthAddr"] == manager.addresses["health"]
    assert ready["metricsAddr"].startswith("127.0.0.1:")
    assert 'gotk_reconcile_duration_seconds_count{kind="ConfigMap",name="fresh"' in text
    assert 'rest_client_requests_total{code="200",host="127.0.0.1' in text
    assert 'leader_election_master_status{name="test-controller-leader-election"} 1.0' in text
    assert "fresh" in {event["involvedObject"]["name"] for event in events.items}
    assert lease["spec"]["holderIdentity"] == ""
    assert [line["event"] for line in lines if line["level"] == "error"] == []
    with pytest.raises(aiohttp.ClientConnectionError):
        await fetch(manager, "health", "/healthz")


def config_map(name: str) -> JsonObject:
    metadata = {"namespace": "default", "name": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


async def test_while_work_is_finished_it_is_not_ready_and_still_leads(
    kubeconfig: Path, admin: HttpKubeClient
) -> None:
    story: list[str] = []
    async with manage(options(kubeconfig, leader=True)) as manager:
        job = Job(story)
        job.stop = lambda: None  # type: ignore[method-assign]
        manager.add(job)
        async with running(manager) as task:
            await until(lambda: story)
            manager.request_stop()
            await asyncio.sleep(0.1)
            stopping = await fetch(manager, "health", "/readyz")
            lease = await admin.get(LEASE, LEASE_KEY)
            job.stopping.set()

    assert stopping == (500, "manager: stopping")
    assert lease["spec"]["holderIdentity"].startswith("fluvial_")
    assert story == ["job runs", "job finished"]
    assert task.result() == 0


async def test_when_the_grace_is_over_work_is_cancelled(kubeconfig: Path) -> None:
    story: list[str] = []
    async with manage(options(kubeconfig), grace=0.05) as manager:
        job = Job(story)
        job.ignores_stop = True
        manager.add(job)
        async with running(manager) as task:
            await until(lambda: story)
            manager.request_stop()

    assert story == ["job runs", "job cancelled"]
    assert task.result() == 0


async def test_a_second_signal_leaves_no_grace(kubeconfig: Path) -> None:
    story: list[str] = []
    async with manage(options(kubeconfig), grace=1000) as manager:
        job = Job(story)
        job.ignores_stop = True
        manager.add(job)
        async with running(manager) as task:
            await until(lambda: story)
            os.kill(os.getpid(), signal.SIGINT)
            await until(manager._stop.is_set)
            os.kill(os.getpid(), signal.SIGTERM)

    assert story == ["job runs", "job cancelled"]
    assert task.result() == 1


async def test_a_lost_lease_ends_everything_at_once(
    kubeconfig: Path, admin: HttpKubeClient, lines: list[dict[str, Any]]
) -> None:
    story: list[str] = []
    async with manage(options(kubeconfig, leader=True), grace=1000) as manager:
        job = Job(story)
        job.ignores_stop = True
        manager.add(job)
        async with running(manager) as task:
            await until(lambda: story)
            await admin.patch(
                LEASE,
                LEASE_KEY,
                {"spec": {"holderIdentity": "fluvial_other_1"}},
                patch_type="merge",
                field_manager="other",
            )
        with pytest.raises(LeadershipLost):
            await manager.client.create(CONFIG_MAP, config_map("late"), field_manager="m")
        with pytest.raises(LeadershipLost):
            await manager.client.impersonate("tenant").delete(CONFIG_MAP, ObjectKey("a", "b"))
    lease = await admin.get(LEASE, LEASE_KEY)

    assert story == ["job runs", "job cancelled"]
    assert task.result() == 1
    assert lease["spec"]["holderIdentity"] == "fluvial_other_1"
    assert said(lines, "leader election lost")


async def test_only_the_leader_runs_what_is_for_leaders(
    kubeconfig: Path, admin: HttpKubeClient
) -> None:
    first_story: list[str] = []
    second_story: list[str] = []
    async with (
        manage(options(kubeconfig, leader=True)) as first,
        manage(options(kubeconfig, leader=True)) as second,
    ):
        first.add(Job(first_story))
        second.add(Job(second_story))
        second.add(Job(second_story, "everywhere"), leader_only=False)
        second.serve(web.Application(), LOOPBACK, "storage", leader_only=True)
        async with running(first) as first_task:
            await until(lambda: first_story)
            async with running(second) as second_task:
                await until(lambda: second_story)
                before = (list(second_story), "storage" in second.addresses)
                waiting = await fetch(second, "health", "/readyz")
                first.request_stop()
                await until(lambda: "job runs" in second_story)
                status, _ = await fetch(second, "storage", "/")
                second.request_stop()

    assert before == (["everywhere runs"], False)
    assert waiting == (200, "ok")
    assert status == 404
    assert second_story[-2:] == ["job finished", "everywhere finished"]
    assert (first_task.result(), second_task.result()) == (0, 0)


async def test_a_signal_while_waiting_for_the_lease_ends_it(
    kubeconfig: Path, admin: HttpKubeClient
) -> None:
    await hold_lease(admin, "fluvial_other_1")
    story: list[str] = []
    async with manage(options(kubeconfig, leader=True)) as manager:
        manager.add(Job(story))
        async with running(manager) as task:
            await until(lambda: manager._ready)
            manager.request_stop()

    assert story == []
    assert task.result() == 0


@pytest.mark.parametrize("leader", [True, False], ids=["election", "no-election"])
async def test_a_start_beside_flux_is_refused(
    kubeconfig: Path, admin: HttpKubeClient, lines: list[dict[str, Any]], *, leader: bool
) -> None:
    await hold_lease(admin, "test-controller-5f6b_0a1b")
    async with manage(options(kubeconfig, leader=leader)) as manager:
        code = await manager.run()
    [line] = said(lines, "controller failed")

    assert code == 1
    assert "test-controller-5f6b_0a1b" in line["error"]
    assert "exc_info" not in line


async def hold_lease(admin: HttpKubeClient, holder: str) -> None:
    await admin.create(
        LEASE,
        {
            "apiVersion": LEASE.api_version,
            "kind": "Lease",
            "metadata": {"namespace": LEASE_KEY.namespace, "name": LEASE_KEY.name},
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": 1000,
                "renewTime": "2999-01-01T00:00:00.000000Z",
            },
        },
        field_manager="test",
    )


async def test_a_runnable_that_fails_ends_the_process(
    kubeconfig: Path, lines: list[dict[str, Any]]
) -> None:
    story: list[str] = []
    async with manage(options(kubeconfig), grace=1000) as manager:
        broken, other = Job(story, "broken"), Job(story, "other")
        broken.fails = other.ignores_stop = True
        manager.add(other)
        manager.add(broken)
        async with running(manager) as task:
            await until(lambda: story)

    assert task.result() == 1
    assert "other cancelled" in story
    assert said(lines, "runnable failed")[0]["runnable"] == "broken"


async def test_an_address_that_is_taken_is_told(
    kubeconfig: Path, lines: list[dict[str, Any]]
) -> None:
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    chosen = CommonOptions(
        kubeconfig=(kubeconfig,),
        metrics_addr="0",
        health_addr=f"127.0.0.1:{port}",
        kube_api_qps=0,
        runtime_namespace="default",
    )
    async with taken, manage(chosen) as manager:
        code = await manager.run()

    assert code == 1
    assert str(port) in said(lines, "controller failed")[0]["error"]


async def test_a_start_beside_a_controller_that_this_one_replaces_is_refused(
    kubeconfig: Path, admin: HttpKubeClient, lines: list[dict[str, Any]]
) -> None:
    """Such as source-watcher of Flux, whose generators source-controller reconciles."""
    key = ObjectKey("default", "other-controller-leader-election")
    clock = RealClock()
    other = LeaderElector(
        admin,
        key,
        identity="other-controller-7d9f_0b5c",
        clock=clock,
        log=get_logger("other"),
        field_manager="other",
    )
    await other.acquire()
    async with Manager(
        options(kubeconfig),
        name="test-controller",
        version="1.2.3",
        log=get_logger("setup"),
        replaces=("other-controller",),
    ) as manager:
        code = await manager.run()

    assert code == 1
    (failed,) = said(lines, "controller failed")
    assert "held by 'other-controller-7d9f_0b5c'" in failed["error"]
