"""The real API server still answers every scenario as it did when it was recorded."""

from __future__ import annotations

import pytest

from conformance.apiserver.answers import read_topic
from conformance.apiserver.compare import compare
from conformance.apiserver.runner import Target, run_scenario
from conformance.apiserver.scenario import Scenario, load_all


@pytest.mark.parametrize(
    "scenario", [pytest.param(scenario, id=scenario.id) for scenario in load_all()]
)
async def test_as_recorded(scenario: Scenario, real_target: Target) -> None:
    recorded = read_topic(scenario.topic).get(scenario.name)
    assert recorded is not None, "not recorded; python -m conformance.apiserver.record"

    differences = compare(recorded, await run_scenario(scenario, real_target))

    assert not differences, "\n" + "\n".join(map(str, differences))
