"""Delays double per key up to the cap."""

from __future__ import annotations

import pytest

from fluvial.runtime.backoff import Backoff, jitter


def test_delays_double_up_to_the_cap() -> None:
    backoff: Backoff[str] = Backoff(base=0.75, cap=900)

    assert [backoff.next("a") for _ in range(12)] == [
        0.75, 1.5, 3, 6, 12, 24, 48, 96, 192, 384, 768, 900,
    ]  # fmt: skip


def test_keys_do_not_share_failures() -> None:
    backoff: Backoff[str] = Backoff(base=1, cap=10)
    backoff.next("a")

    assert backoff.next("b") == 1
    assert backoff.failures("a") == 1


def test_success_resets() -> None:
    backoff: Backoff[str] = Backoff(base=1, cap=10)
    backoff.next("a")
    backoff.next("a")
    backoff.forget("a")

    assert backoff.failures("a") == 0
    assert backoff.next("a") == 1


def test_failures_without_end_stay_at_the_cap() -> None:
    """The exponent overflows a float at the 1025th failure in a row."""
    backoff: Backoff[str] = Backoff(base=0.75, cap=900)
    delays = [backoff.next("a") for _ in range(3000)]

    assert delays[-1] == 900
    assert max(delays) == 900


@pytest.mark.parametrize(("base", "cap"), [(0, 1), (-1, 1), (2, 1)])
def test_nonsense_is_refused(base: float, cap: float) -> None:
    with pytest.raises(ValueError, match="base"):
        Backoff(base=base, cap=cap)


def test_equal_intervals_do_not_come_due_together() -> None:
    spread = jitter(5)
    intervals = [spread(600) for _ in range(200)]

    assert 570 <= min(intervals) < 590
    assert 610 < max(intervals) <= 630
    assert len(set(intervals)) > 190


def test_no_jitter_changes_nothing() -> None:
    assert jitter(0)(600) == 600


@pytest.mark.parametrize("percentage", [-1, 100])
def test_nonsensical_jitter_is_refused(percentage: int) -> None:
    with pytest.raises(ValueError, match="jitter"):
        jitter(percentage)
