"""How failures are told: in conditions, as events, and to the queue."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, cast

import pytest
import structlog

from fluvial.apply import Masker
from fluvial.delivery.confirming import Outdated
from fluvial.delivery.finishing import DeliveryFinish, Failure
from fluvial.errors import FluvialError
from fluvial.kube.errors import TooManyRequests
from fluvial.kube.tenants import TenantRefused
from fluvial.log import get_logger
from fluvial.objects import JsonObject
from fluvial.runtime import conditions
from fluvial.runtime.events import EventRecorder
from fluvial.runtime.outcome import Failed, Result, Stalled, Waiting
from unit.delivery.cluster import KEY, Cluster, Run, kustomization

QUIET = "DependencyMissing"


class Told:
    """What was saved and said."""

    def __init__(self) -> None:
        self.saved: list[dict[str, str]] = []
        self.events: list[tuple[str, str, str]] = []

    async def save(self, run: Run) -> None:
        self.saved.append({one.type: one.reason for one in run.spec_of.status.conditions})

    def event(self, _: JsonObject, **said: Any) -> None:
        assert said["metadata"] == {"of": "the run"}
        self.events.append((said["type"], said["reason"], said["message"]))


class Finish(DeliveryFinish[Run]):
    """A kind of its own."""

    default_reason = "Broken"
    reason_of: ClassVar = {TenantRefused: "Refused"}
    missing_source = frozenset({"ArtifactFailed"})

    def has_event(self, end: Failure, *, waits: bool) -> bool:
        return not (waits and end.reason == QUIET)


class Patient(Finish):
    """One that says how long it takes at least."""

    def shortest_retry(self, _run: Run) -> float:
        return 20.0


def finish(told: Told, kind: type[Finish] = Finish) -> Finish:
    recorder = cast("EventRecorder", told)
    return kind(told, recorder, get_logger("test"), lambda seconds: seconds + 1)


async def make_run(request: str = "") -> Run:
    cluster = Cluster(kustomization(request=request))
    return Run(*await cluster.opening().open(KEY, live=False), masker=Masker(["hunter22"]))


async def fail(error: Exception, told: Told, run: Run, kind: type[Finish] = Finish) -> Any:
    """Fail within the steps of a run; what comes out of it."""
    with pytest.raises(Exception) as raised:  # noqa: PT011  # any
        async with finish(told, kind).failures(run):
            raise error
    return raised.value


def too_many(seconds: float | None = None) -> TooManyRequests:
    """The API server wants to be left alone."""
    error = TooManyRequests("slow down", status=429)
    error.retry_after = seconds
    return error


CAUSED = FluvialError("it is caused")
CAUSED.__cause__ = too_many(30)


@pytest.mark.parametrize(
    ("error", "reason", "message"),
    [
        (Failed("Odd", "it is odd"), "Odd", "it is odd"),
        (TenantRefused("there is no account"), "Refused", "there is no account"),
        (too_many(), "Broken", "the API server refused: slow down"),
        (FluvialError("no luck"), "Broken", "reconciliation failed: no luck"),
        (FluvialError("no hunter22"), "Broken", "reconciliation failed: no ***"),
    ],
    ids=["with a reason", "that explains itself", "of the API server", "other", "with a secret"],
)
async def test_a_failure_is_told_everywhere(error: FluvialError, reason: str, message: str) -> None:
    told, run = Told(), await make_run()
    end = await fail(error, told, run)

    assert isinstance(end, Failed)
    assert (end.reason, str(end)) == (reason, message)
    assert told.saved == [{"Reconciling": "ProgressingWithRetry", "Ready": reason}]
    assert told.events == [("Warning", reason, message)]
    ready = conditions.get_condition(run.spec_of.status.conditions, "Ready")
    assert ready is not None
    assert (ready.status, ready.message) == ("False", message)
    assert run.spec_of.status.observed_generation != run.generation


async def test_what_is_stalled_is_observed_and_not_tried_again() -> None:
    told, run = Told(), await make_run()
    end = await fail(Stalled("Odd", "it will not do"), told, run)

    assert isinstance(end, Stalled)
    assert end.__cause__ is None  # least of all itself: causes are walked
    assert told.saved == [{"Stalled": "Odd", "Ready": "Odd"}]
    assert run.spec_of.status.observed_generation == run.generation


@pytest.mark.parametrize(
    ("kind", "error", "seconds"),
    [
        (Finish, FluvialError("no luck"), None),
        (Finish, Failed("Odd", "it is odd", retry_after=5), 5),
        (Finish, CAUSED, 30),
        (Finish, too_many(3600), 60),
        (Patient, FluvialError("no luck"), 20),
        (Patient, Failed("Odd", "it is odd", retry_after=5), 20),
        (Patient, CAUSED, 30),
    ],
    ids=[
        "backoff",
        "its own wait",
        "as the server asks",
        "an interval at most",
        "the kind's wait",
        "not sooner than that",
        "later, as the server asks",
    ],
)
async def test_when_a_failure_is_tried_again(
    kind: type[Finish], error: FluvialError, seconds: float | None
) -> None:
    end = await fail(error, Told(), await make_run(), kind)

    assert end.retry_after == seconds


@pytest.mark.parametrize(
    ("error", "has_source", "events", "level"),
    [
        (Waiting("Odd", "not yet", after=1), True, [("Normal", "Odd", "not yet")], "info"),
        (Waiting(QUIET, "not yet", after=1), True, [], "info"),
        (Failed(QUIET, "no"), True, [("Warning", QUIET, "no")], "error"),
        (Failed("ArtifactFailed", "no"), False, [("Normal", "ArtifactFailed", "no")], "info"),
        (Failed("ArtifactFailed", "no"), True, [("Warning", "ArtifactFailed", "no")], "error"),
    ],
    ids=["waits", "waits quietly", "fails", "has no source", "cannot use its source"],
)
async def test_who_waits_is_no_warning(
    error: FluvialError, *, has_source: bool, events: list[tuple[str, str, str]], level: str
) -> None:
    told, run = Told(), await make_run()
    run.source = cast("Any", object()) if has_source else None
    with structlog.testing.capture_logs() as lines:
        await fail(error, told, run)

    assert told.events == events
    assert [line["log_level"] for line in lines] == [level]


@pytest.mark.parametrize(
    ("error", "what"),
    [(ValueError("hunter22"), "ValueError"), (OSError(28, "No space left"), "No space left")],
)
async def test_an_unforeseen_fault_is_told_and_stays_what_it_is(
    error: Exception, what: str
) -> None:
    """The status has nothing of its text, which nobody wrote for a tenant."""
    told, run = Told(), await make_run()
    end = await fail(error, told, run)

    assert end is error
    assert [reason for _, reason, _ in told.events] == ["Broken"]
    assert f"({what})" in told.events[0][2]
    assert "hunter22" not in told.events[0][2]


async def test_a_run_that_starts_over_tells_nothing() -> None:
    told = Told()
    end = await fail(Outdated(), told, await make_run())

    assert isinstance(end, Outdated)
    assert (told.saved, told.events) == ([], [])


@pytest.mark.parametrize("request_", ["", "now"])
async def test_a_request_is_answered_however_a_run_ends(request_: str) -> None:
    told, run = Told(), await make_run(request_)
    await fail(Stalled("Odd", "it will not do"), told, run)
    assert run.spec_of.status.last_handled_reconcile_at == request_

    suspended = await make_run(request_)
    assert await finish(told).suspended(suspended) == Result()
    assert suspended.spec_of.status.last_handled_reconcile_at == request_
    assert told.saved[-1] == {}


async def test_who_has_nothing_new_comes_back_after_its_interval() -> None:
    told = Told()

    assert finish(told).quiet(await make_run()) == Result(61.0)
    assert told.saved == []


@pytest.mark.parametrize(
    "error",
    [lambda: FluvialError("no luck"), lambda: Failed("Odd", ""), lambda: Stalled("Odd", "")],
    ids=["other", "failed", "stalled"],
)
async def test_a_failed_run_is_not_kept_by_its_failure(error: Callable[[], FluvialError]) -> None:
    """Without the garbage collector, which a controller lets run rarely."""

    class Large:
        """What a step had in hand."""

    had: list[weakref.ref[Large]] = []

    async def step() -> None:
        large = Large()
        had.append(weakref.ref(large))
        raise error()

    run = await make_run()
    gc.collect()
    gc.disable()
    try:
        with contextlib.suppress(FluvialError):
            async with finish(Told()).failures(run):
                await step()
        left = [one() for one in had]
    finally:
        gc.enable()

    assert left == [None]
