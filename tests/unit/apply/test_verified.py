"""What is remembered between runs, and when it no longer counts."""

from __future__ import annotations

from fluvial.apply import Known, Verified
from fluvial.objects import ObjectRef

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
