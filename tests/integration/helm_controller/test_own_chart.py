"""The project's own chart, as everyone may install it: by a HelmRelease."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluvial.kube.resource import Resource
from harness.charts import packed
from harness.release import ReleaseWorld
from harness.team import DEPLOYMENTS, condition

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

_CHART = Path(__file__).parents[3] / "charts/fluvial"
_ROLES = Resource(
    "rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced=False
)
_CONTROLLERS = {
    "source-controller",
    "kustomize-controller",
    "helm-controller",
    "notification-controller",
}


async def test_the_chart_of_this_project_is_released(world: ReleaseWorld) -> None:
    team = await world.team(role="cluster-admin", everywhere=True)
    files = {
        str(path.relative_to(_CHART)): path.read_bytes()
        for path in _CHART.rglob("*")
        if path.is_file()
    }
    await team.chart(packed(files, folder="fluvial"), "0.1.0")
    await team.release(values={"multitenancy": {"enabled": True}})
    done = await team.ready(version=1)
    made = await team.names(DEPLOYMENTS)

    assert made == _CONTROLLERS
    role = f"helm-controller-{team.namespace}"
    assert await team.exists(_ROLES, role)
    assert len(done["status"]["inventory"]["entries"]) > len(_CONTROLLERS)
    await team.delete()
    await team.gone()
    assert await team.names(DEPLOYMENTS) == set()
    assert not await team.exists(_ROLES, role)
    assert condition(done)["reason"] == "InstallSucceeded"
    await world.leave(team)
