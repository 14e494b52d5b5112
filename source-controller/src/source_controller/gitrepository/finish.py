"""The end of a run: the one place where an outcome becomes conditions, events and a requeue."""

from __future__ import annotations

from collections.abc import Callable

from fluvial.log import Logger
from fluvial.runtime import conditions
from fluvial.runtime.events import EventRecorder
from fluvial.runtime.outcome import Failed, Result, Stalled, Waiting
from source_controller.gitrepository import reasons
from source_controller.gitrepository.run import Run, StatusWriter, StepFailed

__all__ = ["Finish"]

_FAILURES = (
    reasons.STORAGE_OPERATION_FAILED,
    reasons.FETCH_FAILED,
    reasons.INCLUDE_UNAVAILABLE,
)


class Finish:
    """Reports a run.

    Args:
        writer: writes the status.
        events: for people and notification-controller.
        log: one line for each new artifact.
        requeue_dependency: seconds until a waiting object is looked at again.
        jitter: spreads an interval.

    """

    def __init__(
        self,
        writer: StatusWriter,
        events: EventRecorder,
        *,
        log: Logger,
        requeue_dependency: float,
        jitter: Callable[[float], float],
    ) -> None:
        self._writer = writer
        self._events = events
        self._log = log
        self._requeue_dependency = requeue_dependency
        self._jitter = jitter

    async def suspended(self, run: Run) -> Result:
        """Only the markers move."""
        if run.conditions:
            run.status["observedGeneration"] = run.generation
        self._mark_request(run)
        await self._writer.write(run)
        return Result()

    async def succeeded(self, run: Run) -> Result:
        """Ready, or, if something still speaks against it, a failure.

        Raises:
            Failed: the conditions do not add up to Ready.

        """
        run.clear(conditions.RECONCILING, conditions.STALLED)
        run.status["observedGeneration"] = run.generation
        self._summarise(run)
        self._mark_request(run)
        await self._writer.write(run)
        self._report_success(run)
        ready = conditions.get_condition(run.conditions, conditions.READY)
        if ready is None or ready.status != "True":
            raise Failed(
                ready.reason if ready else reasons.PROGRESSING, ready.message if ready else ""
            )
        return Result(self._jitter(run.repository.spec.interval_seconds))

    async def failed(self, run: Run, failure: StepFailed) -> Result:
        """Write why, and raise what the queue understands.

        Raises:
            Stalled, Waiting, Failed: by the failure's kind.

        """
        message = str(failure)
        if failure.condition:
            run.set_true(failure.condition, failure.reason, message)
        if failure.kind == "stalled":
            self._stall(run, failure)
        else:
            run.clear(conditions.STALLED)
            self._keep_trying(run)
        self._summarise(run)
        self._mark_request(run)
        await self._writer.write(run)
        self._events.event(
            run.live,
            type="Trace" if failure.kind == "waiting" else "Warning",
            reason=failure.reason,
            message=message,
        )
        if failure.kind == "stalled":
            raise Stalled(failure.reason, message)
        if failure.kind == "waiting":
            raise Waiting(failure.reason, message, after=self._requeue_dependency)
        raise Failed(failure.reason, message)

    def _stall(self, run: Run, failure: StepFailed) -> None:
        if not failure.condition:
            run.clear(*_FAILURES)
        run.conditions = conditions.mark_stalled(
            run.conditions,
            failure.reason,
            str(failure),
            generation=run.generation,
            now=run.clock.now(),
        )
        run.status["observedGeneration"] = run.generation

    def _keep_trying(self, run: Run) -> None:
        reconciling = conditions.get_condition(run.conditions, conditions.RECONCILING)
        if reconciling is not None:
            run.conditions = conditions.mark_reconciling(
                run.conditions,
                reasons.PROGRESSING_WITH_RETRY,
                reconciling.message,
                generation=run.generation,
                now=run.clock.now(),
            )

    def _summarise(self, run: Run) -> None:
        run.conditions = conditions.summarise(
            run.conditions,
            order=reasons.SUMMARY,
            negative=reasons.NEGATIVE,
            generation=run.generation,
            now=run.clock.now(),
        )

    def _mark_request(self, run: Run) -> None:
        requested = run.repository.metadata.reconcile_request
        if requested:
            run.status["lastHandledReconcileAt"] = requested

    def _report_success(self, run: Run) -> None:
        artifact, old = run.artifact, run.old_artifact
        if artifact is None or run.checkout is None:
            return
        metadata = {
            reasons.REVISION_ANNOTATION: artifact.revision,
            reasons.DIGEST_ANNOTATION: artifact.digest,
        }
        if run.checkout.unchanged:
            if not run.quiet:
                self._events.event(
                    run.live,
                    type="Trace",
                    reason=reasons.GIT_OPERATION_SUCCEEDED,
                    message="no changes since last reconcilation:"
                    f" observed revision '{artifact.revision}'",
                )
        elif old is None or old.digest != artifact.digest:
            self._log.info("stored artifact", revision=artifact.revision, digest=artifact.digest)
            self._events.event(
                run.live,
                type="Normal",
                reason=reasons.NEW_ARTIFACT,
                message=f"stored artifact for commit '{run.checkout.message}'",
                metadata=metadata,
            )
            return
        if any(item.type in _FAILURES and item.status == "True" for item in run.before):
            self._events.event(
                run.live,
                type="Normal",
                reason=reasons.SUCCEEDED,
                message=f"stored artifact for revision '{artifact.revision}'",
                metadata=metadata,
            )
