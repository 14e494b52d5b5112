"""The one place that turns the end of a run into conditions, history, event, log and requeue."""

from __future__ import annotations

from typing import ClassVar

from fluvial.delivery.finishing import DeliveryFinish, Failure
from fluvial.durations import format_duration
from fluvial.kube.tenants import TenantRefused
from fluvial.runtime import conditions
from fluvial.runtime.outcome import Result
from kustomize_controller.kustomization import history, reasons
from kustomize_controller.kustomization.run import Run

__all__ = ["Finish"]

_RECORDED = frozenset(
    {reasons.RECONCILIATION_FAILED, reasons.PRUNE_FAILED, reasons.HEALTH_CHECK_FAILED}
)


class Finish(DeliveryFinish[Run]):
    """Ends runs."""

    default_reason = reasons.RECONCILIATION_FAILED
    reason_of: ClassVar = {TenantRefused: reasons.RECONCILIATION_FAILED}
    missing_source = frozenset({reasons.ARTIFACT_FAILED})

    async def succeeded(self, run: Run) -> Result:
        """Everything is applied, pruned and healthy."""
        spec = run.spec_of.spec
        run.memory.known.complete(run.attempt)
        if run.silent and not run.changed and _says_applied(run):
            await self.writer.save(run)
            return self.quiet(run)
        message = f"Applied revision: {run.revision}"
        run.status.last_applied_revision = run.revision
        run.status.last_applied_origin_revision = run.source.origin_revision if run.source else ""
        run.clear(conditions.RECONCILING, conditions.STALLED)
        run.set_condition(reasons.READY, "True", reasons.RECONCILIATION_SUCCEEDED, message)
        run.status.observed_generation = run.generation
        self._record(run, reasons.RECONCILIATION_SUCCEEDED)
        self.mark_handled(run)
        await self.writer.save(run)
        took = format_duration(round(run.clock.monotonic() - run.started, 3))
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

    def mark_failed(self, run: Run, end: Failure, message: str) -> None:
        """Put a failure into conditions and history."""
        super().mark_failed(run, end, message)
        if end.reason in _RECORDED and run.digest:
            self._record(run, end.reason)

    def shortest_retry(self, run: Run) -> float:
        """A Kustomization says how long it takes at least."""
        return run.spec_of.spec.retry_seconds

    def has_event(self, end: Failure, *, waits: bool) -> bool:
        """Of what is waited for only dependencies are told."""
        return not waits or end.reason == reasons.DEPENDENCY_NOT_READY

    def _record(self, run: Run, reason: str) -> None:
        metadata = {"revision": run.revision}
        if run.source and run.source.origin_revision:
            metadata["originRevision"] = run.source.origin_revision
        run.status.history = history.record(
            run.status.history,
            digest=run.digest,
            status=reason,
            metadata=metadata,
            now=run.clock.now(),
            seconds=run.clock.monotonic() - run.started,
        )


def _says_applied(run: Run) -> bool:
    return run.status.last_applied_revision == run.revision and conditions.is_true(
        run.status.conditions, reasons.READY
    )
