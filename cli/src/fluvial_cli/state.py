"""The folder that ``fluvial dev --state`` keeps: the cluster, a Git repository, and its port.

cluster.state     devcluster's own file; see its documentation
git/repository.git  a bare repository to push to by its path; served read only over HTTP
git/port          where it is served, so that what names its URL stays right
kubeconfig, logs, and a folder of each controller
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from fluvial.errors import FluvialError
from fluvial_cli.gitserver import GitServer

__all__ = ["KeptRepository", "cluster_file", "kept_repository", "make_folder"]

_NAME = "repository.git"


@dataclass(frozen=True, slots=True)
class KeptRepository:
    """The repository while it is served."""

    path: Path
    url: str


def make_folder(folder: Path) -> Path:
    """The folder as an absolute path; it holds keys, so a new one is for its owner only."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder.absolute()


def cluster_file(folder: Path) -> Path:
    """Where devcluster keeps its state."""
    return folder / "cluster.state"


@asynccontextmanager
async def kept_repository(folder: Path) -> AsyncIterator[KeptRepository]:
    """Serve the folder's repository, made at the first time, at the same URL each time.

    Raises:
        FluvialError: Git is missing, or somebody else has the port.

    """
    root = folder / "git"
    root.mkdir(mode=0o700, exist_ok=True)
    path = root / _NAME
    if not path.exists():
        await _create(path)
    port_file = root / "port"
    port = _number(port_file)
    async with AsyncExitStack() as stack:
        try:
            server = await stack.enter_async_context(GitServer(root, port=port))
        except OSError as error:
            raise FluvialError(
                f"port {port}, where the repository was served, cannot be used: {error.strerror};"
                f" free it, or remove {port_file} to take another"
            ) from error
        port_file.write_text(server.url.rpartition(":")[2])
        yield KeptRepository(path, f"{server.url}/{_NAME}")


def _number(file: Path) -> int:
    try:
        return int(file.read_text())
    except (FileNotFoundError, ValueError):
        return 0


async def _create(path: Path) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            *("git", "init", "--quiet", "--bare", "--initial-branch=main", str(path)),
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_CONFIG_GLOBAL": os.devnull,
            },
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError as error:
        raise FluvialError("--state needs the program git") from error
    _, err = await process.communicate()
    if process.returncode:
        raise FluvialError(f"git init {path} failed: {err.decode(errors='replace').strip()}")
