"""A round: look at the release, decide, act, look again, until nothing is left to do.

The decisions are those of ``fluvial.helm.state``; here they are carried out. A round ends well
(``RoundEnd``), or by one of the outcomes that the queue knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from fluvial.api.helm_actions import Upgrade
from fluvial.api.meta import Condition
from fluvial.delivery.confirming import Confirmation
from fluvial.durations import format_duration
from fluvial.helm.drift import DriftReport, IgnoreRules, correct_drift
from fluvial.helm.errors import ReleaseNotFound
from fluvial.helm.facts import Action, Drift, Facts, Kind, Step
from fluvial.helm.facts import State as Situation
from fluvial.helm.facts import Target as RollbackTarget
from fluvial.helm.history import Verification, verify
from fluvial.helm.observing import Wanted, attempts_of, observe
from fluvial.helm.policy import Policy
from fluvial.helm.release import Release, Status
from fluvial.helm.seen import Revision
from fluvial.helm.selectors import InvalidSelector
from fluvial.helm.state import after_remediation, decide
from fluvial.runtime import conditions
from fluvial.runtime.outcome import Failed, Stalled
from helm_controller.helmrelease import reasons, verdict
from helm_controller.helmrelease.acting import Stage
from helm_controller.helmrelease.actions import Actions
from helm_controller.helmrelease.approvals import is_planned
from helm_controller.helmrelease.drift import DriftStep
from helm_controller.helmrelease.rendering import effective_values
from helm_controller.helmrelease.run import Run, StatusWriter

__all__ = ["RoundEnd", "Rounds", "describe_retry", "record_id"]


@dataclass(frozen=True, slots=True)
class RoundEnd:
    """How a round ended.

    Attributes:
        retry_seconds: when to try again what has failed; ``None`` if all is as wanted.
        again: look again at once.

    """

    retry_seconds: float | None = None
    again: bool = False


@dataclass(slots=True)
class _State:
    """What one round knows."""

    policy: Policy
    done: set[Kind] = field(default_factory=set)
    drift: Drift = Drift.NOT_COMPARED
    target: RollbackTarget = RollbackTarget.NOT_CHECKED
    report: DriftReport | None = None
    last: Release | None = None
    next_version: int = 1
    fresh: bool = False
    """The objects have just been written, and differ from the release in nothing yet."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """Carries rounds out.

    Attributes:
        retries_by_default: gate DefaultToRetryOnFailure.

    """

    stage: Stage
    actions: Actions
    writer: StatusWriter
    confirmation: Confirmation
    drift: DriftStep
    retries_by_default: bool = False

    async def round(self, run: Run) -> RoundEnd:
        """Bring a release to what is wanted.

        Raises:
            Stalled: RetriesExceeded or MissingRollbackTarget.
            Failed, Waiting: as the actions; StateError.
            StorageError, ApiError, HelmError: the release could not be looked at.
            WaitEnded: the object is deleted, or an action was interrupted.
            Outdated: what was taken from a cache is not what the API server has.

        """
        state = _State(Policy.of(run.spec_of, retry_by_default=self.retries_by_default))
        await self.stage.recover(run)
        while True:
            run.turn.interruption.check()
            facts = await self._look(run, state)
            attempts = attempts_of(run.spec_of, forced=run.forced, done=frozenset(state.done))
            step = decide(facts, state.policy, attempts)
            if step.action.kind not in {Kind.LOOK, Kind.END}:
                await self.confirmation.confirm(run)
            run.status.history = list(step.history)
            end = await self._carry_out(run, state, step)
            if end is not None:
                return end
            state.done.add(step.action.kind)

    async def _look(self, run: Run, state: _State) -> Facts:
        storage = self.stage.storage(run)
        name = run.spec_of.release_name
        revisions = await storage.revisions(name)
        # Of before it is read: what changes in between is for the next run to see.
        run.record, state.last = record_id(revisions), None
        state.next_version = revisions[-1].version + 1 if revisions else 1
        if revisions:
            with suppress(ReleaseNotFound):
                state.last = await storage.get(name, revisions[-1].version)
        wanted = run.wanted
        if state.last is not None and (run.spec_of.spec.upgrade or Upgrade()).preserve_values:
            values = effective_values(run, state.last)
            wanted = Wanted(wanted.chart_name, wanted.chart_version, values)
        return observe(run.spec_of, state.last, wanted, drift=state.drift, target=state.target)

    async def _carry_out(self, run: Run, state: _State, step: Step) -> RoundEnd | None:
        match step.action:
            case Action.INSTALL:
                version = state.next_version
                state.fresh = await self.actions.install(run, state.policy, version=version)
            case Action.UPGRADE:
                assert state.last is not None  # noqa: S101  # there is something to upgrade
                state.fresh = await self.actions.upgrade(run, state.policy, step, last=state.last)
            case Action.TEST:
                await self.actions.test(run, state.policy)
            case Action.ROLLBACK | Action.UNINSTALL:
                return await self._remediate(run, state, step)
            case Action.UNLOCK:
                await self.actions.unlock(run)
            case Action.FINISH_UNINSTALL:
                assert state.last is not None  # noqa: S101  # its record says so
                await self.actions.finish_uninstall(run, state.last)
            case Action.COMPARE:
                await self._compare(run, state)
            case Action.CORRECT_DRIFT if not is_planned(run):
                await self._correct(run, state)
            case Action.CHECK_TARGET:
                state.target = await self._check_target(run, step)
            case _:
                return self._end(run, state, step)
        return None

    def _end(self, run: Run, state: _State, step: Step) -> RoundEnd:
        match step.action:
            case Action.DONE:
                # Otherwise it is given up, and the conditions tell why.
                if step.state is Situation.IN_SYNC:
                    self._in_place(run, state)
                return RoundEnd()
            case Action.TELL_DRIFT | Action.CORRECT_DRIFT:
                assert state.report is not None  # noqa: S101  # it was compared
                self._tell_drift(run, state.report)
                self._in_place(run, state)
                return RoundEnd()
            case Action.RETRY_LATER:
                return RoundEnd(retry_seconds=step.retry_seconds)
            case Action.REQUEUE:
                return RoundEnd(again=True)
            case Action.STALL_RETRIES:
                verb = run.status.last_attempted_release_action or "install"
                raise Stalled(
                    reasons.RETRIES_EXCEEDED, f"Failed to {verb} after {step.attempts} attempt(s)"
                )
            case Action.STALL_NO_TARGET:
                raise Stalled(
                    reasons.MISSING_ROLLBACK_TARGET,
                    "Failed to perform remediation: missing target release for rollback",
                )
            case _:
                raise Failed(reasons.STATE_ERROR, step.reason)

    async def _remediate(self, run: Run, state: _State, step: Step) -> RoundEnd | None:
        if step.action is Action.ROLLBACK:
            well = await self.actions.roll_back(run, step)
        else:
            well = await self.actions.uninstall(run)
        if not well:
            return None
        state.done.add(Kind.REMEDIATE)
        facts = await self._look(run, state)
        attempts = attempts_of(run.spec_of, forced=run.forced, done=frozenset(state.done))
        return self._end(run, state, after_remediation(facts, state.policy, attempts))

    async def _check_target(self, run: Run, step: Step) -> RollbackTarget:
        assert step.target is not None  # noqa: S101  # decided together with it
        try:
            record = await self.stage.storage(run).get(
                run.spec_of.release_name, step.target.version
            )
        except ReleaseNotFound:
            return RollbackTarget.LOST
        if record.status is Status.SUPERSEDED:
            # By a rollback that was killed before it was finished: status has not heard of it.
            as_seen = Status.of(step.target.status)
            record = record.with_status(as_seen, record.info.description)
        same = verify(step.target, record) is Verification.SAME
        return RollbackTarget.INTACT if same else RollbackTarget.LOST

    async def _compare(self, run: Run, state: _State) -> None:
        assert run.target is not None and state.last is not None  # noqa: S101, PT018  # known by a step before
        detection = run.spec_of.spec.drift_detection
        try:
            rules = IgnoreRules(detection.ignore if detection else ())
        except InvalidSelector as error:
            raise Failed(reasons.STATE_ERROR, f"spec.driftDetection.ignore: {error}") from error
        if state.fresh:
            self.drift.released(run)
            report = DriftReport()
        else:
            report = await self.drift.compare(run, state.last, rules)
        report.raise_unless_found()
        state.report = report
        state.drift = Drift.FOUND if report.drifts else Drift.NONE
        if not report.drifts:
            name = f"{run.spec_of.release_namespace}/{run.spec_of.release_name}"
            message = f"No drift detected for release {name}"
            verdict.mark(run, reasons.DRIFTED, "False", reasons.NO_DRIFT_DETECTED, message)

    def _tell_drift(self, run: Run, report: DriftReport) -> None:
        name = f"{run.spec_of.release_namespace}/{run.spec_of.release_name}"
        message = (
            f"Cluster state of release {name} has drifted from the desired state:\n"
            f"{report.summary()}"
        )
        before = conditions.get_condition(run.status.conditions, reasons.DRIFTED)
        verdict.mark(run, reasons.DRIFTED, "True", reasons.DRIFT_DETECTED, message)
        now = conditions.get_condition(run.status.conditions, reasons.DRIFTED)
        if run.requested or _differ(before, now):
            self.stage.tell(run, "Warning", reasons.DRIFT_DETECTED, message)

    async def _correct(self, run: Run, state: _State) -> None:
        assert run.target is not None and state.last is not None  # noqa: S101, PT018  # known by a step before
        assert state.report is not None  # noqa: S101  # known by a step before
        self._tell_drift(run, state.report)
        await self.writer.save(run)
        corrected, failures = await correct_drift(run.target, state.last, state.report.drifts)
        name = f"{run.spec_of.release_namespace}/{run.spec_of.release_name}"
        listed = "\n".join(f"{one.located.ref} {one.change}" for one in corrected)
        if failures:
            problems = "; ".join(one.message for one in failures)
            message = f"Failed to correct cluster state of release {name}: {problems}"
            if listed:
                message += f"\nSuccessful corrections:\n{listed}"
            self.stage.tell(run, "Warning", reasons.DRIFT_CORRECTION_FAILED, message)
            raise Failed(reasons.DRIFT_CORRECTION_FAILED, message)
        message = f"Cluster state of release {name} has been corrected:\n{listed}"
        self.stage.tell(run, "Normal", reasons.DRIFT_CORRECTED, message)
        state.drift, state.report = Drift.NOT_COMPARED, None

    def _in_place(self, run: Run, state: _State) -> None:
        """All is as wanted: have the conditions say so where they do not."""
        if not state.policy.detects_drift:
            run.clear(reasons.DRIFTED)
        elif not state.fresh and state.report is not None and not state.report.failures:
            run.memory.known.complete(run.attempt)
        if run.status.conditions and _says_released(run):
            verdict.summarise(run)
            return
        last = state.last
        assert last is not None  # noqa: S101  # something is in place
        verb = "install" if last.version == 1 else "upgrade"
        reason = reasons.INSTALL_SUCCEEDED if verb == "install" else reasons.UPGRADE_SUCCEEDED
        if any(one.type == reasons.REMEDIATED for one in run.status.conditions):
            run.clear(reasons.REMEDIATED)
            reason, verb = reasons.UPGRADE_SUCCEEDED, "upgrade"
        message = (
            f"Helm {verb} succeeded for release {last.namespace}/{last.name}.v{last.version}"
            f" with chart {last.metadata.name}@{last.metadata.version}"
        )
        verdict.mark(run, reasons.RELEASED, "True", reason, message)
        self._restate_tests(run, state.policy)
        verdict.summarise(run)

    def _restate_tests(self, run: Run, policy: Policy) -> None:
        """What was tested holds for the new generation too; without tests nothing is said."""
        tested = next((c for c in run.status.conditions if c.type == reasons.TEST_SUCCESS), None)
        if not policy.tests:
            run.clear(reasons.TEST_SUCCESS)
        elif tested is not None:
            verdict.mark(run, reasons.TEST_SUCCESS, tested.status, tested.reason, tested.message)


def _says_released(run: Run) -> bool:
    found = {one.type: one for one in run.status.conditions}
    released = found.get(reasons.RELEASED)
    return (
        released is not None
        and released.status == "True"
        and released.observed_generation == run.generation
        and reasons.REMEDIATED not in found
    )


def _differ(before: Condition | None, now: Condition | None) -> bool:
    """Whether a condition says something else now, whatever generation it says it of."""
    if before is None or now is None:
        return before is not now
    return (before.status, before.message) != (now.status, now.message)


def record_id(revisions: Sequence[Revision]) -> str:
    """What tells the newest record, and each write of it, from all others; ``""`` without any."""
    return f"{revisions[-1].version} {revisions[-1].stamp}" if revisions else ""


def describe_retry(seconds: float) -> str:
    """``retrying after 5m0s``."""
    return f"retrying after {format_duration(seconds)}"
