"""The suite sees every named fault of ``faults.py``, in a scenario about what is wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conformance.apiserver import runner
from conformance.apiserver.compare import Outcome, judge, read_known, target_of
from conformance.apiserver.faults import FAULTS, Fault
from conformance.apiserver.runner import ScenarioBroken, run_scenario
from conformance.apiserver.scenario import Scenario, load_all
from devcluster import DevCluster, Options

KNOWN = read_known()
SCENARIOS = [scenario for scenario in load_all() if not scenario.slow]


def about(fault: Fault) -> Iterator[Scenario]:
    """Those of the fault's topics, in the order of its topics."""
    for topic in fault.topics:
        yield from (scenario for scenario in SCENARIOS if scenario.topic == topic)


async def play(cluster: DevCluster, scenario: Scenario) -> Outcome:
    try:
        got = await run_scenario(scenario, target_of(cluster))
    except ScenarioBroken as error:
        return judge(scenario, error, KNOWN)
    return judge(scenario, got, KNOWN)


async def first_caught(fault: Fault) -> Scenario | None:
    """The first scenario that shows what is wrong while the fault is on."""
    with fault.on():
        async with DevCluster(Options(control_port=0)) as cluster:
            for scenario in about(fault):
                if fault.sign in (await play(cluster, scenario)).problem:
                    return scenario
    return None


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
async def test_fault_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = FAULTS[name]
    with monkeypatch.context() as patched:
        patched.setattr(runner, "_WAIT_SECONDS", 1.0)  # what never comes need not be waited for
        caught = await first_caught(fault)

    assert caught is not None, f"{fault.about}: nobody noticed"
    async with DevCluster(Options(control_port=0)) as cluster:
        outcome = await play(cluster, caught)

    assert not outcome.problem, "differs without the fault, too"
