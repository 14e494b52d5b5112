"""ArtifactGenerators that cannot do what they are asked for, and must not do more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fluvial.kube import kinds
from fluvial.kube.errors import Invalid
from fluvial.objects import JsonObject, ObjectKey
from harness.generator import GeneratorWorld, Shelf
from harness.source import NAMESPACE, condition, fast_settings
from source_controller.assemble import Settings

SOURCE = {"alias": "repo", "kind": "ExternalArtifact", "name": "mono"}
WEB = {"name": "web", "copy": [{"from": "@repo/web/**", "to": "@artifact/"}]}
FILES = {"web/app.yaml": "web: 1\n", "api/app.yaml": "api: 1\n"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[GeneratorWorld]:
    async with GeneratorWorld.start(tmp_path) as world:
        assert isinstance(world, GeneratorWorld)
        yield world


@pytest.fixture
async def shelf(world: GeneratorWorld, tmp_path: Path) -> AsyncIterator[Shelf]:
    async with Shelf.open(tmp_path / "shelf", world.client) as shelf:
        yield shelf


def strict() -> Settings:
    fast = fast_settings()
    return Settings(
        requeue_dependency=fast.requeue_dependency,
        retry_delays=fast.retry_delays,
        http_retry=0,
        cross_namespace=False,
    )


def assert_stalled(obj: JsonObject, reason: str) -> None:
    stalled = condition(obj, "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", reason)
    assert not condition(obj, "Reconciling")


# --- somebody else's ----------------------------------------------------------------------------


@pytest.mark.shows("ArtifactGenerator/Ready/ReconciliationFailed")
async def test_somebody_elses_external_artifact_is_never_overwritten(
    world: GeneratorWorld, shelf: Shelf
) -> None:
    await shelf.put("mono", FILES)
    await shelf.put("web", {"mine": "1"})
    theirs = await world.made("web")
    await world.generator(sources=[SOURCE], artifacts=[WEB])
    failed = await world.until_failed("ReconciliationFailed", "gen")
    await asyncio.sleep(0.3)  # it is tried again

    assert "is not of this generator" in condition(failed, "Ready")["message"]
    assert await world.made("web") == theirs

    await world.client.delete(kinds.EXTERNAL_ARTIFACT, ObjectKey(NAMESPACE, "web"))
    await world.until_ready()
    assert await world.made_files("web") == {"app.yaml": "web: 1\n"}


async def test_the_second_of_two_generators_of_one_name_is_refused(
    world: GeneratorWorld, shelf: Shelf
) -> None:
    """And gets the name as soon as the first one lets it go."""
    await shelf.put("mono", FILES)
    await world.generator("first", sources=[SOURCE], artifacts=[WEB])
    await world.until_ready("first")
    mine = await world.made("web")
    api = {"name": "web", "copy": [{"from": "@repo/api/**", "to": "@artifact/"}]}
    for name in ("second", "third"):
        await world.generator(name, sources=[SOURCE], artifacts=[api])
        await world.until_failed("ReconciliationFailed", name)
    assert await world.made("web") == mine

    await world.delete("second")
    await world.gone("second")
    assert await world.made("web") == mine, "what was not its own stays"
    assert await world.made_files("web") == {"app.yaml": "web: 1\n"}

    await world.client.delete(kinds.EXTERNAL_ARTIFACT, ObjectKey(NAMESPACE, "web"))
    await world.delete("first")
    await world.until_ready("third")
    assert await world.made_files("web") == {"app.yaml": "api: 1\n"}


async def test_who_is_refused_does_not_keep_the_owner_from_noticing_drift(
    world: GeneratorWorld, shelf: Shelf
) -> None:
    await shelf.put("mono", FILES)
    await world.generator("first", sources=[SOURCE], artifacts=[WEB])
    await world.until_ready("first")
    mine = await world.made("web")
    await world.generator("second", sources=[SOURCE], artifacts=[WEB])
    await world.until_failed("ReconciliationFailed", "second")
    await world.client.patch(
        kinds.EXTERNAL_ARTIFACT,
        ObjectKey(NAMESPACE, "web"),
        {"status": {"artifact": {"url": "http://evil.example/x"}}},
        patch_type="merge",
        field_manager="test",
        subresource="status",
    )
    async with asyncio.timeout(20):
        while (await world.made("web"))["status"] != mine["status"]:
            await asyncio.sleep(0.02)


async def test_a_forged_inventory_deletes_nobodys_object(
    world: GeneratorWorld, shelf: Shelf
) -> None:
    await shelf.put("mono", FILES)
    theirs = await world.made("mono")
    await world.generator(sources=[SOURCE], artifacts=[WEB])
    obj = await world.until_ready()
    forged = [
        {"name": name, "namespace": namespace, "digest": "sha256:0", "filename": filename}
        for name, namespace, filename in (
            ("mono", NAMESPACE, "x"),
            ("../mono", NAMESPACE, "../../x"),
            ("x", "other", "x"),
        )
    ]
    inventory = [*obj["status"]["inventory"], *forged]
    await world.client.patch(
        world.resource,
        ObjectKey(NAMESPACE, "gen"),
        {"status": {"inventory": inventory}},
        patch_type="merge",
        field_manager="test",
        subresource="status",
    )
    await world.delete("gen")
    await world.gone("gen")

    assert await world.made("mono") == theirs
    assert await world.external("web") is None


async def test_a_forged_inventory_deletes_nobodys_file(world: GeneratorWorld, shelf: Shelf) -> None:
    await shelf.put("mono", FILES)
    await world.generator("first", sources=[SOURCE], artifacts=[WEB])
    first = await world.until_ready("first")
    api = {"name": "api", "copy": [{"from": "@repo/api/**", "to": "@artifact/"}]}
    await world.generator("second", sources=[SOURCE], artifacts=[api])
    await world.until_ready("second")
    (theirs,) = first["status"]["inventory"]
    stored = await world.made_files("web")
    forged = [{**theirs, "digest": f"sha256:{'0' * 64}"}]
    await world.client.patch(
        world.resource,
        ObjectKey(NAMESPACE, "second"),
        {"status": {"inventory": forged}},
        patch_type="merge",
        field_manager="test",
        subresource="status",
    )
    await world.request("look", "second")
    await world.until_handled("look", "second")

    assert await world.made_files("web") == stored


async def test_who_is_refused_leaves_no_file(world: GeneratorWorld, shelf: Shelf) -> None:
    """Each new revision would leave one more, which nobody would ever collect."""
    await shelf.put("mono", FILES)
    await shelf.put("web", {"mine": "1"})
    await world.generator(sources=[SOURCE], artifacts=[WEB])
    await world.until_failed("ReconciliationFailed", "gen")

    assert not list(world.storage_path.glob("externalartifact/*/web/*"))


# --- specs --------------------------------------------------------------------------------------


@pytest.mark.shows("ArtifactGenerator/Ready/AccessDenied", "ArtifactGenerator/Stalled/AccessDenied")
async def test_other_namespaces_can_be_blocked(tmp_path: Path) -> None:
    async with GeneratorWorld.start(tmp_path, settings=strict()) as world:
        assert isinstance(world, GeneratorWorld)
        other = {**SOURCE, "namespace": "other"}
        await world.generator(sources=[other], artifacts=[WEB])
        obj = await world.until_failed("AccessDenied", "gen")
        await world.generator("own", sources=[{**SOURCE, "namespace": NAMESPACE}], artifacts=[WEB])
        await world.until_failed("SourceFetchFailed", "own")

    assert_stalled(obj, "AccessDenied")
    assert "other/mono is not allowed" in condition(obj, "Ready")["message"]


@pytest.mark.shows(
    "ArtifactGenerator/Ready/ValidationFailed",
    "ArtifactGenerator/Stalled/ValidationFailed",
    "event:ArtifactGenerator/failure",
)
async def test_a_spec_that_contradicts_itself_stalls(world: GeneratorWorld) -> None:
    await world.generator(sources=[SOURCE, SOURCE], artifacts=[WEB])
    await world.generator("names", sources=[SOURCE], artifacts=[WEB, WEB])
    await world.generator("alias", sources=[SOURCE], artifacts=[{**WEB, "revision": "@other"}])

    for name, problem in (
        ("gen", "duplicate source alias 'repo'"),
        ("names", "duplicate artifact name 'web'"),
        ("alias", "source alias 'other' not found"),
    ):
        obj = await world.until_failed("ValidationFailed", name)
        assert problem in condition(obj, "Ready")["message"]
        assert_stalled(obj, "ValidationFailed")
        assert (await world.until_told(problem, name))[:2] == ("Warning", "ValidationFailed")


async def test_the_server_refuses_names_that_are_none(world: GeneratorWorld) -> None:
    for name in ("../../web", "Web", "a/b", ".web"):
        with pytest.raises(Invalid):
            await world.generator(sources=[SOURCE], artifacts=[{**WEB, "name": name}])


# --- sources ------------------------------------------------------------------------------------


@pytest.mark.shows("ArtifactGenerator/Ready/SourceFetchFailed")
async def test_a_source_that_is_not_there_is_waited_for(
    world: GeneratorWorld, shelf: Shelf
) -> None:
    await world.generator(sources=[SOURCE], artifacts=[WEB])
    obj = await world.until_failed("SourceFetchFailed", "gen")
    assert "ExternalArtifact 'apps/mono' is not there" in condition(obj, "Ready")["message"]
    assert condition(obj, "Reconciling")["reason"] == "ProgressingWithRetry"

    await shelf.write("mono", None)
    await world.until(lambda obj: "no artifact yet" in condition(obj, "Ready")["message"], "gen")
    await shelf.put("mono", FILES)
    await world.until_ready()
    assert await world.made_files("web") == {"app.yaml": "web: 1\n"}


async def test_what_is_not_what_its_digest_says_is_not_used(
    world: GeneratorWorld, shelf: Shelf
) -> None:
    artifact = await shelf.put("mono", FILES)
    await world.generator(sources=[SOURCE], artifacts=[WEB])
    await world.until_ready()
    for change, problem in (
        ({"digest": f"sha256:{'0' * 64}"}, "is not sha256:0000"),
        ({"url": "http://169.254.169.254/latest", "revision": "a"}, "169.254.169.254"),
        ({"url": "file:///etc/passwd", "revision": "b"}, "invalid artifact URL"),
    ):
        await shelf.write("mono", {**artifact, **change})

        def is_said(obj: JsonObject, problem: str = problem) -> bool:
            ready = condition(obj, "Ready")
            return ready["reason"] == "SourceFetchFailed" and problem in ready["message"]

        await world.until(is_said, "gen")
    assert await world.made_files("web") == {"app.yaml": "web: 1\n"}


async def test_slow_servers_keep_only_their_own_generators_waiting(
    world: GeneratorWorld, shelf: Shelf
) -> None:
    asked = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        artifact = await shelf.put("mono", FILES)
        for number in range(4):
            url = f"http://127.0.0.1:{port}/{number}"
            name = f"slow-{number}"
            await shelf.write(name, {**artifact, "url": url, "digest": f"sha256:{number:064}"})
            await world.generator(name, sources=[{**SOURCE, "name": name}], artifacts=[WEB])
        async with asyncio.timeout(20):
            while asked < 4:
                await asyncio.sleep(0.02)
        await world.generator(sources=[SOURCE], artifacts=[WEB])

        await world.until_ready()
        assert await world.made_files("web") == {"app.yaml": "web: 1\n"}
        await world.stop_controller()


async def test_a_forged_status_leads_to_no_other_source(world: GeneratorWorld) -> None:
    """Who may write a GitRepository's status gets at nobody else's artifact."""
    await world.repository("mono", url="https://git.example/x.git", suspend=True)
    stolen = {
        "digest": f"sha256:{'1' * 64}",
        "lastUpdateTime": "2026-01-01T00:00:00Z",
        "path": "gitrepository/secret/repo/x.tar.gz",
        "revision": "main@sha1:1",
        "url": f"{world.url}gitrepository/secret/repo/x.tar.gz",
    }
    await world.client.patch(
        kinds.GIT_REPOSITORY,
        ObjectKey(NAMESPACE, "mono"),
        {"status": {"artifact": stolen}},
        patch_type="merge",
        field_manager="test",
        subresource="status",
    )
    source = {"alias": "repo", "kind": "GitRepository", "name": "mono"}
    await world.generator(sources=[source], artifacts=[WEB])
    obj = await world.until_failed("SourceFetchFailed", "gen")

    assert "another object's" in condition(obj, "Ready")["message"]


async def test_an_external_artifact_leads_to_no_other_namespaces_storage(tmp_path: Path) -> None:
    """Who knows the digest and the address of an artifact does not get it by this."""
    async with GeneratorWorld.start(tmp_path, settings=strict()) as world:
        assert isinstance(world, GeneratorWorld)
        async with Shelf.open(tmp_path / "shelf", world.client) as shelf:
            theirs = await shelf.store("gitrepository/victim/repo", FILES)
            await shelf.write("mono", theirs, namespace=NAMESPACE)
            await world.generator(sources=[SOURCE], artifacts=[WEB])
            obj = await world.until_failed("SourceFetchFailed", "gen")

    assert "another namespace" in condition(obj, "Ready")["message"]


# --- builds -------------------------------------------------------------------------------------


@pytest.mark.shows(
    "ArtifactGenerator/Ready/BuildFailed",
    "ArtifactGenerator/Reconciling/ProgressingWithRetry",
)
async def test_a_build_that_fails_keeps_what_was_made(world: GeneratorWorld, shelf: Shelf) -> None:
    await shelf.put("mono", FILES)
    await world.generator(sources=[SOURCE], artifacts=[WEB])
    await world.until_ready()
    web = await world.made("web")
    await shelf.put("mono", {"api/app.yaml": "api: 1\n"})
    obj = await world.until_failed("BuildFailed", "gen")
    obj = await world.until(
        lambda obj: condition(obj, "Reconciling").get("reason") == "ProgressingWithRetry", "gen"
    )

    message = condition(obj, "Ready")["message"]
    assert "web build failed: cannot copy '@repo/web/**' to '@artifact/'" in message
    assert await world.made("web") == web
    version = obj["metadata"]["resourceVersion"]
    await world.run_now("gen")
    assert (await world.get("gen"))["metadata"]["resourceVersion"] == version, "nothing is new"

    await shelf.put("mono", FILES)
    await world.until_ready()
    assert await world.made("web") == web


@pytest.mark.shows("ArtifactGenerator/Stalled/BuildFailed")
async def test_a_folder_that_cannot_be_a_label_stalls(world: GeneratorWorld, shelf: Shelf) -> None:
    await shelf.put("mono", {"apps/.hidden/a": "1"})
    spec: dict[str, Any] = {
        "sources": [SOURCE],
        "pathPattern": "@repo/apps/{app}",
        "artifacts": [{**WEB, "name": "{app}"}],
    }
    await world.generator(**spec)
    obj = await world.until_failed("BuildFailed", "gen")
    assert_stalled(obj, "BuildFailed")
    assert "failed to expand path pattern" in condition(obj, "Ready")["message"]

    await shelf.put("mono", {"apps/web/a": "1", "web/a": "1"})
    await world.until_ready()


async def test_a_path_pattern_that_cannot_be_used_stalls(world: GeneratorWorld) -> None:
    for pattern, problem in (
        ("@other/{app}", "there is no source 'other'"),
        ("@repo/{a}/{a}", "capture 'a' twice"),
    ):
        await world.generator(sources=[SOURCE], artifacts=[WEB], pathPattern=pattern)
        obj = await world.until_failed("BuildFailed", "gen")
        assert_stalled(obj, "BuildFailed")
        assert problem in condition(obj, "Ready")["message"]


async def test_an_artifact_is_limited(tmp_path: Path) -> None:
    settings = strict()
    limits = Settings().limits
    small = type(limits)(max_tree_bytes=1000, max_file_bytes=800)
    settings = Settings(retry_delays=settings.retry_delays, limits=small, http_retry=0)
    async with (
        GeneratorWorld.start(tmp_path, settings=settings) as world,
        Shelf.open(tmp_path / "shelf", world.client) as shelf,
    ):
        assert isinstance(world, GeneratorWorld)
        await shelf.put("mono", {"web/a": "x" * 600})
        twice = [*WEB["copy"], {"from": "@repo/web/**", "to": "@artifact/b/"}]
        await world.generator(sources=[SOURCE], artifacts=[{"name": "web", "copy": twice}])
        obj = await world.until_failed("BuildFailed", "gen")

    assert "more than 1000 bytes are copied" in condition(obj, "Ready")["message"]
