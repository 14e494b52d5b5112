"""What follows from what was observed: by example, for every combination, and in the long run."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any, Literal

import pytest

from fluvial.api.codec import decode
from fluvial.api.helm import HelmRelease
from fluvial.helm.facts import Action, Attempts, Drift, Facts, Kind, State, Step, Target
from fluvial.helm.history import History
from fluvial.helm.policy import Policy, Remedy
from fluvial.helm.release import Status
from fluvial.helm.state import after_remediation, decide
from unit.helm.state_cases import policy_with, snapshots

_DEPLOYED = Status.DEPLOYED


_INTACT, _LOST = Target.INTACT, Target.LOST
_GOOD = snapshots("deployed")
_BAD = snapshots("failed", "superseded")


@pytest.mark.parametrize(
    ("facts", "policy", "attempts", "state", "action"),
    [
        (Facts(None), policy_with(), Attempts(), State.ABSENT, Action.INSTALL),
        (Facts(Status.UNINSTALLED), policy_with(), Attempts(), State.ABSENT, Action.INSTALL),
        (Facts(Status.UNINSTALLED, _GOOD), policy_with(), Attempts(), State.ABSENT, Action.INSTALL),
        (
            Facts(None),
            policy_with(),
            Attempts("install", install_failures=1),
            State.ABSENT,
            Action.STALL_RETRIES,
        ),
        (
            Facts(None),
            policy_with(),
            Attempts("install", install_failures=1, forced=True),
            State.ABSENT,
            Action.INSTALL,
        ),
        (
            Facts(None),
            policy_with(retries=-1),
            Attempts("install", install_failures=99),
            State.ABSENT,
            Action.INSTALL,
        ),
        (Facts(Status.PENDING_INSTALL), policy_with(), Attempts(), State.LOCKED, Action.UNLOCK),
        (
            Facts(Status.PENDING_ROLLBACK, _GOOD),
            policy_with(),
            Attempts(),
            State.LOCKED,
            Action.UNLOCK,
        ),
        (
            Facts(Status.UNINSTALLING, _GOOD),
            policy_with(),
            Attempts(),
            State.INTERRUPTED,
            Action.FINISH_UNINSTALL,
        ),
        (Facts(_DEPLOYED), policy_with(), Attempts(), State.UNMANAGED, Action.UPGRADE),
        (Facts(Status.FAILED), policy_with(), Attempts(), State.UNMANAGED, Action.UPGRADE),
        (
            Facts(_DEPLOYED, _GOOD, unobserved="other"),
            policy_with(),
            Attempts(),
            State.UNMANAGED,
            Action.UPGRADE,
        ),
        (
            Facts(_DEPLOYED, _GOOD, difference="values"),
            policy_with(),
            Attempts(),
            State.OUT_OF_SYNC,
            Action.UPGRADE,
        ),
        (
            Facts(_DEPLOYED, _GOOD, difference="values"),
            policy_with(retries=1),
            Attempts("upgrade", upgrade_failures=2),
            State.OUT_OF_SYNC,
            Action.STALL_RETRIES,
        ),
        (
            Facts(_DEPLOYED, _GOOD, difference="values"),
            policy_with(),
            Attempts("upgrade", upgrade_failures=1, forced=True),
            State.OUT_OF_SYNC,
            Action.UPGRADE,
        ),
        (Facts(_DEPLOYED, _GOOD), policy_with(), Attempts(), State.IN_SYNC, Action.DONE),
        (
            Facts(_DEPLOYED, _GOOD),
            policy_with(),
            Attempts(forced=True),
            State.IN_SYNC,
            Action.UPGRADE,
        ),
        (Facts(_DEPLOYED, _GOOD), policy_with(tests=True), Attempts(), State.UNTESTED, Action.TEST),
        (
            Facts(_DEPLOYED, snapshots("deployed+")),
            policy_with(tests=True),
            Attempts("install"),
            State.IN_SYNC,
            Action.DONE,
        ),
        (
            Facts(_DEPLOYED, snapshots("deployed!")),
            policy_with(tests=True),
            Attempts("install", install_failures=1),
            State.FAILED,
            Action.STALL_RETRIES,
        ),
        (
            Facts(_DEPLOYED, snapshots("deployed!")),
            policy_with(tests=True, ignores_tests=True),
            Attempts("install", install_failures=1),
            State.IN_SYNC,
            Action.DONE,
        ),
        (
            Facts(_DEPLOYED, snapshots("deployed!")),
            policy_with(tests=True),
            Attempts(),
            State.IN_SYNC,
            Action.DONE,
        ),
        (
            Facts(_DEPLOYED, _GOOD),
            policy_with(detects_drift=True),
            Attempts(),
            State.NOT_COMPARED,
            Action.COMPARE,
        ),
        (
            Facts(_DEPLOYED, _GOOD, drift=Drift.FOUND),
            policy_with(detects_drift=True),
            Attempts(),
            State.DRIFTED,
            Action.TELL_DRIFT,
        ),
        (
            Facts(_DEPLOYED, _GOOD, drift=Drift.FOUND),
            policy_with(detects_drift=True, corrects_drift=True),
            Attempts(),
            State.DRIFTED,
            Action.CORRECT_DRIFT,
        ),
        (
            Facts(_DEPLOYED, _GOOD, drift=Drift.FOUND),
            policy_with(),
            Attempts(),
            State.IN_SYNC,
            Action.DONE,
        ),
        (Facts(Status.FAILED, _BAD), policy_with(), Attempts(), State.FAILED, Action.UPGRADE),
        (
            Facts(Status.FAILED, _BAD),
            policy_with(),
            Attempts("upgrade"),
            State.FAILED,
            Action.UPGRADE,
        ),
        (
            Facts(Status.FAILED, _BAD),
            policy_with(),
            Attempts("upgrade", upgrade_failures=1),
            State.FAILED,
            Action.STALL_RETRIES,
        ),
        (
            Facts(Status.FAILED, _BAD),
            policy_with(retries=1),
            Attempts("upgrade", upgrade_failures=1),
            State.FAILED,
            Action.CHECK_TARGET,
        ),
        (
            Facts(Status.FAILED, _BAD, target=_INTACT),
            policy_with(retries=1),
            Attempts("upgrade", upgrade_failures=1),
            State.FAILED,
            Action.ROLLBACK,
        ),
        (
            Facts(Status.FAILED, _BAD, target=_INTACT),
            policy_with(undoes_last=True),
            Attempts("upgrade", upgrade_failures=1),
            State.FAILED,
            Action.ROLLBACK,
        ),
        (
            Facts(Status.FAILED, _BAD, target=_LOST),
            policy_with(retries=1),
            Attempts("upgrade", upgrade_failures=1),
            State.FAILED,
            Action.UPGRADE,
        ),
        (
            Facts(Status.FAILED, snapshots("failed"), target=_INTACT),
            policy_with(retries=1),
            Attempts("upgrade", upgrade_failures=1),
            State.FAILED,
            Action.STALL_NO_TARGET,
        ),
        (
            Facts(Status.FAILED, _BAD),
            policy_with(retries=1, strategy="uninstall"),
            Attempts("upgrade", upgrade_failures=1),
            State.FAILED,
            Action.UNINSTALL,
        ),
        (
            Facts(Status.FAILED, snapshots("failed")),
            policy_with(retries=1),
            Attempts("install", install_failures=1),
            State.FAILED,
            Action.UNINSTALL,
        ),
        (
            Facts(Status.FAILED, _BAD),
            policy_with(retries=1),
            Attempts("upgrade", upgrade_failures=1, forced=True),
            State.FAILED,
            Action.UPGRADE,
        ),
        (
            Facts(Status.FAILED, _BAD),
            policy_with(retry_seconds=60.0),
            Attempts("upgrade", upgrade_failures=9),
            State.FAILED,
            Action.UPGRADE,
        ),
        (Facts(Status.SUPERSEDED, _GOOD), policy_with(), Attempts(), State.ERROR, Action.ERROR),
        (Facts(Status.UNKNOWN, _GOOD), policy_with(), Attempts(), State.ERROR, Action.ERROR),
    ],
)
def test_by_example(
    facts: Facts, policy: Policy, attempts: Attempts, state: State, action: Action
) -> None:
    step = decide(facts, policy, attempts)

    assert (step.state, step.action) == (state, action)


def test_what_is_not_ours_loses_its_history_and_may_be_adopted() -> None:
    step = decide(Facts(_DEPLOYED, _BAD, unobserved="x"), policy_with(), Attempts())
    forced = decide(Facts(_DEPLOYED), policy_with(), Attempts(forced=True))
    failed = decide(Facts(Status.FAILED), policy_with(), Attempts())

    assert (step.history, step.adopt_if_same, step.reason) == ((), True, "x")
    assert not forced.adopt_if_same
    assert not failed.adopt_if_same


@pytest.mark.parametrize(
    ("policy", "attempts", "action"),
    [
        (policy_with(), Attempts(), Action.REQUEUE),
        (policy_with(retries=1), Attempts("upgrade", upgrade_failures=1), Action.REQUEUE),
        (policy_with(retries=1), Attempts("upgrade", upgrade_failures=2), Action.STALL_RETRIES),
        (
            policy_with(strategy="uninstall"),
            Attempts("upgrade", upgrade_failures=9),
            Action.REQUEUE,
        ),
        (policy_with(), Attempts("install", install_failures=1), Action.STALL_RETRIES),
        (policy_with(retries=-1), Attempts("install", install_failures=9), Action.REQUEUE),
        (
            policy_with(retry_seconds=30.0),
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
        (policy_with(), Attempts(), Action.REQUEUE),
        (policy_with(), Attempts("upgrade", upgrade_failures=1), Action.DONE),
        (policy_with(retry_seconds=30.0), Attempts("upgrade"), Action.RETRY_LATER),
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
    snapshots("failed"),
    snapshots("deployed!", "superseded+"),
    snapshots("failed", "superseded!", "failed", "superseded"),
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
    policy_with(
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


@pytest.mark.parametrize(
    ("spec", "policy"),
    [
        ({}, policy_with()),
        (
            {"install": {"remediation": {"retries": 3}}, "test": {"enable": True}},
            policy_with(install=Remedy(retries=3), tests=True),
        ),
        (
            {"upgrade": {"remediation": {"retries": 2, "strategy": "uninstall"}}},
            policy_with(install=Remedy(), retries=2, strategy="uninstall", undoes_last=True),
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
            policy_with(detects_drift=True),
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
