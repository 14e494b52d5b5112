"""The real control plane starts, judges, logs and goes, whatever happens to it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from controlplane.build import Binaries
from controlplane.start import ControlPlane

TESTS = Path(__file__).parents[2]
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


async def _gone(pids: list[int]) -> None:
    """Return when none of the processes is left (a zombie is not)."""
    async with asyncio.timeout(20):
        while any(_alive(pid) for pid in pids):
            await asyncio.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@asynccontextmanager
async def _cli(folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """``python -m controlplane`` that has said ``ready``."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "controlplane", "--kubeconfig", str(folder / "config")),
        cwd=TESTS,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            line = await process.stdout.readline()
        assert line.startswith(b"ready https://127.0.0.1:")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@linux
@pytest.mark.slow
async def test_cli_stops_all_that_it_started(
    control_plane_binaries: Binaries, tmp_path: Path
) -> None:
    async with _cli(tmp_path) as process:
        children = _children(process.pid)
        names = sorted(_name(child) for child in children)
        config = json.loads((tmp_path / "config").read_text())
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            code = await process.wait()

    assert code == 0
    assert names == ["etcd", "kube-apiserver", "kube-controller"]  # the kernel keeps 15 bytes
    assert config["current-context"] == "control-plane"
    assert not any(_alive(child) for child in children)


@linux
@pytest.mark.slow
async def test_killed_cli_leaves_no_process(
    control_plane_binaries: Binaries, tmp_path: Path
) -> None:
    async with _cli(tmp_path) as process:
        children = _children(process.pid)
        process.kill()
        await process.wait()

        await _gone(children)

    assert len(children) == 3


@linux
@pytest.mark.slow
async def test_dead_program_ends_the_cli_with_its_log(
    control_plane_binaries: Binaries, tmp_path: Path
) -> None:
    async with _cli(tmp_path) as process:
        children = _children(process.pid)
        victim = next(child for child in children if _name(child) == "kube-controller")
        os.kill(victim, signal.SIGKILL)
        async with asyncio.timeout(30):
            _, said = await process.communicate()

    assert process.returncode == 1
    assert b"kube-controller-manager ended with code -9" in said
    assert not any(_alive(child) for child in children)


async def test_audit_log_names_the_impersonated_user(real_control_plane: ControlPlane) -> None:
    plane = real_control_plane
    headers = {
        "Authorization": f"Bearer {plane.admin_token}",
        "Impersonate-User": "system:serviceaccount:default:audited",
    }
    connector = aiohttp.TCPConnector(ssl=plane.ssl_context())
    url = f"{plane.url}/api/v1/namespaces/default/secrets"
    async with (
        aiohttp.ClientSession(connector=connector, headers=headers) as session,
        session.get(url) as answer,
    ):
        status = answer.status

    # The log is written before the answer is sent.
    lines = [line for line in plane.audit_log.read_text().splitlines() if ":audited" in line]
    entry = json.loads(lines[-1])
    assert status == 403
    assert entry["user"]["username"] == "kubernetes-admin"
    assert entry["impersonatedUser"]["username"] == "system:serviceaccount:default:audited"
    assert entry["responseStatus"]["code"] == 403
