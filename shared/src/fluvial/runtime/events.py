"""Events: what happened, for people and for notification-controller.

``event`` is called inside reconciles, so it only puts a copy into bounded queues and never fails;
``run`` delivers. Each event goes two ways that do not wait for each other:

- as a core/v1 Event to the cluster, repeats counted on one object (``runtime.correlator``);
- as JSON to ``--events-addr`` in the form of Flux' event API. 429 means that it is known already
  and is not repeated; no answer and 5xx are, a few times. ``Trace`` events are not sent there.

Both ways have lanes, so that a burst over many objects is delivered as fast as it is made; events
of one object take one lane and stay in order. What finds its lane full is dropped and counted.
"""

from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Literal

import aiohttp
import orjson

from fluvial.clock import Clock, format_time
from fluvial.errors import FluvialError
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.kinds import EVENT
from fluvial.log import Logger
from fluvial.objects import JsonObject, ObjectKey, annotations_of, gvk_of, key_of
from fluvial.runtime.conditions import clip
from fluvial.runtime.correlator import Correlator

__all__ = ["EVENT_ANNOTATIONS", "EventRecorder", "EventType", "Sink"]

EventType = Literal["Normal", "Warning", "Trace"]
Sink = Literal["cluster", "notification"]

EVENT_ANNOTATIONS = "event.toolkit.fluxcd.io/"
"""Annotations of an object with this prefix become metadata of its events."""

_SEVERITY: dict[EventType, str] = {"Normal": "info", "Warning": "error", "Trace": "trace"}
_MAX_MESSAGE = 39_000  # bytes; the event API's documented limit
_MAX_NAME = 253
_LANES = 4
_CLUSTER_QUEUE = 1024  # events in a lane
_LANE_QUEUE = 512
_POST_TIMEOUT = 5.0
_POST_TRIES = 4
_POST_PAUSES = (1.0, 30.0)


class EventRecorder:
    """Records events of one controller.

    Args:
        client: writes core/v1 Events, under the controller's own identity.
        controller: Flux' name of the controller, such as ``source-controller``.
        events_addr: URL of notification-controller, or ``""`` for none.
        clock: the time.
        http: posts to ``events_addr``.
        hostname: reported as the instance.
        log: hears of what could not be delivered.
        on_drop: told the sink of every event that was dropped, for metrics.

    """

    def __init__(
        self,
        client: KubeClient,
        *,
        controller: str,
        events_addr: str,
        clock: Clock,
        http: aiohttp.ClientSession,
        hostname: str,
        log: Logger,
        on_drop: Callable[[Sink], None] | None = None,
    ) -> None:
        self._client = client
        self._controller = controller
        self._address = _url(events_addr)
        self._clock = clock
        self._http = http
        self._hostname = hostname
        self._log = log
        self._on_drop = on_drop
        self._correlator = Correlator()
        self._cluster: list[asyncio.Queue[JsonObject]] = [
            asyncio.Queue(_CLUSTER_QUEUE) for _ in range(_LANES)
        ]
        self._lanes: list[asyncio.Queue[JsonObject]] = [
            asyncio.Queue(_LANE_QUEUE) for _ in range(_LANES)
        ]
        self._last_stamp = 0
        self.dropped: dict[Sink, int] = {"cluster": 0, "notification": 0}

    def event(
        self,
        obj: JsonObject,
        *,
        type: EventType,  # noqa: A002 - the field's name
        reason: str,
        message: str,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Report what happened to an object; returns at once and never raises.

        Args:
            obj: the object it is about, with apiVersion and kind.
            type: ``Normal``, ``Warning``, or ``Trace`` for what only the cluster should show.
            reason: one word in CamelCase.
            message: for people; cut at 39000 bytes; without secrets.
            metadata: facts for programs, keys prefixed with the object's API group.

        """
        try:
            self._record(obj, type, reason, message, metadata or {})
        except Exception as error:  # noqa: BLE001 - an event never fails a reconcile
            self._log.error("event not recorded", reason=reason, error=str(error))

    async def run(self) -> None:
        """Deliver until cancelled; call ``flush`` before that."""
        async with asyncio.TaskGroup() as group:
            for number, lane in enumerate(self._cluster):
                group.create_task(
                    self._deliver(lane, self._write, "cluster"), name=f"events-cluster-{number}"
                )
            for number, lane in enumerate(self._lanes):
                group.create_task(
                    self._deliver(lane, self._post, "notification"), name=f"events-post-{number}"
                )

    async def flush(self, timeout: float = 5.0) -> None:
        """Wait until everything is delivered, at most ``timeout`` seconds; drop the rest."""
        try:
            async with asyncio.timeout(timeout):
                for queue in (*self._cluster, *self._lanes):
                    await queue.join()
        except TimeoutError:
            for lane in self._cluster:
                self._abandon(lane, "cluster")
            for lane in self._lanes:
                self._abandon(lane, "notification")
            self._log.info("events dropped at the end", dropped=dict(self.dropped))

    def _record(
        self,
        obj: JsonObject,
        type_: EventType,
        reason: str,
        message: str,
        metadata: Mapping[str, str],
    ) -> None:
        now = self._clock.now()
        involved = _reference(obj)
        common: JsonObject = {
            "involvedObject": involved,
            "reason": reason,
            "message": clip(message, limit=_MAX_MESSAGE),
            "reportingInstance": self._hostname,
        }
        merged = {
            name: value
            for name, value in annotations_of(obj).items()
            if name.startswith(EVENT_ANNOTATIONS)
        } | dict(metadata)
        lane = zlib.crc32(str(involved.get("uid") or key_of(obj)).encode()) % _LANES
        self._put(self._cluster[lane], self._core_event(common, type_, merged, now), "cluster")
        if type_ == "Trace" or not self._address:
            return
        payload = {
            **common,
            "severity": _SEVERITY[type_],
            "timestamp": format_time(now),
            **({"metadata": merged} if merged else {}),
            "reportingController": self._controller,
        }
        self._put(self._lanes[lane], payload, "notification")

    def _core_event(
        self, common: JsonObject, type_: EventType, merged: dict[str, str], now: datetime
    ) -> JsonObject:
        involved = common["involvedObject"]
        # Nanoseconds, but never the same twice: two events of one object may share an instant.
        self._last_stamp = max(self._last_stamp + 1, int(now.timestamp() * 1e6) * 1000)
        stamp = f"{self._last_stamp:x}"
        return {
            **common,
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{involved.get('name', '')[: _MAX_NAME - len(stamp) - 1]}.{stamp}",
                "namespace": involved.get("namespace") or "default",
                **({"annotations": merged} if merged else {}),
            },
            "type": "Warning" if type_ == "Warning" else "Normal",
            "source": {"component": self._controller},
            "firstTimestamp": format_time(now),
            "lastTimestamp": format_time(now),
            "count": 1,
            "reportingComponent": self._controller,
        }

    def _put(self, queue: asyncio.Queue[JsonObject], item: JsonObject, sink: Sink) -> None:
        try:
            queue.put_nowait(item)
        except asyncio.QueueFull:
            self._drop(sink)

    def _drop(self, sink: Sink) -> None:
        self.dropped[sink] += 1
        if self._on_drop:
            self._on_drop(sink)

    def _abandon(self, queue: asyncio.Queue[JsonObject], sink: Sink) -> None:
        while not queue.empty():
            queue.get_nowait()
            queue.task_done()
            self._drop(sink)

    async def _deliver(
        self,
        queue: asyncio.Queue[JsonObject],
        send: Callable[[JsonObject], Awaitable[None]],
        sink: Sink,
    ) -> None:
        while True:
            item = await queue.get()
            try:
                await send(item)
            except asyncio.CancelledError:
                self._drop(sink)
                raise
            except (FluvialError, aiohttp.ClientError, TimeoutError) as error:
                self._drop(sink)
                self._log.info("event not delivered", sink=sink, error=_describe(error))
            except Exception as error:  # noqa: BLE001 - a bug must not end all later events
                self._drop(sink)
                self._log.error("event not delivered", sink=sink, exc_info=error)
            finally:
                queue.task_done()

    async def _write(self, event: JsonObject) -> None:
        """Create the Event, or count it on the one that says the same."""
        known = self._correlator.correlate(event, self._clock.monotonic())
        if known is None:
            self._drop("cluster")
            return
        event = {**event, "message": known.message, "count": known.count}
        if known.name:
            event["firstTimestamp"] = known.first
            try:
                await self._repeat(event, known.name)
            except NotFound:  # its time was up
                known.count = event["count"] = 1
                event["firstTimestamp"] = event["lastTimestamp"]
            else:
                return
        known.name, known.first = "", event["firstTimestamp"]
        await self._client.create(EVENT, event, field_manager=self._controller)
        known.name = event["metadata"]["name"]

    async def _repeat(self, event: JsonObject, name: str) -> None:
        fields = ("count", "message", "lastTimestamp", "firstTimestamp")
        await self._client.patch(
            EVENT,
            ObjectKey(event["metadata"]["namespace"], name),
            {field: event[field] for field in fields},
            patch_type="merge",
            field_manager=self._controller,
        )

    async def _post(self, payload: JsonObject) -> None:
        body = orjson.dumps(payload)
        for number in range(_POST_TRIES):
            try:
                status = await self._post_once(body)
            except (aiohttp.ClientError, TimeoutError):
                if number == _POST_TRIES - 1:
                    raise
            else:
                if status < 500 or number == _POST_TRIES - 1:
                    self._judge(status)
                    return
            pause = min(_POST_PAUSES[1], _POST_PAUSES[0] * 2**number)
            # Jitter, nothing secret.
            await self._clock.sleep(pause * (0.75 + random.random() / 2))  # noqa: S311 - spreads load

    async def _post_once(self, body: bytes) -> int:
        async with self._http.post(
            self._address,
            data=body,
            headers={"Content-Type": "application/json"},
            timeout=aiohttp.ClientTimeout(total=_POST_TIMEOUT),
            allow_redirects=False,
        ) as response:
            return response.status

    def _judge(self, status: int) -> None:
        if status == 429 or 200 <= status < 300:
            return
        self._drop("notification")
        self._log.info("event refused", sink="notification", status=status)


def _reference(obj: JsonObject) -> dict[str, str]:
    """A core/v1 ObjectReference."""
    gvk, key, metadata = gvk_of(obj), key_of(obj), obj.get("metadata") or {}
    fields = {
        "apiVersion": gvk.api_version,
        "kind": gvk.kind,
        "namespace": key.namespace,
        "name": key.name,
        "uid": str(metadata.get("uid") or ""),
        "resourceVersion": str(metadata.get("resourceVersion") or ""),
    }
    return {name: value for name, value in fields.items() if value}


def _url(address: str) -> str:
    return address if not address or "://" in address else f"http://{address}"


def _describe(error: BaseException) -> str:
    return str(error) or type(error).__name__
