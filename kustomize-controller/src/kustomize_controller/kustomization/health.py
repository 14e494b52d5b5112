"""Health of what was applied: awaited by watch, without a worker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fluvial.api.meta import ConditionStatus
from fluvial.apply import ApplyResult, HealthWaiter, Target, WaitRequest, WaitResult
from fluvial.clock import Clock
from fluvial.durations import format_duration
from fluvial.objects import ObjectRef, split_api_version
from fluvial.runtime import conditions
from fluvial.runtime.events import EventRecorder
from fluvial.runtime.outcome import Failed
from kustomize_controller.kustomization import reasons
from kustomize_controller.kustomization.memory import PendingHealth
from kustomize_controller.kustomization.run import Run, StatusWriter

__all__ = ["HealthStep"]


@dataclass(frozen=True, slots=True)
class HealthStep:
    """Starts waits and takes their results.

    Attributes:
        local: waits for objects in this cluster.
        remote: waits for objects in other clusters, where nothing is watched.
        fail_fast: end at the first failed object (gate DisableFailFastBehavior inverts it).
        tells_replaced: say that a wait was replaced (gate CancelHealthCheckOnNewRevision).

    """

    writer: StatusWriter
    events: EventRecorder
    clock: Clock
    local: HealthWaiter
    remote: HealthWaiter
    fail_fast: bool = True
    tells_replaced: bool = False

    def _waiter(self, run: Run) -> HealthWaiter:
        return self.remote if run.spec_of.spec.kube_config else self.local

    async def begin(self, run: Run, target: Target, result: ApplyResult) -> bool:
        """Start waiting if there is anything to wait for; returns whether there is."""
        refs = tuple(ref for ref in _refs(run, result) if not _is_self(run, ref))
        if not refs:
            run.clear(reasons.HEALTHY)
            return False
        timeout = run.spec_of.spec.timeout_seconds
        now = self.clock.monotonic()
        run.memory.pending = PendingHealth(
            run.attempt, run.digest, run.started, changed=run.changed, silent=run.silent
        )
        if not run.silent or run.changed:
            await self._report_waiting(run, timeout)
        waiter = self._waiter(run)
        waiter.cancel(run.key)
        waiter.start(
            WaitRequest(
                key=run.key,
                attempt=run.attempt,
                refs=refs,
                target=target,
                deadline=now + timeout,
                started=now,
                fail_fast=self.fail_fast,
                jobs_with_ttl=result.jobs_with_ttl(),
                known=run.memory.known,
            )
        )
        return True

    def is_pending(self, run: Run) -> bool:
        """Whether this very attempt is being waited for and has not ended."""
        pending = run.memory.pending
        return (
            pending is not None
            and pending.attempt == run.attempt
            and self._waiter(run).waiting(run.key, run.attempt)
        )

    def take(self, run: Run) -> bool:
        """Take the result of this attempt's wait, if it has ended; returns whether it had.

        Raises:
            Failed: HealthCheckFailed; the message lists the objects.

        """
        pending = run.memory.pending
        if pending is None or pending.attempt != run.attempt:
            return False
        waiter = self._waiter(run)
        result = waiter.result(run.key, run.attempt)
        if result is None:
            return False
        waiter.cancel(run.key)
        run.memory.pending = None
        run.digest, run.started = pending.digest, pending.started
        run.changed, run.silent = pending.changed, pending.silent
        self._conclude(run, result)
        return True

    async def replace(self, run: Run, *, cause: str) -> None:
        """Forget a wait, since a new attempt replaces it; tell of it where that is asked for.

        Nothing is told of a wait of which nothing has been told.
        """
        pending = run.memory.pending
        goes_on = pending is not None and any(
            waiter.waiting(run.key, pending.attempt) for waiter in (self.local, self.remote)
        )
        self.abandon(run)
        if not goes_on or not self.tells_replaced or not _is_told(run):
            return
        revision = run.status.last_attempted_revision
        message = f"Health checks for revision {revision} were canceled: {cause}"
        self._set(run, "False", reasons.HEALTH_CHECK_CANCELED, message)
        run.set_condition(reasons.READY, "False", reasons.HEALTH_CHECK_CANCELED, message)
        await self.writer.save(run)
        self.events.event(
            run.obj,
            type="Normal",
            reason=reasons.HEALTH_CHECK_CANCELED,
            message=message,
            metadata={f"{run.owner.group}/revision": revision},
        )

    def abandon(self, run: Run) -> None:
        """Forget a wait."""
        run.memory.pending = None
        self.local.cancel(run.key)
        self.remote.cancel(run.key)

    def _conclude(self, run: Run, result: WaitResult) -> None:
        elapsed = format_duration(round(result.elapsed, 3))
        before = conditions.get_condition(run.status.conditions, reasons.HEALTHY)
        was_healthy = before is not None and before.status == "True"
        if not result.healthy:
            message = f"health check failed after {elapsed}: {result.message}"
            self._set(run, "False", reasons.HEALTH_CHECK_FAILED, message)
            raise Failed(reasons.HEALTH_CHECK_FAILED, message)
        message = f"Health check passed in {elapsed}"
        if run.silent and was_healthy and not run.changed:
            return
        self._set(run, "True", reasons.SUCCEEDED, message)
        new_revision = run.status.last_applied_revision != run.revision
        if not was_healthy or (new_revision and run.changed):
            self.events.event(
                run.obj,
                type="Normal",
                reason=reasons.PROGRESSING,
                message=message,
                metadata=run.event_metadata(),
            )

    async def _report_waiting(self, run: Run, timeout: float) -> None:
        message = (
            f"Running health checks for revision {run.revision} "
            f"with a timeout of {format_duration(timeout)}"
        )
        self._set(run, "Unknown", reasons.PROGRESSING, message)
        await self.writer.progress(run, message)

    def _set(self, run: Run, status: ConditionStatus, reason: str, message: str) -> None:
        run.set_condition(reasons.HEALTHY, status, reason, message)


def _is_told(run: Run) -> bool:
    """Whether status says that the health of something is awaited."""
    healthy = conditions.get_condition(run.status.conditions, reasons.HEALTHY)
    return healthy is not None and healthy.reason == reasons.PROGRESSING


def _refs(run: Run, result: ApplyResult) -> Iterator[ObjectRef]:
    spec = run.spec_of.spec
    if spec.wait:
        yield from result.health_refs()
        return
    for check in spec.health_checks:
        group, _ = split_api_version(check.api_version or "apps/v1")
        yield ObjectRef(group, check.kind, check.namespace or run.key.namespace, check.name)


def _is_self(run: Run, ref: ObjectRef) -> bool:
    owner = run.owner
    return ref == ObjectRef(owner.group, owner.kind, owner.namespace, owner.name)
