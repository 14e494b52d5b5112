"""Many at once: waiting costs no worker and next to no requests."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fluvial.kube import kinds
from harness.kustomize import Harness, configmap, deployment, ready_of
from kustomize_controller.assemble import Settings

MANY = 500
NEVER = {"devcluster.fluvial.dev/health": "never"}
IDLE_SECONDS = 12


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_500_waiting_for_health_do_not_hold_up_the_next(tmp_path: Path) -> None:
    """Nor do they ask the API server: at most two requests a minute for each."""
    async with Harness.start(tmp_path, settings=Settings(concurrency=4)) as world:
        await world.tenant()
        await world.source({"d.yaml": deployment("never-${n}", **NEVER)}, name="never")
        ref = {"kind": "GitRepository", "name": "never"}
        for number in range(MANY):
            await world.kustomization(
                f"w{number}",
                sourceRef=ref,
                wait=True,
                timeout="30m",
                postBuild={"substitute": {"n": str(number)}},
            )
        async with asyncio.timeout(200):
            while await _waiting(world) < MANY:
                await asyncio.sleep(0.5)
        revision = await world.source({"a.yaml": configmap()})
        await world.kustomization()
        await world.applied(revision)
        assert await _waiting(world) == MANY

        assert world.cluster is not None
        control = world.cluster.control
        last = max(entry.seq for entry in control.requests())
        await asyncio.sleep(IDLE_SECONDS)
        asked = control.requests(after=last)
        assert len(asked) <= MANY * 2 * IDLE_SECONDS / 60, len(asked)


async def _waiting(world: Harness) -> int:
    page = await world.client.list_all(kinds.KUSTOMIZATION, namespace="team")
    return sum(ready_of(obj, "Healthy").get("status") == "Unknown" for obj in page.items)
