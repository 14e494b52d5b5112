"""The one place that turns the end of a run into conditions, event, log and requeue."""

from __future__ import annotations

from typing import ClassVar, Final

from fluvial.delivery.finishing import DeliveryFinish, Failure
from fluvial.errors import FluvialError
from fluvial.helm.errors import HelmError
from fluvial.helm.observing import FORCE_REQUEST, RESET_REQUEST
from fluvial.kube.tenants import TenantRefused
from fluvial.runtime import conditions
from fluvial.runtime.outcome import Failed, Result
from helm_controller.helmrelease import reasons, verdict
from helm_controller.helmrelease.rounds import RoundEnd, describe_retry
from helm_controller.helmrelease.run import Run

__all__ = ["Finish"]

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


class Finish(DeliveryFinish[Run]):
    """Ends runs."""

    default_reason = reasons.RECONCILE_ERROR
    reason_of: ClassVar = {
        TenantRefused: reasons.REST_CLIENT_ERROR,
        HelmError: reasons.STATE_ERROR,
    }
    missing_source = _QUIET

    async def ended(self, run: Run, end: RoundEnd) -> Result:
        """A round has ended without an error; raises Failed to try again under backoff."""
        self.mark_handled(run)
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
        run.clear(conditions.RECONCILING, conditions.STALLED)
        run.memory.in_place = run.attempt
        await self.writer.save(run)
        return self.quiet(run)

    async def interrupted(self, run: Run, error: FluvialError) -> Result:
        """What the run waited for is wanted no longer: look again at once at what is wanted."""
        self.mark_handled(run)
        run.memory.in_place = ""
        message = run.masker.text(str(error))
        if run.turn.interruption.hit:
            verdict.mark(run, reasons.READY, "False", reasons.HEALTH_CHECK_CANCELED, message)
        verdict.mark(run, conditions.RECONCILING, "True", reasons.PROGRESSING_WITH_RETRY, message)
        self.log.info("reconciliation was interrupted", detail=message)
        await self.writer.save(run)
        return Result(0.0)

    async def failed(self, run: Run, error: FluvialError) -> FluvialError:
        """Tell what went wrong, unless that has been done."""
        return error if isinstance(error, _Again) else await super().failed(run, error)

    def mark_failed(self, run: Run, end: Failure, message: str) -> None:
        """Put a failure into the conditions; not everything is in place."""
        run.memory.in_place = ""
        super().mark_failed(run, end, message)

    def mark_unready(self, run: Run, end: Failure, message: str) -> None:
        """Say why the object is not ready."""
        if end.reason in _SUMMARISED:
            verdict.summarise(run)
        else:
            super().mark_unready(run, end, message)

    def mark_handled(self, run: Run) -> None:
        """Note which requests the run has answered."""
        super().mark_handled(run)
        annotations, status = run.spec_of.metadata.annotations, run.status
        if FORCE_REQUEST in annotations:
            status.last_handled_force_at = annotations[FORCE_REQUEST]
        if RESET_REQUEST in annotations:
            status.last_handled_reset_at = annotations[RESET_REQUEST]

    def has_event(self, end: Failure, *, waits: bool) -> bool:
        """What actions have told is told once, and a source that is being made not at all."""
        return end.reason not in _TOLD and not (waits and end.reason in _QUIET)
