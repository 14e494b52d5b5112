"""One cluster of each sort with one controller for all tests of this folder that a worker runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from controlplane.start import ControlPlane
from devcluster import DevCluster, Options
from harness.helm import need_helm
from harness.release import ReleaseWorld
from harness.team import Team


@asynccontextmanager
async def _on_devcluster(folder: Path) -> AsyncIterator[ReleaseWorld]:
    need_helm()
    async with (
        DevCluster(Options()) as cluster,
        ReleaseWorld.start(folder, cluster.kubeconfig(), cluster=cluster) as world,
    ):
        await world.start_controller()
        yield world


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def devworld(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ReleaseWorld]:
    """On devcluster."""
    async with _on_devcluster(tmp_path_factory.mktemp("releases")) as world:
        yield world


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def realworld(
    tmp_path_factory: pytest.TempPathFactory, real_control_plane: ControlPlane
) -> AsyncIterator[ReleaseWorld]:
    """On the real control plane."""
    need_helm()
    folder = tmp_path_factory.mktemp("releases-real")
    async with ReleaseWorld.start(folder, real_control_plane.kubeconfig()) as world:
        await world.start_controller()
        yield world


@pytest.fixture(params=["devcluster", pytest.param("real", marks=pytest.mark.real)])
def world(request: pytest.FixtureRequest) -> ReleaseWorld:
    """On both, one after the other."""
    name = "realworld" if request.param == "real" else "devworld"
    found: ReleaseWorld = request.getfixturevalue(name)
    return found


@pytest_asyncio.fixture(loop_scope="session")
async def team(world: ReleaseWorld) -> AsyncIterator[Team]:
    """A namespace and its account on both control planes."""
    team = await world.team()
    yield team
    await world.leave(team)


@pytest_asyncio.fixture(loop_scope="session")
async def devteam(devworld: ReleaseWorld) -> AsyncIterator[Team]:
    """A namespace and its account on devcluster, for what is asked of the real one by others."""
    team = await devworld.team()
    yield team
    await devworld.leave(team)
