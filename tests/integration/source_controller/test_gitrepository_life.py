"""GitRepository: refusals, suspension, deletion, restarts, shards and includes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gitservers.http import GitHttpServer
from gitservers.repos import Repo
from harness.source import SourceWorld, condition, fast_settings


@pytest.mark.shows("GitRepository/FetchFailed/URLInvalid", "GitRepository/Stalled/URLInvalid")
@pytest.mark.parametrize("url", ["http://", "https://host:port/x", "ssh:///x", "http://[::1/x"])
async def test_an_invalid_url_stalls(world: SourceWorld, url: str) -> None:
    await world.repository(url=url)
    obj = await world.until_failed("URLInvalid")

    assert condition(obj, "Stalled")["reason"] == "URLInvalid"
    assert condition(obj, "FetchFailed")["reason"] == "URLInvalid"
    assert obj["status"]["observedGeneration"] == 1


@pytest.mark.shows("field:GitRepository/spec.suspend")
async def test_suspended_objects_are_left_alone_but_requests_are_marked(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    url = f"{http_server.url}/app.git"
    await world.repository(url=url)
    before = await world.until_ready()
    await world.repository(url=url, suspend=True)
    repo.commit({"app.yaml": "new\n"})
    http_server.requests.clear()
    await world.request("suspended")
    obj = await world.until_handled("suspended")

    assert obj["status"]["artifact"] == before["status"]["artifact"]
    assert obj["status"]["observedGeneration"] == 2
    assert http_server.requests == []
    await world.repository(url=url, suspend=False)
    await world.until(
        lambda o: o["status"]["artifact"]["revision"] != before["status"]["artifact"]["revision"]
    )


@pytest.mark.shows("event:GitRepository/GarbageCollectionSucceeded")
async def test_deletion_removes_the_artifacts_and_the_finalizer(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    await world.repository(url=f"{http_server.url}/app.git")
    obj = await world.until_ready()
    await world.delete()
    await world.gone()

    assert not (world.storage_path / obj["status"]["artifact"]["path"]).parent.exists()
    assert ("Normal", "GarbageCollectionSucceeded") in await world.events()


@pytest.mark.shows("field:GitRepository/spec.sparseCheckout[]")
async def test_sparse_checkout(world: SourceWorld, repo: Repo, http_server: GitHttpServer) -> None:
    url = f"{http_server.url}/app.git"
    await world.repository(url=url, sparseCheckout=["./deploy"])
    obj = await world.until_ready()
    assert set(await world.files(obj)) == {"deploy/run.sh"}
    assert obj["status"]["observedSparseCheckout"] == ["./deploy"]
    await world.repository(url=url, sparseCheckout=["deploy", "missing"])
    obj = await world.until_failed("GitOperationFailed")

    assert "'missing'" in condition(obj, "Ready")["message"]


async def test_a_restart_keeps_artifacts_and_cleans_up(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    await world.repository(url=f"{http_server.url}/app.git")
    before = await world.until_ready()
    await world.stop_controller()
    left = world.storage_path / ".work/apps/gitrepository-app-x/tree"
    left.mkdir(parents=True)
    orphan = world.storage_path / "gitrepository/apps/deleted-meanwhile"
    orphan.mkdir()
    (orphan / "x.tar.gz").write_text("x")
    http_server.requests.clear()
    await world.start_controller(fast_settings())
    await world.request("after the restart")
    after = await world.until_handled("after the restart")

    assert after["status"]["artifact"] == before["status"]["artifact"]
    assert not left.exists()
    assert not orphan.exists()
    assert not any("POST" in line for line in http_server.requests), "nothing was fetched"


async def test_an_object_deleted_while_nobody_looked_is_cleaned_up(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    await world.repository(url=f"{http_server.url}/app.git")
    obj = await world.until_ready()
    await world.stop_controller()
    await world.delete()
    await world.start_controller(fast_settings())
    await world.gone()

    assert not (world.storage_path / obj["status"]["artifact"]["path"]).exists()


async def test_a_shard_leaves_the_objects_of_others_alone(
    world: SourceWorld, repo: Repo, base: Repo, http_server: GitHttpServer
) -> None:
    await world.stop_controller()
    settings = replace(fast_settings(), label_selector="shard in (one)")
    await world.start_controller(settings)
    await world.repository("base", url=f"{http_server.url}/base.git")
    include = [{"repository": {"name": "base"}}]
    await world.repository(
        url=f"{http_server.url}/app.git", include=include, labels={"shard": "one"}
    )
    await world.until_failed("NoArtifact")

    assert (await world.get("base"))["status"] == {"observedGeneration": -1}


@pytest.mark.shows("GitRepository/ArtifactOutdated/IncludeChange")
async def test_includes_are_copied_and_wake_the_parent(
    world: SourceWorld, repo: Repo, base: Repo, http_server: GitHttpServer
) -> None:
    await world.repository("base", url=f"{http_server.url}/base.git")
    await world.repository(
        url=f"{http_server.url}/app.git",
        include=[
            {"repository": {"name": "base"}},
            {"repository": {"name": "base"}, "fromPath": "sub", "toPath": "vendor/sub"},
        ],
    )
    obj = await world.until_ready()
    files = await world.files(obj)
    assert files["base/base.yaml"] == "b1\n"
    assert files["vendor/sub/deep.yaml"] == "d1\n"
    assert len(obj["status"]["includedArtifacts"]) == 2
    assert len(obj["status"]["observedInclude"]) == 2
    head = base.commit({"base.yaml": "b2\n"})
    async with world.history() as versions:
        await world.request("now", "base")
        after = await world.until(
            lambda o: o["status"]["includedArtifacts"][0]["revision"] == f"main@sha1:{head}"
        )
    outdated = [condition(version, "ArtifactOutdated") for version in versions]
    assert ("True", "IncludeChange") in [(o.get("status"), o.get("reason")) for o in outdated]
    assert not condition(after, "ArtifactOutdated")
    assert after["status"]["artifact"]["revision"] == obj["status"]["artifact"]["revision"]
    assert (await world.files(after))["base/base.yaml"] == "b2\n"


@pytest.mark.shows(
    "GitRepository/IncludeUnavailable/NotFound",
    "GitRepository/IncludeUnavailable/NoArtifact",
    "event:GitRepository/waiting",
    "field:GitRepository/spec.include[].repository.name",
)
async def test_missing_includes_are_waited_for(
    world: SourceWorld, repo: Repo, base: Repo, http_server: GitHttpServer
) -> None:
    await world.repository(
        url=f"{http_server.url}/app.git", include=[{"repository": {"name": "base"}}]
    )
    obj = await world.until_failed("NotFound")
    assert condition(obj, "IncludeUnavailable")["status"] == "True"
    await world.repository("base", url=f"{http_server.url}/base.git", ref={"branch": "nope"})
    await world.until_failed("NoArtifact")
    await world.repository("base", url=f"{http_server.url}/base.git")

    obj = await world.until_ready()
    assert not condition(obj, "IncludeUnavailable")
    events = await world.events()
    assert ("Normal", "NotFound") in events, "waiting is no warning"


@pytest.mark.shows(
    "GitRepository/StorageOperationFailed/IllegalPath",
    "GitRepository/StorageOperationFailed/CopyFailure",
    "field:GitRepository/spec.include[].fromPath",
    "field:GitRepository/spec.include[].toPath",
)
@pytest.mark.parametrize(
    ("include", "message"),
    [
        ({"fromPath": "nope"}, "No such file"),
        ({"toPath": "deploy"}, "not empty"),
        ({"toPath": "app.yaml/x"}, "ot a directory|File exists"),
        ({"toPath": "../../outside"}, ""),
        ({"fromPath": "nul\0byte"}, "IllegalPath"),
    ],
)
async def test_include_paths(
    world: SourceWorld,
    repo: Repo,
    base: Repo,
    http_server: GitHttpServer,
    *,
    include: dict[str, str],
    message: str,
) -> None:
    await world.repository("base", url=f"{http_server.url}/base.git")
    await world.until_ready("base")
    await world.repository(
        url=f"{http_server.url}/app.git", include=[{"repository": {"name": "base"}, **include}]
    )
    if not message:
        files = await world.files(await world.until_ready())
        assert files["outside/base.yaml"] == "b1\n", "it stays inside the tree"
        return
    if message == "IllegalPath":
        obj = await world.until_failed("IllegalPath")
        assert "NUL" in condition(obj, "StorageOperationFailed")["message"]
        return
    obj = await world.until_failed("CopyFailure")
    found = condition(obj, "StorageOperationFailed")
    assert any(part in found["message"] for part in message.split("|"))


async def test_an_include_name_cannot_leave_the_namespace(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    await world.repository(
        url=f"{http_server.url}/app.git", include=[{"repository": {"name": "../x"}}]
    )
    obj = await world.until_failed("NotFound")

    assert "invalid name" in condition(obj, "IncludeUnavailable")["message"]
