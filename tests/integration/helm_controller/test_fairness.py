"""Releases of one tenant that hang delay nobody else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from devcluster import DevCluster, Options
from fluvial.kube.kinds import SECRET
from harness.helm import need_helm
from harness.release import ReleaseWorld
from harness.team import Team
from helm_controller.assemble import Settings
from integration.helm_controller.release_charts import app_chart, job

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

_PLACES = 32
"""Releases that are in hand at once where one is worked on at once."""


async def _begun(team: Team) -> int:
    page = await team.client.list_all(SECRET, namespace=team.namespace, metadata_only=True)
    return sum(one["metadata"]["name"].startswith("sh.helm.release") for one in page.items)


async def test_a_tenant_whose_releases_hang_leaves_room_for_others(tmp_path: Path) -> None:
    need_helm()
    async with (
        DevCluster(Options()) as cluster,
        ReleaseWorld.start(tmp_path, cluster.kubeconfig(), cluster=cluster) as world,
    ):
        await world.start_controller(Settings(external_artifacts=True, concurrency=1))
        hanging, others = await world.team(), await world.team()
        await hanging.chart(
            app_chart(settings="", web="", job=job("{{ .Release.Name }}", hangs=True))
        )
        await others.chart(app_chart(web=""))
        for number in range(_PLACES + 3):
            await hanging.release(f"h{number}", timeout="100h")
        async with asyncio.timeout(60):
            while await _begun(hanging) < _PLACES // 2:
                await asyncio.sleep(0.1)

        await others.release()
        await others.ready(version=1)
        assert await _begun(hanging) == _PLACES // 2
