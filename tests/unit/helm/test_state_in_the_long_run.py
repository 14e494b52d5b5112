"""Failures are undone and tried again so often and no more; whatever was left ends well."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from fluvial.helm.facts import Action, Attempts, Drift, Facts, Kind, Step, Target
from fluvial.helm.history import History
from fluvial.helm.policy import Policy
from fluvial.helm.release import Status
from fluvial.helm.state import after_remediation, decide
from unit.helm.state_cases import policy_with, snapshots


class _World:
    """A release whose actions succeed or fail as told; only ``decide`` says what is done."""

    def __init__(self, policy: Policy, outcomes: dict[Action, bool]) -> None:
        self.policy = policy
        self.outcomes = outcomes
        self.records: list[Status] = []
        self.made_by: list[str] = []
        self.history: History = ()
        self.attempts = Attempts()
        self.difference = ""
        self.actions: list[Action] = []

    def observe(self, target: Target) -> Facts:
        last = self.records[-1] if self.records else None
        return Facts(last, self.history, "", self.difference, Drift.NONE, target)

    def round(self) -> Step:
        """One reconcile: until a step ends it."""
        self.attempts = replace(self.attempts, done=frozenset())
        target = Target.NOT_CHECKED
        for _ in range(20):
            step = decide(self.observe(target), self.policy, self.attempts)
            self.history = step.history
            if step.action.kind is Kind.END:
                return step
            if step.action is Action.CHECK_TARGET:
                target = Target.INTACT
                continue
            self.actions.append(step.action)
            self._do(step)
            self.attempts = replace(self.attempts, done=self.attempts.done | {step.action.kind})
            if step.action.kind is Kind.REMEDIATE:
                return after_remediation(self.observe(target), self.policy, self.attempts)
        raise AssertionError("the round does not end")

    def _do(self, step: Step) -> None:
        good = self.outcomes.get(step.action, True)
        if step.action in {Action.INSTALL, Action.UPGRADE}:
            name = step.action.value
            self.attempts = replace(
                self.attempts, last_action="install" if name == "install" else "upgrade"
            )
            if step.action is Action.INSTALL:
                self.history, self.records, self.made_by = (), [], []
            self._record(Status.DEPLOYED if good else Status.FAILED, step.action)
            if good:
                self.difference = ""
            else:
                self._count(name)
        elif step.action is Action.ROLLBACK:
            self._record(Status.DEPLOYED if good else Status.FAILED, step.action)
            self.difference = "rolled back"
        elif step.action is Action.UNINSTALL:
            self.records, self.made_by = ([], []) if good else (self.records, self.made_by)
        elif step.action is Action.UNLOCK:
            self.records[-1] = Status.FAILED
        elif step.action is Action.FINISH_UNINSTALL:
            self.records, self.made_by = [], []

    def _count(self, name: str) -> None:
        if name == "install":
            failures = self.attempts.install_failures + 1
            self.attempts = replace(self.attempts, install_failures=failures)
        else:
            failures = self.attempts.upgrade_failures + 1
            self.attempts = replace(self.attempts, upgrade_failures=failures)

    def _record(self, status: Status, action: Action) -> None:
        if self.records and self.records[-1] is Status.DEPLOYED and status is Status.DEPLOYED:
            self.records[-1] = Status.SUPERSEDED
        self.records.append(status)
        self.made_by.append(action.value)
        known = {one.version for one in self.history} | {len(self.records)}
        statuses = [str(one) for one in reversed(self.records)]
        self.history = tuple(
            msgspec.structs.replace(one, action=made_by)
            for one, made_by in zip(snapshots(*statuses), reversed(self.made_by), strict=True)
            if one.version in known
        )

    def run(self) -> Step:
        """Rounds until none is asked for at once."""
        for _ in range(40):
            step = self.round()
            if step.action is not Action.REQUEUE:
                return step
        raise AssertionError("it never ends")


@pytest.mark.parametrize("retries", [0, 1, 4])
@pytest.mark.parametrize("undoes_last", [False, True])
def test_a_bad_install_is_tried_so_often_and_no_more(retries: int, undoes_last: bool) -> None:  # noqa: FBT001 - a table
    world = _World(policy_with(retries=retries, undoes_last=undoes_last), {Action.INSTALL: False})
    step = world.run()

    assert step.action is Action.STALL_RETRIES
    assert step.attempts == retries + 1
    assert world.actions.count(Action.INSTALL) == retries + 1
    assert world.actions.count(Action.UNINSTALL) == retries + undoes_last
    assert world.run().action is Action.STALL_RETRIES
    assert world.actions.count(Action.INSTALL) == retries + 1


@pytest.mark.parametrize("retries", [0, 1, 4])
@pytest.mark.parametrize("strategy", ["rollback", "uninstall"])
def test_a_bad_upgrade_is_tried_so_often_and_no_more(retries: int, strategy: str) -> None:
    world = _World(
        policy_with(retries=retries, strategy=strategy, undoes_last=retries > 0),
        {Action.UPGRADE: False},
    )
    world.run()
    world.difference = "values"
    step = world.run()

    if strategy == "rollback":
        assert step.action is Action.STALL_RETRIES
        assert world.actions.count(Action.UPGRADE) == retries + 1
        assert world.actions.count(Action.ROLLBACK) == retries + (retries > 0)
        if retries:
            assert world.records[-1] is Status.DEPLOYED
    elif retries:
        # Uninstalled and installed anew, which is no upgrade and goes well.
        assert step.action is Action.DONE
        assert world.actions == [
            Action.INSTALL,
            Action.UPGRADE,
            Action.UNINSTALL,
            Action.INSTALL,
        ]


@pytest.mark.parametrize("retries", [0, 1, 4])
def test_a_rollback_that_fails_is_tried_so_often_and_no_more(retries: int) -> None:
    world = _World(
        policy_with(retries=retries, undoes_last=True),
        {Action.UPGRADE: False, Action.ROLLBACK: False},
    )
    world.run()
    world.difference = "values"
    steps = [world.run() for _ in range(3)]

    assert [step.action for step in steps] == [Action.STALL_RETRIES] * 3
    assert world.actions.count(Action.UPGRADE) == 1
    assert world.actions.count(Action.ROLLBACK) == retries + 1

    # What is wanted anew begins anew.
    world.attempts = replace(world.attempts, upgrade_failures=0)
    world.outcomes = {}
    world.run()
    assert world.records[-1] is Status.DEPLOYED


def test_a_rollback_that_was_cut_off_is_done_again() -> None:
    world = _World(policy_with(retries=0, undoes_last=True), {Action.UPGRADE: False})
    world.run()
    world.attempts = replace(world.attempts, upgrade_failures=1, last_action="upgrade")
    world.history = tuple(
        msgspec.structs.replace(one, action=made_by)
        for one, made_by in zip(
            snapshots("failed", "failed", "deployed"),
            ("rollback", "upgrade", "install"),
            strict=True,
        )
    )
    facts = Facts(Status.FAILED, world.history, target=Target.INTACT)

    given_up = decide(facts, world.policy, world.attempts)
    assert given_up.action is Action.STALL_RETRIES
    cut_off = decide(replace(facts, cut_off=True), world.policy, world.attempts)
    assert cut_off.action is Action.ROLLBACK


def test_rollbacks_without_end_fill_no_status() -> None:
    world = _World(policy_with(retries=-1), {Action.UPGRADE: False, Action.ROLLBACK: False})
    world.run()
    world.difference = "values"
    steps = [world.round() for _ in range(30)]

    assert {step.action for step in steps} == {Action.REQUEUE}
    assert [one.action for one in world.history] == ["rollback", "rollback", "upgrade", "install"]
    assert world.actions.count(Action.ROLLBACK) == 30


def test_a_retry_strategy_never_undoes() -> None:
    world = _World(policy_with(retry_seconds=60.0), {Action.INSTALL: False, Action.UPGRADE: False})
    steps = [world.run() for _ in range(10)]

    assert {step.action for step in steps} == {Action.RETRY_LATER}
    assert set(world.actions) == {Action.INSTALL, Action.UPGRADE}
    assert max(len(step.history) for step in steps) <= 6


@pytest.mark.parametrize(
    "left",
    [Status.PENDING_INSTALL, Status.PENDING_UPGRADE, Status.PENDING_ROLLBACK, Status.UNINSTALLING],
)
@pytest.mark.parametrize("known", [False, True])
def test_whatever_was_left_under_way_ends_well(left: Status, known: bool) -> None:  # noqa: FBT001 - a table
    world = _World(policy_with(retries=1), {})
    world.records, world.made_by = [Status.DEPLOYED, left], ["install", "upgrade"]
    world.history = snapshots(left.value, "deployed") if known else ()
    world.attempts = Attempts("upgrade")
    step = world.run()

    assert step.action is Action.DONE
    assert world.records[-1] is Status.DEPLOYED
    assert not [status for status in world.records if status.is_pending]
