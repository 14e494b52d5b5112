"""One world of each sort for all tests of this folder that a worker runs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from chaos.faulty import FaultyWorld
from chaos.planes import DevPlane, RealPlane
from chaos.world import World
from controlplane.build import Binaries


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """To kill controllers in."""
    async with World.start(tmp_path_factory.mktemp("chaos")) as world:
        yield world


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def on_devcluster(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[FaultyWorld]:
    """To inject faults in."""
    folder = tmp_path_factory.mktemp("faulty")
    async with DevPlane.run(folder) as plane, FaultyWorld.start(folder, plane) as world:
        yield world


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def on_real(
    tmp_path_factory: pytest.TempPathFactory, control_plane_binaries: Binaries
) -> AsyncIterator[FaultyWorld]:
    """The same on the real control plane."""
    folder = tmp_path_factory.mktemp("faulty-real")
    async with (
        RealPlane.run(folder, control_plane_binaries) as plane,
        FaultyWorld.start(folder, plane) as world,
    ):
        yield world
