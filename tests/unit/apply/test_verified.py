"""What is remembered between runs, and when it no longer counts."""

from __future__ import annotations

from typing import Any

from fluvial.apply import Known, Verified
from fluvial.apply.hashing import live_hash
from fluvial.apply.observe import confirm
from fluvial.objects import JsonObject, ObjectRef

A = ObjectRef("", "ConfigMap", "n", "a")
B = ObjectRef("", "ConfigMap", "n", "b")


def _known(desired: str = "d", version: str = "1") -> Known:
    return Known(desired, "l", "uid", version)


def _whole() -> Verified:
    verified = Verified()
    verified.record(A, _known())
    verified.record(B, _known())
    verified.complete("one")
    return verified


def test_nothing_is_covered_at_first() -> None:
    assert not Verified().covers("one")
    assert not Verified().covers("")


def test_complete_set_is_covered_until_an_object_is_suspect() -> None:
    verified = _whole()
    assert verified.covers("one")
    assert not verified.covers("two")

    assert verified.suspect(A)
    assert not verified.covers("one")
    verified.record(A, _known(version="2"))
    assert verified.covers("one")


def test_half_of_another_set_uncovers_the_first() -> None:
    """Going back to the old revision must write again what the new one had reached."""
    verified = _whole()
    verified.record(A, _known("other"))

    assert not verified.covers("one")


def test_dropped_object_uncovers_the_set() -> None:
    verified = _whole()
    verified.retain([A])

    assert not verified.covers("one")
    assert list(verified) == [A]


def test_forgotten_and_cleared() -> None:
    verified = _whole()
    verified.forget(A)
    assert not verified.covers("one")
    assert verified.get(A) is None
    verified.clear()
    assert len(verified) == 0


def test_unknown_object_is_no_suspect() -> None:
    verified = Verified()

    assert not verified.suspect(A)
    assert not verified.is_suspect(A)


def test_observed_versions_that_differ_or_are_missing_are_suspect() -> None:
    verified = _whole()

    assert verified.observe({A: ("uid", "1"), B: ("uid", "1")}) == []
    assert verified.observe({A: ("uid", "2")}) == [A, B]
    assert verified.is_suspect(A)
    assert verified.is_suspect(B)


def test_recreated_object_is_suspect() -> None:
    assert _whole().observe({A: ("other", "1"), B: ("uid", "1")}) == [A]


def _live(version: str, **more: Any) -> JsonObject:
    metadata = {"name": "a", "namespace": "n", "uid": "uid", "resourceVersion": version}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {}, **more}


def _confirmed(live: JsonObject) -> str:
    """The version that is known once ``live`` was read, where version 1 was verified."""
    verified = Verified()
    verified.record(A, Known("d", live_hash(_live("1")), "uid", "1"))
    verified.suspect(A)
    confirm(verified, A, live)
    known = verified.get(A)
    assert known is not None
    assert known.desired_hash == "d"
    assert verified.is_suspect(A) == (known.resource_version == "1")
    return known.resource_version


def test_an_object_that_was_read_as_it_was_verified_is_known_at_its_new_version() -> None:
    assert _confirmed(_live("2", status={"ready": True})) == "2"


def test_what_a_deployments_controller_notes_on_it_is_no_change() -> None:
    noted = _live("2")
    noted["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "1"}

    assert _confirmed(noted) == "2"
    noted["metadata"]["annotations"]["mine"] = "1"
    assert _confirmed(noted) == "1"


def test_a_changed_or_replaced_object_is_not_confirmed() -> None:
    other = _live("2")
    other["metadata"]["uid"] = "other"

    assert _confirmed(_live("2", data={"a": "b"})) == "1"
    assert _confirmed(other) == "1"


def test_an_object_that_is_not_known_is_not_confirmed() -> None:
    verified = Verified()
    confirm(verified, A, _live("2"))

    assert len(verified) == 0
