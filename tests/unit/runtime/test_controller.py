"""Workers, and what each outcome does to the queue."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import structlog

from fluvial.artifact.threads import StopFlag, in_thread
from fluvial.clock import RealClock
from fluvial.kube import kinds
from fluvial.kube.errors import Unreachable
from fluvial.log import get_logger
from fluvial.objects import ObjectKey
from fluvial.runtime.backoff import Backoff
from fluvial.runtime.controller import Controller, controller_of
from fluvial.runtime.metrics import Metrics
from fluvial.runtime.outcome import Failed, Ignored, Result, Stalled, Waiting
from fluvial.runtime.queue import WorkQueue

KEY = ObjectKey("ns", "app")
CLOCK = RealClock()

Reconcile = Callable[[ObjectKey], Awaitable[Result]]


class Rig:
    """A controller with its queue and metrics."""

    def __init__(
        self, reconcile: Reconcile, *, concurrency: int = 1, timeout: float | None = None
    ) -> None:
        self.metrics = Metrics()
        self.queue: WorkQueue[ObjectKey] = WorkQueue(
            backoff=Backoff(base=2, cap=100), observer=self.metrics.queue("app", CLOCK)
        )
        self.controller = Controller(
            name="app",
            kind="App",
            group="example.com",
            queue=self.queue,
            reconcile=reconcile,
            concurrency=concurrency,
            log=get_logger("test"),
            metrics=self.metrics,
            clock=CLOCK,
            timeout=timeout,
        )

    def value(self, metric: str, /, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(metric, labels)

    async def once(self) -> None:
        """Reconcile ``KEY`` until the queue is idle, then stop."""
        self.queue.add(KEY)
        task = asyncio.ensure_future(self.controller.run())
        await self.queue.wait_idle()
        self.due = self.queue.due_in(KEY)
        self.failures = self.queue.failures(KEY)
        self.controller.stop()
        await task


def always(outcome: Result | Exception) -> Reconcile:
    async def reconcile(_: ObjectKey) -> Result:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return reconcile


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("outcome", "due", "failures", "result"),
    [
        pytest.param(Result(), None, 0, "success", id="done"),
        pytest.param(Result(600), 600, 0, "requeue_after", id="interval"),
        pytest.param(Ignored(), None, 0, "success", id="ignored"),
        pytest.param(Waiting("Dep", "not yet", after=30), 30, 0, "requeue_after", id="waiting"),
        pytest.param(Stalled("URLInvalid", "bad"), None, 0, "error", id="stalled"),
        pytest.param(Failed("Build", "no"), 2, 1, "error", id="failed-backoff"),
        pytest.param(Failed("Build", "no", retry_after=60), 60, 0, "error", id="failed-fixed"),
        pytest.param(Unreachable("away"), 2, 1, "error", id="api-error"),
        pytest.param(ZeroDivisionError("oops"), 2, 1, "error", id="bug"),
    ],
)
async def test_outcome(
    outcome: Result | Exception, due: float | None, failures: int, result: str
) -> None:
    rig = Rig(always(outcome))
    await rig.once()

    assert rig.due == (None if due is None else pytest.approx(due, abs=0.1))
    assert rig.failures == failures
    assert rig.value("controller_runtime_reconcile_total", controller="app", result=result) == 1


class _Large:
    """What a reconcile has in hand."""


@pytest.mark.looptime
@pytest.mark.parametrize(
    "fail",
    [Ignored, lambda: Waiting("Dep", "not yet", after=30), lambda: Stalled("Bad", "")],
    ids=["ignored", "waiting", "stalled"],
)
async def test_what_a_reconcile_had_is_gone_when_it_has_failed(
    fail: Callable[[], Exception],
) -> None:
    """Without the garbage collector, which a controller lets run rarely."""
    had: list[weakref.ref[_Large]] = []

    async def reconcile(_: ObjectKey) -> Result:
        large = _Large()
        had.append(weakref.ref(large))
        raise fail()

    rig = Rig(reconcile)
    gc.collect()
    gc.disable()
    try:
        await rig.once()
        left = [one() for one in had]
    finally:
        gc.enable()

    assert left == [None]


@pytest.mark.looptime
@pytest.mark.parametrize(
    "good",
    [Result(), Result(600), Waiting("Dep", "", after=9), Failed("X", "", retry_after=9)],
    ids=["done", "interval", "waiting", "fixed-retry"],
)
async def test_what_is_no_backoff_failure_resets_the_backoff(good: Result | Exception) -> None:
    outcomes: list[Result | Exception] = [Failed("Build", ""), Failed("Build", ""), good]

    async def reconcile(key: ObjectKey) -> Result:
        return await always(outcomes.pop(0))(key)

    rig = Rig(reconcile)
    task = asyncio.ensure_future(rig.controller.run())
    rig.queue.add(KEY)
    await asyncio.sleep(6.5)  # 2 s and 4 s of backoff
    rig.controller.stop()
    await task

    assert outcomes == []
    assert rig.queue.failures(KEY) == 0


@pytest.mark.looptime
async def test_a_failing_key_does_not_end_its_worker() -> None:
    seen: list[str] = []

    async def reconcile(key: ObjectKey) -> Result:
        seen.append(key.name)
        if key.name == "bad":
            raise RuntimeError("boom")
        return Result()

    rig = Rig(reconcile)
    task = asyncio.ensure_future(rig.controller.run())
    rig.queue.add(ObjectKey("ns", "bad"))
    rig.queue.add(ObjectKey("ns", "good"))
    await rig.queue.wait_idle()
    rig.controller.stop()
    await task

    assert seen == ["bad", "good"]
    assert rig.value("controller_runtime_reconcile_panics_total", controller="app") == 1
    assert rig.value("controller_runtime_reconcile_errors_total", controller="app") == 1


@pytest.mark.looptime
async def test_a_cancellation_that_escapes_from_a_reconcile_does_not_end_its_worker() -> None:
    async def reconcile(_: ObjectKey) -> Result:
        task = asyncio.ensure_future(asyncio.sleep(100))
        await asyncio.sleep(0)
        task.cancel()
        await task
        return Result()

    rig = Rig(reconcile)
    await rig.once()

    assert rig.failures == 1


@pytest.mark.looptime
async def test_a_reconcile_that_takes_too_long_is_a_failure() -> None:
    async def reconcile(_: ObjectKey) -> Result:
        await asyncio.sleep(1000)
        return Result()

    rig = Rig(reconcile, timeout=10)
    start = CLOCK.monotonic()
    await rig.once()

    assert rig.failures == 1
    assert CLOCK.monotonic() - start == pytest.approx(10, abs=0.1)


@pytest.mark.looptime
async def test_workers_work_at_once_and_one_key_never_twice() -> None:
    held: set[ObjectKey] = set()
    most = overlaps = 0

    async def reconcile(key: ObjectKey) -> Result:
        nonlocal most, overlaps
        overlaps += key in held
        held.add(key)
        most = max(most, len(held))
        await asyncio.sleep(1)
        held.discard(key)
        return Result()

    rig = Rig(reconcile, concurrency=3)
    task = asyncio.ensure_future(rig.controller.run())
    keys = [ObjectKey("ns", str(number)) for number in range(9)]
    for _ in range(3):
        for key in keys:
            rig.queue.add(key)
        await asyncio.sleep(0.5)
    await rig.queue.wait_idle()
    rig.controller.stop()
    await task

    assert (most, overlaps) == (3, 0)


@pytest.mark.looptime
async def test_stop_lets_workers_finish_and_drops_the_rest() -> None:
    finished: list[str] = []

    async def reconcile(key: ObjectKey) -> Result:
        await asyncio.sleep(5)
        finished.append(key.name)
        return Result(1)

    rig = Rig(reconcile)
    ended: list[str] = []
    rig.controller.on_stop(lambda: ended.append("trigger"))
    task = asyncio.ensure_future(rig.controller.run())
    rig.queue.add(ObjectKey("ns", "held"))
    rig.queue.add(ObjectKey("ns", "ready"))
    await asyncio.sleep(1)
    rig.controller.stop()
    await asyncio.wait_for(task, 10)

    assert finished == ["held"]
    assert ended == ["trigger"]
    assert rig.value("workqueue_depth", name="app", controller="app") == 0


async def test_a_cancelled_worker_holds_its_key_until_its_thread_has_ended() -> None:
    """A thread cannot be cancelled: until it ends, nobody else may have the key."""
    started, release = threading.Event(), threading.Event()

    def work(_: StopFlag) -> None:
        started.set()
        release.wait(10)

    async def reconcile(_: ObjectKey) -> Result:
        await in_thread(work)
        return Result()

    rig = Rig(reconcile)
    rig.queue.add(KEY)
    task = asyncio.ensure_future(rig.controller.run())
    await asyncio.to_thread(started.wait, 10)
    task.cancel()
    for _ in range(20):
        await asyncio.sleep(0)
    assert rig.queue.processing == 1
    assert not task.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert rig.queue.processing == 0


@pytest.mark.looptime
async def test_a_reconcile_that_loses_its_cancellation_holds_up_no_end() -> None:
    begun = asyncio.Event()

    async def loses(key: ObjectKey) -> Result:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return Result(0.0)
        raise AssertionError(key)

    rig = Rig(loses, concurrency=2)
    rig.queue.add(KEY)
    task = asyncio.ensure_future(rig.controller.run())
    await begun.wait()
    task.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait([task])

    assert task.cancelled()


async def test_cancelling_passes_through_the_reconcile() -> None:
    cleaned: list[str] = []

    async def reconcile(_: ObjectKey) -> Result:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(1)
            cleaned.append("up")
        return Result()

    rig = Rig(reconcile)
    rig.queue.add(KEY)
    task = asyncio.ensure_future(rig.controller.run())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert cleaned == ["up"]


async def test_lines_of_a_reconcile_carry_its_key_and_an_id_of_their_own() -> None:
    async def reconcile(_: ObjectKey) -> Result:
        get_logger("inside").info("hello")
        return Result()

    lines: list[dict[str, Any]] = []

    def keep(_: Any, __: str, event: Any) -> Any:
        lines.append(dict(structlog.contextvars.get_contextvars()) | dict(event))
        raise structlog.DropEvent

    structlog.configure(processors=[keep])
    try:
        await Rig(reconcile).once()
        await Rig(reconcile).once()
    finally:
        structlog.reset_defaults()
    first, second = [line for line in lines if line["event"] == "hello"]

    assert (first["namespace"], first["name"]) == ("ns", "app")
    assert first["controller"] == "app"
    assert first["controllerKind"] == "App"
    assert first["controllerGroup"] == "example.com"
    assert first["reconcileID"] != second["reconcileID"]
    assert structlog.contextvars.get_contextvars() == {}


async def test_a_foreseen_failure_has_no_stack_trace_in_the_log() -> None:
    lines: list[dict[str, Any]] = []

    def keep(_: Any, __: str, event: Any) -> Any:
        lines.append(dict(event))
        raise structlog.DropEvent

    structlog.configure(processors=[keep])
    try:
        await Rig(always(Failed("BuildFailed", "no such path"))).once()
        await Rig(always(Unreachable("away"))).once()
        await Rig(always(KeyError("bug"))).once()
    finally:
        structlog.reset_defaults()

    assert [("exc_info" in line, line.get("reason")) for line in lines] == [
        (False, "BuildFailed"),
        (False, "Unreachable"),
        (True, None),
    ]


GOTK = "gotk_reconcile_duration_seconds_count"
LABELS = {"kind": "App", "name": "app", "namespace": "ns"}


async def test_the_duration_of_each_object_is_recorded() -> None:
    rig = Rig(always(Result()))
    await rig.once()

    assert rig.value(GOTK, **LABELS) == 1


async def test_an_ignored_object_has_no_series() -> None:
    rig = Rig(always(Ignored()))
    await rig.once()

    assert rig.value(GOTK, **LABELS) is None


async def test_the_series_of_a_finalised_object_is_gone() -> None:
    rig = Rig(always(Result()))
    await rig.once()

    async def finalise(key: ObjectKey) -> Result:
        rig.metrics.delete_object("App", key)
        return Result()

    second = Rig(finalise)
    second.metrics = rig.metrics
    second.controller._metrics = rig.metrics
    await second.once()

    assert rig.value(GOTK, **LABELS) is None


@pytest.mark.looptime
async def test_the_controller_of_a_kind_is_named_as_flux_names_it() -> None:
    """Its queue waits as long after a failure as it is told to."""
    metrics = Metrics()
    controller = controller_of(
        kinds.HELM_RELEASE,
        always(Failed("Odd", "it is odd")),
        concurrency=3,
        retry_delays=(7.0, 100.0),
        log=get_logger("test"),
        metrics=metrics,
        clock=CLOCK,
    )
    controller.queue.add(KEY)
    task = asyncio.ensure_future(controller.run())
    await controller.queue.wait_idle()
    due = controller.queue.due_in(KEY)
    controller.stop()
    await task

    assert (controller.name, controller.kind, due) == ("helmrelease", "HelmRelease", 7.0)
    workers = metrics.registry.get_sample_value(
        "controller_runtime_max_concurrent_reconciles", {"controller": "helmrelease"}
    )
    assert workers == 3
