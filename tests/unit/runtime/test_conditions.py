"""Conditions follow Flux' rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluvial.api.meta import Condition, ConditionStatus
from fluvial.runtime import conditions as cond

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)


def make(
    type_: str,
    status: ConditionStatus = "True",
    reason: str = "R",
    message: str = "m",
    *,
    generation: int = 1,
) -> Condition:
    return cond.set_condition([], type_, status, reason, message, generation=generation, now=NOW)[0]


def types(conditions: list[Condition]) -> list[str]:
    return [item.type for item in conditions]


def test_a_condition_carries_generation_and_whole_seconds() -> None:
    [item] = cond.set_condition([], "Ready", "True", "Succeeded", "done", generation=3, now=NOW)

    assert item.type == "Ready"
    assert item.observed_generation == 3
    assert item.last_transition_time == "2026-01-02T03:04:05Z"


def test_the_argument_is_left_alone() -> None:
    before = [make("Stalled")]
    cond.set_condition(before, "Reconciling", "True", "Progressing", "", generation=2, now=LATER)

    assert types(before) == ["Stalled"]


def test_the_transition_time_stays_while_nothing_but_the_generation_changes() -> None:
    [item] = cond.set_condition([make("Ready")], "Ready", "True", "R", "m", generation=2, now=LATER)

    assert item.observed_generation == 2
    assert item.last_transition_time == "2026-01-02T03:04:05Z"


@pytest.mark.parametrize(
    ("status", "reason", "message"),
    [("False", "R", "m"), ("True", "Other", "m"), ("True", "R", "other")],
    ids=["status", "reason", "message"],
)
def test_the_transition_time_moves_with(status: ConditionStatus, reason: str, message: str) -> None:
    [item] = cond.set_condition(
        [make("Ready")], "Ready", status, reason, message, generation=1, now=LATER
    )

    assert item.last_transition_time == "2026-01-02T03:05:05Z"


def test_setting_reconciling_ends_stalled() -> None:
    result = cond.set_condition(
        [make("Stalled"), make("Ready")],
        "Reconciling",
        "True",
        "Progressing",
        "",
        generation=1,
        now=NOW,
    )

    assert types(result) == ["Reconciling", "Ready"]


def test_setting_stalled_ends_reconciling() -> None:
    result = cond.set_condition(
        [make("Reconciling")], "Stalled", "True", "URLInvalid", "", generation=1, now=NOW
    )

    assert types(result) == ["Stalled"]


def test_order_is_stalled_reconciling_ready_then_generation_then_type() -> None:
    result = cond.sort(
        [
            make("B", generation=1),
            make("A", generation=1),
            make("C", generation=2),
            make("Ready", generation=1),
            make("Reconciling", generation=1),
            make("Stalled", generation=1),
        ]
    )

    assert types(result) == ["Stalled", "Reconciling", "Ready", "C", "A", "B"]


def test_a_long_message_is_cut_with_dots() -> None:
    [item] = cond.set_condition([], "Ready", "False", "R", "x" * 40_000, generation=1, now=NOW)

    assert len(item.message) == 32_768
    assert item.message.endswith("x...")


def test_a_message_of_exactly_the_limit_is_kept() -> None:
    assert cond.clip("x" * 32_768) == "x" * 32_768


@given(st.text(max_size=60), st.integers(min_value=4, max_value=50))
def test_a_cut_message_fits_and_is_a_prefix(message: str, limit: int) -> None:
    cut = cond.clip(message, limit=limit)

    assert len(cut.encode()) <= limit
    assert cut == message or message.startswith(cut.removesuffix("..."))


def test_a_cut_message_that_is_set_again_is_no_transition() -> None:
    long = "x" * 40_000
    before = cond.set_condition([], "Ready", "False", "R", long, generation=1, now=NOW)
    after = cond.set_condition(before, "Ready", "False", "R", long, generation=1, now=LATER)

    assert after == before


def test_get_and_delete() -> None:
    both = [make("A"), make("B", "False")]

    assert cond.get_condition(both, "B") == both[1]
    assert cond.get_condition(both, "C") is None
    assert types(cond.delete_condition(both, "A")) == ["B"]
    assert cond.is_true(both, "A")
    assert not cond.is_true(both, "B")
    assert not cond.is_true(both, "C")


ORDER = [
    "StorageOperationFailed", "FetchFailed", "ArtifactOutdated", "ArtifactInStorage",
    "SourceVerified", "Stalled", "Reconciling",
]  # fmt: skip
NEGATIVE = frozenset(ORDER) - {"ArtifactInStorage", "SourceVerified"}


def ready_of(*given_: Condition) -> tuple[str, str, str]:
    result = cond.summarise(list(given_), order=ORDER, negative=NEGATIVE, generation=9, now=NOW)
    item = cond.get_condition(result, "Ready")
    assert item is not None
    assert item.observed_generation == 9
    return item.status, item.reason, item.message


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        pytest.param(
            [make("ArtifactInStorage", reason="Succeeded", message="stored")],
            ("True", "Succeeded", "stored"),
            id="positive-true",
        ),
        pytest.param(
            [make("ArtifactInStorage", reason="Succeeded"), make("FetchFailed", reason="Auth")],
            ("False", "Auth", "m"),
            id="negative-true-beats-positive-true",
        ),
        pytest.param(
            [make("SourceVerified", "False", "Verify"), make("FetchFailed", reason="Auth")],
            ("False", "Auth", "m"),
            id="negative-true-beats-positive-false",
        ),
        pytest.param(
            [make("ArtifactInStorage"), make("SourceVerified", "False", "Verify")],
            ("False", "Verify", "m"),
            id="positive-false-beats-positive-true",
        ),
        pytest.param(
            [make("FetchFailed", reason="Second"), make("StorageOperationFailed", reason="First")],
            ("False", "First", "m"),
            id="first-in-order-within-a-group",
        ),
        pytest.param(
            [make("FetchFailed", "False", "Fine")], ("True", "Fine", "m"), id="negative-false"
        ),
        pytest.param(
            [make("ArtifactInStorage", "Unknown", "Hm")], ("Unknown", "Hm", "m"), id="unknown"
        ),
        pytest.param(
            [make("Elsewhere", "False"), make("ArtifactInStorage", reason="Succeeded")],
            ("True", "Succeeded", "m"),
            id="types-outside-the-order-do-not-count",
        ),
    ],
)
def test_ready_summarises(conditions: list[Condition], expected: tuple[str, str, str]) -> None:
    assert ready_of(*conditions) == expected


def test_nothing_to_summarise_leaves_ready_alone() -> None:
    before = [make("Ready", "Unknown", "Progressing")]

    assert cond.summarise(before, order=ORDER, negative=NEGATIVE, generation=2, now=NOW) == before


class Run(cond.Conditioned):
    """One with nothing but conditions."""

    generation = 7

    def __init__(self, *conditions: Condition) -> None:
        self.conditions = list(conditions)

    def now(self) -> datetime:
        return LATER


def test_a_run_sets_conditions_of_its_generation_and_time() -> None:
    run = Run(make("Ready"), make("Stalled"))
    run.set_condition("Reconciling", "True", "Progressing", "it goes on")

    assert types(run.conditions) == ["Reconciling", "Ready"]
    [item] = [one for one in run.conditions if one.type == "Reconciling"]
    assert (item.observed_generation, item.last_transition_time) == (7, "2026-01-02T03:05:05Z")


def test_a_run_takes_conditions_away() -> None:
    run = Run(make("Ready"), make("Stalled"), make("Other"))
    run.clear("Stalled", "Other", "Absent")

    assert types(run.conditions) == ["Ready"]
