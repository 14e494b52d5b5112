"""What a run has seen of the records is what it would see again, as far as it wrote itself."""

from __future__ import annotations

import msgspec
import pytest

from fluvial.helm.release import Info, Release, Status
from fluvial.helm.seen import Revision, SeenRecords


def _release(version: int, status: Status = Status.DEPLOYED, name: str = "app") -> Release:
    info = Info(status=status.value)
    return msgspec.structs.replace(Release(name=name, namespace="ns", version=version), info=info)


def _revision(release: Release, stamp: str = "1") -> Revision:
    return Revision(release.name, release.version, release.status, stamp)


@pytest.fixture
def seen() -> SeenRecords:
    """Revisions 1 and 2, of which the second was read."""
    seen = SeenRecords()
    first, second = _release(1, Status.SUPERSEDED), _release(2)
    seen.listed("ns", "app", [_revision(second), _revision(first)])
    seen.has_read("ns", second)
    return seen


def test_nothing_is_known_before_somebody_has_looked() -> None:
    seen = SeenRecords()
    seen.has_written("ns", _release(1), _revision(_release(1)))
    assert seen.revisions("ns", "app") is None
    assert seen.record("ns", "app", 1) is None


def test_no_revision_is_something_that_is_known() -> None:
    seen = SeenRecords()
    seen.listed("ns", "app", [])
    assert seen.revisions("ns", "app") == []


def test_revisions_are_listed_with_the_oldest_first(seen: SeenRecords) -> None:
    assert [one.version for one in seen.revisions("ns", "app") or []] == [1, 2]


@pytest.mark.parametrize(("namespace", "name"), [("other", "app"), ("ns", "other")])
def test_another_release_is_not_known(seen: SeenRecords, namespace: str, name: str) -> None:
    assert seen.revisions(namespace, name) is None
    assert seen.record(namespace, name, 2) is None


def test_what_was_written_has_the_status_and_stamp_of_then(seen: SeenRecords) -> None:
    made = _release(3, Status.PENDING_UPGRADE)
    seen.has_written("ns", made, _revision(made, "5"))
    done = _release(3)
    seen.has_written("ns", done, _revision(done, "6"))

    newest = (seen.revisions("ns", "app") or [])[-1]
    assert (newest.version, newest.status, newest.stamp) == (3, Status.DEPLOYED, "6")
    assert seen.record("ns", "app", 3) is done


def test_an_older_record_does_not_take_the_place_of_the_newest(seen: SeenRecords) -> None:
    old = _release(1, Status.SUPERSEDED)
    seen.has_written("ns", old, _revision(old, "9"))
    assert seen.record("ns", "app", 2) is not None
    assert seen.record("ns", "app", 1) is None


def test_what_was_deleted_is_not_there(seen: SeenRecords) -> None:
    seen.has_deleted("ns", "app", 2)
    assert [one.version for one in seen.revisions("ns", "app") or []] == [1]
    assert seen.record("ns", "app", 2) is None


def test_after_a_new_look_the_records_are_read_again(seen: SeenRecords) -> None:
    seen.listed("ns", "app", [_revision(_release(2), "7")])
    assert seen.record("ns", "app", 2) is None


def test_what_was_forgotten_is_looked_up_again(seen: SeenRecords) -> None:
    seen.forget("ns", "app")
    assert seen.revisions("ns", "app") is None
    assert seen.record("ns", "app", 2) is None
