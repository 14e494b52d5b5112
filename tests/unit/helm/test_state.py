"""What follows from what was observed: by example, for every combination, and in the long run."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any, Literal

import msgspec
import pytest

from fluvial.api import helm_status
from fluvial.api.codec import decode
from fluvial.api.helm import HelmRelease
from fluvial.helm import history as past
from fluvial.helm.facts import Action, Attempts, Drift, Facts, Kind, State, Step, Target
from fluvial.helm.history import History
from fluvial.helm.policy import Policy, Remedy
from fluvial.helm.release import ChartMetadata, Info, Release, Status
from fluvial.helm.state import after_remediation, decide

_DEPLOYED = Status.DEPLOYED


def _snapshots(*statuses: str) -> History:
    """One for each status, the newest first; ``+`` and ``!`` mark tests that went well or not."""
    count = len(statuses)
    phases = {"+": "Succeeded", "!": "Failed"}
    made = []
    for index, status in enumerate(statuses):
        info = Info(status=status.rstrip("+!"), last_deployed="2026-01-02T03:04:05Z")
        release = Release(
            name="app", version=count - index, info=info, metadata=ChartMetadata(name="c")
        )
        phase = phases.get(status[-1])
        hooks = {"t": helm_status.TestHookStatus(phase=phase)} if phase else None
        made.append(msgspec.structs.replace(past.snapshot_of(release), test_hooks=hooks))
    return tuple(made)


def _policy(**fields: Any) -> Policy:
    """Keys of the upgrade's remedy may be given too; ``install`` has its own."""
    remedy = {key: fields.pop(key) for key in list(fields) if key in Remedy.__slots__}
    install = fields.pop("install", Remedy(**(remedy | {"strategy": "uninstall"})))
    return Policy(install=install, upgrade=Remedy(**({"strategy": "rollback"} | remedy)), **fields)


_INTACT, _LOST = Target.INTACT, Target.LOST
_GOOD = _snapshots("deployed")
_BAD = _snapshots("failed", "superseded")


@pytest.mark.parametrize(
    ("facts", "policy", "attempts", "state", "action"),
    [
        (Facts(None), _policy(), Attempts(), State.ABSENT, Action.INSTALL),
        (Facts(Status.UNINSTALLED), _policy(), Attempts(), State.ABSENT, Action.INSTALL),
        (Facts(Status.UNINSTALLED, _GOOD), _policy(), Attempts(), State.ABSENT, Action.INSTALL),
        (
            Facts(None),
            _policy(),
            Attempts("install", install_failures=1),
            State.ABSENT,
            Action.STALL_RETRIES,
        ),
        (
            Facts(None),
            _policy(),
            Attempts("install", install_failures=1, forced=True),
            State.ABSENT,
            Action.INSTALL,
        ),
        (
            Facts(None),
            _policy(retries=-1),
            Attempts("install", install_failures=99),
            State.ABSENT,
            Action.INSTALL,
        ),
        (Facts(Status.PENDING_INSTALL), _policy(), Attempts(), State.LOCKED, Action.UNLOCK),
        (Facts(Status.PENDING_ROLLBACK, _GOOD), _policy(), Attempts(), State.LOCKED, Action.UNLOCK),
        (
            Facts(Status.UNINSTALLING, _GOOD),
            _policy(),
            Attempts(),
            State.INTERRUPTED,
            Action.FINISH_UNINSTALL,
        ),
        (Facts(_DEPLOYED), _policy(), Attempts(), State.UNMANAGED, Action.UPGRADE),
        (Facts(Status.FAILED), _policy(), Attempts(), State.UNMANAGED, Action.UPGRADE),
        (
            Facts(_DEPLOYED, _GOOD, unobserved="other"),
            _policy(),
            Attempts(),
            State.UNMANAGED,
            Action.UPGRADE,
        ),
        (
            Facts(_DEPLOYED, _GOOD, difference="values"),
            _policy(),
            Attempts(),
            State.OUT_OF_SYNC,
            Action.UPGRADE,
        ),
        (
            Facts(_DEPLOYED, _GOOD, difference="values"),
            _policy(retries=1),
            Attempts("upgrade", upgrade_failures=2),
            State.OUT_OF_SYNC,
            Action.STALL_RETRIES,
        ),
        (
            Facts(_DEPLOYED, _GOOD, difference="values"),
            _policy(),
            Attempts("upgrade", upgrade_failures=1, forced=True),
            State.OUT_OF_SYNC,
            Action.UPGRADE,
        ),
        (Facts(_DEPLOYED, _GOOD), _policy(), Attempts(), State.IN_SYNC, Action.DONE),
        (Facts(_DEPLOYED, _GOOD), _policy(), Attempts(forced=True), State.IN_SYNC, Action.UPGRADE),
        (Facts(_DEPLOYED, _GOOD), _policy(tests=True), Attempts(), State.UNTESTED, Action.TEST),
        (
            Facts(_DEPLOYED, _snapshots("deployed+")),
            _policy(tests=True),
            Attempts("install"),
            State.IN_SYNC,
            Action.DONE,
        ),
        (
            Facts(_DEPLOYED, _snapshots("deployed!")),
            _policy(tests=True),
            Attempts("install", install_failures=1),
            State.FAILED,
            Action.STALL_RETRIES,
        ),
        (
            Facts(_DEPLOYED, _snapshots("deployed!")),
            _policy(tests=True, ignores_tests=True),
            Attempts("install", install_failures=1),
            State.IN_SYNC,
            Action.DONE,
        ),
        (
            Facts(_DEPLOYED, _snapshots("deployed!")),
            _policy(tests=True),
            Attempts(),
            State.IN_SYNC,
            Action.DONE,
        ),
        (
            Facts(_DEPLOYED, _GOOD),
            _policy(detects_drift=True),
            Attempts(),
            State.NOT_COMPARED,
            Action.COMPARE,
        ),
        (
            Facts(_DEPLOYED, _GOOD, drift=Drift.FOUND),
            _policy(detects_drift=True),
            Attempts(),
            State.DRIFTED,
            Action.TELL_DRIFT,
        ),
        (
            Facts(_DEPLOYED, _GOOD, drift=Drift.FOUND),
            _policy(detects_drift=True, corrects_drift=True),
            Attempts(),
            State.DRIFTED,
            Action.CORRECT_DRIFT,
        ),
        (
            Facts(_DEPLOYED, _GOOD, drift=Drift.FOUND),
            _policy(),
            Attempts(),
            State.IN_SYNC,
            Action.DONE,
        ),
        (Facts(Status.FAILED, _BAD), _policy(), Attempts(), State.FAILED, Action.UPGRADE),
        (
            Facts(Status.FAILED, _BAD),
            _policy(),
            Attempts("upgrade"),
            State.FAILED,
            Action.UPGRADE,
        ),
        (
            Facts(Status.FAILED, _BAD),
            _policy(),
            Attempts("upgrade", upgrade_failures=1),
            State.FAILED,
            Action.STALL_RETRIES,
        ),
        (
            Facts(Status.FAILED, _BAD),
            _policy(retries=1),
            Attempts("upgrade", upgrade_failures=1),
            State.FAILED,
            Action.CHECK_TARGET,
        ),
        (
            Facts(Status.FAILED, _BAD, target=_INTACT),
            _policy(retries=1),
            Attempts("upgrade", upgrade_failures=1),
            State.FAILED,
            Action.ROLLBACK,
        ),
        (
            Facts(Status.FAILED, _BAD, target=_INTACT),
            _policy(undoes_last=True),
            Attempts("upgrade", upgrade_failures=1),
            State.FAILED,
            Action.ROLLBACK,
        ),
        (
            Facts(Status.FAILED, _BAD, target=_LOST),
            _policy(retries=1),
            Attempts("upgrade", upgrade_failures=1),
            State.FAILED,
            Action.UPGRADE,
        ),
        (
            Facts(Status.FAILED, _snapshots("failed"), target=_INTACT),
            _policy(retries=1),
            Attempts("upgrade", upgrade_failures=1),
            State.FAILED,
            Action.STALL_NO_TARGET,
        ),
        (
            Facts(Status.FAILED, _BAD),
            _policy(retries=1, strategy="uninstall"),
            Attempts("upgrade", upgrade_failures=1),
            State.FAILED,
            Action.UNINSTALL,
        ),
        (
            Facts(Status.FAILED, _snapshots("failed")),
            _policy(retries=1),
            Attempts("install", install_failures=1),
            State.FAILED,
            Action.UNINSTALL,
        ),
        (
            Facts(Status.FAILED, _BAD),
            _policy(retries=1),
            Attempts("upgrade", upgrade_failures=1, forced=True),
            State.FAILED,
            Action.UPGRADE,
        ),
        (
            Facts(Status.FAILED, _BAD),
            _policy(retry_seconds=60.0),
            Attempts("upgrade", upgrade_failures=9),
            State.FAILED,
            Action.UPGRADE,
        ),
        (Facts(Status.SUPERSEDED, _GOOD), _policy(), Attempts(), State.ERROR, Action.ERROR),
        (Facts(Status.UNKNOWN, _GOOD), _policy(), Attempts(), State.ERROR, Action.ERROR),
    ],
)
def test_by_example(
    facts: Facts, policy: Policy, attempts: Attempts, state: State, action: Action
) -> None:
    step = decide(facts, policy, attempts)

    assert (step.state, step.action) == (state, action)


def test_what_is_not_ours_loses_its_history_and_may_be_adopted() -> None:
    step = decide(Facts(_DEPLOYED, _BAD, unobserved="x"), _policy(), Attempts())
    forced = decide(Facts(_DEPLOYED), _policy(), Attempts(forced=True))
    failed = decide(Facts(Status.FAILED), _policy(), Attempts())

    assert (step.history, step.adopt_if_same, step.reason) == ((), True, "x")
    assert not forced.adopt_if_same
    assert not failed.adopt_if_same


@pytest.mark.parametrize(
    ("policy", "attempts", "action"),
    [
        (_policy(), Attempts(), Action.REQUEUE),
        (_policy(retries=1), Attempts("upgrade", upgrade_failures=1), Action.REQUEUE),
        (_policy(retries=1), Attempts("upgrade", upgrade_failures=2), Action.STALL_RETRIES),
        (
            _policy(strategy="uninstall"),
            Attempts("upgrade", upgrade_failures=9),
            Action.REQUEUE,
        ),
        (_policy(), Attempts("install", install_failures=1), Action.STALL_RETRIES),
        (_policy(retries=-1), Attempts("install", install_failures=9), Action.REQUEUE),
        (
            _policy(retry_seconds=30.0),
            Attempts("install", install_failures=9),
            Action.RETRY_LATER,
        ),
    ],
)
def test_a_round_ends_after_a_failure_was_undone(
    policy: Policy, attempts: Attempts, action: Action
) -> None:
    assert after_remediation(Facts(None), policy, attempts).action is action


@pytest.mark.parametrize(
    ("policy", "attempts", "action"),
    [
        (_policy(), Attempts(), Action.REQUEUE),
        (_policy(), Attempts("upgrade", upgrade_failures=1), Action.DONE),
        (_policy(retry_seconds=30.0), Attempts("upgrade"), Action.RETRY_LATER),
    ],
)
def test_nothing_is_done_twice_a_round(policy: Policy, attempts: Attempts, action: Action) -> None:
    done = replace(attempts, done=frozenset({Kind.RELEASE}), forced=True)
    step = decide(Facts(_DEPLOYED, _GOOD), policy, done)

    assert step.action is action
    assert step.retry_seconds == (30.0 if action is Action.RETRY_LATER else 0.0)


_HISTORIES = [
    (),
    _GOOD,
    _BAD,
    _snapshots("failed"),
    _snapshots("deployed!", "superseded+"),
    _snapshots("failed", "superseded!", "failed", "superseded"),
]
_LAST_ACTIONS: tuple[Literal["", "install", "upgrade"], ...] = ("", "install", "upgrade")
_ATTEMPTS = [
    Attempts(action, install_failures=failures, upgrade_failures=failures, forced=forced, done=done)
    for action, failures, forced, done in itertools.product(
        _LAST_ACTIONS,
        (0, 1, 2),
        (False, True),
        (frozenset[Kind](), frozenset({Kind.RELEASE}), frozenset({Kind.REMEDIATE, Kind.TEST})),
    )
]
_POLICIES = [
    _policy(
        retries=retries,
        strategy=strategy,
        undoes_last=last,
        retry_seconds=seconds,
        tests=tests,
        detects_drift=tests,
        corrects_drift=last,
    )
    for retries, strategy, last, seconds, tests in itertools.product(
        (-1, 0, 1), ("rollback", "uninstall"), (False, True), (None, 60.0), (False, True)
    )
]


def _check(facts: Facts, policy: Policy, attempts: Attempts, step: Step) -> None:
    """What holds whatever was observed."""
    action, last = step.action, facts.last
    remedy = {"install": policy.install, "upgrade": policy.upgrade}.get(attempts.last_action)
    pending = last is not None and (last.is_pending or last is Status.UNINSTALLING)
    if pending:
        # Never two releases under way: first the one that was left is ended.
        assert action in {Action.UNLOCK, Action.FINISH_UNINSTALL}
    if action is Action.INSTALL:
        assert last in {None, Status.UNINSTALLED}
    if action in {Action.UPGRADE, Action.ROLLBACK, Action.TEST, Action.CORRECT_DRIFT}:
        assert last in set(Status) - {Status.UNINSTALLED}
    if action is Action.ROLLBACK:
        assert facts.target is Target.INTACT
        assert step.target in facts.history[1:]
        assert step.target is not None
        assert step.target.status in {"deployed", "superseded"}
    if action in {Action.ROLLBACK, Action.UNINSTALL}:
        assert remedy is not None
        assert remedy.retry_seconds is None
        assert not attempts.forced
        failures = attempts.install_failures
        assert failures > 0
        assert not remedy.exhausted(failures) or remedy.undoes_last
    if action is Action.CORRECT_DRIFT:
        assert policy.corrects_drift
        assert facts.drift is Drift.FOUND
    if action is Action.RETRY_LATER:
        assert step.retry_seconds == 60.0
    if action.kind not in {Kind.END, Kind.LOOK}:
        assert action.kind not in attempts.done
    assert step.history == facts.history[: len(step.history)]


@pytest.mark.parametrize("last", [None, *Status])
@pytest.mark.parametrize("history", _HISTORIES, ids=lambda h: f"{len(h)}-snapshots")
def test_for_every_combination(last: Status | None, history: History) -> None:
    observed = [
        Facts(last, history, unobserved, difference, drift, target)
        for unobserved, difference, (drift, target) in itertools.product(
            ("", "x"), ("", "y"), zip(Drift, Target, strict=True)
        )
    ]
    # Facts and policies in full, attempts in turn: 12 x 48 combinations a test, 38,000 in all.
    turns = itertools.cycle(_ATTEMPTS)
    combinations = list(itertools.product(observed, _POLICIES))
    for facts, policy in combinations:
        attempts = next(turns)
        _check(facts, policy, attempts, decide(facts, policy, attempts))

    assert len(combinations) == 576


class _World:
    """A release whose actions succeed or fail as told; only ``decide`` says what is done."""

    def __init__(self, policy: Policy, outcomes: dict[Action, bool]) -> None:
        self.policy = policy
        self.outcomes = outcomes
        self.records: list[Status] = []
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
                self.history, self.records = (), []
            self._record(_DEPLOYED if good else Status.FAILED)
            if good:
                self.difference = ""
            else:
                self._count(name)
        elif step.action is Action.ROLLBACK:
            self._record(_DEPLOYED if good else Status.FAILED)
            self.difference = "rolled back"
        elif step.action is Action.UNINSTALL:
            self.records = [] if good else self.records
        elif step.action is Action.UNLOCK:
            self.records[-1] = Status.FAILED
        elif step.action is Action.FINISH_UNINSTALL:
            self.records = []

    def _count(self, name: str) -> None:
        if name == "install":
            failures = self.attempts.install_failures + 1
            self.attempts = replace(self.attempts, install_failures=failures)
        else:
            failures = self.attempts.upgrade_failures + 1
            self.attempts = replace(self.attempts, upgrade_failures=failures)

    def _record(self, status: Status) -> None:
        if self.records and self.records[-1] is _DEPLOYED and status is _DEPLOYED:
            self.records[-1] = Status.SUPERSEDED
        self.records.append(status)
        statuses = [str(one) for one in reversed(self.records)]
        self.history = _snapshots(*statuses)[: len(self.history) + 1]

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
    world = _World(_policy(retries=retries, undoes_last=undoes_last), {Action.INSTALL: False})
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
        _policy(retries=retries, strategy=strategy, undoes_last=retries > 0),
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
            assert world.records[-1] is _DEPLOYED
    elif retries:
        # Uninstalled and installed anew, which is no upgrade and goes well.
        assert step.action is Action.DONE
        assert world.actions == [
            Action.INSTALL,
            Action.UPGRADE,
            Action.UNINSTALL,
            Action.INSTALL,
        ]


def test_a_retry_strategy_never_undoes() -> None:
    world = _World(_policy(retry_seconds=60.0), {Action.INSTALL: False, Action.UPGRADE: False})
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
    world = _World(_policy(retries=1), {})
    world.records = [_DEPLOYED, left]
    world.history = _snapshots(left.value, "deployed") if known else ()
    world.attempts = Attempts("upgrade")
    step = world.run()

    assert step.action is Action.DONE
    assert world.records[-1] is _DEPLOYED
    assert not [status for status in world.records if status.is_pending]


@pytest.mark.parametrize(
    ("spec", "policy"),
    [
        ({}, _policy()),
        (
            {"install": {"remediation": {"retries": 3}}, "test": {"enable": True}},
            _policy(install=Remedy(retries=3), tests=True),
        ),
        (
            {"upgrade": {"remediation": {"retries": 2, "strategy": "uninstall"}}},
            _policy(install=Remedy(), retries=2, strategy="uninstall", undoes_last=True),
        ),
        (
            {"test": {"ignoreFailures": True}, "install": {"remediation": {"retries": 0}}},
            Policy(
                Remedy(ignores_tests=True),
                Remedy(strategy="rollback", ignores_tests=True),
                ignores_tests=True,
            ),
        ),
        (
            {
                "test": {"ignoreFailures": True},
                "upgrade": {"remediation": {"ignoreTestFailures": False}},
            },
            Policy(Remedy(ignores_tests=True), Remedy(strategy="rollback"), ignores_tests=True),
        ),
        (
            {
                "install": {"strategy": {"name": "RetryOnFailure"}},
                "upgrade": {"strategy": {"name": "RetryOnFailure", "retryInterval": "1m"}},
            },
            Policy(Remedy(retry_seconds=300.0), Remedy(strategy="rollback", retry_seconds=60.0)),
        ),
        (
            {"driftDetection": {"mode": "warn"}},
            _policy(detects_drift=True),
        ),
    ],
    ids=["default", "install", "upgrade", "ignore", "ignore-not", "retry", "drift"],
)
def test_the_policy_is_read_off_the_spec(spec: dict[str, Any], policy: Policy) -> None:
    release = decode({"metadata": {}, "spec": {"interval": "5m", **spec}}, HelmRelease)

    assert Policy.of(release) == policy


def test_trying_again_can_be_the_default() -> None:
    spec = {"interval": "5m", "upgrade": {"strategy": {"name": "RemediateOnFailure"}}}
    policy = Policy.of(decode({"metadata": {}, "spec": spec}, HelmRelease), retry_by_default=True)

    assert policy.install.retry_seconds == 300.0
    assert policy.upgrade.retry_seconds is None
