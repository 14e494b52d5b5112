"""Where the artifact comes from, and what is said when it does not come."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fluvial.artifact.sources import Source, SourceLookup, SourceName
from fluvial.kube import kinds
from fluvial.objects import ObjectKey
from harness.kustomize import CONFIG_MAPS, Harness, configmap, ready_of
from kustomize_controller.assemble import Settings


@pytest.mark.shows("Kustomization/Ready/ArtifactFailed")
async def test_a_missing_source_is_named_and_its_appearance_wakes(world: Harness) -> None:
    await world.kustomization()
    failed = await world.failed("ArtifactFailed")
    assert "GitRepository/team/src" in ready_of(failed)["message"]
    assert ready_of(failed, "Reconciling")["reason"] == "ProgressingWithRetry"
    revision = await world.source({"a.yaml": configmap()})
    await world.applied(revision)


async def test_a_watched_source_without_an_artifact_is_not_looked_at_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its artifact wakes; a thousand Kustomizations that poll would leave no time for it."""
    looks: list[bool] = []
    find = SourceLookup.find

    async def counted(self: SourceLookup, source: SourceName, *, fresh: bool) -> Source:
        looks.append(fresh)
        return await find(self, source, fresh=fresh)

    monkeypatch.setattr(SourceLookup, "find", counted)
    async with Harness.start(tmp_path, settings=Settings(requeue_dependency=0.001)) as world:
        await world.tenant()
        await world.announce(None)
        await world.kustomization()
        await world.failed("ArtifactFailed")
        await asyncio.sleep(0.1)
        assert len(looks) <= 3  # the watch of sources may begin after the first look

        revision = await world.source({"a.yaml": configmap()})
        await world.applied(revision)


async def test_an_artifact_that_was_made_again_wakes(
    world: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a restored cluster the watch of sources may see the end only, which looks as before."""
    revision = await world.source({"a.yaml": configmap()})
    await world.kustomization()
    await world.applied(revision)
    looked = asyncio.Event()
    find = SourceLookup.find

    async def noticed(self: SourceLookup, source: SourceName, *, fresh: bool) -> Source:
        looked.set()
        return await find(self, source, fresh=fresh)

    monkeypatch.setattr(SourceLookup, "find", noticed)
    await world.client.patch(
        kinds.GIT_REPOSITORY,
        ObjectKey("team", "src"),
        {"status": {"artifact": {"lastUpdateTime": "2026-11-23T10:00:00Z"}}},
        patch_type="merge",
        field_manager="test",
        subresource="status",
    )

    async with asyncio.timeout(20):
        await looked.wait()


async def test_a_source_without_an_artifact_is_waited_for(world: Harness) -> None:
    await world.announce(None)
    await world.kustomization()
    failed = await world.failed("ArtifactFailed")
    assert "none yet" in ready_of(failed)["message"]
    revision = await world.source({"a.yaml": configmap()})
    await world.applied(revision)


async def test_an_artifact_that_is_not_there_is_waited_for(world: Harness) -> None:
    await world.source({"a.yaml": configmap()})
    source = await world.client.get(kinds.GIT_REPOSITORY, ObjectKey("team", "src"))
    artifact = source["status"]["artifact"]
    await world.announce(artifact | {"url": artifact["url"] + ".missing"})
    await world.kustomization()
    failed = await world.failed("ArtifactFailed")

    assert "not found" in ready_of(failed)["message"]


async def test_an_altered_artifact_is_refused(world: Harness) -> None:
    await world.source({"a.yaml": configmap()})
    source = await world.client.get(kinds.GIT_REPOSITORY, ObjectKey("team", "src"))
    artifact = source["status"]["artifact"]
    await world.announce(artifact | {"digest": "sha256:" + "0" * 64})
    await world.kustomization()
    await world.failed("ArtifactFailed")

    assert not await world.exists(CONFIG_MAPS, "settings")


@pytest.mark.shows("field:Kustomization/spec.path")
@pytest.mark.parametrize("path", ["./nowhere", "../../etc", "a.yaml"])
async def test_a_path_that_is_no_folder_of_the_source_is_said(world: Harness, path: str) -> None:
    await world.source({"a.yaml": configmap()})
    await world.kustomization(path=path)
    failed = await world.failed("ArtifactFailed")

    assert path in ready_of(failed)["message"]
    assert not await world.exists(CONFIG_MAPS, "settings")


@pytest.mark.shows(
    "Kustomization/Ready/AccessDenied", "field:Kustomization/spec.sourceRef.namespace"
)
async def test_other_namespaces_sources_can_be_blocked(tmp_path: Path) -> None:
    async with Harness.start(tmp_path, settings=Settings(cross_namespace=False)) as world:
        await world.tenant()
        await world.tenant("other")
        await world.source({"a.yaml": configmap()}, namespace="other")
        ref = {"kind": "GitRepository", "name": "src", "namespace": "other"}
        await world.kustomization(sourceRef=ref)
        failed = await world.failed("AccessDenied")

        assert ready_of(failed, "Stalled")["status"] == "True"
        assert ready_of(failed, "Reconciling") == {}
        assert failed["status"]["observedGeneration"] == failed["metadata"]["generation"]
        assert not await world.exists(CONFIG_MAPS, "settings")


async def test_other_namespaces_sources_work_where_they_are_allowed(world: Harness) -> None:
    await world.tenant("other")
    revision = await world.source({"a.yaml": configmap()}, namespace="other")
    ref = {"kind": "GitRepository", "name": "src", "namespace": "other"}
    await world.kustomization(sourceRef=ref)
    await world.applied(revision)


async def test_external_artifacts_are_behind_their_gate(world: Harness) -> None:
    await world.kustomization(sourceRef={"kind": "ExternalArtifact", "name": "x"})
    failed = await world.failed("AccessDenied")

    assert "feature gate" in ready_of(failed)["message"]


async def test_a_kind_that_the_cluster_does_not_serve_is_said(world: Harness) -> None:
    definition = "buckets.source.toolkit.fluxcd.io"
    await world.client.delete(kinds.CRD, ObjectKey("", definition))
    await world.gone(kinds.CRD, definition, "")
    await world.kustomization(sourceRef={"kind": "Bucket", "name": "x"})
    failed = await world.failed("ArtifactFailed")

    assert "does not serve Bucket" in ready_of(failed)["message"]
