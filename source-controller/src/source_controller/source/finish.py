"""The end of a run: the one place where an outcome becomes conditions, events and a requeue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fluvial.runtime import conditions
from fluvial.runtime.outcome import Failed, Result, Stalled, Waiting
from source_controller.source import reasons
from source_controller.source.reasons import Summary
from source_controller.source.run import Run, StatusWriter, StepFailed
from source_controller.source.tools import Tools

__all__ = ["Finish", "Success"]


@dataclass(frozen=True, slots=True)
class Success:
    """How a kind tells that a run succeeded. Nothing is told of a run without an artifact.

    Attributes:
        stored: message of the event about an artifact with another digest than before.
        recovered: message of the event that a failure is over and the artifact is the same.
        unchanged: reason and message of the event that nothing was fetched; ``None`` for none.
        new_reason: reason of the first event.
        recovered_reason: reason of the second.

    """

    stored: str
    recovered: str
    unchanged: tuple[str, str] | None = None
    new_reason: str = reasons.NEW_ARTIFACT
    recovered_reason: str = reasons.SUCCEEDED


class Finish:
    """Reports the runs of one kind.

    Args:
        tools: events, log, waits.
        writer: writes the status.
        summary: what Ready is made of.

    """

    def __init__(self, tools: Tools, writer: StatusWriter, summary: Summary) -> None:
        self._tools = tools
        self._writer = writer
        self._summary = summary

    async def suspended(self, run: Run[Any]) -> Result:
        """Only the markers move."""
        if run.conditions:
            run.status["observedGeneration"] = run.generation
        self._mark_request(run)
        await self._writer.write(run)
        return Result()

    async def succeeded(self, run: Run[Any], success: Success) -> Result:
        """Ready, or, if something still speaks against it, a failure.

        Raises:
            Failed: the conditions do not add up to Ready.

        """
        run.clear(conditions.RECONCILING, conditions.STALLED)
        run.status["observedGeneration"] = run.generation
        self._summarise(run)
        self._mark_request(run)
        await self._writer.write(run)
        self._report_success(run, success)
        ready = conditions.get_condition(run.conditions, conditions.READY)
        if ready is None or ready.status != "True":
            raise Failed(
                ready.reason if ready else reasons.PROGRESSING, ready.message if ready else ""
            )
        return Result(self._tools.jitter(run.obj.spec.interval_seconds))

    async def failed(self, run: Run[Any], failure: StepFailed) -> Result:
        """Write why, and raise what the queue understands.

        Raises:
            Stalled, Waiting, Failed: by the failure's kind.

        """
        message = str(failure)
        if failure.condition:
            run.set_condition(failure.condition, failure.status, failure.reason, message)
        if failure.kind == "stalled":
            self._stall(run, failure)
        else:
            run.clear(conditions.STALLED)
            self._keep_trying(run)
        self._summarise(run)
        self._mark_request(run)
        await self._writer.write(run)
        self._tools.events.event(
            run.live,
            type="Trace" if failure.kind == "waiting" else "Warning",
            reason=failure.reason,
            message=message,
        )
        if failure.kind == "stalled":
            raise Stalled(failure.reason, message)
        if failure.kind == "waiting":
            raise Waiting(failure.reason, message, after=self._tools.requeue_dependency)
        raise Failed(failure.reason, message)

    def _stall(self, run: Run[Any], failure: StepFailed) -> None:
        if not failure.condition:
            run.clear(*self._summary.failures)
        run.set_true(conditions.STALLED, failure.reason, str(failure))
        run.status["observedGeneration"] = run.generation

    def _keep_trying(self, run: Run[Any]) -> None:
        reconciling = conditions.get_condition(run.conditions, conditions.RECONCILING)
        if reconciling is not None:
            run.set_true(
                conditions.RECONCILING, reasons.PROGRESSING_WITH_RETRY, reconciling.message
            )

    def _summarise(self, run: Run[Any]) -> None:
        run.conditions = conditions.summarise(
            run.conditions,
            order=self._summary.order,
            negative=self._summary.negative,
            generation=run.generation,
            now=run.now(),
        )
        verified = conditions.get_condition(run.conditions, reasons.SOURCE_VERIFIED)
        if self._summary.verified and verified is not None and verified.status == "False":
            # Whatever else is going on: what cannot be trusted is not ready, and that is why.
            run.set_condition(conditions.READY, "False", verified.reason, verified.message)

    def _mark_request(self, run: Run[Any]) -> None:
        requested = run.obj.metadata.reconcile_request
        if requested:
            run.status["lastHandledReconcileAt"] = requested

    def _report_success(self, run: Run[Any], success: Success) -> None:
        artifact, old = run.artifact, run.old_artifact
        if artifact is None:
            return
        metadata = {
            reasons.REVISION_ANNOTATION: artifact.revision,
            reasons.DIGEST_ANNOTATION: artifact.digest,
        }
        if success.unchanged is not None:
            if not run.quiet:
                reason, message = success.unchanged
                self._tools.events.event(run.live, type="Trace", reason=reason, message=message)
        elif old is None or old.digest != artifact.digest:
            self._tools.log.info(
                "stored artifact", revision=artifact.revision, digest=artifact.digest
            )
            self._tools.events.event(
                run.live,
                type="Normal",
                reason=success.new_reason,
                message=success.stored,
                metadata=metadata,
            )
            return
        failures = self._summary.failures
        if any(item.type in failures and item.status == "True" for item in run.before):
            self._tools.events.event(
                run.live,
                type="Normal",
                reason=success.recovered_reason,
                message=success.recovered,
                metadata=metadata,
            )
