"""Kustomizations of ExternalArtifacts, where the operator allows them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fluvial.artifact.sources import Source, SourceLookup, SourceName
from fluvial.kube import kinds
from fluvial.objects import JsonObject, ObjectKey
from harness.kustomize import CONFIG_MAPS, Harness, configmap, ready_of
from kustomize_controller.assemble import Settings

_ORIGIN = "org.opencontainers.image.revision"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Harness]:
    async with Harness.start(tmp_path, settings=Settings(external_artifacts=True)) as world:
        await world.tenant()
        yield world


async def hand_out(world: Harness, name: str, value: str, *, origin: str = "") -> str:
    """An ExternalArtifact with a ConfigMap of its name; its revision is of its content."""
    await world.source({"a.yaml": configmap(name, a=value)}, name=f"{name}-files")
    source = await world.get(kinds.GIT_REPOSITORY, f"{name}-files")
    artifact: JsonObject = dict(source["status"]["artifact"])
    artifact["revision"] = f"latest@{artifact['digest']}"
    artifact["lastUpdateTime"] = "2026-01-01T00:00:00Z"  # the same content was made once
    if origin:
        artifact["metadata"] = {_ORIGIN: origin}
    await announce(world, name, artifact)
    return str(artifact["revision"])


async def announce(world: Harness, name: str, artifact: JsonObject | None) -> None:
    """Write an artifact into an ExternalArtifact's status."""
    obj = {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "ExternalArtifact",
        "metadata": {"name": name, "namespace": "team"},
    }
    await world.apply(obj, kinds.EXTERNAL_ARTIFACT)
    await world.client.patch(
        kinds.EXTERNAL_ARTIFACT,
        ObjectKey("team", name),
        {"status": {"artifact": artifact}},
        patch_type="merge",
        field_manager="maker",
        subresource="status",
    )


def of(name: str) -> JsonObject:
    return {"kind": "ExternalArtifact", "name": name}


async def test_one_without_an_artifact_is_waited_for(world: Harness) -> None:
    await announce(world, "web", None)
    await world.kustomization("web", sourceRef=of("web"))
    failed = await world.failed("ArtifactFailed", "web")
    assert "none yet" in ready_of(failed)["message"]

    await world.applied(await hand_out(world, "web", "1"), "web")
    assert (await world.get(CONFIG_MAPS, "web"))["data"] == {"a": "1"}


async def test_one_whose_content_differs_from_its_digest_is_not_applied(world: Harness) -> None:
    await hand_out(world, "web", "1")
    obj = await world.get(kinds.EXTERNAL_ARTIFACT, "web")
    artifact = {**obj["status"]["artifact"], "digest": f"sha256:{'0' * 64}"}
    await announce(world, "web", artifact)
    await world.kustomization("web", sourceRef=of("web"))
    await world.failed("ArtifactFailed", "web")

    assert not await world.exists(CONFIG_MAPS, "web")


async def test_a_new_revision_wakes_only_its_own_kustomization(
    world: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other is neither reconciled nor written to, whatever happens beside it."""
    runs: list[str] = []
    find = SourceLookup.find

    async def counted(self: SourceLookup, source: SourceName, *, fresh: bool) -> Source:
        if not fresh:  # which is asked once more before a write
            runs.append(source.owner.name)
        return await find(self, source, fresh=fresh)

    for name in ("web", "api"):
        await hand_out(world, name, "1", origin="main@sha1:1")
        await world.kustomization(name, sourceRef=of(name))
    web = await world.until(lambda obj: ready_of(obj).get("status") == "True", "web")
    await world.until(lambda obj: ready_of(obj).get("status") == "True", "api")
    assert web["status"]["lastAppliedOriginRevision"] == "main@sha1:1"
    monkeypatch.setattr(SourceLookup, "find", counted)

    await world.applied(await hand_out(world, "api", "2", origin="main@sha1:2"), "api")
    await hand_out(world, "web", "1", origin="main@sha1:2")
    await asyncio.sleep(0.2)

    assert runs == ["api"]
    assert await world.get(kinds.KUSTOMIZATION, "web") == web
    assert (await world.get(CONFIG_MAPS, "api"))["data"] == {"a": "2"}


async def test_one_that_leads_to_another_namespaces_storage_is_refused(tmp_path: Path) -> None:
    """Where namespaces are closed to each other; what is stored for its own is no secret to it."""
    settings = Settings(external_artifacts=True, cross_namespace=False)
    async with Harness.start(tmp_path, settings=settings) as world:
        await world.tenant()
        await hand_out(world, "web", "1")
        obj = await world.get(kinds.EXTERNAL_ARTIFACT, "web")
        own = obj["status"]["artifact"]
        url = own["url"].replace("/team/", "/victim/")
        assert url != own["url"]
        await announce(world, "web", {**own, "url": url})
        await world.kustomization("web", sourceRef=of("web"))
        failed = await world.failed("ArtifactFailed", "web")
        assert "another namespace" in ready_of(failed)["message"]

        await announce(world, "web", {**own, "revision": "own"})
        await world.applied("own", "web")
