"""Waiting for health without holding a worker.

A reconcile hands its objects over with ``start`` and ends; when the wait is over, ``done`` puts
its key back into the queue, and the reconcile that follows asks ``result``. A wait keeps ids,
versions and statuses, never manifests. Objects are read as the tenant: all once, then each when
its watch says so. What no watch covers is polled at 2 to 15 seconds, and every 30 seconds one
object of a wait is read although nothing was heard, so that a lost event costs no timeout and an
idle wait costs two requests a minute.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from fluvial.apply.health import Health, HealthStatus, aggregate
from fluvial.apply.health_reader import Reading, read_health, read_pods
from fluvial.apply.waits import WaiterTiming, WaitRequest, WaitResult, wait_message
from fluvial.apply.wakeups import WakeUps
from fluvial.clock import Clock
from fluvial.kube.informer import InformerFactory
from fluvial.kube.resource import Resource
from fluvial.log import get_logger
from fluvial.objects import ObjectKey, ObjectRef

__all__ = ["HealthWaiter"]

_log = get_logger("health")

_POLL_GROWTH = 1.5
_ENDS = frozenset({HealthStatus.CURRENT, HealthStatus.FAILED})


@dataclass(slots=True, eq=False)
class _Member:
    """One object of one wait."""

    ref: ObjectRef
    delay: float
    health: Health | None = None
    resource: Resource | None = None
    version: str = ""
    pods: str = ""
    due: float | None = None
    reading: bool = False

    @property
    def key(self) -> ObjectKey:
        namespaced = self.resource is None or self.resource.namespaced
        return ObjectKey(self.ref.namespace if namespaced else "", self.ref.name)

    @property
    def pending(self) -> bool:
        return self.health is None or self.health.status not in _ENDS


@dataclass(slots=True, eq=False)
class _Wait:
    """One wait that goes on."""

    request: WaitRequest
    members: dict[ObjectRef, _Member]
    closed: bool = False
    overdue: bool = False
    rotation: int = 0

    @property
    def is_looking(self) -> bool:
        """Whether something that is awaited is being read, or is next in line for it."""
        return any(one.pending and one.reading for one in self.members.values())


@dataclass(order=True, slots=True)
class _Timer:
    """Something to do at a time: read a member, tick a wait, or end it at its deadline."""

    due: float
    number: int
    wait: _Wait = field(compare=False)
    member: _Member | None = field(compare=False, default=None)
    tick: bool = field(compare=False, default=False)


class HealthWaiter:
    """Completes waits; one for a controller and cluster, run beside its workers.

    Args:
        done: called with a wait's key when its result is there; must be quick and not raise.
        clock: the time.
        informers: of the controller's identity; ``None`` polls everything.
        selector: label selector of owned objects: ``kustomize.toolkit.fluxcd.io/name``.
        concurrency: reads in flight at once, over all waits.
        timing: how long things take.

    """

    def __init__(
        self,
        *,
        done: Callable[[Any], None],
        clock: Clock,
        informers: InformerFactory | None = None,
        selector: str = "kustomize.toolkit.fluxcd.io/name",
        concurrency: int = 8,
        timing: WaiterTiming | None = None,
    ) -> None:
        self._done = done
        self._timing = timing or WaiterTiming()
        self._clock = clock
        self._concurrency = concurrency
        self._wakeups = WakeUps(informers, selector=selector, woken=self._woken, clock=clock)
        self._waits: dict[Hashable, _Wait] = {}
        self._results: dict[Hashable, WaitResult] = {}
        self._interested: dict[ObjectRef, set[_Wait]] = {}
        self._timers: list[_Timer] = []
        self._numbers = count()
        self._changed = asyncio.Event()
        self._ready: asyncio.Queue[tuple[_Wait, _Member, bool]] = asyncio.Queue()

    # -- what reconcilers call -----------------------------------------------------------------

    def start(self, request: WaitRequest) -> None:
        """Begin a wait, or go on with it if the key already waits for the same attempt.

        A wait for nothing ends at once, healthy, with the result there when this returns;
        ``done`` is called for it all the same.
        """
        if self.waiting(request.key, request.attempt):
            return
        self.cancel(request.key)
        members = {ref: _Member(ref, self._timing.first_poll) for ref in request.refs}
        wait = _Wait(request, members)
        self._waits[request.key] = wait
        for member in members.values():
            self._interested.setdefault(member.ref, set()).add(wait)
            self._schedule(wait, member, 0.0)
        if not members:
            self._finish(wait, timed_out=False)
            return
        now = self._clock.monotonic()
        self._push(_Timer(request.deadline, next(self._numbers), wait))
        self._push(_Timer(now + self._timing.tick, next(self._numbers), wait, tick=True))

    def result(self, key: Hashable, attempt: str) -> WaitResult | None:
        """The attempt's result; ``None`` while it goes on, or if it is not known.

        It is kept until the key's next ``start`` or ``cancel``.
        """
        result = self._results.get(key)
        return result if result is not None and result.attempt == attempt else None

    def waiting(self, key: Hashable, attempt: str) -> bool:
        """Whether this attempt is being waited for."""
        wait = self._waits.get(key)
        return wait is not None and wait.request.attempt == attempt

    def cancel(self, key: Hashable) -> None:
        """Forget the key's wait and result."""
        self._results.pop(key, None)
        wait = self._waits.get(key)
        if wait is not None:
            self._close(wait)

    def __len__(self) -> int:
        return len(self._waits)

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_time(), name="health-timer")
                group.create_task(self._sweep(), name="health-sweeper")
                for number in range(self._concurrency):
                    group.create_task(self._read_all(), name=f"health-reader-{number}")
        finally:
            self._wakeups.close()

    # -- time ----------------------------------------------------------------------------------

    def _push(self, timer: _Timer) -> None:
        heapq.heappush(self._timers, timer)
        self._changed.set()

    def _schedule(self, wait: _Wait, member: _Member, delay: float) -> None:
        """Read a member in ``delay`` seconds, unless it will be read sooner anyway."""
        due = self._clock.monotonic() + delay
        if member.due is not None and member.due <= due:
            return
        member.due = due
        self._push(_Timer(due, next(self._numbers), wait, member))

    async def _keep_time(self) -> None:
        while True:
            now = self._clock.monotonic()
            while self._timers and self._timers[0].due <= now:
                self._fire(heapq.heappop(self._timers))
            self._changed.clear()
            delay = self._timers[0].due - now if self._timers else None
            try:
                async with asyncio.timeout(delay):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _sweep(self) -> None:
        """End watches that nobody uses, whether anybody waits just now or not."""
        while True:
            await self._clock.sleep(self._timing.tick)
            self._wakeups.sweep()

    def _fire(self, timer: _Timer) -> None:
        wait, member = timer.wait, timer.member
        if wait.closed:
            return
        if member is not None:
            if member.due == timer.due and not member.reading:
                member.due = None
                if not self._in_step(member):
                    member.reading = True
                    self._ready.put_nowait((wait, member, False))
        elif timer.tick:
            self._tick(wait)
        else:
            wait.overdue = True
            self._give_up(wait)

    def _give_up(self, wait: _Wait) -> None:
        """End an overdue wait, on what was seen: where reads queue up, not before they were made."""
        if not wait.is_looking:
            self._finish(wait, timed_out=True)

    def _tick(self, wait: _Wait) -> None:
        """Look at one pending object although nothing was heard of it."""
        pending = [one for one in wait.members.values() if one.pending and not one.reading]
        for member in pending:
            if member.due is None and not self._covered(member):
                self._schedule(wait, member, 0.0)
        pending = [one for one in pending if one.due is None]
        if pending:
            wait.rotation += 1
            member = pending[wait.rotation % len(pending)]
            member.reading = True
            self._ready.put_nowait((wait, member, bool(member.pods)))
        due = self._clock.monotonic() + self._timing.tick
        self._push(_Timer(due, next(self._numbers), wait, tick=True))

    # -- reading -------------------------------------------------------------------------------

    def _woken(self, ref: ObjectRef, version: str) -> None:
        for wait in self._interested.get(ref, ()):
            member = wait.members[ref]
            if member.health is None or member.version != version:
                self._schedule(wait, member, self._timing.debounce)

    def _covered(self, member: _Member) -> bool:
        return member.resource is not None and self._wakeups.covers(member.resource, member.key)

    def _in_step(self, member: _Member) -> bool:
        """Whether another look would see what was seen: a poll that a watch has made needless."""
        if member.health is None or member.resource is None or not member.version:
            return False
        if member.health.recheck_after is not None:
            return False
        return self._wakeups.in_step(member.resource, member.key, member.version)

    async def _read_all(self) -> None:
        while True:
            wait, member, pods_only = await self._ready.get()
            if wait.closed:
                continue
            try:
                reading = await self._read(wait.request, member, pods_only=pods_only)
            except Exception as error:  # noqa: BLE001 - one odd object must not end all waits
                _log.exception("health of an object could not be computed", object=str(member.ref))
                health = Health(HealthStatus.UNKNOWN, f"internal error: {type(error).__name__}")
                reading = Reading(health, member.resource, member.version, member.pods)
            if not wait.closed:
                self._take(wait, member, reading)

    async def _read(self, request: WaitRequest, member: _Member, *, pods_only: bool) -> Reading:
        target, ref = request.target, member.ref
        if pods_only and member.health is not None:
            health = await read_pods(
                target, member.health, namespace=ref.namespace, selector=member.pods
            )
            return Reading(health, member.resource, member.version, member.pods)
        return await read_health(
            target, ref, absent_is_success=ref in request.jobs_with_ttl, known=request.known
        )

    def _take(self, wait: _Wait, member: _Member, reading: Reading) -> None:
        member.reading = False
        before = member.health
        member.health, member.version, member.pods = reading.health, reading.version, reading.pods
        if member.resource is None and reading.resource is not None:
            member.resource = reading.resource
            self._wakeups.use(reading.resource)
        if before is None or before.status is not member.health.status:
            self._judge(wait)
        if wait.closed:
            return
        if wait.overdue:
            self._give_up(wait)
        elif member.due is not None:  # woken while it was being read
            due, member.due = member.due, None
            self._schedule(wait, member, max(0.0, due - self._clock.monotonic()))
        elif member.pending:
            self._next_look(wait, member)

    def _next_look(self, wait: _Wait, member: _Member) -> None:
        health = member.health
        if health is not None and health.recheck_after is not None:
            self._schedule(wait, member, health.recheck_after)
        unread = health is None or health.status is HealthStatus.UNKNOWN
        if unread or not self._covered(member):
            self._schedule(wait, member, member.delay)
            member.delay = min(member.delay * _POLL_GROWTH, self._timing.longest_poll)

    # -- ends ----------------------------------------------------------------------------------

    def _judge(self, wait: _Wait) -> None:
        found = [one.health.status for one in wait.members.values() if one.health is not None]
        failed = HealthStatus.FAILED in found
        complete = len(found) == len(wait.members) and set(found) <= _ENDS
        if complete or (failed and wait.request.fail_fast):
            self._finish(wait, timed_out=False)

    def _finish(self, wait: _Wait, *, timed_out: bool) -> None:
        request = wait.request
        statuses = {
            ref: member.health or Health(HealthStatus.UNKNOWN)
            for ref, member in wait.members.items()
        }
        healthy = aggregate(one.status for one in statuses.values()) is HealthStatus.CURRENT
        message = "" if healthy else wait_message(statuses, timed_out=timed_out)
        self._close(wait)
        self._results[request.key] = WaitResult(
            attempt=request.attempt,
            healthy=healthy,
            message=request.target.masker.text(message),  # names may have values of Secrets
            elapsed=self._clock.monotonic() - request.started,
            statuses=statuses,
        )
        self._done(request.key)

    def _close(self, wait: _Wait) -> None:
        wait.closed = True
        if self._waits.get(wait.request.key) is wait:
            del self._waits[wait.request.key]
        for member in wait.members.values():
            waits = self._interested.get(member.ref, set())
            waits.discard(wait)
            if not waits:
                self._interested.pop(member.ref, None)
            if member.resource is not None:
                self._wakeups.unuse(member.resource)
        wait.members = {}  # its timers are still in the heap
