"""A server with priority and fairness limits requests; then the client does not."""

from __future__ import annotations

from pathlib import Path

import orjson

from devcluster import DevCluster
from devcluster_fixtures import devcluster
from fluvial.kube.config import load_client

__all__ = ["devcluster"]


async def test_devcluster_is_asked_as_fast_as_the_real_server(
    devcluster: DevCluster,
    tmp_path: Path,
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_bytes(orjson.dumps(devcluster.kubeconfig()))

    async with await load_client(
        kubeconfig=kubeconfig, user_agent="test", qps=1, burst=1, environ={}
    ) as client:
        assert await client.use_server_side_limits()
