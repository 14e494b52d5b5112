"""What was observed of a release -> what to do next. Nothing but functions.

The reconcile asks ``decide``, does what the step says, observes anew and asks again, until a step
ends the round. Each kind of action is done at most once a round. Where a decision needs a look at
the cluster that is not always needed (have objects drifted? is the revision to roll back to still
as it was?), the step asks for that look and the answer goes into the next question.

The rules are those of Flux, but for four: a rollback that fails is tried as often as retries are
allowed, where Flux tries it for ever and makes a revision each time; a release that was left while
it was being uninstalled is uninstalled to its end, where Flux stops with an error for ever; one
that somebody else has uninstalled is installed, where Flux tries an upgrade that Helm refuses; and
one that is not ours is adopted without an upgrade where an upgrade would change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fluvial.api.helm_status import Snapshot
from fluvial.helm import history as past
from fluvial.helm.facts import Action, Attempts, Drift, Facts, Kind, State, Step, Target
from fluvial.helm.history import History
from fluvial.helm.policy import Policy, Remedy
from fluvial.helm.release import Status

__all__ = ["after_remediation", "decide", "determine"]


@dataclass(frozen=True, slots=True)
class _Case:
    """One question: everything that is known."""

    facts: Facts
    policy: Policy
    attempts: Attempts
    state: State
    reason: str

    @property
    def remedy(self) -> Remedy | None:
        """The remedy of the last release action."""
        if self.attempts.last_action == "install":
            return self.policy.install
        if self.attempts.last_action == "upgrade":
            return self.policy.upgrade
        return None

    @property
    def failures(self) -> int:
        """How often the last release action has failed."""
        if self.attempts.last_action == "install":
            return self.attempts.install_failures
        return self.attempts.upgrade_failures if self.attempts.last_action else 0

    @property
    def retry_seconds(self) -> float | None:
        """When to try again where failures are not undone."""
        return self.remedy.retry_seconds if self.remedy else None

    @property
    def ignores_tests(self) -> bool:
        """Whether a failed test keeps nobody from rolling back to a revision."""
        return self.remedy.ignores_tests if self.remedy else self.policy.ignores_tests

    def step(
        self,
        action: Action,
        *,
        history: History | None = None,
        target: Snapshot | None = None,
        adopt_if_same: bool = False,
        retry_seconds: float = 0.0,
    ) -> Step:
        kept = self.facts.history if history is None else history
        return Step(
            action,
            self.state,
            self.reason,
            kept,
            target=target,
            adopt_if_same=adopt_if_same,
            retry_seconds=retry_seconds,
            attempts=self.failures,
        )


def determine(facts: Facts, policy: Policy, attempts: Attempts) -> tuple[State, str]:
    """What a release is, and why."""
    state, reason = _by_record(facts)
    if state is not State.IN_SYNC:
        return state, reason
    if facts.difference:
        return State.OUT_OF_SYNC, facts.difference
    newest = facts.history[0]
    if policy.tests:
        if not past.has_been_tested(newest):
            return State.UNTESTED, ""
        remedy = _Case(facts, policy, attempts, state, "").remedy
        if remedy is not None and not remedy.ignores_tests and past.has_failed_test(newest):
            return State.FAILED, "release has test in failed phase"
    if policy.detects_drift and facts.drift is not Drift.NONE:
        return (State.DRIFTED, "") if facts.drift is Drift.FOUND else (State.NOT_COMPARED, "")
    return State.IN_SYNC, ""


def _by_record(facts: Facts) -> tuple[State, str]:
    """What the newest record alone tells; ``IN_SYNC`` stands for deployed and ours."""
    last = facts.last
    if last is None:
        return State.ABSENT, "no release in storage for object"
    status = f"release with status '{last}'"
    if last is Status.UNINSTALLED:
        return State.ABSENT, "found uninstalled release in storage"
    if last.is_pending or last is Status.UNINSTALLING:
        return State.LOCKED if last.is_pending else State.INTERRUPTED, status
    if not facts.history or facts.unobserved:
        return State.UNMANAGED, facts.unobserved or "found existing release in storage"
    known = {Status.FAILED: State.FAILED, Status.DEPLOYED: State.IN_SYNC}
    if last in known:
        return known[last], ""
    return State.ERROR, f"unable to determine state for {status}"


def decide(facts: Facts, policy: Policy, attempts: Attempts) -> Step:
    """What to do next.

    Args:
        facts: observed after the last step.
        policy: from the spec.
        attempts: from the status, and what was done in this round.

    """
    state, reason = determine(facts, policy, attempts)
    case = _Case(facts, policy, attempts, state, reason)
    step = _BY_STATE[state](case)
    if step.action.kind not in attempts.done or step.action.kind in {Kind.END, Kind.LOOK}:
        return step
    return _second_time(case)


def after_remediation(facts: Facts, policy: Policy, attempts: Attempts) -> Step:
    """What to do once a failure has been undone, which ends the round."""
    state, reason = determine(facts, policy, attempts)
    case = _Case(facts, policy, attempts, state, reason)
    if case.retry_seconds is not None:
        return case.step(Action.RETRY_LATER, retry_seconds=case.retry_seconds)
    remedy = case.remedy
    uninstalls = attempts.last_action == "upgrade" and policy.upgrade.strategy == "uninstall"
    if remedy is None or not remedy.exhausted(case.failures) or uninstalls:
        return case.step(Action.REQUEUE)
    return case.step(Action.STALL_RETRIES)


def _second_time(case: _Case) -> Step:
    if case.retry_seconds is not None:
        return case.step(Action.RETRY_LATER, retry_seconds=case.retry_seconds)
    if case.remedy is None or not case.remedy.exhausted(case.failures):
        return case.step(Action.REQUEUE)
    return case.step(Action.DONE)


def _absent(case: _Case) -> Step:
    exhausted = case.policy.install.exhausted(case.attempts.install_failures)
    if exhausted and not case.attempts.forced:
        return case.step(Action.STALL_RETRIES)
    return case.step(Action.INSTALL)


def _unmanaged(case: _Case) -> Step:
    same = case.facts.last is Status.DEPLOYED and not case.attempts.forced
    return case.step(Action.UPGRADE, history=(), adopt_if_same=same)


def _out_of_sync(case: _Case) -> Step:
    exhausted = case.policy.upgrade.exhausted(case.attempts.upgrade_failures)
    if exhausted and not case.attempts.forced:
        return case.step(Action.STALL_RETRIES)
    return case.step(Action.UPGRADE)


def _drifted(case: _Case) -> Step:
    return case.step(Action.CORRECT_DRIFT if case.policy.corrects_drift else Action.TELL_DRIFT)


def _in_sync(case: _Case) -> Step:
    if case.retry_seconds is not None:
        kept = past.truncated_to_newest(case.facts.history)
    else:
        kept = past.truncated(case.facts.history, ignore_tests=case.ignores_tests)
    return case.step(Action.UPGRADE if case.attempts.forced else Action.DONE, history=kept)


def _failed(case: _Case) -> Step:
    if case.retry_seconds is not None:
        return case.step(Action.UPGRADE, history=past.truncated_to_newest(case.facts.history))
    remedy = case.remedy
    if remedy is None or case.failures <= 0 or case.attempts.forced:
        return case.step(Action.UPGRADE)
    if remedy.exhausted(case.failures) and not remedy.undoes_last:
        return case.step(Action.STALL_RETRIES)
    # One that was cut off has not failed: it is done again.
    gave_up = 0 <= remedy.retries < past.rollbacks_failed(case.facts.history)
    if gave_up and not case.facts.cut_off:
        return case.step(Action.STALL_RETRIES)
    kept = past.truncated(case.facts.history, ignore_tests=remedy.ignores_tests)
    kept = past.with_one_failed_rollback(kept)
    if remedy.strategy == "uninstall":
        return case.step(Action.UNINSTALL, history=kept)
    return _roll_back(case, kept, past.previous(kept, ignore_tests=remedy.ignores_tests))


def _roll_back(case: _Case, kept: History, target: Snapshot | None) -> Step:
    if target is None:
        return case.step(Action.STALL_NO_TARGET, history=kept)
    actions = {
        Target.NOT_CHECKED: Action.CHECK_TARGET,
        Target.INTACT: Action.ROLLBACK,
        Target.LOST: Action.UPGRADE,
    }
    return case.step(actions[case.facts.target], history=kept, target=target)


_BY_STATE: Final[dict[State, Callable[[_Case], Step]]] = {
    State.ABSENT: _absent,
    State.LOCKED: lambda case: case.step(Action.UNLOCK),
    State.INTERRUPTED: lambda case: case.step(Action.FINISH_UNINSTALL),
    State.UNMANAGED: _unmanaged,
    State.FAILED: _failed,
    State.OUT_OF_SYNC: _out_of_sync,
    State.UNTESTED: lambda case: case.step(Action.TEST),
    State.NOT_COMPARED: lambda case: case.step(Action.COMPARE),
    State.DRIFTED: _drifted,
    State.IN_SYNC: _in_sync,
    State.ERROR: lambda case: case.step(Action.ERROR),
}
