"""``python -m conformance.apiserver.record [TOPIC[/NAME]…]``: record from the real API server.

Answers are never written by hand: this runs the scenarios against the real control plane and
replaces the committed answers of those named (all when none is), and drops those of scenarios
that are no more.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any

from conformance.apiserver.answers import read_topic, write_topic
from conformance.apiserver.runner import ScenarioBroken, Target, run_scenario
from conformance.apiserver.scenario import Scenario, load_all
from controlplane.start import ControlPlane
from controlplane.workloads import workloads

__all__ = ["main", "run_many"]

Json = dict[str, Any]
_AT_ONCE = 8


def main(arguments: list[str] | None = None) -> int:
    """Record; 1 when a scenario did not run to its end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="topics or topic/name; all when omitted")
    options = parser.parse_args(arguments)
    return asyncio.run(_record(options.names))


async def run_many(
    scenarios: list[Scenario], target: Target
) -> dict[str, list[Json] | ScenarioBroken]:
    """Run scenarios side by side, then those that need it alone; id to answers, or what broke."""
    gate = asyncio.Semaphore(_AT_ONCE)
    results: dict[str, list[Json] | ScenarioBroken] = {}

    async def one(scenario: Scenario) -> None:
        async with gate:
            try:
                results[scenario.id] = await run_scenario(scenario, target)
            except ScenarioBroken as error:
                results[scenario.id] = error

    async with asyncio.TaskGroup() as group:
        for scenario in scenarios:
            if not scenario.alone:
                group.create_task(one(scenario), name=scenario.id)
    for scenario in scenarios:
        if scenario.alone:
            await one(scenario)
    return results


async def _record(names: list[str]) -> int:
    everything = load_all()
    chosen = [s for s in everything if not names or s.id in names or s.topic in names]
    async with ControlPlane() as plane, workloads(plane):
        target = Target(plane.url, plane.admin_token, plane.ssl_context(), plane.compact)
        results = await run_many(chosen, target)
        version = plane.version
    broken = {name: got for name, got in results.items() if isinstance(got, ScenarioBroken)}
    for topic in sorted({scenario.topic for scenario in chosen}):
        answers = read_topic(topic)
        known = {scenario.name for scenario in everything if scenario.topic == topic}
        for name in known:
            got = results.get(f"{topic}/{name}")
            if isinstance(got, list):
                answers[name] = got
        write_topic(topic, {n: a for n, a in answers.items() if n in known}, server=version)
    for error in broken.values():
        sys.stderr.write(f"{error}\n")
    sys.stdout.write(f"recorded {len(results) - len(broken)} of {len(chosen)} from {version}\n")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
