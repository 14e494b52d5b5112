"""The real API server still answers every scenario as it did when it was recorded.

All that are selected are played side by side before the first is judged: one after the other they
would wait for the server's controllers in turn.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from conformance.apiserver.answers import read_topic
from conformance.apiserver.compare import compare
from conformance.apiserver.record import run_many
from conformance.apiserver.runner import ScenarioBroken, Target
from conformance.apiserver.scenario import Scenario, load_all

Answers = dict[str, list[dict[str, Any]] | ScenarioBroken]


@pytest.fixture(scope="module")
def answers(request: pytest.FixtureRequest, real_target: Target) -> Answers:
    """What the real server says to each scenario that is selected."""
    here = [item for item in request.session.items if item.path == request.path]
    selected = {item.callspec.id for item in here if isinstance(item, pytest.Function)}
    return asyncio.run(run_many([s for s in load_all() if s.id in selected], real_target))


@pytest.mark.parametrize(
    "scenario", [pytest.param(scenario, id=scenario.id) for scenario in load_all()]
)
def test_as_recorded(scenario: Scenario, answers: Answers) -> None:
    recorded = read_topic(scenario.topic).get(scenario.name)
    assert recorded is not None, "not recorded; python -m conformance.apiserver.record"
    got = answers[scenario.id]
    assert not isinstance(got, ScenarioBroken), str(got)

    differences = compare(recorded, got)

    assert not differences, "\n" + "\n".join(map(str, differences))
