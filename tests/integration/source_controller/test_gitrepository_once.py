"""Equal GitRepositories of a namespace cost one fetch, and nobody gets another one's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fluvial.kube import kinds
from fluvial.objects import JsonObject, ObjectKey
from gitservers.http import GitHttpServer
from gitservers.repos import Repo
from harness.oci import OciWorld
from harness.source import condition
from source_controller.assemble import Settings


class GitWorld(OciWorld):
    """GitRepositories in several namespaces."""

    resource = kinds.GIT_REPOSITORY

    async def git(self, name: str, namespace: str = "apps", **spec: Any) -> None:
        obj = {
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "GitRepository",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"interval": "1h", "ref": {"branch": "main"}} | spec,
        }
        key = ObjectKey(namespace, name)
        await self.client.apply(self.resource, key, obj, field_manager="test")

    async def found(self, name: str, ready: str = "True") -> JsonObject:
        """The object of a name in any namespace, once its Ready has a status."""
        async with asyncio.timeout(30):
            while True:
                for obj in (await self.client.list_all(self.resource)).items:
                    is_it = obj["metadata"]["name"] == name
                    if is_it and condition(obj, "Ready").get("status") == ready:
                        return obj
                await asyncio.sleep(0.05)

    def inode(self, obj: JsonObject) -> int:
        file = self.storage_path / str(obj["status"]["artifact"]["path"])
        return file.stat().st_ino


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[GitWorld]:
    settings = Settings(concurrency=8, requeue_dependency=0.2, retry_delays=(0.2, 1.0))
    async with GitWorld.start(tmp_path, settings=settings) as world:
        assert isinstance(world, GitWorld)
        await world._create_namespace("other")
        yield world


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = Repo(tmp_path / "repos", "app.git")
    repo.commit({"app.yaml": "v1\n"})
    return repo


@pytest.mark.slow
async def test_equal_objects_of_a_namespace_cost_one_fetch_and_one_file(
    world: GitWorld, repo: Repo, tmp_path: Path
) -> None:
    async with GitHttpServer(tmp_path / "repos") as server:
        url = f"{server.url}/app.git"
        for number in range(8):
            await world.git(f"app-{number}", url=url)
        await world.git("stranger", "other", url=url)
        objects = [await world.found(f"app-{number}") for number in range(8)]
        stranger = await world.found("stranger")

    assert len({world.inode(obj) for obj in objects}) == 1, "one stored file"
    assert world.inode(stranger) != world.inode(objects[0])
    digests = {obj["status"]["artifact"]["digest"] for obj in (*objects, stranger)}
    assert len(digests) == 1
    assert await world.files(objects[7]) == {"app.yaml": "v1\n"}


@pytest.mark.slow
async def test_other_wishes_are_other_archives(world: GitWorld, repo: Repo, tmp_path: Path) -> None:
    repo.commit({"app.yaml": "v1\n", "docs/a.md": "x\n"})
    async with GitHttpServer(tmp_path / "repos") as server:
        url = f"{server.url}/app.git"
        await world.git("all", url=url)
        await world.git("some", url=url, ignore="docs/\n")
        await world.git("sparse", url=url, sparseCheckout=["docs"])
        await world.git("user", url=url, secretRef={"name": "missing"})
        everything, some = await world.found("all"), await world.found("some")
        sparse, user = await world.found("sparse"), await world.found("user", "False")

    assert set(await world.files(everything)) == {"app.yaml", "docs/a.md"}
    assert set(await world.files(some)) == {"app.yaml"}
    assert set(await world.files(sparse)) == {"docs/a.md"}
    assert "artifact" not in user["status"]


@pytest.mark.slow
async def test_a_request_is_answered_by_the_server(
    world: GitWorld, repo: Repo, tmp_path: Path
) -> None:
    async with GitHttpServer(tmp_path / "repos") as server:
        await world.git("one", url=f"{server.url}/app.git")
        await world.until_ready("one")
        repo.commit({"app.yaml": "v2\n"})
        await world.request("now", "one")
        obj = await world.until_handled("now", "one")

        assert await world.files(obj) == {"app.yaml": "v2\n"}
