"""Waiting for health without holding a worker."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from fluvial.apply.health import Health
from fluvial.apply.model import Target
from fluvial.clock import Clock
from fluvial.objects import ObjectRef

__all__ = ["HealthWaiter", "WaitRequest", "WaitResult"]


@dataclass(frozen=True, slots=True)
class WaitRequest:
    """What to wait for.

    Args:
        key: whose wait it is (an ``ObjectKey``); a new request replaces the key's older one.
        attempt: identity of the attempt; ``result`` answers for this one only.
        refs: the objects, in the order in which messages list them.
        target: reads as the tenant.
        deadline: on ``clock.monotonic()``, fixed when the apply ended.
        started: on ``clock.monotonic()``, for the elapsed time in messages.
        fail_fast: end at the first Failed object (Flux: default; ``DisableFailFastBehavior``).
        jobs_with_ttl: Jobs for which absence is success.
        versions: API version hints, ``ref -> version``.

    """

    key: Hashable
    attempt: str
    refs: tuple[ObjectRef, ...]
    target: Target
    deadline: float
    started: float
    fail_fast: bool = True
    jobs_with_ttl: frozenset[ObjectRef] = frozenset()


@dataclass(frozen=True, slots=True)
class WaitResult:
    """How the wait ended.

    Attributes:
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


class HealthWaiter:
    """Completes waits by watch; one for a controller and cluster, run beside its workers."""

    def __init__(
        self,
        *,
        done: Callable[[Any], None],
        clock: Clock,
        informers: Any | None = None,
        concurrency: int = 8,
    ) -> None:
        raise NotImplementedError

    async def run(self) -> None:
        """Serve until cancelled."""
        raise NotImplementedError

    def start(self, request: WaitRequest) -> None:
        """Begin a wait, or go on with it if the key already waits for the same attempt."""
        raise NotImplementedError

    def result(self, key: Hashable, attempt: str) -> WaitResult | None:
        """The attempt's result; ``None`` while it goes on, or if it is not known."""
        raise NotImplementedError

    def waiting(self, key: Hashable, attempt: str) -> bool:
        """Whether this attempt is being waited for."""
        raise NotImplementedError

    def cancel(self, key: Hashable) -> None:
        """Forget the key's wait and result."""
        raise NotImplementedError
