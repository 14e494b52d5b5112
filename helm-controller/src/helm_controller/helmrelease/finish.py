"""The one place that turns the end of a run into conditions, event, log and requeue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fluvial.apply import asked_to_wait
from fluvial.clock import Clock
from fluvial.errors import FluvialError
from fluvial.helm.errors import HelmError
from fluvial.helm.observing import FORCE_REQUEST, RESET_REQUEST
from fluvial.kube.errors import ApiError
from fluvial.kube.tenants import TenantRefused
from fluvial.log import Logger
from fluvial.runtime import conditions
from fluvial.runtime.events import EventRecorder
from fluvial.runtime.outcome import Failed, Result, Stalled, Waiting
from helm_controller.helmrelease import reasons, verdict
from helm_controller.helmrelease.rounds import RoundEnd, describe_retry
from helm_controller.helmrelease.run import Run, StatusWriter

__all__ = ["Finish", "unexpected"]

_SUMMARISED: Final = frozenset(
    {
        *(reasons.INSTALL_FAILED, reasons.UPGRADE_FAILED, reasons.RETRIES_EXCEEDED),
        *(reasons.ROLLBACK_FAILED, reasons.UNINSTALL_FAILED, reasons.MISSING_ROLLBACK_TARGET),
    }
)
"""Reasons of which other conditions tell already, so that ``Ready`` is their summary."""

_TOLD: Final = frozenset(
    {
        *(reasons.INSTALL_FAILED, reasons.UPGRADE_FAILED, reasons.ROLLBACK_FAILED),
        *(reasons.UNINSTALL_FAILED, reasons.DRIFT_CORRECTION_FAILED, reasons.AWAITING_APPROVAL),
    }
)
"""Reasons of which an event has told already."""

_QUIET: Final = frozenset({reasons.ARTIFACT_FAILED, reasons.SOURCE_NOT_READY})
"""Usual while a source is being made, so no event (Flux)."""


class _Again(Failed):
    """What has failed is tried again; status and events have told of it."""


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
        """Only the request markers move."""
        _mark_handled(run)
        await self.writer.save(run)
        return Result()

    async def ended(self, run: Run, end: RoundEnd) -> Result:
        """A round has ended without an error; raises Failed to try again under backoff."""
        _mark_handled(run)
        if end.again:
            ready = conditions.get_condition(run.status.conditions, reasons.READY)
            message = ready.message if ready else "a failure was undone"
            verdict.mark(
                run, conditions.RECONCILING, "True", reasons.PROGRESSING_WITH_RETRY, message
            )
            run.memory.in_place = ""
            await self.writer.save(run)
            raise _Again(ready.reason if ready else reasons.RECONCILE_ERROR, message)
        run.status.observed_generation = run.generation
        if end.retry_seconds is not None:
            verdict.mark(
                run,
                conditions.RECONCILING,
                "True",
                reasons.PROGRESSING_WITH_RETRY,
                describe_retry(end.retry_seconds),
            )
            await self.writer.save(run)
            return Result(self.jitter(end.retry_seconds))
        verdict.clear(run, conditions.RECONCILING, conditions.STALLED)
        run.memory.in_place = run.attempt
        await self.writer.save(run)
        return self.quiet(run)

    async def interrupted(self, run: Run, error: FluvialError) -> Result:
        """What the run waited for is wanted no longer: look again at once at what is wanted."""
        _mark_handled(run)
        run.memory.in_place = ""
        message = run.masker.text(str(error))
        if run.turn.interruption.hit:
            verdict.mark(run, reasons.READY, "False", reasons.HEALTH_CHECK_CANCELED, message)
        verdict.mark(run, conditions.RECONCILING, "True", reasons.PROGRESSING_WITH_RETRY, message)
        self.log.info("reconciliation was interrupted", detail=message)
        await self.writer.save(run)
        return Result(0.0)

    async def failed(self, run: Run, error: FluvialError) -> FluvialError:
        """Write what went wrong; returns what the queue has to know."""
        if isinstance(error, _Again):
            return error
        end = _as_outcome(run, error)
        message = run.masker.text(str(end))
        run.memory.in_place = ""
        if end.reason in _SUMMARISED:
            verdict.summarise(run)
        else:
            verdict.mark(run, reasons.READY, "False", end.reason, message)
        if isinstance(end, Stalled):
            verdict.mark(run, conditions.STALLED, "True", end.reason, message)
            run.status.observed_generation = run.generation
        else:
            verdict.mark(
                run, conditions.RECONCILING, "True", reasons.PROGRESSING_WITH_RETRY, message
            )
        _mark_handled(run)
        await self.writer.save(run)
        self._announce(run, end, message)
        return end

    def _announce(self, run: Run, end: Failed | Waiting | Stalled, message: str) -> None:
        waits = isinstance(end, Waiting) or (run.source is None and end.reason in _QUIET)
        if waits:
            self.log.info("reconciliation waits", reason=end.reason, detail=message)
        else:
            self.log.error("reconciliation failed", reason=end.reason, error=message)
        if end.reason in _TOLD or (waits and end.reason in _QUIET):
            return
        self.events.event(
            run.obj,
            type="Normal" if waits else "Warning",
            reason=end.reason,
            message=message,
            metadata=run.event_metadata(),
        )


def _mark_handled(run: Run) -> None:
    metadata, status = run.spec_of.metadata, run.status
    if metadata.reconcile_request:
        status.last_handled_reconcile_at = metadata.reconcile_request
    if FORCE_REQUEST in metadata.annotations:
        status.last_handled_force_at = metadata.annotations[FORCE_REQUEST]
    if RESET_REQUEST in metadata.annotations:
        status.last_handled_reset_at = metadata.annotations[RESET_REQUEST]


def _as_outcome(run: Run, error: FluvialError) -> Failed | Waiting | Stalled:
    """The error as the queue takes it, without any string that came from a Secret.

    A server that wants to be left alone is, for an interval at most.
    """
    if isinstance(error, Waiting | Stalled):
        return error
    asked = min(asked_to_wait(error), run.spec_of.spec.interval_seconds) or None
    message = run.masker.text(str(error))
    if isinstance(error, Failed):
        return Failed(error.reason, message, retry_after=error.retry_after or asked)
    if isinstance(error, TenantRefused):
        return Failed(reasons.REST_CLIENT_ERROR, message, retry_after=asked)
    if isinstance(error, HelmError):
        return Failed(reasons.STATE_ERROR, message, retry_after=asked)
    what = "the API server refused" if isinstance(error, ApiError) else "reconciliation failed"
    return Failed(reasons.RECONCILE_ERROR, f"{what}: {message}", retry_after=asked)


def unexpected(error: Exception) -> Failed:
    """What a status says about a fault that no step foresaw; its stack goes to the log."""
    what = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return Failed(
        reasons.RECONCILE_ERROR,
        f"unexpected fault in the controller ({what}); its log has the details",
    )
