"""The snapshots of a status: taken, recognised, cut, and rolled back to."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fluvial.api import helm_actions, helm_status
from fluvial.helm import history
from fluvial.helm.history import Verification
from fluvial.helm.release import ChartMetadata, Hook, HookRun, Info, Release, Status

_TIME = "2026-01-02T03:04:05Z"


def _release(version: int, status: str = "deployed", **fields: Any) -> Release:
    info = Info(status=status, first_deployed="2026-01-02T03:04:05.678Z", last_deployed=_TIME)
    metadata = ChartMetadata(name="chart", version="1.2.3", app_version="9")
    return Release(
        name="app", namespace="apps", version=version, info=info, metadata=metadata, **fields
    )


def _snapshots(*statuses: str) -> history.History:
    """One for each status, the newest first; ``!`` marks a failed test."""
    count = len(statuses)
    failed = {"t": helm_status.TestHookStatus(phase="Failed")}
    return tuple(
        msgspec.structs.replace(
            history.snapshot_of(_release(count - index, status.rstrip("!"))),
            test_hooks=failed if status.endswith("!") else None,
        )
        for index, status in enumerate(statuses)
    )


def _versions(snapshots: history.History) -> list[int]:
    return [one.version for one in snapshots]


def test_a_snapshot_says_what_was_released() -> None:
    one = history.snapshot_of(_release(3), action="upgrade", oci_digest="sha256:1")

    assert (one.name, one.namespace, one.version, one.status) == ("app", "apps", 3, "deployed")
    assert (one.chart_name, one.chart_version, one.app_version) == ("chart", "1.2.3", "9")
    assert (one.first_deployed, one.deleted) == (_TIME, None)
    assert (one.action, one.oci_digest, one.api_version) == ("upgrade", "sha256:1", "v2")
    assert history.verify(one, _release(3)) is Verification.SAME


def test_a_record_that_was_changed_is_not_ours() -> None:
    one = history.snapshot_of(_release(3))

    for other in (_release(4), _release(3, "failed"), _release(3, manifest="x")):
        assert history.verify(one, other) is Verification.NOT_OBSERVED
    unreadable = msgspec.structs.replace(one, digest="none")
    assert history.verify(unreadable, _release(3)) is Verification.NO_DIGEST


def test_snapshots_of_helm_3_are_believed() -> None:
    old = msgspec.structs.replace(history.snapshot_of(_release(3)), api_version="", digest="x")

    assert history.verify(old, _release(3, manifest="other")) is Verification.SAME


@pytest.mark.parametrize(
    ("statuses", "ignore", "target", "kept"),
    [
        ([], False, None, []),
        (["deployed"], False, None, [1]),
        (["failed", "superseded", "superseded"], False, 2, [3, 2]),
        (["failed", "failed", "deployed"], False, 1, [3, 2, 1]),
        (["failed", "superseded!", "superseded"], False, 1, [3, 2, 1]),
        (["failed", "superseded!", "superseded"], True, 2, [3, 2]),
        (["failed"] * 7, False, None, [7, 6, 5, 4, 3]),
        (["failed", "uninstalled"], False, None, [2, 1]),
    ],
)
def test_what_is_rolled_back_to_is_kept(
    statuses: list[str],
    ignore: bool,  # noqa: FBT001 - a table
    target: int | None,
    kept: list[int],
) -> None:
    snapshots = _snapshots(*statuses)

    found = history.previous(snapshots, ignore_tests=ignore)
    assert (found.version if found else None) == target
    assert _versions(history.truncated(snapshots, ignore_tests=ignore)) == kept


def test_without_rolling_back_the_newest_five_are_kept() -> None:
    assert _versions(history.truncated_to_newest(_snapshots(*["deployed"] * 7))) == [7, 6, 5, 4, 3]


def test_an_upgrade_is_put_before_what_it_supersedes() -> None:
    before = history.recorded((), [_release(1)], action="install", oci_digest="sha256:1")
    tested = history.with_tests(before, {"t": helm_status.TestHookStatus(phase="Succeeded")})
    written = [_release(2, "pending-upgrade"), _release(1, "superseded"), _release(2)]
    after = history.recorded(tested, written, action="upgrade", oci_digest="sha256:2")

    assert [(one.version, one.status, one.action, one.oci_digest) for one in after] == [
        (2, "deployed", "upgrade", "sha256:2"),
        (1, "superseded", "install", "sha256:1"),
    ]
    assert after[1].test_hooks is not None
    assert history.verify(after[0], _release(2)) is Verification.SAME


def test_old_revisions_that_were_not_known_stay_unknown() -> None:
    written = [_release(7, "superseded"), _release(8)]

    assert _versions(history.recorded((), written, action="upgrade")) == [8]


def test_an_uninstall_ends_what_was_made() -> None:
    before = history.recorded((), [_release(1)], action="install")
    after = history.recorded(before, [_release(1, "uninstalled")], action="uninstall")

    assert [(one.status, one.action) for one in after] == [("uninstalled", "uninstall")]


_PHASES = {"ok": "Succeeded", "bad": "Failed", "open": "Running"}


@pytest.mark.parametrize(
    ("hooks", "tested", "failed"),
    [
        (None, False, False),
        ([], True, False),
        (["ok"], True, False),
        (["ok", "open"], False, False),
        (["ok", "bad"], True, True),
        (["open", "bad"], True, True),
    ],
)
def test_when_tests_are_done(
    hooks: list[str] | None,
    tested: bool,  # noqa: FBT001 - a table
    failed: bool,  # noqa: FBT001 - a table
) -> None:
    results = (
        None
        if hooks is None
        else {name: helm_status.TestHookStatus(phase=_PHASES[name]) for name in hooks}
    )
    one = msgspec.structs.replace(history.snapshot_of(_release(1)), test_hooks=results)

    assert history.has_been_tested(one) is tested
    assert history.has_failed_test(one) is failed


def _filter(name: str, *, exclude: bool = False) -> helm_actions.TestFilter:
    return helm_actions.TestFilter(name=name, exclude=exclude)


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ([], ["a", "b"]),
        ([_filter("a")], ["a"]),
        ([_filter("a", exclude=True)], ["b"]),
        ([_filter("a"), _filter("a", exclude=True)], []),
        ([_filter("c")], []),
    ],
    ids=["all", "one", "without-one", "both", "none"],
)
def test_tests_are_selected(filters: list[helm_actions.TestFilter], names: list[str]) -> None:
    run = HookRun(started_at="2026-01-02T03:04:05.9Z", completed_at="", phase="Running")
    hooks = [Hook(name=name, events=("test",), last_run=run) for name in ("a", "b")]
    release = _release(1, hooks=(*hooks, Hook(name="h", events=("pre-install",))))

    results = history.hooks_tested(release, filters)
    assert list(results) == names
    assert all(one.last_started == _TIME and not one.last_completed for one in results.values())


def test_words_of_helm_are_the_same() -> None:
    assert history.snapshot_of(_release(1, "")).status == Status.UNKNOWN
