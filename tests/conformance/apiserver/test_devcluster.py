"""devcluster answers every scenario as the real API server did."""

from __future__ import annotations

import pytest

from conformance.apiserver.compare import judge, read_known
from conformance.apiserver.runner import ScenarioBroken, Target, run_scenario
from conformance.apiserver.scenario import Scenario, load_all

KNOWN = read_known()


def _case(scenario: Scenario) -> object:
    marks = [pytest.mark.slow] if scenario.slow else []
    return pytest.param(scenario, id=scenario.id, marks=marks)


@pytest.mark.parametrize("scenario", [_case(scenario) for scenario in load_all()])
async def test_as_recorded(scenario: Scenario, devcluster_target: Target) -> None:
    try:
        got = await run_scenario(scenario, devcluster_target)
    except ScenarioBroken as error:
        outcome = judge(scenario, error, KNOWN)
    else:
        outcome = judge(scenario, got, KNOWN)

    assert not outcome.problem, f"\n{outcome.problem}"


def test_known_differences_name_scenarios_that_exist() -> None:
    names = {scenario.id: {s.name for s in scenario.steps} | {"*"} for scenario in load_all()}

    unknown = [f"{n}: {s}" for n, k in KNOWN.items() for s in k.steps if s not in names.get(n, ())]

    assert unknown == []
