"""How transcripts are compared: what must fail, fails."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from conformance.clients.compare import Known, judge, read_known, shown

WANTED = [
    {"step": "one", "code": 0, "out": ["a", "b"]},
    {"step": "two", "code": 1, "out": [], "err": ["no"]},
]


def _known(*lines: str, steps: tuple[str, ...] = ("t/s: one",)) -> Known:
    return Known("because", tuple(map(re.compile, lines)), frozenset(steps))


def _changed(step: int, **fields: Any) -> list[dict[str, Any]]:
    return [{**answer, **(fields if at == step else {})} for at, answer in enumerate(WANTED)]


def test_equal_transcripts_agree() -> None:
    assert judge("t/s", WANTED, _changed(0), []) == []


@pytest.mark.parametrize(
    ("step", "fields"),
    [
        pytest.param(0, {"out": ["a"]}, id="a line less"),
        pytest.param(0, {"out": ["a", "b", "c"]}, id="a line more"),
        pytest.param(0, {"out": ["b", "a"]}, id="another order"),
        pytest.param(0, {"out": ["a", "B"]}, id="another line"),
        pytest.param(0, {"code": 1}, id="fails"),
        pytest.param(1, {"code": 0}, id="does not fail"),
        pytest.param(1, {"code": 2}, id="another code"),
        pytest.param(1, {"err": ["No"]}, id="another error"),
        pytest.param(1, {"err": []}, id="no error"),
        pytest.param(1, {"out": ["no"], "err": []}, id="error on the other output"),
    ],
)
def test_every_difference_is_told(step: int, fields: dict[str, Any]) -> None:
    problems = judge("t/s", WANTED, _changed(step, **fields), [])

    assert len(problems) == 1
    assert f"t/s: {WANTED[step]['step']}" in problems[0]


def test_missing_steps_are_told() -> None:
    assert judge("t/s", WANTED, WANTED[:1], []) == [
        "t/s: steps ['one'], recorded were ['one', 'two']"
    ]


def test_a_listed_line_may_differ_and_no_other() -> None:
    known = [_known("^b")]

    assert judge("t/s", WANTED, _changed(0, out=["a", "bb"]), known) == []
    assert judge("t/s", WANTED, _changed(0, out=["a"]), known) == []
    assert len(judge("t/s", WANTED, _changed(0, out=["c", "bb"]), known)) == 1


def test_a_listed_step_that_agrees_is_told() -> None:
    problems = judge("t/s", WANTED, WANTED, [_known("^b")])

    assert problems == ["t/s: one: agrees now; take it off known-differences.yaml"]


def test_one_of_two_entries_that_is_not_needed_is_told() -> None:
    got = _changed(0, out=["a", "bb"])

    problems = judge("t/s", WANTED, got, [_known("^b"), _known("^a")])

    assert problems == ["t/s: one: agrees now; take it off known-differences.yaml"]


def test_a_pattern_without_a_match_is_told() -> None:
    problems = judge("t/s", WANTED, _changed(0, out=["a", "bb"]), [_known("^b", "^z")])

    assert problems == ["t/s: one: no line matches ['^z']"]


def test_answers_without_outputs_are_shown_as_json() -> None:
    assert shown({"step": "x", "code": 0, "out": []}) == []
    assert shown({"step": "x", "code": 1, "out": ["a"], "err": ["b"]}) == [
        "{",
        ' "code": 1',
        "}",
        "a",
        "stderr: b",
    ]


@pytest.mark.parametrize("missing", ["reason", "lines", "steps"])
def test_an_entry_needs_all_it_has(tmp_path: Path, missing: str) -> None:
    entry = {"reason": "r", "lines": "[x]", "steps": "[y]"}
    del entry[missing]
    file = tmp_path / "known.yaml"
    file.write_text("- {" + ", ".join(f"{key}: {value}" for key, value in entry.items()) + "}\n")

    with pytest.raises(ValueError, match="needs a reason, lines and steps"):
        read_known(file)
