"""Waiting for a release's objects, awaited like any other call.

An action is a coroutine and waits as one: it holds no worker, because whoever runs actions does so
beside the workers. Readiness is heard of by the controller's ``HealthWaiter``. Hooks end rather
than become ready, so a Job or Pod among them is looked at until it has; anything else is done as
soon as it is there, unless the user has expressions for its kind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence
from itertools import count
from typing import Final, Protocol

from fluvial.apply.bounded import map_bounded
from fluvial.apply.health import HealthStatus
from fluvial.apply.live import uid_of
from fluvial.apply.model import HealthReader, Target
from fluvial.apply.policy import has_ttl
from fluvial.apply.waiter import HealthWaiter
from fluvial.apply.waits import WaitRequest
from fluvial.helm.cluster import Deleted, Located, ReleaseObjects
from fluvial.helm.errors import WaitFailed
from fluvial.kube.errors import ApiError
from fluvial.objects import JsonObject

__all__ = ["HealthWaits", "Waits", "wait_for_hook", "wait_until_gone"]

_FIRST_DELAY: Final = 0.1
_FIRST_DELAY_GONE: Final = 0.05
_LONGEST_DELAY: Final = 2.0


class Waits(Protocol):
    """How objects are waited for."""

    async def until_ready(
        self, target: Target, located: Sequence[Located], *, timeout: float
    ) -> None:
        """Wait for objects to be ready; raises WaitFailed, with the objects that are not."""
        ...


class HealthWaits:
    """Awaits what a ``HealthWaiter`` finds out.

    The waiter is made with ``done`` of this object and runs beside it.
    """

    def __init__(self) -> None:
        self._waiter: HealthWaiter | None = None
        self._numbers = count()
        self._events: dict[Hashable, asyncio.Event] = {}

    def use(self, waiter: HealthWaiter) -> None:
        """Set the waiter, which is made after this object."""
        self._waiter = waiter

    def done(self, key: Hashable) -> None:
        """A wait has ended; what the waiter calls."""
        event = self._events.get(key)
        if event is not None:
            event.set()

    async def until_ready(
        self, target: Target, located: Sequence[Located], *, timeout: float
    ) -> None:
        """Wait for objects to be ready, each read as the tenant.

        Args:
            target: reads.
            located: the objects.
            timeout: seconds.

        Raises:
            WaitFailed: one has failed, or some are not ready in time.

        """
        waiter = self._waiter
        if waiter is None:
            raise RuntimeError("HealthWaits.use has not been called")
        key = ("release", next(self._numbers))
        event = self._events[key] = asyncio.Event()
        now = target.clock.monotonic()
        try:
            waiter.start(
                WaitRequest(
                    key=key,
                    attempt="",
                    refs=tuple(dict.fromkeys(one.ref for one in located)),
                    target=target,
                    deadline=now + timeout,
                    started=now,
                    jobs_with_ttl=frozenset(one.ref for one in located if has_ttl(one.obj)),
                )
            )
            await event.wait()
            result = waiter.result(key, "")
        finally:
            waiter.cancel(key)
            del self._events[key]
        if result is not None and not result.healthy:
            raise WaitFailed(result.message)


async def wait_for_hook(
    target: Target, objects: ReleaseObjects, located: Sequence[Located], *, timeout: float
) -> None:
    """Wait for the Jobs and Pods of a hook to end, and for what there are expressions for.

    Args:
        target: its clock, and its expressions.
        objects: reads as the tenant.
        located: the hook's objects.
        timeout: seconds.

    Raises:
        WaitFailed: one has failed, is gone, or has not ended in time.

    """
    deadline = target.clock.monotonic() + timeout
    for one in located:
        delay = _FIRST_DELAY
        while not await _has_ended(target, objects, one):
            if target.clock.monotonic() + delay > deadline:
                raise WaitFailed(f"timeout waiting for: [{one.ref} status: 'InProgress']")
            await objects.pause(delay)
            delay = min(delay * 2, _LONGEST_DELAY)


async def wait_until_gone(
    target: Target, objects: ReleaseObjects, deleted: Sequence[Deleted], *, timeout: float
) -> None:
    """Wait for objects to be gone; only absence is absence.

    Args:
        target: its clock.
        objects: reads as the tenant.
        deleted: what was told to go.
        timeout: seconds.

    Raises:
        WaitFailed: some are still there after ``timeout`` seconds.
        WaitEnded: nobody wants to know any more.

    """

    async def is_there(one: Deleted) -> bool:
        try:
            live = await objects.live(one.located)
        except ApiError:
            return True
        return live is not None and uid_of(live) == one.uid

    deadline, delay = target.clock.monotonic() + timeout, _FIRST_DELAY_GONE
    left = [one for one in deleted if not one.gone]
    while True:
        there = await map_bounded(is_there, left, limit=target.concurrency, name="gone")
        left = [one for one, is_left in zip(left, there, strict=True) if is_left]
        if not left:
            if deleted:
                objects.note(f"{len(deleted)} deleted objects are gone")
            return
        if target.clock.monotonic() + delay > deadline:
            names = ", ".join(str(one.located.ref) for one in left)
            raise WaitFailed(f"timeout waiting for objects to be deleted: [{names}]")
        await objects.pause(delay)
        delay = min(delay * 2, _LONGEST_DELAY)


async def _has_ended(target: Target, objects: ReleaseObjects, one: Located) -> bool:
    if target.health is not None and target.health.covers(one.ref):
        return await _is_current(target, target.health, objects, one)
    kind = (one.ref.group, one.ref.kind)
    if kind not in {("batch", "Job"), ("", "Pod")}:
        return True
    try:
        live = await objects.live(one)
    except ApiError:
        return False
    if live is None:
        if has_ttl(one.obj):
            return True
        raise WaitFailed(f"{one.ref} is gone before it has ended")
    problem = _job_problem(live) if kind[0] else _pod_problem(live)
    if problem:
        raise WaitFailed(target.masker.message(f"{one.ref} has failed: {problem}", one.obj))
    return _ended(live)


async def _is_current(
    target: Target, reader: HealthReader, objects: ReleaseObjects, one: Located
) -> bool:
    try:
        live = await objects.live(one)
    except ApiError:
        return False
    if live is None:
        raise WaitFailed(f"{one.ref} is gone before it was ready")
    health = await reader.read(one.ref, live)
    if health.status is HealthStatus.FAILED:
        raise WaitFailed(target.masker.message(f"{one.ref} has failed: {health.message}", live))
    return health.status is HealthStatus.CURRENT


def _conditions(live: JsonObject) -> dict[str, JsonObject]:
    listed = (live.get("status") or {}).get("conditions") or []
    return {str(one.get("type")): one for one in listed if one.get("status") == "True"}


def _job_problem(live: JsonObject) -> str:
    failed = _conditions(live).get("Failed")
    return str(failed.get("message") or failed.get("reason") or "Failed") if failed else ""


def _pod_problem(live: JsonObject) -> str:
    status = live.get("status") or {}
    if status.get("phase") != "Failed":
        return ""
    return str(status.get("message") or status.get("reason") or "phase Failed")


def _ended(live: JsonObject) -> bool:
    if live.get("kind") == "Job":
        suspended = (live.get("spec") or {}).get("suspend") is True
        return suspended or "Complete" in _conditions(live)
    return (live.get("status") or {}).get("phase") == "Succeeded"
