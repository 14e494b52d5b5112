"""``python -m faultproxy`` as a script uses it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import aiohttp
import orjson
import pytest

from devcluster import DevCluster, Options
from devcluster_fixtures import devcluster
from faultproxy import FaultProxy
from faultproxy.upstream import BadUpstream
from fluvial.kube import config, kinds
from fluvial.kube.errors import ServerError

__all__ = ["devcluster"]

TESTS = Path(__file__).parents[2]


async def _start(*argv: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "faultproxy", *argv),
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.slow
async def test_it_serves_until_it_is_stopped(devcluster: DevCluster, tmp_path: Path) -> None:
    direct, through = tmp_path / "direct", tmp_path / "through"
    direct.write_bytes(orjson.dumps(devcluster.kubeconfig()))
    argv = ("--upstream-kubeconfig", str(direct), "--kubeconfig", str(through))
    process = await _start(*argv, "--control-port", "0")
    assert process.stdout is not None
    said: dict[str, str] = {}
    async with asyncio.timeout(30):
        while "ready" not in said:
            name, _, value = (await process.stdout.readline()).decode().strip().partition(" ")
            said[name] = value
    client = await config.load_client(kubeconfig=through, user_agent="test")
    async with client, aiohttp.ClientSession() as session:
        before = await client.list_all(kinds.NAMESPACE)
        rule = {"match": {"resource": "^namespaces$"}, "fault": {"do": "status", "status": 501}}
        async with session.post(f"{said['control']}/rules", json=rule) as made:
            assert made.status == 201
        with pytest.raises(ServerError, match="fault injected"):
            await client.list_all(kinds.NAMESPACE)
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(30):
        code = await process.wait()

    assert len(before.items) >= 4
    assert through.stat().st_mode & 0o077 == 0
    assert said["address"].startswith("https://127.0.0.1:")
    assert code == 0


@pytest.mark.slow
async def test_other_addresses_are_refused_in_one_line(
    devcluster: DevCluster, tmp_path: Path
) -> None:
    document = devcluster.kubeconfig()
    document["clusters"][0]["cluster"]["server"] = "https://192.0.2.1:6443"
    file = tmp_path / "far"
    file.write_bytes(orjson.dumps(document))
    argv = ("--upstream-kubeconfig", str(file), "--kubeconfig", str(tmp_path / "through"))
    process = await _start(*argv)
    async with asyncio.timeout(30):
        _, errors = await process.communicate()

    assert process.returncode == 1
    assert errors.decode() == (
        "faultproxy: https://192.0.2.1:6443 is not https on a loopback address\n"
    )
    assert not (tmp_path / "through").exists()


async def test_another_control_plane_behind_the_same_address(
    devcluster: DevCluster, tmp_path: Path
) -> None:
    async with (
        DevCluster(Options(admin_token=devcluster.admin_token)) as other,
        FaultProxy(devcluster.kubeconfig()) as proxy,
    ):
        file = tmp_path / "through"
        file.write_bytes(orjson.dumps(proxy.kubeconfig()))
        async with await config.load_client(kubeconfig=file, user_agent="test") as client:
            first = await client.list_all(kinds.NAMESPACE)
            await proxy.retarget(other.kubeconfig())
            second = await client.list_all(kinds.NAMESPACE)
        by_certificate = other.kubeconfig()
        by_certificate["users"][0]["user"] = {"username": "u", "password": "p"}
        with pytest.raises(BadUpstream):
            await proxy.retarget(by_certificate)

    uids = [{item["metadata"]["uid"] for item in page.items} for page in (first, second)]
    assert uids[0].isdisjoint(uids[1])
