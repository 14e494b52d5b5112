"""A reconcile with nothing to do: no write, no render."""

from __future__ import annotations

import asyncio

import pytest

from harness.release import AGENT, ReleaseWorld
from harness.team import Team
from integration.helm_controller.release_charts import app_chart

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("mode", ["enabled", "disabled"])
async def test_a_timer_that_finds_nothing_new(
    devworld: ReleaseWorld, devteam: Team, mode: str
) -> None:
    assert devworld.cluster is not None
    await devteam.chart(app_chart())
    await devteam.release(interval="200ms", driftDetection={"mode": mode})
    before = await devteam.ready(version=1)
    control = devworld.cluster.control
    position = control.requests()[-1].seq
    renders, runs = devworld.renders, devworld.runs
    async with asyncio.timeout(20):
        while devworld.runs < runs + 5:
            await asyncio.sleep(0.05)

    asked = [
        one
        for one in control.requests(after=position)
        if one.agent.startswith(AGENT) and f"/namespaces/{devteam.namespace}/" in one.path
    ]
    assert [f"{one.method} {one.path}" for one in asked if one.write] == []
    assert devworld.renders == renders
    after = await devteam.until(lambda _: True)
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
