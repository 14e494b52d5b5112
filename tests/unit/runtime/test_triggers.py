"""Predicates and the wiring from informer to queue."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime import triggers as trig
from fluvial.runtime.queue import WorkQueue

REQUEST = "reconcile.fluxcd.io/requestedAt"


def obj(
    name: str = "a",
    *,
    generation: int = 1,
    annotations: dict[str, str] | None = None,
    status: dict[str, Any] | None = None,
    **metadata: Any,
) -> JsonObject:
    return {
        "metadata": {
            "namespace": "ns",
            "name": name,
            "generation": generation,
            "annotations": annotations or {},
            **metadata,
        },
        "status": status or {},
    }


def artifact(revision: str, digest: str = "sha256:1") -> dict[str, Any]:
    return {"artifact": {"revision": revision, "digest": digest}}


READY = {"conditions": [{"type": "Ready", "status": "True"}]}


def test_creation_and_disappearance_pass() -> None:
    for predicate in (
        trig.generation_changed,
        trig.reconcile_requested,
        trig.artifact_revision_changed,
    ):
        assert predicate(None, obj())
        assert predicate(obj(), None)


def test_a_status_write_of_ones_own_wakes_nobody() -> None:
    own = trig.any_of(trig.generation_changed, trig.reconcile_requested)

    assert not own(obj(status={}), obj(status=READY, annotations={"other": "x"}))
    assert own(obj(), obj(generation=2))


@pytest.mark.parametrize(
    ("before", "after", "passes"),
    [
        pytest.param({}, {REQUEST: "1"}, True, id="first"),
        pytest.param({REQUEST: "1"}, {REQUEST: "2"}, True, id="another"),
        pytest.param({REQUEST: "1"}, {REQUEST: "1"}, False, id="same"),
        pytest.param({REQUEST: "1"}, {}, False, id="removed"),
    ],
)
def test_a_request_is_a_new_value(
    before: dict[str, str], after: dict[str, str], *, passes: bool
) -> None:
    assert trig.reconcile_requested(obj(annotations=before), obj(annotations=after)) is passes


def _made_again(revision: str) -> dict[str, Any]:
    """As after a restore from a backup, and the same commit once more."""
    status = artifact(revision)
    return {"artifact": {**status["artifact"], "lastUpdateTime": "2026-11-23T10:00:00Z"}}


@pytest.mark.parametrize(
    ("before", "after", "passes"),
    [
        pytest.param({}, artifact("main@1"), True, id="appeared"),
        pytest.param(artifact("main@1"), artifact("main@2"), True, id="revision"),
        pytest.param(artifact("main@1"), artifact("main@1", "sha256:2"), True, id="digest"),
        pytest.param(artifact("main@1"), {**artifact("main@1"), **READY}, False, id="same"),
        pytest.param(artifact("main@1"), {}, False, id="lost"),
        pytest.param(artifact("main@1"), _made_again("main@1"), True, id="made again"),
    ],
)
def test_artifact_changes(before: dict[str, Any], after: dict[str, Any], *, passes: bool) -> None:
    assert trig.artifact_revision_changed(obj(status=before), obj(status=after)) is passes


def test_becoming_ready() -> None:
    assert trig.became_ready(obj(), obj(status=READY))
    assert trig.became_ready(None, obj(status=READY))
    assert not trig.became_ready(obj(status=READY), obj(status=READY))
    assert not trig.became_ready(None, obj())
    assert not trig.became_ready(obj(status=READY), None)


def test_combinators() -> None:
    def never(_: JsonObject | None, __: JsonObject | None) -> bool:
        return False

    assert trig.any_of(never, trig.always)(None, None)
    assert not trig.any_of()(None, None)
    assert not trig.all_of(never, trig.always)(None, None)
    assert trig.all_of()(None, None)


@pytest.mark.parametrize(
    ("candidate", "settled"),
    [
        pytest.param(obj(status={"observedGeneration": 1, **READY}), True, id="settled"),
        pytest.param(obj(), False, id="new"),
        pytest.param(
            obj(generation=2, status={"observedGeneration": 1, **READY}), False, id="generation"
        ),
        pytest.param(obj(status={"observedGeneration": 1}), False, id="not-ready"),
        pytest.param(
            obj(annotations={REQUEST: "1"}, status={"observedGeneration": 1, **READY}),
            False,
            id="requested",
        ),
        pytest.param(
            obj(
                annotations={REQUEST: "1"},
                status={"observedGeneration": 1, "lastHandledReconcileAt": "1", **READY},
            ),
            True,
            id="request-handled",
        ),
        pytest.param(
            obj(
                status={
                    "observedGeneration": 1,
                    "conditions": [
                        *READY["conditions"],
                        {"type": "Reconciling", "status": "True"},
                    ],
                }
            ),
            False,
            id="under-way",
        ),
        pytest.param(
            obj(deletionTimestamp="now", status={"observedGeneration": 1, **READY}),
            False,
            id="deleting",
        ),
    ],
)
def test_settled_objects_may_wait_at_a_start(candidate: JsonObject, *, settled: bool) -> None:
    assert trig.is_settled(candidate) is settled


class FakeInformer:
    """Holds subscribers and calls them as an informer does."""

    def __init__(self) -> None:
        self.subscribers: list[Callable[[JsonObject | None, JsonObject | None], None]] = []

    def subscribe(
        self, fn: Callable[[JsonObject | None, JsonObject | None], None], /
    ) -> Callable[[], None]:
        self.subscribers.append(fn)
        return lambda: self.subscribers.remove(fn)

    def change(self, old: JsonObject | None, new: JsonObject | None) -> None:
        for fn in self.subscribers:
            fn(old, new)


def ref(obj_: JsonObject) -> Iterable[ObjectKey]:
    target = obj_["metadata"]["annotations"].get("ref")
    return [ObjectKey("ns", target)] if target else []


async def drain(queue: WorkQueue[ObjectKey]) -> list[str]:
    return [(await queue.get()).name for _ in range(len(queue))]


async def test_old_and_new_object_are_mapped() -> None:
    informer, queue = FakeInformer(), WorkQueue[ObjectKey]()
    trig.watch_with(informer, trig.always, ref, queue)
    informer.change(obj(annotations={"ref": "was"}), obj(annotations={"ref": "is"}))

    assert await drain(queue) == ["was", "is"]


async def test_what_the_predicate_stops_adds_nothing() -> None:
    informer, queue = FakeInformer(), WorkQueue[ObjectKey]()
    trig.watch_with(informer, trig.generation_changed, trig.own_key, queue)
    informer.change(obj(), obj(status=READY))

    assert len(queue) == 0


async def test_pending_objects_come_first_at_a_start() -> None:
    informer, queue = FakeInformer(), WorkQueue[ObjectKey]()
    trig.watch_with(informer, trig.always, trig.own_key, queue, settled=trig.is_settled)
    informer.change(None, obj("settled", status={"observedGeneration": 1, **READY}))
    informer.change(None, obj("pending"))

    assert await drain(queue) == ["pending", "settled"]


async def test_a_failing_mapper_does_not_reach_the_watch() -> None:
    informer, queue = FakeInformer(), WorkQueue[ObjectKey]()

    def broken(_: JsonObject) -> Iterable[ObjectKey]:
        raise KeyError("spec")

    trig.watch_with(informer, trig.always, broken, queue)
    informer.change(None, obj())
    assert len(queue) == 0
    trig.watch_with(informer, trig.always, trig.own_key, queue)
    informer.change(None, obj("b"))

    assert await drain(queue) == ["b"]


async def test_an_ended_trigger_adds_nothing() -> None:
    informer, queue = FakeInformer(), WorkQueue[ObjectKey]()
    end = trig.watch_with(informer, trig.always, trig.own_key, queue)
    end()
    informer.change(None, obj())

    assert len(queue) == 0
    assert informer.subscribers == []
