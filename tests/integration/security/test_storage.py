"""A tenant who may write the status of its GitRepository names another's file in storage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fluvial.kube import kinds
from fluvial.objects import JsonObject, ObjectKey
from gitservers.http import GitHttpServer
from gitservers.repos import Repo
from harness.source import NAMESPACE, SourceWorld, condition


@pytest.fixture
async def sources(tmp_path: Path) -> AsyncIterator[SourceWorld]:
    async with SourceWorld.start(tmp_path) as world:
        yield world


@pytest.fixture
async def git(tmp_path: Path) -> AsyncIterator[GitHttpServer]:
    Repo(tmp_path / "repos", "victim.git").commit({"token.yaml": "the victim's\n"})
    Repo(tmp_path / "repos", "mine.git").commit({"mine.yaml": "mine\n"})
    async with GitHttpServer(tmp_path / "repos") as server:
        yield server


def victims_file(world: SourceWorld) -> str:
    """A file of another namespace, as its own GitRepository would have left it there."""
    return "gitrepository/other/victim/x.tar.gz"


async def steal(world: SourceWorld, git: GitHttpServer, *, digest: str = "") -> JsonObject:
    """Put the victim's file into the status of ``mine``; returns the forged artifact."""
    await world.repository("victim", url=f"{git.url}/victim.git")
    victim = (await world.until_ready("victim"))["status"]["artifact"]
    file = world.storage_path / victims_file(world)
    file.parent.mkdir(parents=True)
    file.write_bytes((world.storage_path / victim["path"]).read_bytes())
    await world.repository("mine", url=f"{git.url}/mine.git")
    mine = (await world.until_ready("mine"))["status"]["artifact"]
    forged: JsonObject = mine | {
        "path": victims_file(world),
        "digest": digest or victim["digest"],
        "url": world.url + victims_file(world),
    }
    await world.client.patch(
        kinds.GIT_REPOSITORY,
        ObjectKey(NAMESPACE, "mine"),
        {"status": {"artifact": forged}},
        patch_type="merge",
        field_manager="tenant",
        subresource="status",
    )
    return forged


async def test_a_forged_path_is_not_believed(sources: SourceWorld, git: GitHttpServer) -> None:
    await steal(sources, git)
    await sources.request("now", "mine")
    obj = await sources.until_handled("now", "mine")

    assert obj["status"]["artifact"]["path"].startswith(f"gitrepository/{NAMESPACE}/mine/")
    assert await sources.files(obj) == {"mine.yaml": "mine\n"}


async def test_a_forged_path_deletes_nobodys_file(sources: SourceWorld, git: GitHttpServer) -> None:
    await steal(sources, git, digest="sha256:" + "0" * 64)
    await sources.request("now", "mine")
    await sources.until_handled("now", "mine")

    assert (sources.storage_path / victims_file(sources)).exists()


async def test_a_forged_path_cannot_be_included(sources: SourceWorld, git: GitHttpServer) -> None:
    await steal(sources, git)
    await sources.repository(
        "thief", url=f"{git.url}/mine.git", include=[{"repository": {"name": "mine"}}]
    )
    obj = await sources.until_failed("NoArtifact", "thief")

    assert condition(obj, "IncludeUnavailable")["status"] == "True"
    assert "artifact" not in obj["status"]
