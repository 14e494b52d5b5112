"""The end of a run: the one place where an outcome becomes conditions, events and a requeue."""

from __future__ import annotations

from fluvial.api.codec import encode
from fluvial.runtime import conditions
from fluvial.runtime.events import EventType
from fluvial.runtime.outcome import Failed, Result, Stalled, Waiting
from fluvial.runtime.patcher import StatusPatcher
from source_controller.artifactgenerator import reasons
from source_controller.artifactgenerator.run import GeneratorRun
from source_controller.source.reasons import PROGRESSING, PROGRESSING_WITH_RETRY, SUCCEEDED
from source_controller.source.run import StepFailed
from source_controller.source.tools import Tools

__all__ = ["INTERVAL", "Finish", "StatusWriter"]

INTERVAL = 3600.0
"""Seconds between checks for drift that nobody told of: the kind has no interval of its own."""

_IN_PROGRESS = "Reconciliation in progress"
_DISABLED = "Reconciliation is disabled"
_INITIALLY_DISABLED = "Initialized with reconciliation suspended"


class StatusWriter:
    """Writes a run's status; sends nothing where nothing differs.

    Args:
        patcher: of the kind.

    """

    def __init__(self, patcher: StatusPatcher) -> None:
        self.patcher = patcher

    async def write(self, run: GeneratorRun) -> None:
        """Bring the server's status to the run's.

        Raises:
            NotFound: the object is gone.
            Conflict: somebody wrote meanwhile at every try.

        """
        run.status["conditions"] = [encode(item) for item in run.conditions]
        run.live = await self.patcher.patch(run.live, {**run.live, "status": run.status})
        run.status = dict(run.live.get("status") or {})


class Finish:
    """Reports runs.

    Args:
        tools: events, log, waits.
        writer: writes the status.

    """

    def __init__(self, tools: Tools, writer: StatusWriter) -> None:
        self._tools = tools
        self._writer = writer

    async def begin(self, run: GeneratorRun, why: str) -> None:
        """Say that artifacts are being made; a retry that nobody asked for says nothing."""
        self._tools.log.info("making artifacts", why=why)
        ready = conditions.get_condition(run.conditions, conditions.READY)
        if run.quiet and ready is not None and ready.status == "False":
            return
        run.set_condition(conditions.RECONCILING, "True", PROGRESSING, _IN_PROGRESS)
        run.set_condition(conditions.READY, "Unknown", PROGRESSING, _IN_PROGRESS)
        await self._writer.write(run)

    async def disabled(self, run: GeneratorRun) -> Result:
        """Only the marker moves, and one that was never reconciled says why."""
        if conditions.get_condition(run.conditions, conditions.READY) is None:
            run.set_condition(conditions.READY, "True", reasons.DISABLED, _INITIALLY_DISABLED)
        self._mark_request(run)
        await self._writer.write(run)
        if not run.quiet:
            self._event(run, "Trace", reasons.DISABLED, _DISABLED)
        return Result()

    async def unchanged(self, run: GeneratorRun) -> Result:
        """Nothing had to be made."""
        count = len(run.inventory)
        self._mark_request(run)
        await self._writer.write(run)
        if not run.quiet:
            message = f"No drift detected, {count} artifact(s) up to date"
            self._event(run, "Trace", reasons.READY, message)
        return Result(self._tools.jitter(INTERVAL))

    async def generated(self, run: GeneratorRun) -> Result:
        """Everything is made; the status has the new inventory."""
        count = len(run.status.get("inventory") or [])
        message = f"reconciliation succeeded, generated {count} artifact(s)"
        run.set_condition(conditions.READY, "True", SUCCEEDED, message)
        run.clear(conditions.RECONCILING, conditions.STALLED)
        self._mark_request(run)
        old = run.inventory
        await self._writer.write(run)
        self._event(run, "Trace", reasons.READY, message)
        changed = [
            item
            for item in run.status.get("inventory") or []
            if item["name"] not in old or old[item["name"]].digest != item["digest"]
        ]
        if changed:
            lines = "\n".join(
                f"{item['namespace']}/{item['name']} ({item['digest']})" for item in changed
            )
            message = f"external artifacts reconciled: {lines}"
            self._event(run, "Normal", reasons.READY, message)
        return Result(self._tools.jitter(INTERVAL))

    async def failed(self, run: GeneratorRun, failure: StepFailed) -> Result:
        """Write why, and raise what the queue understands.

        Raises:
            Stalled, Waiting, Failed: by the failure's kind.

        """
        message = str(failure)
        before = conditions.get_condition(run.obj.status.conditions, conditions.READY)
        run.set_condition(conditions.READY, "False", failure.reason, message)
        if failure.kind == "stalled":
            run.set_condition(conditions.STALLED, "True", failure.reason, message)
        else:
            run.clear(conditions.STALLED)
            is_working = conditions.get_condition(run.conditions, conditions.RECONCILING)
            if before is None or is_working is not None:
                run.set_condition(
                    conditions.RECONCILING, "True", PROGRESSING_WITH_RETRY, _IN_PROGRESS
                )
        self._mark_request(run)
        await self._writer.write(run)
        is_told = before is not None and (before.reason, before.message) == (
            failure.reason,
            message,
        )
        if not (run.quiet and is_told):
            self._event(run, "Warning", failure.reason, message)
        if failure.kind == "stalled":
            raise Stalled(failure.reason, message)
        if failure.kind == "waiting":
            raise Waiting(failure.reason, message, after=self._tools.requeue_dependency)
        raise Failed(failure.reason, message)

    def _event(self, run: GeneratorRun, type_: EventType, reason: str, message: str) -> None:
        self._tools.events.event(run.live, type=type_, reason=reason, message=message)

    def _mark_request(self, run: GeneratorRun) -> None:
        requested = run.obj.metadata.reconcile_request
        if requested:
            run.status["lastHandledReconcileAt"] = requested
