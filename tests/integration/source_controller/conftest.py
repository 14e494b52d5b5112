"""Git servers, workers and repositories for the tests of this folder."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fluvial.log import get_logger
from fluvial.net.gateway import Gateway
from fluvial.workers.pool import WorkerPool
from gitservers.http import GitHttpServer
from gitservers.repos import Repo
from gitservers.ssh import GitSshServer, sshd_path
from harness.git import Runner
from harness.outbound import loopback_gateway
from harness.source import SourceWorld
from source_controller.git.client import GitClient, git_pool


@pytest.fixture
async def pool() -> AsyncIterator[WorkerPool]:
    async with git_pool(size=2, log=get_logger("test")) as pool:
        yield pool


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with loopback_gateway() as gateway:
        yield gateway


@pytest.fixture
def git_client(pool: WorkerPool, gateway: Gateway) -> GitClient:
    return GitClient(pool, gateway)


@pytest.fixture
async def http_server(tmp_path: Path) -> AsyncIterator[GitHttpServer]:
    async with GitHttpServer(tmp_path / "repos") as server:
        yield server


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = Repo(tmp_path / "repos", "app.git")
    repo.commit({"app.yaml": "v1\n", "deploy/run.sh": "#!/bin/sh\n"})
    return repo


@pytest.fixture
async def ssh_server(tmp_path: Path) -> AsyncIterator[GitSshServer]:
    if not sshd_path():
        missing = "sshd is not installed: bash tests/setup.sh"
        if os.environ.get("FLUVIAL_REQUIRE_SSHD") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    async with GitSshServer(
        tmp_path / "sshd", host_key_kinds=("ed25519", "ecdsa", "rsa")
    ) as server:
        yield server


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SourceWorld]:
    """A cluster with a namespace, and the controller."""
    async with SourceWorld.start(tmp_path) as world:
        yield world


@pytest.fixture
def base(tmp_path: Path) -> Repo:
    base = Repo(tmp_path / "repos", "base.git")
    base.commit({"base.yaml": "b1\n", "sub/deep.yaml": "d1\n"})
    return base


@pytest.fixture
def run(git_client: GitClient, tmp_path: Path) -> Runner:
    return Runner(git_client, tmp_path)


@pytest.fixture
def renewed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No second token of an App is had for one that was refused, however long a test takes."""
    monkeypatch.setattr("fluvial.cloud.tokens._RENEWED_SECONDS", 3600.0)
