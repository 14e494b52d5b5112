"""The snapshots in a HelmRelease's status: what was released, as far as it still matters.

Functions over tuples of snapshots with the newest revision first; nothing is changed in place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from fluvial.api.helm_actions import TestFilter
from fluvial.api.helm_status import (
    SNAPSHOT_API_VERSION,
    ReleaseAction,
    Snapshot,
    TestHookStatus,
)
from fluvial.helm import digests, gotime
from fluvial.helm.release import HookPhase, Release, Status

__all__ = [
    "History",
    "Verification",
    "has_been_tested",
    "has_failed_test",
    "hooks_tested",
    "is_selected",
    "newest_first",
    "previous",
    "recorded",
    "rollbacks_failed",
    "snapshot_of",
    "truncated",
    "truncated_to_newest",
    "verify",
    "with_one_failed_rollback",
    "with_tests",
]

History = tuple[Snapshot, ...]

_KEPT: Final = 5
_GOOD: Final = frozenset({Status.DEPLOYED, Status.SUPERSEDED})


class Verification(StrEnum):
    """Whether a record is the one that a snapshot was taken of."""

    SAME = "same"
    NOT_OBSERVED = "release not observed to be made for object"
    NO_DIGEST = "release digest verification error"


def newest_first(history: Iterable[Snapshot]) -> History:
    """The snapshots by revision."""
    return tuple(sorted(history, key=lambda snapshot: -snapshot.version))


def snapshot_of(
    release: Release,
    *,
    action: ReleaseAction | None = None,
    oci_digest: str = "",
    algorithm: str = digests.CANONICAL,
    tests: Mapping[str, TestHookStatus] | None = None,
) -> Snapshot:
    """What a status keeps of a revision.

    Args:
        release: as it was written to the storage.
        action: that wrote it.
        oci_digest: of the chart's OCI artifact.
        algorithm: of the digests.
        tests: the results of tests that are known of it.

    """
    info = release.info
    return Snapshot(
        action=action or "",
        api_version=SNAPSHOT_API_VERSION,
        app_version=release.metadata.app_version,
        chart_name=release.metadata.name,
        chart_version=release.metadata.version,
        config_digest=digests.config_digest(release.config, algorithm),
        deleted=gotime.seconds_only(info.deleted) or None,
        digest=digests.release_digest(release, oci_digest=oci_digest, algorithm=algorithm),
        first_deployed=gotime.seconds_only(info.first_deployed),
        last_deployed=gotime.seconds_only(info.last_deployed),
        name=release.name,
        namespace=release.namespace,
        oci_digest=oci_digest,
        status=info.status or Status.UNKNOWN.value,
        test_hooks=None if tests is None else dict(tests),
        version=release.version,
    )


def verify(snapshot: Snapshot, release: Release) -> Verification:
    """Whether the record is still as it was when the snapshot was taken.

    A snapshot whose digest was made in another way (Helm 3's) is believed.
    """
    if snapshot.api_version != SNAPSHOT_API_VERSION:
        return Verification.SAME
    if not digests.is_digest(snapshot.digest):
        return Verification.NO_DIGEST
    if digests.release_matches(snapshot.digest, release, oci_digest=snapshot.oci_digest):
        return Verification.SAME
    return Verification.NOT_OBSERVED


def recorded(
    history: History,
    written: Iterable[Release],
    *,
    action: ReleaseAction,
    oci_digest: str = "",
    algorithm: str = digests.CANONICAL,
) -> History:
    """The history after revisions were written, whether or not the action then failed.

    Args:
        history: before the action.
        written: every write in its order; the last one of a revision counts.
        action: that wrote them.
        oci_digest: of the chart's artifact, for revisions that are new.
        algorithm: of the digests.

    """
    known = {(one.name, one.namespace, one.version): one for one in history}
    latest = {release.version: release for release in written}
    newest = max(latest, default=0)
    for version, release in latest.items():
        key = (release.name, release.namespace, version)
        old = known.get(key)
        if old is None and version != newest:
            continue
        known[key] = snapshot_of(
            release,
            action=_action(old, action),
            oci_digest=old.oci_digest if old is not None else oci_digest,
            algorithm=algorithm,
            tests=old.test_hooks if old is not None else None,
        )
    return newest_first(known.values())


def _action(old: Snapshot | None, action: ReleaseAction) -> ReleaseAction:
    """A revision keeps the action that made it, unless this one ends it."""
    if old is None or action in {"uninstall", "uninstall-remediation"}:
        return action
    return msgspec.convert(old.action, ReleaseAction) if old.action else action


def has_failed_test(snapshot: Snapshot) -> bool:
    """Whether one of the tests that were run has failed."""
    hooks = snapshot.test_hooks or {}
    return any(hook.phase == HookPhase.FAILED for hook in hooks.values())


def has_been_tested(snapshot: Snapshot) -> bool:
    """Whether the tests were run to an end; that there are none to run is such an end."""
    if snapshot.test_hooks is None:
        return False
    if has_failed_test(snapshot):
        return True
    return all(hook.phase == HookPhase.SUCCEEDED for hook in snapshot.test_hooks.values())


def hooks_tested(release: Release, filters: Iterable[TestFilter] = ()) -> dict[str, TestHookStatus]:
    """How the tests of a revision went, of those that are selected, by name."""
    listed = tuple(filters)
    return {
        hook.name: TestHookStatus(
            last_started=gotime.seconds_only(hook.last_run.started_at) or None,
            last_completed=gotime.seconds_only(hook.last_run.completed_at) or None,
            phase=hook.last_run.phase,
        )
        for hook in release.hooks
        if hook.is_test and is_selected(hook.name, listed)
    }


def is_selected(test: str, filters: Iterable[TestFilter]) -> bool:
    """Whether a test is run: it is not excluded, and included where any is."""
    listed = tuple(filters)
    if any(one.exclude and one.name == test for one in listed):
        return False
    included = [one.name for one in listed if not one.exclude]
    return not included or test in included


def with_tests(history: History, tests: Mapping[str, TestHookStatus]) -> History:
    """The history after the newest revision was tested."""
    if not history:
        return history
    tested = msgspec.structs.replace(history[0], test_hooks=dict(tests))
    return (tested, *history[1:])


def _is_good(snapshot: Snapshot, *, ignore_tests: bool) -> bool:
    return snapshot.status in _GOOD and (ignore_tests or not has_failed_test(snapshot))


def previous(history: History, *, ignore_tests: bool) -> Snapshot | None:
    """What would be rolled back to: the newest older revision that went well."""
    good = (one for one in history[1:] if _is_good(one, ignore_tests=ignore_tests))
    return next(good, None)


def rollbacks_failed(history: History) -> int:
    """How many rollbacks were tried last, one after the other, and failed."""
    before = next((one for one in history if not _is_failed_rollback(one)), None)
    if before is None or before is history[0]:
        return 0
    return history[0].version - before.version


def with_one_failed_rollback(history: History) -> History:
    """The history with the newest of the rollbacks that have failed in a row, and no other one."""
    older = [one for one in history if not _is_failed_rollback(one)]
    return (*history[:1], *(one for one in older if one is not history[0]))


def _is_failed_rollback(snapshot: Snapshot) -> bool:
    return snapshot.action == "rollback" and snapshot.status == Status.FAILED


def truncated(history: History, *, ignore_tests: bool) -> History:
    """The history down to what would be rolled back to; the newest 5 if there is no such one."""
    for index, snapshot in enumerate(history[1:], start=2):
        if _is_good(snapshot, ignore_tests=ignore_tests):
            return history[:index]
    return history[:_KEPT]


def truncated_to_newest(history: History) -> History:
    """The newest 5: where failures are only tried again, nothing is rolled back to."""
    return history[:_KEPT]
