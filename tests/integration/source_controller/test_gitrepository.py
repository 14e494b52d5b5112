"""GitRepository from spec to artifact, condition by condition."""

from __future__ import annotations

import pytest

from gitservers.http import GitHttpServer
from gitservers.repos import Repo
from harness.source import SourceWorld, condition


@pytest.mark.shows(
    "GitRepository/Ready/Succeeded",
    "GitRepository/ArtifactInStorage/Succeeded",
    "event:GitRepository/NewArtifact",
    "field:GitRepository/spec.url",
    "field:GitRepository/spec.ref.branch",
)
async def test_a_branch_becomes_a_served_artifact(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    head = repo.commit({"app.yaml": "v2\n", "photo.jpg": "x"}, message="Second")
    await world.repository(url=f"{http_server.url}/app.git")
    obj = await world.until_ready()

    status = obj["status"]
    assert status["artifact"]["revision"] == f"main@sha1:{head}"
    assert status["artifact"]["path"] == f"gitrepository/apps/app/{head}.tar.gz"
    assert status["artifact"]["url"].startswith(world.url)
    assert status["observedGeneration"] == 1
    assert await world.files(obj) == {"app.yaml": "v2\n", "deploy/run.sh": "#!/bin/sh\n"}
    stored = f"stored artifact for revision 'main@sha1:{head}'"
    for type_ in ("Ready", "ArtifactInStorage"):
        found = condition(obj, type_)
        assert (found["status"], found["reason"], found["message"]) == ("True", "Succeeded", stored)
    assert {item["type"] for item in status["conditions"]} == {"Ready", "ArtifactInStorage"}
    assert obj["metadata"]["finalizers"] == ["finalizers.fluxcd.io"]
    event = await world.until_event("NewArtifact")
    assert event["type"] == "Normal"
    assert event["message"] == "stored artifact for commit 'Second'"


async def test_a_new_commit_after_a_request_replaces_the_artifact(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    await world.repository(url=f"{http_server.url}/app.git")
    old = await world.until_ready()
    head = repo.commit({"app.yaml": "new\n"})
    await world.request("now")
    obj = await world.until_ready(revision=f"main@sha1:{head}")

    assert obj["status"]["lastHandledReconcileAt"] == "now"
    assert obj["status"]["artifact"]["digest"] != old["status"]["artifact"]["digest"]
    assert (await world.files(obj))["app.yaml"] == "new\n"
    assert (await world.files(old))["app.yaml"] == "v1\n", "kept for who still loads it"


async def test_nothing_new_downloads_nothing_and_keeps_the_object(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    await world.repository(url=f"{http_server.url}/app.git", interval="1s")
    before = await world.until_ready()
    http_server.requests.clear()
    for _ in range(2):
        await world.run_now()
    after = await world.get()

    assert {line.split("?")[0] for line in http_server.requests} == {"GET /app.git/info/refs"}
    assert after == before
    await world.request("token")
    handled = await world.until_handled("token")
    assert handled["status"]["artifact"] == before["status"]["artifact"]
    assert {line.split("?")[0] for line in http_server.requests} == {"GET /app.git/info/refs"}


@pytest.mark.shows("field:GitRepository/spec.ignore")
async def test_a_changed_spec_without_a_new_commit_builds_again(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    url = f"{http_server.url}/app.git"
    await world.repository(url=url)
    before = await world.until_ready()
    await world.repository(url=url, ignore="deploy/\n")
    after = await world.until_ready()

    assert set(await world.files(after)) == {"app.yaml"}
    assert after["status"]["observedIgnore"] == "deploy/\n"
    assert after["status"]["artifact"]["digest"] != before["status"]["artifact"]["digest"]
    assert after["status"]["artifact"]["revision"] == before["status"]["artifact"]["revision"]


@pytest.mark.shows("event:GitRepository/GitOperationSucceeded")
async def test_another_interval_only_moves_the_generation(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    url = f"{http_server.url}/app.git"
    await world.repository(url=url)
    before = await world.until_ready()
    await world.repository(url=url, interval="2h")
    after = await world.until_ready()

    assert after["status"]["observedGeneration"] == 2
    assert condition(after, "ArtifactInStorage")["observedGeneration"] == 2
    assert after["status"]["artifact"] == before["status"]["artifact"]
    assert (await world.until_event("GitOperationSucceeded"))["type"] == "Normal"


@pytest.mark.shows("event:GitRepository/ArtifactVerificationFailed")
@pytest.mark.parametrize("damage", ["altered", "missing"])
async def test_a_damaged_artifact_is_made_again(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer, damage: str
) -> None:
    await world.repository(url=f"{http_server.url}/app.git")
    before = await world.until_ready()
    stored = world.storage_path / before["status"]["artifact"]["path"]
    if damage == "altered":
        stored.write_bytes(b"altered")
    else:
        stored.unlink()
    await world.request("again")
    await world.until_handled("again")
    after = await world.until_ready()

    assert after["status"]["artifact"]["digest"] == before["status"]["artifact"]["digest"]
    assert "app.yaml" in await world.files(after)
    if damage == "altered":
        assert (await world.until_event("ArtifactVerificationFailed"))["type"] == "Warning"


@pytest.mark.shows(
    "GitRepository/Ready/Progressing",
    "GitRepository/Reconciling/Progressing",
    "GitRepository/ArtifactOutdated/NewRevision",
)
async def test_progress_is_shown_while_something_new_is_built(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    await world.repository(url=f"{http_server.url}/app.git")
    await world.until_ready()
    head = repo.commit({"app.yaml": "new\n"})
    async with world.history() as versions:
        await world.request("now")
        obj = await world.until_ready(revision=f"main@sha1:{head}")
    building = [v for v in versions if condition(v, "ArtifactOutdated")]

    message = f"new upstream revision 'main@sha1:{head}'"
    assert condition(building[0], "ArtifactOutdated")["reason"] == "NewRevision"
    assert condition(building[0], "ArtifactOutdated")["message"] == message
    ready, reconciling = condition(building[0], "Ready"), condition(building[0], "Reconciling")
    assert (ready["status"], ready["reason"]) == ("Unknown", "Progressing")
    assert (reconciling["status"], reconciling["reason"]) == ("True", "Progressing")
    assert reconciling["message"] == f"building artifact: {message}"
    assert not condition(obj, "ArtifactOutdated")


@pytest.mark.shows("event:GitRepository/ArtifactUpToDate")
async def test_a_fetch_that_brings_the_same_revision_keeps_the_artifact(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    """Of tags of equal precedence only a fetch tells the newest."""
    for tag in ("1.0.0+a", "1.0.0+b"):
        repo.commit({"app.yaml": tag})
        repo.tag(tag)
    await world.repository(url=f"{http_server.url}/app.git", ref={"semver": "1.x"})
    before = await world.until_ready()
    await world.request("now")
    after = await world.until_handled("now")

    assert before["status"]["artifact"]["revision"].startswith("1.0.0+b@sha1:")
    assert after["status"]["artifact"] == before["status"]["artifact"]
    assert (await world.until_event("ArtifactUpToDate"))["type"] == "Normal"


@pytest.mark.shows(
    "field:GitRepository/spec.ref.tag",
    "field:GitRepository/spec.ref.name",
    "field:GitRepository/spec.ref.commit",
)
async def test_tags_names_and_commits(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    url = f"{http_server.url}/app.git"
    old = repo.commit({"app.yaml": "old\n"})
    repo.tag("v1", annotated=True)
    head = repo.commit({"app.yaml": "new\n"})
    for ref, revision, content in (
        ({"tag": "v1"}, f"v1@sha1:{old}", "old\n"),
        ({"name": "refs/heads/main"}, f"refs/heads/main@sha1:{head}", "new\n"),
        ({"commit": old}, f"sha1:{old}", "old\n"),
        ({"commit": old, "branch": "main"}, f"main@sha1:{old}", "old\n"),
        ({"commit": head, "tag": "v1"}, f"sha1:{head}", "new\n"),
    ):
        await world.repository(url=url, ref=ref)
        obj = await world.until_ready(revision=revision)
        assert (await world.files(obj))["app.yaml"] == content


@pytest.mark.shows("field:GitRepository/spec.recurseSubmodules")
async def test_submodules_are_part_of_the_artifact_where_asked(
    world: SourceWorld, repo: Repo, base: Repo, http_server: GitHttpServer
) -> None:
    url = f"{http_server.url}/app.git"
    repo.add_submodule(base, "libs/base", "../base.git")
    await world.repository(url=url)
    assert "libs/base/base.yaml" not in await world.files(await world.until_ready())
    await world.repository(url=url, recurseSubmodules=True)
    obj = await world.until_ready()

    assert (await world.files(obj))["libs/base/base.yaml"] == "b1\n"
    assert obj["status"]["observedRecurseSubmodules"] is True


@pytest.mark.slow
@pytest.mark.shows("field:GitRepository/spec.interval")
async def test_a_new_commit_is_found_at_the_interval(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    await world.repository(url=f"{http_server.url}/app.git", interval="1s")
    await world.until_ready()
    head = repo.commit({"app.yaml": "new\n"})

    assert await world.until_ready(revision=f"main@sha1:{head}")
