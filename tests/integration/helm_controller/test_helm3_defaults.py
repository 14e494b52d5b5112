"""A controller with the gate UseHelm3Defaults."""

from __future__ import annotations

from pathlib import Path

import pytest

from devcluster import DevCluster, Options
from fluvial.kube import kinds
from harness.helm import need_helm
from harness.release import ReleaseWorld
from harness.team import JOBS, Team
from helm_controller.assemble import Settings
from integration.helm_controller.release_charts import app_chart, hook

pytestmark = [pytest.mark.slow]


async def test_a_release_is_made_as_helm_3_made_it(tmp_path: Path) -> None:
    """By the client, with hooks that post-renderers do not see; unless the object says otherwise."""
    need_helm()
    async with (
        DevCluster(Options()) as cluster,
        ReleaseWorld.start(tmp_path, cluster.kubeconfig(), cluster=cluster) as world,
    ):
        await world.start_controller(Settings(helm3_defaults=True))
        team = await world.team()
        await team.chart(app_chart(web="", before=hook("before", "pre-install")))
        marks = {"labels": {"made": "by-us"}}
        await team.release(commonMetadata=marks)
        await team.ready(version=1)

        assert (await team.records.last("app")).apply_method == "csa"
        settings = await team.get(kinds.CONFIG_MAP, "app-settings")
        assert settings["metadata"]["labels"]["made"] == "by-us"
        assert "made" not in (await team.get(JOBS, "before"))["metadata"].get("labels", {})

        await _upgraded_as_before(team)
        await team.release(install={"serverSideApply": True}, name="new", releaseName="new")
        await team.ready("new", version=1)
        assert (await team.records.last("new")).apply_method == "ssa"
        await world.leave(team)


async def _upgraded_as_before(team: Team) -> None:
    await team.release(values={"greeting": "good night"})
    await team.ready(version=2)
    assert (await team.records.last("app")).apply_method == "csa"
