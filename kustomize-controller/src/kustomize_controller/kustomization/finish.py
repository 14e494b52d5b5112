"""The one place that turns the end of a run into conditions, history, event, log and requeue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fluvial.api.meta import Condition
from fluvial.apply import asked_to_wait
from fluvial.clock import Clock
from fluvial.durations import format_duration
from fluvial.errors import FluvialError
from fluvial.kube.errors import ApiError
from fluvial.kube.tenants import TenantRefused
from fluvial.log import Logger
from fluvial.runtime import conditions
from fluvial.runtime.events import EventRecorder
from fluvial.runtime.outcome import Failed, Result, Stalled, Waiting
from kustomize_controller.kustomization import history, reasons
from kustomize_controller.kustomization.run import Run, StatusWriter

__all__ = ["Finish", "unexpected"]

_RECORDED = frozenset(
    {reasons.RECONCILIATION_FAILED, reasons.PRUNE_FAILED, reasons.HEALTH_CHECK_FAILED}
)


@dataclass(frozen=True, slots=True)
class Finish:
    """Ends runs.

    Attributes:
        jitter: spreads an interval in seconds.

    """

    writer: StatusWriter
    events: EventRecorder
    clock: Clock
    log: Logger
    jitter: Callable[[float], float]

    def quiet(self, run: Run) -> Result:
        """Nothing is new: nothing is written."""
        return Result(self.jitter(run.spec_of.spec.interval_seconds))

    async def suspended(self, run: Run) -> Result:
        """Only the request marker moves."""
        self._mark_handled(run)
        await self.writer.save(run)
        return Result()

    async def succeeded(self, run: Run) -> Result:
        """Everything is applied, pruned and healthy."""
        spec = run.spec_of.spec
        run.memory.known.complete(run.attempt)
        if run.silent and not run.changed and _says_applied(run):
            await self.writer.save(run)
            return self.quiet(run)
        now = self.clock.now()
        message = f"Applied revision: {run.revision}"
        run.status.last_applied_revision = run.revision
        run.status.last_applied_origin_revision = run.source.origin_revision if run.source else ""
        run.status.conditions = conditions.mark_ready(
            _without_progress(run),
            "True",
            reasons.RECONCILIATION_SUCCEEDED,
            message,
            generation=run.generation,
            now=now,
        )
        run.status.observed_generation = run.generation
        self._record(run, reasons.RECONCILIATION_SUCCEEDED)
        self._mark_handled(run)
        await self.writer.save(run)
        took = format_duration(round(self.clock.monotonic() - run.started, 3))
        text = f"Reconciliation finished in {took}, next run in {spec.interval}"
        self.log.info(text, revision=run.revision)
        self.events.event(
            run.obj,
            type="Normal",
            reason=reasons.RECONCILIATION_SUCCEEDED,
            message=text,
            metadata=run.event_metadata(final=True),
        )
        return self.quiet(run)

    async def failed(self, run: Run, error: FluvialError) -> FluvialError:
        """Write what went wrong; returns what the queue has to know."""
        end = _as_outcome(run, error)
        now = self.clock.now()
        message = str(end)
        run.status.conditions = conditions.mark_ready(
            run.status.conditions,
            "False",
            end.reason,
            message,
            generation=run.generation,
            now=now,
        )
        if isinstance(end, Stalled):
            run.status.conditions = conditions.mark_stalled(
                run.status.conditions, end.reason, message, generation=run.generation, now=now
            )
            run.status.observed_generation = run.generation
        else:
            run.status.conditions = conditions.mark_reconciling(
                run.status.conditions,
                reasons.PROGRESSING_WITH_RETRY,
                message,
                generation=run.generation,
                now=now,
            )
        if end.reason in _RECORDED and run.digest:
            self._record(run, end.reason)
        self._mark_handled(run)
        await self.writer.save(run)
        self._announce(run, end, message)
        return end

    def _announce(self, run: Run, end: Failed | Waiting | Stalled, message: str) -> None:
        waits = isinstance(end, Waiting) or _misses_its_source(run, end)
        if waits:
            self.log.info("reconciliation waits", reason=end.reason, detail=message)
        else:
            self.log.error("reconciliation failed", reason=end.reason, error=message)
        if waits and end.reason != reasons.DEPENDENCY_NOT_READY:
            return
        self.events.event(
            run.obj,
            type="Normal" if waits else "Warning",
            reason=end.reason,
            message=message,
            metadata=run.event_metadata(),
        )

    def _record(self, run: Run, reason: str) -> None:
        metadata = {"revision": run.revision}
        if run.source and run.source.origin_revision:
            metadata["originRevision"] = run.source.origin_revision
        run.status.history = history.record(
            run.status.history,
            digest=run.digest,
            status=reason,
            metadata=metadata,
            now=self.clock.now(),
            seconds=self.clock.monotonic() - run.started,
        )

    def _mark_handled(self, run: Run) -> None:
        token = run.spec_of.metadata.reconcile_request
        if token:
            run.status.last_handled_reconcile_at = token


def _as_outcome(run: Run, error: FluvialError) -> Failed | Waiting | Stalled:
    """The error as the queue takes it, without any string that came from a Secret.

    A value may have been put into a name, which every message about the object has. A server that
    wants to be left alone is, for an interval at most.
    """
    spec = run.spec_of.spec
    retry = max(spec.retry_seconds, min(asked_to_wait(error), spec.interval_seconds))
    if isinstance(error, Waiting | Stalled):
        return error
    message = run.masker.text(str(error))
    if isinstance(error, Failed):
        return Failed(error.reason, message, retry_after=max(error.retry_after or 0.0, retry))
    if isinstance(error, TenantRefused):
        return Failed(reasons.RECONCILIATION_FAILED, message, retry_after=retry)
    what = "the API server refused" if isinstance(error, ApiError) else "reconciliation failed"
    return Failed(reasons.RECONCILIATION_FAILED, f"{what}: {message}", retry_after=retry)


def unexpected(error: Exception) -> Failed:
    """What a status says about a fault that no step foresaw; its stack goes to the log."""
    what = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return Failed(
        reasons.RECONCILIATION_FAILED,
        f"unexpected fault in the controller ({what}); its log has the details",
    )


def _misses_its_source(run: Run, end: Failed | Waiting | Stalled) -> bool:
    """Whether there is no source to read: usual while both are being made, so no event (Flux)."""
    return run.source is None and end.reason == reasons.ARTIFACT_FAILED


def _says_applied(run: Run) -> bool:
    return run.status.last_applied_revision == run.revision and conditions.is_true(
        run.status.conditions, reasons.READY
    )


def _without_progress(run: Run) -> list[Condition]:
    rest = conditions.delete_condition(run.status.conditions, conditions.RECONCILING)
    return conditions.delete_condition(rest, conditions.STALLED)
