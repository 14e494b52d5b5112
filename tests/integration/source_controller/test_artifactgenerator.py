"""ArtifactGenerator from spec to ExternalArtifacts."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fluvial.kube import kinds
from fluvial.kube.resource import Resource
from fluvial.objects import ObjectKey
from gitservers.http import GitHttpServer
from gitservers.repos import Repo
from harness.generator import GeneratorWorld, Shelf
from harness.source import NAMESPACE, condition
from source_controller.artifactgenerator.client import GeneratorJobs

SOURCE = {"alias": "repo", "kind": "ExternalArtifact", "name": "mono"}
FILES = {
    "apps/web/app.yaml": "web: 1\n",
    "apps/api/app.yaml": "api: 1\n",
    "apps/api/run.sh*": "#!/bin/sh\n",
    "README.md": "read me\n",
}
ORIGIN = "org.opencontainers.image.revision"


def artifact(name: str, *, folder: str = "", **fields: Any) -> dict[str, Any]:
    """An artifact with the content of a folder."""
    copy = [{"from": f"@repo/apps/{folder or name}/**", "to": "@artifact/"}]
    return {"name": name, "copy": copy, **fields}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[GeneratorWorld]:
    async with GeneratorWorld.start(tmp_path) as world:
        assert isinstance(world, GeneratorWorld)
        yield world


@pytest.fixture
async def shelf(world: GeneratorWorld, tmp_path: Path) -> AsyncIterator[Shelf]:
    async with Shelf.open(tmp_path / "shelf", world.client) as shelf:
        yield shelf


@pytest.mark.shows(
    "ArtifactGenerator/Ready/Succeeded",
    "ExternalArtifact/Ready/Succeeded",
    "event:ArtifactGenerator/reconciliation succeeded",
    "event:ArtifactGenerator/external artifacts reconciled",
    "event:ArtifactGenerator/reconciled with revision",
    "field:ArtifactGenerator/spec.sources[].alias",
    "field:ArtifactGenerator/spec.sources[].kind",
    "field:ArtifactGenerator/spec.sources[].name",
    "field:ArtifactGenerator/spec.artifacts[].name",
    "field:ArtifactGenerator/spec.artifacts[].copy[].from",
    "field:ArtifactGenerator/spec.artifacts[].copy[].to",
    "field:ExternalArtifact/spec.sourceRef.apiVersion",
    "field:ExternalArtifact/spec.sourceRef.kind",
    "field:ExternalArtifact/spec.sourceRef.name",
    "field:ExternalArtifact/spec.sourceRef.namespace",
)
async def test_folders_become_artifacts(world: GeneratorWorld, shelf: Shelf) -> None:
    await shelf.put("mono", FILES)
    created = await world.generator(sources=[SOURCE], artifacts=[artifact("web"), artifact("api")])
    obj = await world.until_ready()

    ready = condition(obj, "Ready")
    assert (ready["reason"], ready["message"]) == (
        "Succeeded",
        "reconciliation succeeded, generated 2 artifact(s)",
    )
    assert [item["type"] for item in obj["status"]["conditions"]] == ["Ready"]
    assert obj["metadata"]["finalizers"] == ["source.extensions.fluxcd.io/finalizer"]
    assert await world.made_files("web") == {"app.yaml": "web: 1\n"}
    assert await world.made_files("api") == {"app.yaml": "api: 1\n", "run.sh": "#!/bin/sh\n"}

    web = await world.made("web")
    stored = web["status"]["artifact"]
    assert web["spec"] == {
        "sourceRef": {
            "apiVersion": "source.extensions.fluxcd.io/v1beta1",
            "kind": "ArtifactGenerator",
            "name": "gen",
            "namespace": NAMESPACE,
        }
    }
    assert web["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "source-watcher",
        "source.extensions.fluxcd.io/generator": created["metadata"]["uid"],
    }
    assert stored["revision"] == f"latest@{stored['digest']}"
    assert stored["url"] == f"{world.url}{stored['path']}"
    assert stored["path"].startswith(f"externalartifact/{NAMESPACE}/web/")
    made = condition(web, "Ready")
    assert (made["status"], made["reason"], made["message"]) == (
        "True",
        "Succeeded",
        "Artifact is ready",
    )
    assert obj["status"]["inventory"][0] == {
        "name": "web",
        "namespace": NAMESPACE,
        "digest": stored["digest"],
        "filename": stored["path"].rpartition("/")[2],
    }
    assert (await world.until_told("external artifacts reconciled: "))[0] == "Normal"
    await world.until_told("ExternalArtifact/apps/web reconciled with revision latest@sha256:")
    await world.until_told("reconciliation succeeded, generated 2 artifact(s)")


async def test_the_sources_digest_is_that_of_flux(world: GeneratorWorld, shelf: Shelf) -> None:
    stored = await shelf.put("mono", FILES)
    await world.generator(sources=[SOURCE], artifacts=[artifact("web")])
    obj = await world.until_ready()

    text = f"repo=[digest={stored['digest']},revision={stored['revision']},url={stored['url']}]"
    expected = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    assert obj["status"]["observedSourcesDigest"] == expected


async def test_only_what_changed_gets_a_new_revision(
    world: GeneratorWorld, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other is not even put together, and nothing is written: its consumers sleep on."""
    staged: list[str] = []
    stage = GeneratorJobs.stage

    async def counted(
        self: GeneratorJobs, work: Path, trees: Any, copy: Any, *, namespace: str
    ) -> str:
        staged.append(copy[0].from_)
        return await stage(self, work, trees, copy, namespace=namespace)

    await shelf.put("mono", FILES)
    await world.generator(sources=[SOURCE], artifacts=[artifact("web"), artifact("api")])
    before = await world.until_ready()
    web, api = await world.made("web"), await world.made("api")
    monkeypatch.setattr(GeneratorJobs, "stage", counted)
    await shelf.put("mono", {**FILES, "apps/api/app.yaml": "api: 2\n"})
    obj = await world.until_ready(revision=before["status"]["observedSourcesDigest"])

    assert await world.made("web") == web
    changed = await world.made("api")
    assert changed["status"]["artifact"]["revision"] != api["status"]["artifact"]["revision"]
    assert (await world.made_files("api"))["app.yaml"] == "api: 2\n"
    assert obj["status"]["inventory"][0] == before["status"]["inventory"][0]
    assert staged == ["@repo/apps/api/**"]


async def test_the_same_content_is_the_same_artifact_wherever_it_comes_from(
    world: GeneratorWorld, shelf: Shelf
) -> None:
    await shelf.put("mono", {**FILES, "apps/web2/app.yaml": "web: 1\n"})
    await world.generator(
        sources=[SOURCE], artifacts=[artifact("web"), artifact("copy", folder="web2")]
    )
    await world.until_ready()

    first, second = await world.made("web"), await world.made("copy")
    assert first["status"]["artifact"]["digest"] == second["status"]["artifact"]["digest"]


@pytest.mark.shows(
    "field:ArtifactGenerator/spec.artifacts[].revision",
    "field:ArtifactGenerator/spec.artifacts[].originRevision",
)
async def test_revisions_can_be_a_sources(world: GeneratorWorld, shelf: Shelf) -> None:
    await shelf.put("mono", FILES, revision="main@sha1:abc", metadata={ORIGIN: "origin@sha1:def"})
    await shelf.put("plain", {"a": "b"}, revision="main@sha1:123")
    await world.generator(
        sources=[SOURCE, {"alias": "plain", "kind": "ExternalArtifact", "name": "plain"}],
        artifacts=[
            artifact("web", revision="@repo"),
            artifact("api", originRevision="@repo"),
            artifact("both", folder="web", revision="@plain", originRevision="@plain"),
        ],
    )
    await world.until_ready()

    web, api, both = [
        (await world.made(name))["status"]["artifact"] for name in ("web", "api", "both")
    ]
    assert (web["revision"], "metadata" in web) == ("main@sha1:abc", False)
    assert api["revision"] == f"latest@{api['digest']}"
    assert api["metadata"] == {ORIGIN: "origin@sha1:def"}
    assert (both["revision"], both["metadata"]) == ("main@sha1:123", {ORIGIN: "main@sha1:123"})


async def test_a_new_origin_is_noted_and_is_no_new_revision(
    world: GeneratorWorld, shelf: Shelf
) -> None:
    await shelf.put("mono", FILES, revision="main@sha1:1")
    await world.generator(sources=[SOURCE], artifacts=[artifact("web", originRevision="@repo")])
    before = await world.until_ready()
    old = (await world.made("web"))["status"]["artifact"]
    await shelf.put("mono", {**FILES, "README.md": "new"}, revision="main@sha1:2")
    await world.until_ready(revision=before["status"]["observedSourcesDigest"])

    new = (await world.made("web"))["status"]["artifact"]
    assert new == {**old, "metadata": {ORIGIN: "main@sha1:2"}}


@pytest.mark.shows(
    "field:ArtifactGenerator/spec.commonMetadata.labels",
    "field:ArtifactGenerator/spec.commonMetadata.annotations",
)
async def test_common_metadata_comes_and_goes(world: GeneratorWorld, shelf: Shelf) -> None:
    await shelf.put("mono", FILES)
    reserved = {
        "app.kubernetes.io/managed-by": "me",
        "source.extensions.fluxcd.io/generator": "none",
    }
    spec: dict[str, Any] = {"sources": [SOURCE], "artifacts": [artifact("web")]}
    created = await world.generator(
        **spec,
        commonMetadata={"labels": {"env": "prod", **reserved}, "annotations": {"note": "x"}},
    )
    await world.until_ready()
    metadata = (await world.made("web"))["metadata"]
    assert metadata["labels"] == {
        "env": "prod",
        "app.kubernetes.io/managed-by": "source-watcher",
        "source.extensions.fluxcd.io/generator": created["metadata"]["uid"],
    }
    assert metadata["annotations"] == {"note": "x"}

    await world.generator(**spec)
    await world.until_ready()
    metadata = (await world.made("web"))["metadata"]
    assert "env" not in metadata["labels"]
    assert "annotations" not in metadata


@pytest.mark.shows("field:ArtifactGenerator/spec.pathPattern")
async def test_every_folder_that_matches_makes_artifacts(
    world: GeneratorWorld, shelf: Shelf
) -> None:
    await shelf.put("mono", {"apps/Web/envs/prod/a": "1", "apps/api/envs/prod/a": "2"})
    copy = [{"from": "@repo/apps/{app}/envs/{env}/**", "to": "@artifact/{app}/"}]
    await world.generator(
        sources=[SOURCE],
        pathPattern="@repo/apps/{app}/envs/{env}",
        artifacts=[{"name": "{app}-{env}", "copy": copy}],
    )
    obj = await world.until_ready()

    assert {item["name"] for item in obj["status"]["inventory"]} == {"web-prod", "api-prod"}
    assert await world.made_files("web-prod") == {"Web/a": "1"}
    labels = (await world.made("web-prod"))["metadata"]["labels"]
    assert (labels["app"], labels["env"]) == ("web", "prod")

    before = obj["status"]["observedSourcesDigest"]
    await shelf.put("mono", {"apps/api/envs/prod/a": "2", "apps/new/envs/dev/a": "3"})
    obj = await world.until_ready(revision=before)
    assert {item["name"] for item in obj["status"]["inventory"]} == {"api-prod", "new-dev"}
    assert await world.external("web-prod") is None


@pytest.mark.shows(
    "field:ArtifactGenerator/spec.artifacts[].copy[].strategy",
    "field:ArtifactGenerator/spec.artifacts[].copy[].exclude[]",
)
async def test_several_sources_make_one_artifact(world: GeneratorWorld, shelf: Shelf) -> None:
    chart = io.BytesIO()
    with tarfile.open(fileobj=chart, mode="w:gz") as archive:
        for name, text in {"app/Chart.yaml": "name: app\n", "app/values.yaml": "a: 1\n"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    await shelf.put("chart", {"app-1.0.0.tgz": chart.getvalue()})
    await shelf.put("mono", {"values-prod.yaml": "b: 2\n", "docs/a.md": "", "docs/b.txt": ""})
    await world.generator(
        sources=[SOURCE, {"alias": "chart", "kind": "ExternalArtifact", "name": "chart"}],
        artifacts=[
            {
                "name": "composed",
                "copy": [
                    {"from": "@chart/*.tgz", "to": "@artifact/", "strategy": "Extract"},
                    {
                        "from": "@repo/values-prod.yaml",
                        "to": "@artifact/app/values.yaml",
                        "strategy": "Merge",
                    },
                    {
                        "from": "@repo/docs/**",
                        "to": "@artifact/app/",
                        "exclude": ["*.md"],
                        "strategy": "Overwrite",
                    },
                ],
            }
        ],
    )
    await world.until_ready()

    assert await world.made_files("composed") == {
        "app/Chart.yaml": "name: app\n",
        "app/values.yaml": "a: 1\nb: 2\n",
        "app/b.txt": "",
    }


async def test_what_sources_leave_out_by_default_is_left_out(
    world: GeneratorWorld, shelf: Shelf
) -> None:
    """Also from the digest of the content: it makes no new artifact."""
    files = {**FILES, "apps/web/photo.jpg": "1", "apps/web/.sops.yaml": "s"}
    await shelf.put("mono", files)
    await world.generator(sources=[SOURCE], artifacts=[artifact("web")])
    before = await world.until_ready()
    web = await world.made("web")
    await shelf.put("mono", {**files, "apps/web/photo.jpg": "2"})
    await world.until_ready(revision=before["status"]["observedSourcesDigest"])

    assert await world.made_files("web") == {"app.yaml": "web: 1\n"}
    assert await world.made("web") == web


@pytest.mark.shows("field:ArtifactGenerator/spec.sources[].namespace")
async def test_a_source_of_another_namespace(world: GeneratorWorld, shelf: Shelf) -> None:
    await _namespace(world, "other")
    await shelf.put("mono", FILES, namespace="other")
    await world.generator(sources=[{**SOURCE, "namespace": "other"}], artifacts=[artifact("web")])
    await world.until_ready()

    assert await world.made_files("web") == {"app.yaml": "web: 1\n"}


async def test_every_kind_of_source(world: GeneratorWorld, shelf: Shelf) -> None:
    """As another shard has reconciled and serves them."""
    specs: dict[Resource, dict[str, Any]] = {
        kinds.BUCKET: {"bucketName": "b", "endpoint": "s3.example"},
        kinds.GIT_REPOSITORY: {"url": "https://git.example/x.git"},
        kinds.HELM_CHART: {"chart": "c", "sourceRef": {"kind": "HelmRepository", "name": "x"}},
        kinds.OCI_REPOSITORY: {"url": "oci://registry.example/x"},
    }
    for resource, spec in specs.items():
        await world.of(resource).make("src", suspend=True, interval="1h", **spec)
        folder = f"{resource.kind.lower()}/{NAMESPACE}/src"
        stored = await shelf.store(folder, {"a": resource.kind})
        await world.client.patch(
            resource,
            ObjectKey(NAMESPACE, "src"),
            {"status": {"artifact": stored}},
            patch_type="merge",
            field_manager="test",
            subresource="status",
        )
    names = [resource.kind for resource in specs]
    await world.generator(
        sources=[{"alias": kind.lower(), "kind": kind, "name": "src"} for kind in names],
        artifacts=[
            {
                "name": "all",
                "copy": [
                    {"from": f"@{kind.lower()}/a", "to": f"@artifact/{kind}"} for kind in names
                ],
            }
        ],
    )
    await world.until_ready()

    assert await world.made_files("all") == {kind: kind for kind in names}


async def test_a_commit_becomes_artifacts_out_of_the_storage(
    world: GeneratorWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    """Sources of this very process are read from its storage; several generators unpack once."""
    repo.commit({"apps/web/app.yaml": "web: 1\n"})
    await world.repository("mono", url=f"{http_server.url}/app.git")
    source = {"alias": "repo", "kind": "GitRepository", "name": "mono"}
    for name in ("one", "two"):
        await world.generator(
            name, sources=[source], artifacts=[artifact(name, folder="web", revision="@repo")]
        )
    first = await world.until_ready("one")
    await world.until_ready("two")
    head = repo.commit({"apps/web/app.yaml": "web: 2\n"})
    await world.of(kinds.GIT_REPOSITORY).request("now", "mono")
    await world.until_ready("one", revision=first["status"]["observedSourcesDigest"])

    assert (await world.made("one"))["status"]["artifact"]["revision"] == f"main@sha1:{head}"
    assert await world.made_files("one") == {"app.yaml": "web: 2\n"}


async def test_a_generator_is_a_source_of_another(world: GeneratorWorld, shelf: Shelf) -> None:
    await shelf.put("mono", FILES)
    await world.generator(sources=[SOURCE], artifacts=[artifact("web")])
    copy = [{"from": "@web/**", "to": "@artifact/x/"}]
    await world.generator(
        "second",
        sources=[{"alias": "web", "kind": "ExternalArtifact", "name": "web"}],
        artifacts=[{"name": "final", "copy": copy}],
    )
    before = await world.until_ready("second")
    await shelf.put("mono", {**FILES, "apps/web/app.yaml": "web: 2\n"})
    await world.until_ready("second", revision=before["status"]["observedSourcesDigest"])

    assert await world.made_files("final") == {"x/app.yaml": "web: 2\n"}


async def _namespace(world: GeneratorWorld, name: str) -> None:
    obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    await world.client.apply(kinds.NAMESPACE, ObjectKey("", name), obj, field_manager="test")
