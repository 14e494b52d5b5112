"""Every test that takes ``world`` runs against devcluster and against the real control plane."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from devcluster import DevCluster, Options
from fluvial.kube.errors import Forbidden
from fluvial.kube.kinds import SECRET
from integration.apply.apply_world import World, connect, new_world
from integration.helm.helm_world import HelmWorld


def _with_namespace(kubeconfig: dict[str, Any], world: World) -> dict[str, Any]:
    contexts = [
        {**entry, "context": {**entry["context"], "namespace": world.namespace}}
        for entry in kubeconfig["contexts"]
    ]
    return {**kubeconfig, "contexts": contexts}


@asynccontextmanager
async def _devcluster_world() -> AsyncIterator[HelmWorld]:
    async with (
        DevCluster(Options()) as cluster,
        connect(cluster.url, cluster.ca_pem, cluster.admin_token) as admin,
    ):
        made = await new_world(admin, "devcluster")
        yield HelmWorld(made, _with_namespace(cluster.kubeconfig(), made))


async def _until_the_tenant_may(world: World) -> None:
    """Wait until the server knows of the binding."""
    while True:
        try:
            await world.spy.client.list_page(SECRET, namespace=world.namespace, limit=1)
        except Forbidden:
            await asyncio.sleep(0.02)
        else:
            return


@pytest.fixture(params=["devcluster", pytest.param("real", marks=pytest.mark.real)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[HelmWorld]:
    """A fresh namespace with a tenant, on both control planes."""
    if request.param == "real":
        plane = request.getfixturevalue("real_control_plane")
        async with connect(plane.url, plane.ca_pem, plane.admin_token) as admin:
            made = await new_world(admin, "real")
            await _until_the_tenant_may(made)
            yield HelmWorld(made, _with_namespace(plane.kubeconfig(), made))
        return
    async with _devcluster_world() as made_there:
        yield made_there


@pytest.fixture
async def devworld() -> AsyncIterator[HelmWorld]:
    """A fresh namespace with a tenant, on devcluster alone: for lives that are many."""
    async with _devcluster_world() as made:
        yield made
