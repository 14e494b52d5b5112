"""The values of a health wait: what is asked, what comes out, and in which words."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from fluvial.apply.health import Health, HealthStatus
from fluvial.apply.model import Target, Verified
from fluvial.objects import ObjectRef

__all__ = ["WaitRequest", "WaitResult", "WaiterTiming", "wait_message"]


@dataclass(frozen=True, slots=True)
class WaiterTiming:
    """How long things take, in seconds.

    Attributes:
        first_poll: until the second look at an object that no watch covers.
        longest_poll: to which that grows.
        tick: after which one object of a wait is looked at although nothing was heard.
        debounce: changes within this time are one look.

    """

    first_poll: float = 2.0
    longest_poll: float = 15.0
    tick: float = 30.0
    debounce: float = 0.2


@dataclass(frozen=True, slots=True)
class WaitRequest:
    """What to wait for.

    Args:
        key: whose wait it is (an ``ObjectKey``); a new request replaces the key's older one.
        attempt: identity of the attempt; ``result`` answers for this one only.
        refs: the objects, in the order in which messages list them. The owner itself must not
            be among them.
        target: reads as the tenant.
        deadline: on ``clock.monotonic()``, fixed when the apply ended.
        started: on ``clock.monotonic()``, for the elapsed time in messages.
        fail_fast: end at the first Failed object (Flux: default; ``DisableFailFastBehavior``).
        jobs_with_ttl: Jobs for which absence is success.
        known: told of each object that is read and is as it was verified.

    """

    key: Hashable
    attempt: str
    refs: tuple[ObjectRef, ...]
    target: Target
    deadline: float
    started: float
    fail_fast: bool = True
    jobs_with_ttl: frozenset[ObjectRef] = frozenset()
    known: Verified | None = None


@dataclass(frozen=True, slots=True)
class WaitResult:
    """How the wait ended.

    Attributes:
        attempt: the request's.
        healthy: every object is Current.
        message: ``""`` or Flux's ``timeout waiting for: [...]`` or
            ``failed early due to stalled resources: [...]``.
        elapsed: seconds since ``started``.
        statuses: the last status of each object.

    """

    attempt: str
    healthy: bool
    message: str
    elapsed: float
    statuses: dict[ObjectRef, Health]


def wait_message(statuses: dict[ObjectRef, Health], *, timed_out: bool) -> str:
    """Flux's words: at the deadline all that is not Current, before it what has failed."""
    if timed_out:
        return f"timeout waiting for: [{_listed(statuses, lambda one: not _is_current(one))}]"
    failed = _listed(statuses, lambda one: one.status is HealthStatus.FAILED)
    return f"failed early due to stalled resources: [{failed}]"


def _is_current(health: Health) -> bool:
    return health.status is HealthStatus.CURRENT


def _listed(statuses: dict[ObjectRef, Health], wanted: Callable[[Health], bool]) -> str:
    return ", ".join(_lines(statuses, wanted))


def _lines(statuses: dict[ObjectRef, Health], wanted: Callable[[Health], bool]) -> Iterable[str]:
    for ref, health in statuses.items():
        if wanted(health):
            unknown = health.status is HealthStatus.UNKNOWN and health.message
            yield f"{ref} status: '{health.status}'" + (f": {health.message}" if unknown else "")
