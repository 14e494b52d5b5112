"""Events as notification-controller receives them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast

import aiohttp
import orjson
import pytest
from aiohttp import web

from fluvial.kube.client import KubeClient
from fluvial.kube.errors import Forbidden
from fluvial.log import get_logger
from fluvial.objects import JsonObject
from fluvial.runtime.events import EventRecorder

OBJECT: JsonObject = {
    "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
    "kind": "Kustomization",
    "metadata": {
        "namespace": "team",
        "name": "apps",
        "uid": "uid-1",
        "resourceVersion": "7",
        "annotations": {
            "event.toolkit.fluxcd.io/deploymentID": "42",
            "event.toolkit.fluxcd.io/both": "object",
            "example.com/private": "no",
        },
    },
}


class Instant:
    """A clock that stands still and does not wait."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


class Events:
    """An API server that takes events, or refuses them."""

    def __init__(self) -> None:
        self.created: list[JsonObject] = []
        self.refuse = False
        self.hanging: set[str] = set()

    async def create(self, _: Any, obj: JsonObject, **__: Any) -> JsonObject:
        if self.refuse:
            raise Forbidden("events are forbidden", status=403)
        if obj["involvedObject"]["name"] in self.hanging:
            await asyncio.Event().wait()
        self.created.append(obj)
        return obj

    async def patch(self, *_: Any, **__: Any) -> JsonObject:
        return {}


class Receiver:
    """notification-controller: answers in order, the last answer repeats."""

    def __init__(self) -> None:
        self.answers: list[int] = [202]
        self.bodies: list[JsonObject] = []
        self.types: list[str] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.bodies.append(orjson.loads(await request.read()))
        self.types.append(request.content_type)
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.Response(status=status, headers={"Location": "/elsewhere"})


class Rig:
    """A recorder between a cluster and a receiver."""

    def __init__(self, http: aiohttp.ClientSession, address: str) -> None:
        self.clock = Instant()
        self.cluster = Events()
        self.told: list[str] = []
        self.recorder = EventRecorder(
            cast("KubeClient", self.cluster),
            controller="kustomize-controller",
            events_addr=address,
            clock=self.clock,
            http=http,
            hostname="pod-1",
            log=get_logger("test"),
            on_drop=self.told.append,
        )

    def send(self, type_: Any = "Normal", **fields: Any) -> None:
        fields = {"reason": "Seen", "message": "hello", **fields}
        self.recorder.event(OBJECT, type=type_, **fields)

    async def deliver(self) -> None:
        running = asyncio.create_task(self.recorder.run(), name="events")
        await self.recorder.flush(20)
        running.cancel()
        await asyncio.wait((running,))


@pytest.fixture
async def receiver() -> Receiver:
    return Receiver()


@asynccontextmanager
async def serving(receiver: Receiver) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}/"
    await runner.cleanup()


@pytest.fixture
async def rig(receiver: Receiver) -> AsyncIterator[Rig]:
    async with serving(receiver) as address, aiohttp.ClientSession() as http:
        yield Rig(http, address)


async def test_the_payload_is_that_of_flux_event_api(rig: Rig, receiver: Receiver) -> None:
    rig.send(
        reason="ReconciliationSucceeded",
        metadata={
            "kustomize.toolkit.fluxcd.io/revision": "main@sha1:1",
            "event.toolkit.fluxcd.io/both": "event",
        },
    )
    await rig.deliver()

    assert receiver.bodies == [
        {
            "involvedObject": {
                "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
                "kind": "Kustomization",
                "namespace": "team",
                "name": "apps",
                "uid": "uid-1",
                "resourceVersion": "7",
            },
            "severity": "info",
            "timestamp": "2026-01-02T03:04:05Z",
            "message": "hello",
            "reason": "ReconciliationSucceeded",
            "metadata": {
                "kustomize.toolkit.fluxcd.io/revision": "main@sha1:1",
                "event.toolkit.fluxcd.io/deploymentID": "42",
                "event.toolkit.fluxcd.io/both": "event",
            },
            "reportingController": "kustomize-controller",
            "reportingInstance": "pod-1",
        }
    ]
    assert receiver.types == ["application/json"]


async def test_a_warning_has_severity_error(rig: Rig, receiver: Receiver) -> None:
    rig.send("Warning")
    await rig.deliver()

    assert receiver.bodies[0]["severity"] == "error"
    assert rig.cluster.created[0]["type"] == "Warning"


async def test_a_trace_is_shown_by_the_cluster_only(rig: Rig, receiver: Receiver) -> None:
    rig.send("Trace")
    await rig.deliver()

    assert receiver.bodies == []
    assert rig.cluster.created[0]["type"] == "Normal"


async def test_without_an_address_nothing_is_posted(rig: Rig, receiver: Receiver) -> None:
    rig.recorder._address = ""
    rig.send()
    await rig.deliver()

    assert receiver.bodies == []
    assert len(rig.cluster.created) == 1


@pytest.mark.parametrize(
    ("answers", "requests", "dropped"),
    [
        pytest.param([202], 1, 0, id="accepted"),
        pytest.param([429], 1, 0, id="duplicate"),
        pytest.param([503, 202], 2, 0, id="later-accepted"),
        pytest.param([500], 4, 1, id="never-accepted"),
        pytest.param([400], 1, 1, id="refused"),
        pytest.param([307], 1, 1, id="redirected"),
    ],
)
async def test_what_is_repeated(
    answers: list[int], requests: int, dropped: int, rig: Rig, receiver: Receiver
) -> None:
    receiver.answers = answers
    rig.send()
    await rig.deliver()

    assert len(receiver.bodies) == requests
    assert rig.recorder.dropped["notification"] == dropped
    assert rig.told == ["notification"] * dropped
    assert len(rig.clock.slept) == requests - 1


async def test_nobody_there_is_tried_again_and_then_dropped(receiver: Receiver) -> None:
    async with serving(receiver) as address:
        pass
    async with aiohttp.ClientSession() as http:
        rig = Rig(http, address)
        rig.send()
        await rig.deliver()

    assert rig.recorder.dropped["notification"] == 1
    assert [round(pause) for pause in rig.clock.slept] == pytest.approx([1, 2, 4], abs=1)


async def test_events_of_one_object_arrive_in_order(rig: Rig, receiver: Receiver) -> None:
    for number in range(20):
        rig.send(message=str(number))
    await rig.deliver()

    assert [body["message"] for body in receiver.bodies] == [str(n) for n in range(20)]


async def test_event_names_differ_even_at_the_same_instant(rig: Rig) -> None:
    for number in range(5):
        rig.send(message=str(number))
    await rig.deliver()
    names = [event["metadata"]["name"] for event in rig.cluster.created]

    assert len(set(names)) == 5
    assert all(name.startswith("apps.") for name in names)


async def test_what_does_not_fit_is_dropped_and_counted(rig: Rig) -> None:
    for _ in range(2000):
        rig.send()

    assert rig.recorder.dropped["cluster"] == 2000 - 1024
    assert rig.recorder.dropped["notification"] == 2000 - 512
    await rig.recorder.flush(0)
    assert rig.recorder.dropped == {"cluster": 2000, "notification": 2000}


def about(rig: Rig, name: str, *, message: str = "hello") -> None:
    """An event of an object of that name, which is its uid too."""
    metadata = {**OBJECT["metadata"], "name": name, "uid": name}
    obj = {**OBJECT, "metadata": metadata}
    rig.recorder.event(obj, type="Trace", reason="Seen", message=message)


async def test_the_events_of_a_thousand_objects_at_once_are_all_delivered(rig: Rig) -> None:
    """As when the one source of all of them has a new revision."""
    for message in ("applied", "healthy", "finished"):
        for number in range(1000):
            about(rig, f"apps-{number}", message=message)
    await rig.deliver()

    assert rig.recorder.dropped["cluster"] == 0
    assert len(rig.cluster.created) == 3000


async def test_a_write_that_hangs_holds_up_few(rig: Rig) -> None:
    rig.cluster.hanging = {"stuck"}
    running = asyncio.create_task(rig.recorder.run(), name="events")
    about(rig, "stuck")
    await asyncio.sleep(0)
    for number in range(40):
        about(rig, f"apps-{number}")
    async with asyncio.timeout(5):
        while len(rig.cluster.created) < 20:
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait((running,))

    assert "stuck" not in {event["involvedObject"]["name"] for event in rig.cluster.created}


async def test_the_cluster_refusing_events_does_not_stop_the_others(
    rig: Rig, receiver: Receiver
) -> None:
    rig.cluster.refuse = True
    rig.send()
    await rig.deliver()

    assert rig.recorder.dropped == {"cluster": 1, "notification": 0}
    assert len(receiver.bodies) == 1


async def test_recording_never_raises(rig: Rig) -> None:
    rig.recorder.event(cast("Any", None), type="Normal", reason="R", message="m")
    rig.recorder.event({}, type="Normal", reason="R", message="m")
    rig.send(metadata={"key": cast("Any", object())})
    await rig.deliver()

    assert rig.recorder.dropped["notification"] == 1


async def test_long_messages_are_cut(rig: Rig, receiver: Receiver) -> None:
    rig.send(message="x" * 50_000)
    await rig.deliver()

    assert len(receiver.bodies[0]["message"]) == 39_000


async def test_flushing_is_bounded(rig: Rig) -> None:
    rig.send()
    await rig.recorder.flush(0.01)  # nobody delivers

    assert rig.recorder.dropped == {"cluster": 1, "notification": 1}
