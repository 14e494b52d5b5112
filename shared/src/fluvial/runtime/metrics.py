"""Metrics under the names that Flux' dashboards query.

``gotk_*`` are Flux' own; ``controller_runtime_*``, ``workqueue_*`` and ``leader_election_*`` are
those of the libraries that Flux' controllers are built with; ``fluvial_*`` are ours. One registry
per process, made by the manager; rendering it takes tens of milliseconds with hundreds of objects,
so the endpoint does that in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterator
from typing import Literal

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from fluvial.clock import Clock
from fluvial.objects import ObjectKey

__all__ = ["Metrics", "Outcome", "QueueMetrics", "metrics_app"]

Outcome = Literal["success", "requeue_after", "requeue", "error"]

_DURATION_BUCKETS = tuple(0.01 * (1800 / 0.01) ** (step / 9) for step in range(10))
_QUEUE_BUCKETS = tuple(10.0**exponent for exponent in range(-8, 4))
_RECONCILE_BUCKETS = (0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180)
_LAG_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5)
_QUEUE_LABELS = ("name", "controller")


class QueueMetrics:
    """Observes one ``WorkQueue``; made by ``Metrics.queue``."""

    def __init__(self, metrics: Metrics, name: str, clock: Clock) -> None:
        self._clock = clock
        self._ready_since: dict[Hashable, float] = {}
        self._held_since: dict[Hashable, float] = {}
        labels = (name, name)
        self._depth = metrics.queue_depth.labels(*labels)
        self._adds = metrics.queue_adds.labels(*labels)
        self._retries = metrics.queue_retries.labels(*labels)
        self._waited = metrics.queue_duration.labels(*labels)
        self._worked = metrics.queue_work.labels(*labels)

    def added(self, key: Hashable) -> None:
        """A key became ready."""
        self._adds.inc()
        self._depth.inc()
        self._ready_since[key] = self._clock.monotonic()

    def taken(self, key: Hashable) -> None:
        """A worker took a key."""
        now = self._clock.monotonic()
        self._depth.dec()
        self._waited.observe(now - self._ready_since.pop(key, now))
        self._held_since[key] = now

    def finished(self, key: Hashable) -> None:
        """A worker handed a key back."""
        now = self._clock.monotonic()
        self._worked.observe(now - self._held_since.pop(key, now))

    def retried(self, key: Hashable) -> None:  # noqa: ARG002 - the observer's interface
        """A key was added under backoff."""
        self._retries.inc()

    def dropped(self, key: Hashable) -> None:
        """A ready key was discarded by a shut-down."""
        self._depth.dec()
        self._ready_since.pop(key, None)

    def held(self, now: float) -> list[float]:
        """Seconds for which each key that is being worked on has been so."""
        return [now - since for since in list(self._held_since.values())]


class _HeldCollector(Collector):
    """Work that is not finished, computed when somebody asks."""

    def __init__(self) -> None:
        self.queues: dict[str, tuple[QueueMetrics, Clock]] = {}

    def collect(self) -> Iterator[GaugeMetricFamily]:
        unfinished = GaugeMetricFamily(
            "workqueue_unfinished_work_seconds",
            "Seconds of work in progress that no worker has finished yet.",
            labels=_QUEUE_LABELS,
        )
        longest = GaugeMetricFamily(
            "workqueue_longest_running_processor_seconds",
            "Seconds for which the longest running worker has held its key.",
            labels=_QUEUE_LABELS,
        )
        for name, (queue, clock) in list(self.queues.items()):
            held = queue.held(clock.monotonic())
            unfinished.add_metric((name, name), sum(held))
            longest.add_metric((name, name), max(held, default=0.0))
        yield unfinished
        yield longest


class Metrics:
    """All metrics of one process."""

    def __init__(self, *, registry: CollectorRegistry | None = None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types here
        self.registry = registry or CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._gone: set[tuple[str, ObjectKey]] = set()
        self._held = _HeldCollector()
        self.registry.register(self._held)
        self._make_reconcile_metrics()
        self._make_queue_metrics()
        self.events_dropped = self.counter(
            "fluvial_events_dropped_total", "Events that were never delivered.", ("sink",)
        )
        self.loop_lag = self.histogram(
            "fluvial_event_loop_lag_seconds",
            "How late the event loop ran a timer.",
            buckets=_LAG_BUCKETS,
        )
        self.requests = self.counter(
            "rest_client_requests_total",
            "Requests to API servers, by answer.",
            ("code", "method", "host"),
        )
        self.absent = self.gauge(
            "fluvial_informers_waiting_for_kind",
            "Informers whose kind the server does not serve, by resource.",
            ("resource",),
        )
        self.leader = self.gauge(
            "leader_election_master_status", "1 while this process holds the lease.", ("name",)
        )

    def counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        """A counter of this registry, for metrics that belong to one controller."""
        return Counter(name, text, labels, registry=self.registry)

    def gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        """A gauge of this registry."""
        return Gauge(name, text, labels, registry=self.registry)

    def histogram(
        self, name: str, text: str, labels: tuple[str, ...] = (), *, buckets: tuple[float, ...]
    ) -> Histogram:
        """A histogram of this registry; ``buckets`` are upper bounds without infinity."""
        return Histogram(name, text, labels, registry=self.registry, buckets=buckets)

    def queue(self, name: str, clock: Clock) -> QueueMetrics:
        """The observer for the work queue of the controller ``name``."""
        observer = QueueMetrics(self, name, clock)
        self._held.queues[name] = (observer, clock)
        return observer

    def prepare(self, controller: str, concurrency: int) -> None:
        """Show a controller's series from the start, so that rates begin at 0."""
        for outcome in ("success", "requeue_after", "requeue", "error"):
            self.reconciles.labels(controller, outcome)
        for counter in (self.errors, self.terminal_errors, self.panics):
            counter.labels(controller)
        self.active.labels(controller).set(0)
        self.concurrency.labels(controller).set(concurrency)

    def reconciled(self, controller: str, outcome: Outcome, seconds: float) -> None:
        """Count one reconcile."""
        self.reconciles.labels(controller, outcome).inc()
        self.reconcile_time.labels(controller).observe(seconds)

    def observe_object(self, kind: str, key: ObjectKey, seconds: float) -> None:
        """Record how long reconciling an object took, unless it was just finalised."""
        if (kind, key) in self._gone:
            self._gone.discard((kind, key))
            return
        self.durations.labels(kind, key.name, key.namespace).observe(seconds)

    def delete_object(self, kind: str, key: ObjectKey) -> None:
        """Drop the series of an object; called by the reconciler that finalised it.

        The reconcile that calls this is not recorded any more. For an object that is not found a
        reconciler raises ``Ignored``, which is not recorded either, so that no series comes back.
        """
        self._gone.add((kind, key))
        labels = {"kind": kind, "name": key.name, "namespace": key.namespace}
        self.durations.remove_by_labels(labels)
        self.token_events.remove_by_labels(labels)

    def requested(self, code: str, method: str, host: str) -> None:
        """Count one request; a client's ``on_request``."""
        self.requests.labels(code, method, host).inc()

    def awaits_kind(self, resource: str, waiting: int) -> None:
        """Say how many informers wait for a resource to be served; none drops its series.

        Args:
            resource: as in ``things.example.org``.
            waiting: number of informers.

        """
        if waiting:
            self.absent.labels(resource).set(waiting)
        else:
            self.absent.remove_by_labels({"resource": resource})

    def render(self) -> bytes:
        """The text format, version 0.0.4; takes a while, so call it in a thread."""
        return generate_latest(self.registry)

    def _make_reconcile_metrics(self) -> None:
        self.durations = self.histogram(
            "gotk_reconcile_duration_seconds",
            "The duration in seconds of a reconciliation.",
            ("kind", "name", "namespace"),
            buckets=_DURATION_BUCKETS,
        )
        self.token_events = self.counter(
            "gotk_token_cache_events",
            "Cloud credentials that an object found (cache_hit) or had fetched (cache_miss).",
            ("event_type", "kind", "name", "namespace", "operation"),
        )
        self.reconciles = self.counter(
            "controller_runtime_reconcile_total",
            "Reconciliations by controller and result.",
            ("controller", "result"),
        )
        self.reconcile_time = self.histogram(
            "controller_runtime_reconcile_time_seconds",
            "The duration in seconds of a reconciliation, by controller.",
            ("controller",),
            buckets=_RECONCILE_BUCKETS,
        )
        one = ("controller",)
        self.errors = self.counter(
            "controller_runtime_reconcile_errors_total", "Reconciliations that failed.", one
        )
        self.terminal_errors = self.counter(
            "controller_runtime_terminal_reconcile_errors_total",
            "Reconciliations that failed and will not be retried.",
            one,
        )
        self.panics = self.counter(
            "controller_runtime_reconcile_panics_total",
            "Reconciliations that ended by an error nobody foresaw.",
            one,
        )
        self.active = self.gauge(
            "controller_runtime_active_workers", "Workers that hold a key.", one
        )
        self.concurrency = self.gauge(
            "controller_runtime_max_concurrent_reconciles", "Workers of a controller.", one
        )

    def _make_queue_metrics(self) -> None:
        self.queue_depth = self.gauge("workqueue_depth", "Keys that are ready.", _QUEUE_LABELS)
        self.queue_adds = self.counter(
            "workqueue_adds_total", "Keys that became ready.", _QUEUE_LABELS
        )
        self.queue_retries = self.counter(
            "workqueue_retries_total", "Keys added under backoff.", _QUEUE_LABELS
        )
        self.queue_duration = self.histogram(
            "workqueue_queue_duration_seconds",
            "Seconds a key was ready before a worker took it.",
            _QUEUE_LABELS,
            buckets=_QUEUE_BUCKETS,
        )
        self.queue_work = self.histogram(
            "workqueue_work_duration_seconds",
            "Seconds a worker held a key.",
            _QUEUE_LABELS,
            buckets=_QUEUE_BUCKETS,
        )


def metrics_app(metrics: Metrics) -> web.Application:
    """An application that serves ``/metrics``."""

    async def handle(_: web.Request) -> web.Response:
        body = await asyncio.to_thread(metrics.render)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    app = web.Application()
    app.router.add_get("/metrics", handle)
    return app
