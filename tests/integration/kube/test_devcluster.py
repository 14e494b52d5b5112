"""The client against devcluster."""

from __future__ import annotations

import orjson
import pytest

from devcluster import DevCluster, Options
from devcluster_fixtures import devcluster  # noqa: F401 - a fixture
from fluvial.kube.errors import Gone
from fluvial.kube.remote import client_from_kubeconfig
from fluvial.objects import JsonObject

from .scenarios import CONFIG_MAPS, ApiServerScenarios, config_map


class TestDevcluster(ApiServerScenarios):
    @pytest.fixture
    def kubeconfig(self, devcluster: DevCluster) -> JsonObject:  # noqa: F811 - the fixture
        return devcluster.kubeconfig()


async def test_a_version_that_the_server_forgot_is_gone() -> None:
    async with DevCluster(Options(history_changes=3)) as cluster:
        client = await client_from_kubeconfig(
            orjson.dumps(cluster.kubeconfig()),
            allow_exec=False,
            allow_insecure_tls=False,
            user_agent="t",
        )
        async with client:
            page = await client.list_page(CONFIG_MAPS)
            for number in range(8):
                body = config_map("default", f"c{number}")
                await client.create(CONFIG_MAPS, body, field_manager="m")
            with pytest.raises(Gone):
                async with client.watch(
                    CONFIG_MAPS, resource_version=page.resource_version
                ) as events:
                    assert [event async for event in events] == []
