"""The loop between a queue and a reconciler: workers, outcomes, log context, metrics.

A controller author writes one coroutine function, ``reconcile(key) -> Result``, and raises the
outcomes of ``runtime.outcome``. This module is the one place that maps an outcome to the queue:

    Result(None), Ignored     forget
    Result(n), Waiting(n)     forget, again in n seconds
    Failed(retry_after=n)     forget, again in n seconds
    Failed(), anything else   again under backoff
    Stalled                   forget; only a trigger wakes it

(Conditions and events are the reconciler's: it has the object.) No outcome of one key ends a
worker. A worker holds its key until the reconcile has really ended, also when it is cancelled:
what a reconcile starts (threads, processes) it must end before it lets a cancellation out.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import structlog

from fluvial.clock import Clock
from fluvial.durations import format_duration
from fluvial.errors import FluvialError
from fluvial.kube.resource import Resource
from fluvial.log import Logger
from fluvial.objects import ObjectKey
from fluvial.runtime.backoff import Backoff
from fluvial.runtime.metrics import Metrics, Outcome
from fluvial.runtime.outcome import Failed, Ignored, Result, Stalled, Waiting
from fluvial.runtime.queue import QueueShutDown, WorkQueue
from fluvial.runtime.shares import Shares

__all__ = ["Controller", "controller_of"]

K = TypeVar("K", bound=Hashable)


class _Escaped(Exception):
    """A reconcile raised ``CancelledError`` although nobody cancelled its worker."""


class Controller(Generic[K]):
    """Runs ``reconcile`` for the keys of a queue.

    Args:
        name: Flux' name of the controller, such as ``kustomization``; labels logs and metrics.
        kind: the kind it reconciles, such as ``Kustomization``.
        queue: where keys come from; the controller shuts it down when it is stopped.
        reconcile: called with a key, never twice at once with the same one.
        concurrency: number of workers, so of keys in work at once.
        log: a logger; lines written during a reconcile carry its key and ``reconcileID``.
        metrics: where durations and outcomes are counted.
        clock: measures durations.
        timeout: seconds one reconcile may take; ``None`` for no limit.
        group: API group of the kind, for logs.

    """

    def __init__(
        self,
        *,
        name: str,
        kind: str,
        queue: WorkQueue[K],
        reconcile: Callable[[K], Awaitable[Result]],
        concurrency: int,
        log: Logger,
        metrics: Metrics,
        clock: Clock,
        timeout: float | None = None,
        group: str = "",
    ) -> None:
        self.name = name
        self.kind = kind
        self.queue = queue
        self._reconcile = reconcile
        self._concurrency = concurrency
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._timeout = timeout
        self._fields = {"controller": name, "controllerKind": kind}
        if group:
            self._fields["controllerGroup"] = group
        self._on_stop: list[Callable[[], None]] = []
        metrics.prepare(name, concurrency)

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called when the controller stops, such as to end a trigger."""
        self._on_stop.append(callback)

    def stop(self) -> None:
        """End the triggers and take no new key; ``run`` returns when held keys are handed back.

        Keys that are ready are dropped: whoever runs next lists everything at its start.
        """
        while self._on_stop:
            self._on_stop.pop()()
        self.queue.shut_down(drain=False)

    async def run(self) -> None:
        """Work until ``stop``; cancel it to interrupt what is being worked on."""
        try:
            async with asyncio.TaskGroup() as group:
                workers = [
                    group.create_task(self._worker(), name=f"{self.name}-worker-{number}")
                    for number in range(self._concurrency)
                ]
                try:
                    await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
                except asyncio.CancelledError:
                    # Also for a worker in whose reconcile the cancellation gets lost.
                    self.stop()
                    raise
        finally:
            self.stop()

    async def _worker(self) -> None:
        active = self._metrics.active.labels(self.name)
        while True:
            try:
                key = await self.queue.get()
            except QueueShutDown:
                return
            active.inc()
            try:
                await self._process(key)
            finally:
                active.dec()
                self.queue.done(key)

    async def _process(self, key: K) -> None:
        with structlog.contextvars.bound_contextvars(**self._context(key)):
            start = self._clock.monotonic()
            try:
                result: Result | Exception = await self._attempt(key)
            except Exception as error:  # noqa: BLE001 - no key may end a worker
                result = error
            seconds = self._clock.monotonic() - start
            outcome = self._settle(key, result, seconds)
            self._metrics.reconciled(self.name, outcome, seconds)
            if isinstance(key, ObjectKey) and not isinstance(result, Ignored):
                self._metrics.observe_object(self.kind, key, seconds)
            # An error knows this frame, and all that the reconcile had in its own.
            del result

    async def _attempt(self, key: K) -> Result:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._reconcile(key)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise _Escaped("a cancellation escaped from the reconcile") from error

    def _settle(self, key: K, result: Result | Exception, seconds: float) -> Outcome:
        """Map an outcome to the queue, the log and the metrics' ``result`` label."""
        match result:
            case Result(requeue_after=after):
                self._log.debug("reconciled", duration=format_duration(seconds))
                return self._later(key, after)
            case Ignored():
                self._log.debug("nothing to do", detail=str(result))
                return self._later(key, None)
            case Waiting(reason=reason, after=after):
                self._log.info("waiting", reason=reason, detail=str(result), after=after)
                return self._later(key, after)
            case Stalled(reason=reason):
                self._log.error("Reconciler error", error=str(result), reason=reason, stalled=True)
                self._metrics.terminal_errors.labels(self.name).inc()
                self._later(key, None)
            case Failed(reason=reason, retry_after=after):
                self._log.error("Reconciler error", error=str(result), reason=reason)
                if after is None:
                    self.queue.add_rate_limited(key)
                else:
                    self._later(key, after)
            case FluvialError():
                # Foreseen, such as an API server that is away: no bug, so no stack trace.
                self._log.error("Reconciler error", error=str(result), reason=type(result).__name__)
                self.queue.add_rate_limited(key)
            case _:
                self._log.error("Reconciler error", exc_info=result)
                self._metrics.panics.labels(self.name).inc()
                self.queue.add_rate_limited(key)
        self._metrics.errors.labels(self.name).inc()
        return "error"

    def _later(self, key: K, after: float | None) -> Outcome:
        self.queue.forget(key)
        if after is None:
            return "success"
        self.queue.add_after(key, after)
        return "requeue_after"

    def _context(self, key: K) -> dict[str, str]:
        fields = {**self._fields, "reconcileID": str(uuid.uuid4())}
        if isinstance(key, ObjectKey):
            return {**fields, "namespace": key.namespace, "name": key.name}
        return {**fields, "key": str(key)}


def controller_of(
    resource: Resource,
    reconcile: Callable[[ObjectKey], Awaitable[Result]],
    *,
    concurrency: int,
    retry_delays: tuple[float, float],
    log: Logger,
    metrics: Metrics,
    clock: Clock,
    fair: bool = False,
) -> Controller[ObjectKey]:
    """The controller of one kind, with a queue of its own.

    Args:
        resource: the kind; names the controller as Flux does, such as ``kustomization``.
        reconcile: called with the key of an object.
        concurrency: objects in work at once.
        retry_delays: first and longest wait in seconds after a failure under backoff.
        log: see ``Controller``.
        metrics: of the controller and of its queue.
        clock: see ``Controller``.
        fair: no namespace may have more than its share of those in work.

    """
    name, (base, cap) = resource.kind.lower(), retry_delays
    shares = Shares[ObjectKey](concurrency, lambda key: key.namespace) if fair else None
    return Controller(
        name=name,
        group=resource.group,
        kind=resource.kind,
        queue=WorkQueue(
            backoff=Backoff(base, cap), observer=metrics.queue(name, clock), shares=shares
        ),
        reconcile=reconcile,
        concurrency=concurrency,
        log=log,
        metrics=metrics,
        clock=clock,
    )
