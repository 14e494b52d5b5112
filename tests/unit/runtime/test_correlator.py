"""Repeats are counted, floods are cut."""

from __future__ import annotations

from fluvial.objects import JsonObject
from fluvial.runtime.correlator import Correlated, Correlator


def event(message: str = "m", *, name: str = "a", reason: str = "R") -> JsonObject:
    return {
        "involvedObject": {"kind": "App", "namespace": "ns", "name": name, "uid": name},
        "type": "Normal",
        "reason": reason,
        "message": message,
    }


def seen(correlated: Correlated | None) -> tuple[str, int]:
    assert correlated is not None
    return correlated.message, correlated.count


def test_the_same_event_is_counted() -> None:
    correlator = Correlator()
    first = correlator.correlate(event(), 0)
    second = correlator.correlate(event(), 1)

    assert first is second
    assert seen(second) == ("m", 2)


def test_events_differ_by_object_reason_and_message() -> None:
    correlator = Correlator()
    correlator.correlate(event(), 0)

    assert seen(correlator.correlate(event("other"), 0)) == ("other", 1)
    assert seen(correlator.correlate(event(reason="S"), 0)) == ("m", 1)
    assert seen(correlator.correlate(event(name="b"), 0)) == ("m", 1)


def test_the_tenth_different_message_and_later_ones_are_combined() -> None:
    correlator = Correlator()
    results = [seen(correlator.correlate(event(f"m{number}"), 0)) for number in range(12)]

    assert results[8] == ("m8", 1)
    assert results[9] == ("(combined from similar events): m9", 1)
    assert results[11] == ("(combined from similar events): m11", 3)


def test_after_ten_minutes_messages_stand_alone_again() -> None:
    correlator = Correlator()
    for number in range(12):
        correlator.correlate(event(f"m{number}"), 0)

    assert seen(correlator.correlate(event("late"), 601)) == ("late", 1)


def test_an_object_has_25_events_and_then_one_in_five_minutes() -> None:
    correlator = Correlator()
    passed = [correlator.correlate(event(), 0) is not None for _ in range(30)]

    assert passed.count(True) == 25
    assert correlator.correlate(event(), 150) is None
    assert correlator.correlate(event(), 301) is not None
    assert correlator.correlate(event(), 302) is None
    assert correlator.correlate(event(name="b"), 302) is not None


def test_memory_is_bounded() -> None:
    correlator = Correlator()
    for number in range(5000):
        correlator.correlate(event(name=str(number)), 0)

    assert len(correlator._known) == 4096
    assert len(correlator._buckets) == 4096
