"""The comparator sees every wrong answer, and says where."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conformance.apiserver.answers import read_topic
from conformance.apiserver.compare import Known, compare, judge, read_known
from conformance.apiserver.runner import ScenarioBroken
from conformance.apiserver.scenario import Scenario, load_all

Answers = list[dict[str, Any]]
RIGHT: Answers = [
    {
        "step": "create",
        "status": 201,
        "type": "application/json",
        "warnings": ['299 - "unknown field \\"x\\""'],
        "body": {
            "kind": "ConfigMap",
            "data": {"k": "v"},
            "metadata": {"resourceVersion": "<rv:1>", "generation": 1, "finalizers": ["a", "b"]},
        },
    },
    {"step": "missing", "status": 404, "type": "application/json", "body": {"message": "gone"}},
    {
        "step": "events",
        "events": [{"type": "ADDED", "object": {}}, {"type": "DELETED", "object": {}}],
    },
]


def _meta(answers: Answers) -> dict[str, Any]:
    meta: dict[str, Any] = answers[0]["body"]["metadata"]
    return meta


WRONG: dict[str, tuple[Callable[[Answers], Any], str, str]] = {
    "other status": (lambda a: a[0].update(status=200), "create", "status"),
    "other text": (lambda a: a[1]["body"].update(message="Gone"), "missing", "body.message"),
    "field too many": (lambda a: a[0]["body"].update(extra=None), "create", "body.extra"),
    "field missing": (lambda a: a[0]["body"].pop("data"), "create", "body.data"),
    "number as text": (
        lambda a: _meta(a).update(generation="1"),
        "create",
        "body.metadata.generation",
    ),
    "number as bool": (
        lambda a: _meta(a).update(generation=True),
        "create",
        "body.metadata.generation",
    ),
    "written though nothing changed": (
        lambda a: _meta(a).update(resourceVersion="<rv:2>"),
        "create",
        "body.metadata.resourceVersion",
    ),
    "other order": (
        lambda a: _meta(a).update(finalizers=["b", "a"]),
        "create",
        "body.metadata.finalizers[0]",
    ),
    "warning missing": (lambda a: a[0].pop("warnings"), "create", "warnings"),
    "event too many": (
        lambda a: a[2]["events"].append({"type": "ADDED", "object": {}}),
        "events",
        "events[2]",
    ),
    "event missing": (lambda a: a[2]["events"].pop(), "events", "events[1]"),
    "other content type": (lambda a: a[1].update(type="text/plain"), "missing", "type"),
    "step missing": (lambda a: a.pop(), "*", "steps"),
}


def test_equal_answers_have_no_difference() -> None:
    assert compare(RIGHT, copy.deepcopy(RIGHT)) == []


@pytest.mark.parametrize(("spoil", "step", "path"), WRONG.values(), ids=WRONG.keys())
def test_wrong_answer_is_caught(spoil: Callable[[Answers], Any], step: str, path: str) -> None:
    got = copy.deepcopy(RIGHT)
    spoil(got)

    found = compare(RIGHT, got)

    assert (found[0].step, found[0].path) == (step, path)


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return next(s for s in load_all() if s.id == "crud/generate-name")


@pytest.fixture
def recorded(scenario: Scenario) -> Answers:
    return copy.deepcopy(read_topic(scenario.topic)[scenario.name])


def test_agreement_is_no_problem(scenario: Scenario, recorded: Answers) -> None:
    assert not judge(scenario, recorded, {}).problem


def test_listed_difference_is_no_problem(scenario: Scenario, recorded: Answers) -> None:
    recorded[0]["status"] = 500
    known = {scenario.id: Known("why", frozenset({recorded[0]["step"]}))}

    outcome = judge(scenario, recorded, known)

    assert not outcome.problem
    assert outcome.differing == {recorded[0]["step"]}


def test_difference_beside_a_listed_one_is_a_problem(scenario: Scenario, recorded: Answers) -> None:
    recorded[0]["status"] = recorded[1]["status"] = 500
    known = {scenario.id: Known("why", frozenset({recorded[0]["step"]}))}

    assert judge(scenario, recorded, known).problem.startswith(f"{recorded[1]['step']}: status")


def test_listed_step_that_agrees_is_a_problem(scenario: Scenario, recorded: Answers) -> None:
    known = {scenario.id: Known("why", frozenset({recorded[0]["step"]}))}

    assert "agrees now" in judge(scenario, recorded, known).problem


def test_broken_run_is_a_problem(scenario: Scenario) -> None:
    outcome = judge(scenario, ScenarioBroken("no answer"), {})

    assert "no answer" in outcome.problem


@pytest.mark.parametrize("entry", ["{steps: [a]}", "{reason: x}", "{reason: ' ', steps: [a]}"])
def test_entry_needs_reason_and_steps(entry: str, tmp_path: Path) -> None:
    file = tmp_path / "known.yaml"
    file.write_text(f"a/b: {entry}\n")

    with pytest.raises(ValueError, match="a/b needs a reason and steps"):
        read_known(file)


def test_every_scenario_is_recorded_and_every_recording_has_a_scenario() -> None:
    scenarios = {scenario.id for scenario in load_all()}
    topics = {scenario.topic for scenario in load_all()}
    recorded = {f"{topic}/{name}" for topic in topics for name in read_topic(topic)}

    assert recorded == scenarios
