"""``fluvial dev``: a contract for scripts."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import orjson
import pytest

from controlplane.build import Binaries
from devcluster import DevCluster
from fluvial.api import crd
from fluvial.errors import FluvialError
from fluvial.kube import config, kinds
from fluvial.objects import ObjectKey
from fluvial_cli.dev import CONTROLLERS, install
from harness.programs import children_of, run, running


@pytest.mark.slow
async def test_everything_started_is_stopped(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    argv = ("fluvial_cli", "dev", "--kubeconfig", str(kubeconfig))
    async with running(*argv, until=b"ready") as process:
        started = children_of(process.pid)
        assert len(started) > len(CONTROLLERS)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            code = await process.wait()

    assert code == 0
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]


@pytest.mark.slow
async def test_all_of_it_with_the_real_control_plane(
    tmp_path: Path, control_plane_binaries: Binaries
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    argv = ("dev", "--control-plane", "real", "--kubeconfig", str(kubeconfig))
    async with running("fluvial_cli", *argv, until=b"ready") as process:
        started = children_of(process.pid)
        client = await config.load_client(kubeconfig=kubeconfig, user_agent="test")
        async with client:
            served = await client.request("GET", "/version")
            page = await client.list_all(kinds.KUSTOMIZATION)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            code = await process.wait()

    assert served["gitVersion"] == control_plane_binaries.version
    assert page.items == []
    assert code == 0
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]


@pytest.mark.slow
async def test_the_kubeconfig_reaches_a_cluster_with_the_crds(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    argv = ("fluvial_cli", "dev", "--controllers", "none", "--kubeconfig", str(kubeconfig))
    async with running(*argv, until=b"ready") as process:
        assert kubeconfig.stat().st_mode & 0o077 == 0
        client = await config.load_client(kubeconfig=kubeconfig, user_agent="test")
        async with client:
            page = await client.list_all(kinds.KUSTOMIZATION)
        assert page.items == []
        assert len(children_of(process.pid)) == 1


async def test_a_controller_that_there_is_not_is_said_plainly() -> None:
    ended = await run("fluvial_cli", "dev", "--controllers", "image-reflector-controller")

    assert ended.code == 1
    assert "'image-reflector-controller' cannot be started" in ended.output
    assert "helm-controller" in ended.output
    assert "Traceback" not in ended.output


async def test_a_kubeconfig_that_is_none_is_said_plainly(tmp_path: Path) -> None:
    ended = await run("fluvial_cli", "dev", "--control-plane", str(tmp_path / "nothing"))

    assert ended.code == 1
    assert "nothing is no file" in ended.output
    assert "Traceback" not in ended.output


@pytest.mark.slow
async def test_a_child_that_dies_ends_everything(tmp_path: Path) -> None:
    argv = ("fluvial_cli", "dev", "--kubeconfig", str(tmp_path / "kubeconfig"))
    async with running(*argv, until=b"ready") as process:
        victim = next(
            pid
            for pid in children_of(process.pid)
            if b"kustomize_controller" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
        signal_it(victim)
        assert process.stdout is not None
        async with asyncio.timeout(20):
            output = (await process.stdout.read()).decode()
            code = await process.wait()

    assert code == 1
    assert "kustomize-controller ended" in output


def signal_it(pid: int) -> None:
    """SIGKILL, by process id."""

    os.kill(pid, signal.SIGKILL)


async def test_definitions_of_another_installation_are_left_alone(
    devcluster: DevCluster, tmp_path: Path
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_bytes(orjson.dumps(devcluster.kubeconfig()))
    client = await config.load_client(kubeconfig=kubeconfig, user_agent="test")
    async with client:
        theirs = crd.crd(crd.KINDS[0])
        theirs["spec"]["names"]["shortNames"] = ["theirs"]
        key = ObjectKey("", theirs["metadata"]["name"])
        await client.apply(kinds.CRD, key, theirs, field_manager="flux")
        with pytest.raises(FluvialError, match="belongs to another installation"):
            await install(client)

        assert (await client.get(kinds.CRD, key))["spec"]["names"]["shortNames"] == ["theirs"]
