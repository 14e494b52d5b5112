"""GitRepository from spec to artifact, condition by condition."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fluvial.objects import ObjectKey
from gitservers.certs import TestCA
from gitservers.http import GitHttpServer
from gitservers.repos import Repo
from gitservers.ssh import GitSshServer, make_key
from harness.source import SourceWorld, condition, fast_settings
from source_controller.git.model import Limits


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
        world.controller.queue.add(_key())
        await world.controller.queue.wait_idle()
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


# --- failures -------------------------------------------------------------------------------------


@pytest.mark.shows(
    "GitRepository/FetchFailed/GitOperationFailed",
    "GitRepository/Reconciling/ProgressingWithRetry",
    "event:GitRepository/failure",
)
async def test_an_unknown_branch(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    await world.repository(url=f"{http_server.url}/app.git", ref={"branch": "nope"})
    obj = await world.until_failed("GitOperationFailed")

    assert "couldn't find remote ref 'refs/heads/nope'" in condition(obj, "FetchFailed")["message"]
    assert condition(obj, "Reconciling")["reason"] == "ProgressingWithRetry"
    assert not condition(obj, "Stalled")
    assert "artifact" not in obj["status"]
    assert obj["status"]["observedGeneration"] == -1
    assert (await world.until_event("GitOperationFailed"))["type"] == "Warning"


@pytest.mark.shows("event:GitRepository/Succeeded")
async def test_a_failure_keeps_the_last_artifact_and_recovery_says_so(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    url = f"{http_server.url}/app.git"
    await world.repository(url=url)
    before = await world.until_ready()
    http_server.status = 503
    await world.request("while down")
    obj = await world.until_failed("GitOperationFailed")
    assert obj["status"]["artifact"] == before["status"]["artifact"]
    assert obj["status"]["lastHandledReconcileAt"] == "while down"
    http_server.status = 0
    after = await world.until_ready()

    assert not condition(after, "FetchFailed")
    assert after["status"]["artifact"] == before["status"]["artifact"]
    assert (await world.until_event("Succeeded"))["type"] == "Normal"


async def test_an_unreachable_host(world: SourceWorld, unused_tcp_port: int) -> None:
    await world.repository(url=f"http://127.0.0.1:{unused_tcp_port}/app.git")
    obj = await world.until_failed("GitOperationFailed")

    assert "connect" in condition(obj, "Ready")["message"]


@pytest.mark.shows("field:GitRepository/spec.timeout")
async def test_a_fetch_that_takes_too_long(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    http_server.hold.clear()
    await world.repository(url=f"{http_server.url}/app.git", timeout="1s")
    obj = await world.until_failed("GitOperationFailed")
    http_server.hold.set()

    message = condition(obj, "Ready")["message"]
    assert "took longer than 1s" in message or "timed out" in message


@pytest.mark.shows("GitRepository/FetchFailed/EmptyGitRepository")
async def test_an_empty_repository(
    world: SourceWorld, tmp_path: Path, http_server: GitHttpServer
) -> None:
    Repo(tmp_path / "repos", "empty.git")
    await world.repository(url=f"{http_server.url}/empty.git")
    obj = await world.until_failed("EmptyGitRepository")

    assert condition(obj, "FetchFailed")["message"] == "git repository is empty"


@pytest.mark.shows("field:GitRepository/spec.ref.semver")
async def test_a_semver_range_that_no_tag_is_in(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    repo.tag("v1.0.0")
    url = f"{http_server.url}/app.git"
    await world.repository(url=url, ref={"semver": ">=2.0.0"})
    obj = await world.until_failed("GitOperationFailed")
    assert "no match found for semver: >=2.0.0" in condition(obj, "Ready")["message"]
    await world.repository(url=url, ref={"semver": ">=1.0.0"})

    obj = await world.until_ready()
    assert obj["status"]["artifact"]["revision"].startswith("v1.0.0@sha1:")


@pytest.mark.shows("field:GitRepository/spec.secretRef.name")
async def test_wrong_then_right_credentials(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    http_server.basic = ("dev", "s3cret")
    await world.secret("creds", {"username": "dev", "password": "wr0ng"})
    await world.repository(url=f"{http_server.url}/app.git", secretRef={"name": "creds"})
    obj = await world.until_failed("GitOperationFailed")
    message = condition(obj, "Ready")["message"]
    assert "authentication required" in message
    assert "wr0ng" not in message
    await world.secret("creds", {"username": "dev", "password": "s3cret"})

    await world.until_ready()
    assert (await world.until_event("NewArtifact"))["type"] == "Normal"


async def test_credentials_in_the_url_work_and_show_nowhere(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    http_server.basic = ("dev", "s3cr/et")
    address = http_server.url.removeprefix("http://")
    await world.repository(url=f"http://dev:s3cr%2Fet@{address}/app.git")
    await world.until_ready()
    await world.repository(url=f"http://dev:s3cr%2Fet@{address}/missing.git")
    obj = await world.until_failed("GitOperationFailed")

    assert "s3cr" not in str(obj["status"])


@pytest.mark.shows("GitRepository/FetchFailed/AuthenticationFailed")
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"password": "x"}, "'password' is set without 'username'"),
        ({"tls.crt": "x", "tls.key": "y"}, "'tls.crt'"),
        (None, "not found"),
    ],
    ids=["password alone", "client certificate", "no secret"],
)
async def test_secrets_that_do_not_do(
    world: SourceWorld, values: dict[str, str] | None, message: str
) -> None:
    if values is not None:
        await world.secret("creds", values)
    await world.repository(url="http://127.0.0.1:1/app.git", secretRef={"name": "creds"})
    unsupported = values is not None and "tls.crt" in values
    obj = await world.until_failed("UnsupportedField" if unsupported else "AuthenticationFailed")

    assert message in condition(obj, "FetchFailed")["message"]
    assert bool(condition(obj, "Stalled")) is unsupported


@pytest.mark.parametrize("name", ["../../kube-system/secrets/x", "..", "a/b", "a%2fb", "."])
async def test_a_secret_name_cannot_leave_the_namespace(world: SourceWorld, name: str) -> None:
    await world.repository(url="http://127.0.0.1:1/app.git", secretRef={"name": name})
    obj = await world.until_failed("AuthenticationFailed")

    assert "name" in condition(obj, "FetchFailed")["message"]


async def test_ssh_wants_known_hosts_and_believes_nothing_else(
    world: SourceWorld, repo: Repo, ssh_server: GitSshServer, tmp_path: Path
) -> None:
    private, public = make_key(tmp_path / "id")
    _, foreign = make_key(tmp_path / "foreign")
    ssh_server.authorize(public)
    url = f"{ssh_server.url}{repo.bare}"
    await world.repository(url=url)
    obj = await world.until_failed("AuthenticationFailed")
    assert "'identity' is required" in condition(obj, "Ready")["message"]
    await world.secret("key", {"identity": private})
    await world.repository(url=url, secretRef={"name": "key"})
    obj = await world.until_failed("AuthenticationFailed")
    assert "'known_hosts' is required" in condition(obj, "Ready")["message"]

    wrong = f"[127.0.0.1]:{ssh_server.port} {' '.join(foreign.split()[:2])}\n"
    await world.secret("key", {"identity": private, "known_hosts": wrong})
    obj = await world.until_failed("GitOperationFailed")
    assert "host key mismatch" in condition(obj, "Ready")["message"]
    await world.secret("key", {"identity": private, "known_hosts": ssh_server.known_hosts()})
    await world.until_ready()


async def test_an_encrypted_ssh_key_needs_its_password(
    world: SourceWorld, repo: Repo, ssh_server: GitSshServer, tmp_path: Path
) -> None:
    private, public = make_key(tmp_path / "id", password="s3cret")
    ssh_server.authorize(public)
    values = {"identity": private, "known_hosts": ssh_server.known_hosts()}
    await world.secret("key", values)
    await world.repository(url=f"{ssh_server.url}{repo.bare}", secretRef={"name": "key"})
    obj = await world.until_failed("AuthenticationFailed")
    assert "is encrypted" in condition(obj, "Ready")["message"]
    await world.secret("key", {**values, "password": "s3cret"})

    await world.until_ready()


async def test_a_ca_of_one_tenant_is_unknown_to_the_next(
    world: SourceWorld, repo: Repo, tmp_path: Path
) -> None:
    ca = TestCA()
    async with GitHttpServer(tmp_path / "repos", tls=ca.server_context(tmp_path)) as server:
        url = f"{server.url}/app.git"
        await world.secret("ca", {"ca.crt": ca.pem})
        await world.repository("trusting", url=url, secretRef={"name": "ca"})
        await world.until_ready("trusting")
        await world.repository("plain", url=url)
        obj = await world.until_failed("GitOperationFailed", "plain")

        assert "is not trusted" in condition(obj, "Ready")["message"]


async def test_a_retry_that_fails_again_writes_nothing(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    await world.repository(url=f"{http_server.url}/app.git", ref={"branch": "nope"})
    before = await world.until_failed("GitOperationFailed")
    for _ in range(2):
        world.controller.queue.add(_key())
        await world.controller.queue.wait_idle()

    assert await world.get() == before
    assert len(http_server.requests) >= 3


@pytest.mark.shows("GitRepository/StorageOperationFailed/ArchiveOperationFailed")
async def test_content_that_is_too_large_to_store(
    world: SourceWorld, repo: Repo, base: Repo, http_server: GitHttpServer
) -> None:
    """Each repository is within the limit, but not what they make together."""
    await world.stop_controller()
    await world.start_controller(replace(fast_settings(), limits=Limits(max_tree_bytes=30)))
    await world.repository("base", url=f"{http_server.url}/base.git")
    await world.until_ready("base")
    base_only = [{"repository": {"name": "base"}, "toPath": name} for name in ("a", "b", "c", "d")]
    await world.repository(url=f"{http_server.url}/app.git", include=base_only)
    obj = await world.until_failed("ArchiveOperationFailed")

    assert "larger than 30 bytes" in condition(obj, "StorageOperationFailed")["message"]
    assert condition(obj, "StorageOperationFailed")["status"] == "True"


@pytest.mark.shows("GitRepository/StorageOperationFailed/DirectoryCreationFailed")
async def test_no_room_for_work(world: SourceWorld, repo: Repo, http_server: GitHttpServer) -> None:
    (world.storage_path / ".work").write_text("in the way")
    await world.repository(url=f"{http_server.url}/app.git")
    await world.until_failed("DirectoryCreationFailed")
    (world.storage_path / ".work").unlink()

    obj = await world.until_ready()
    assert not condition(obj, "StorageOperationFailed")


# --- stalls ----------------------------------------------------------------------------------------


@pytest.mark.shows(
    "GitRepository/Ready/UnsupportedField",
    "GitRepository/Stalled/UnsupportedField",
    "refused:GitRepository/spec.verify",
    "refused:GitRepository/spec.proxySecretRef",
    "refused:GitRepository/spec.provider=aws",
    "refused:GitRepository/spec.provider=azure",
    "refused:GitRepository/spec.provider=github",
)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("verify", {"mode": "HEAD", "secretRef": {"name": "keys"}}),
        ("proxySecretRef", {"name": "proxy"}),
        ("provider", "github"),
        ("provider", "azure"),
        ("provider", "aws"),
    ],
)
async def test_fields_that_are_not_done_are_refused(
    world: SourceWorld, repo: Repo, http_server: GitHttpServer, field: str, value: Any
) -> None:
    url = f"{http_server.url}/app.git"
    await world.repository(url=url, **{field: value})
    obj = await world.until_failed("UnsupportedField")

    assert f"spec.{field}" in condition(obj, "Stalled")["message"]
    assert obj["status"]["observedGeneration"] == 1
    assert http_server.requests == []
    assert not condition(obj, "Reconciling")
    await world.repository(url=url)
    assert not condition(await world.until_ready(), "Stalled")


@pytest.mark.shows("GitRepository/FetchFailed/URLInvalid", "GitRepository/Stalled/URLInvalid")
@pytest.mark.parametrize("url", ["http://", "https://host:port/x", "ssh:///x", "http://[::1/x"])
async def test_an_invalid_url_stalls(world: SourceWorld, url: str) -> None:
    await world.repository(url=url)
    obj = await world.until_failed("URLInvalid")

    assert condition(obj, "Stalled")["reason"] == "URLInvalid"
    assert condition(obj, "FetchFailed")["reason"] == "URLInvalid"
    assert obj["status"]["observedGeneration"] == 1


# --- life cycle ------------------------------------------------------------------------------------


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


# --- includes --------------------------------------------------------------------------------------


@pytest.fixture
def base(tmp_path: Path) -> Repo:
    base = Repo(tmp_path / "repos", "base.git")
    base.commit({"base.yaml": "b1\n", "sub/deep.yaml": "d1\n"})
    return base


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


def _key() -> ObjectKey:
    return ObjectKey("apps", "app")
