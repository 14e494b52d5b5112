"""Every test that takes ``world`` runs against devcluster and against the real control plane."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from devcluster import DevCluster, Options
from integration.apply.apply_world import World, connect, new_world


@pytest.fixture(params=["devcluster", pytest.param("real", marks=pytest.mark.real)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A fresh namespace with a tenant, on both control planes."""
    if request.param == "real":
        plane = request.getfixturevalue("real_control_plane")
        async with connect(plane.url, plane.ca_pem, plane.admin_token) as admin:
            yield await new_world(admin, "real")
        return
    async with (
        DevCluster(Options()) as cluster,
        connect(cluster.url, cluster.ca_pem, cluster.admin_token) as admin,
    ):
        yield await new_world(admin, "devcluster")
