"""HelmChart of a GitRepository or a Bucket: packaged here, with what it needs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fluvial.kube import kinds
from fluvial.objects import ObjectKey
from gitservers.http import GitHttpServer
from gitservers.repos import Repo
from harness.helmcharts import ChartWorld, chart, packed, publish, unpacked
from harness.source import NAMESPACE, condition
from harness.webserver import FileHost
from registries.images import tarball

COMMIT = "main@sha1:0123456789abcdef0123456789abcdef01234567"
DIGEST = f"sha256:{'ab12' * 16}"
GIT = {"kind": "GitRepository", "name": "source"}
BUCKET = {"kind": "Bucket", "name": "source"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[ChartWorld]:
    async with ChartWorld.start(tmp_path) as world:
        assert isinstance(world, ChartWorld)
        yield world


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[FileHost]:
    folder = tmp_path / "charts"
    folder.mkdir()
    async with FileHost(folder) as host:
        yield host


def below(folder: str, files: Mapping[str, str]) -> dict[str, str | bytes]:
    return {f"{folder}/{name}": text for name, text in files.items()}


@pytest.mark.shows("field:HelmChart/spec.sourceRef.apiVersion")
async def test_a_commit_becomes_a_package(
    world: ChartWorld, repo: Repo, http_server: GitHttpServer
) -> None:
    files = chart(files={".helmignore": "*.md\n", "README.md": "no"})
    repo.commit({f"deploy/app/{name}": text for name, text in files.items()})
    await world.repository("source", url=f"{http_server.url}/app.git")
    source = GIT | {"apiVersion": "source.toolkit.fluxcd.io/v1"}
    await world.chart(chart="./deploy/app/", sourceRef=source)
    obj = await world.until_ready(revision="1.0.0")

    found = unpacked(await world.package(obj))
    assert found == {name: text for name, text in files.items() if name != "README.md"}
    assert obj["status"]["artifact"]["path"] == "helmchart/apps/app/app-1.0.0.tgz"
    assert condition(obj, "Ready")["reason"] == "ChartPackageSucceeded"
    assert condition(obj, "Ready")["message"] == "packaged 'app' chart with version '1.0.0'"
    # Another commit, and the chart has no other version.
    commit = repo.commit({"deploy/app/templates/more.yaml": "a: b\n"})
    await world.of(kinds.GIT_REPOSITORY).request("now", "source")
    after = await world.until(
        lambda o: o["status"]["observedSourceArtifactRevision"].endswith(commit)
    )
    assert after["status"]["artifact"] == obj["status"]["artifact"]


@pytest.mark.shows("field:HelmChart/spec.reconcileStrategy")
async def test_a_revision_becomes_build_metadata(world: ChartWorld) -> None:
    files = chart(files={"prod.yaml": "v: prod\n"})
    await world.stored_source(below("app", files), kind="Bucket", revision=DIGEST)
    spec: dict[str, Any] = {"sourceRef": BUCKET, "reconcileStrategy": "Revision"}
    await world.chart(**spec)
    obj = await world.until_ready(revision="1.0.0+ab12ab12ab12")
    assert "version: 1.0.0+ab12ab12ab12" in unpacked(await world.package(obj))["Chart.yaml"]
    await world.chart("values", **spec, valuesFiles=["./app/prod.yaml"])
    obj = await world.until_ready("values", revision="1.0.0+ab12ab12ab12.1")
    assert unpacked(await world.package(obj))["values.yaml"] == "v: prod\n"

    # The source moves on, and wakes them.
    files["values.yaml"] = "v: two\n"
    revision = f"sha256:{'cd34' * 16}"
    await world.stored_source(below("app", files), kind="Bucket", revision=revision)
    obj = await world.until_ready(revision="1.0.0+cd34cd34cd34")
    assert unpacked(await world.package(obj))["values.yaml"] == "v: two\n"
    await world.stored_source(below("app", files), kind="GitRepository", revision=COMMIT)
    await world.chart("git", **spec | {"sourceRef": GIT})
    await world.until_ready("git", revision="1.0.0+0123456789ab")


async def test_a_package_in_a_source_stays_as_it_is(world: ChartWorld) -> None:
    data = packed(chart())
    await world.stored_source({"charts/app.tgz": data}, kind="GitRepository", revision=COMMIT)
    await world.chart(chart="charts/app.tgz", sourceRef=GIT)
    obj = await world.until_ready()
    assert await world.package(obj) == data
    assert condition(obj, "Ready")["reason"] == "ChartPullSucceeded"
    await world.chart(chart="charts/app.tgz", sourceRef=GIT, reconcileStrategy="Revision")

    obj = await world.until_ready(revision="1.0.0+0123456789ab")
    assert condition(obj, "Ready")["reason"] == "ChartPackageSucceeded"


async def test_a_source_that_says_the_same_costs_nothing(world: ChartWorld) -> None:
    """What was found in an artifact is known as long as the artifact is the same."""
    file = await world.stored_source(below("app", chart()), kind="Bucket", revision=DIGEST)
    await world.chart(sourceRef=BUCKET)
    before = await world.until_ready()
    file.write_bytes(b"altered, and nobody looks")
    await world.run_now()
    obj = await world.get()

    assert obj["status"] == before["status"]


# --- dependencies ---------------------------------------------------------------------------------


def needing(*dependencies: Mapping[str, str], **files: str) -> dict[str, str]:
    return chart(dependencies=[dict(item) for item in dependencies], files=files)


@pytest.mark.shows("event:HelmChart/ResolvedDependencies")
async def test_dependencies_in_the_same_source(world: ChartWorld) -> None:
    lib = {"name": "lib", "version": "^1", "repository": "file://../lib"}
    there = {"name": "there", "version": "1.x", "repository": "https://nowhere.example"}
    files = needing(
        lib | {"alias": "first"},
        lib | {"alias": "second"},
        {"name": "near", "version": ""},
        there,
        **{
            "charts/near/Chart.yaml": chart("near")["Chart.yaml"],
            "charts/there/Chart.yaml": chart("there")["Chart.yaml"],
            ".helmignore": "charts/near\n",
        },
    )
    tree = below("app", files) | below("lib", chart("lib", "1.2.0"))
    await world.stored_source(tree, kind="GitRepository", revision=COMMIT)
    await world.chart(sourceRef=GIT)
    obj = await world.until_ready()

    found = unpacked(await world.package(obj))
    charts = {name.split("/")[1] for name in found if name.startswith("charts/")}
    assert charts == {"lib", "near", "there"}, "each once, under its own name"
    assert "version: 1.2.0" in found["charts/lib/Chart.yaml"]
    assert found["Chart.yaml"] == files["Chart.yaml"], "aliases are Helm's to apply"
    event = await world.until_event("ResolvedDependencies")
    assert event["message"] == "resolved 2 chart dependencies"


async def test_dependencies_of_repositories(world: ChartWorld, host: FileHost) -> None:
    """The lock decides; the credentials are those of the namespace's repository of that address."""
    publish(host.root, *(packed(chart("lib", version)) for version in ("1.1.0", "1.2.0")))
    host.basic = ("robot", "topsecret")
    await world.secret("login", {"username": "robot", "password": "topsecret"})
    await world.helm_repository("libs", url=f"{host.url}/", secretRef={"name": "login"})
    await world.of(kinds.HELM_REPOSITORY).until_ready("libs")
    lib = {"name": "lib", "version": "^1", "repository": host.url}
    free = below("free", needing(lib))
    lock = f"dependencies:\n- {{name: lib, version: 1.1.0, repository: '{host.url}'}}\n"
    locked = below("locked", needing(lib, **{"Chart.lock": lock}))
    await world.stored_source(free | locked, kind="GitRepository", revision=COMMIT)
    for name, version in {"free": "1.2.0", "locked": "1.1.0"}.items():
        await world.chart(name, chart=name, sourceRef=GIT)
        obj = await world.until_ready(name)
        found = unpacked(await world.package(obj))
        assert f"version: {version}" in found["charts/lib/Chart.yaml"]
    # Without it nobody is known there.
    await world.of(kinds.HELM_REPOSITORY).delete("libs")
    await world.of(kinds.HELM_REPOSITORY).gone("libs")
    await world.chart("free", chart="free", sourceRef=GIT, reconcileStrategy="Revision")
    obj = await world.until_failed("DependencyBuildError", "free")
    assert "401 Unauthorized" in condition(obj, "Ready")["message"]
    assert "topsecret" not in str(obj)

    host.basic = None
    obj = await world.until_ready("free")
    assert not condition(obj, "BuildFailed")


BROKEN: dict[str, tuple[dict[str, str], str]] = {
    "alias": ({"version": "1", "repository": "@stable"}, "aliases are not known"),
    "missing": ({"version": "1", "repository": "file://../none"}, "there is no chart at"),
    "outside": ({"version": "1", "repository": "file://../../../etc"}, "there is no chart at"),
    "version": ({"version": "^2", "repository": "file://../lib"}, "is not in the range"),
    "range": ({"version": "no range", "repository": "file://../lib"}, "asks for no range"),
    "address": ({"version": "1", "repository": "http://169.254.169.254/x"}, "169.254.169.254"),
    "scheme": ({"version": "1", "repository": "s3://robot:topsecret@x/y"}, "'x/y' is no address"),
    "login": ({"version": "1", "repository": "http://robot:topsecret@127.0.0.1:1/"}, "127.0.0.1"),
}


@pytest.mark.shows("HelmChart/BuildFailed/DependencyBuildError")
async def test_dependencies_that_cannot_be_had(world: ChartWorld) -> None:
    tree = below("lib", chart("lib"))
    for name, (dependency, _) in BROKEN.items():
        tree |= below(name, needing({"name": "lib", **dependency}))
    await world.stored_source(tree, kind="GitRepository", revision=COMMIT)
    for name in BROKEN:
        await world.chart(name, chart=name, sourceRef=GIT)

    for name, (_, problem) in BROKEN.items():
        obj = await world.until_failed("DependencyBuildError", name)
        assert condition(obj, "BuildFailed")["status"] == "True"
        assert problem in condition(obj, "Ready")["message"], name
        assert "topsecret" not in str(obj)
        assert not condition(obj, "Stalled")


# --- what goes wrong ------------------------------------------------------------------------------


NO_CHARTS: dict[str, Mapping[str, str | bytes]] = {
    "no-chart-yaml": {"values.yaml": "a: b"},
    "no-yaml": {**chart(), "Chart.yaml": "name: [\n"},
    "version": {**chart(version="one")},
    "name": {**chart(name="a/b")},
    "ignore": {**chart(), ".helmignore": "a/**/b\n"},
}


async def test_what_is_no_chart(world: ChartWorld) -> None:
    tree: dict[str, str | bytes] = {"app": b"no archive"}
    for name, files in NO_CHARTS.items():
        tree |= {f"{name}/{path}": content for path, content in files.items()}
    await world.stored_source(tree, kind="Bucket", revision=DIGEST)
    paths = {name: name for name in NO_CHARTS}
    paths |= {"nothing": "none", "outside": "../../apps", "no-archive": "app", "root": "."}
    for name, path in paths.items():
        await world.chart(name, chart=path, sourceRef=BUCKET)

    for name in paths:
        obj = await world.until_failed("InvalidChartReference", name)
        assert condition(obj, "Stalled")["reason"] == "InvalidChartReference"


@pytest.mark.shows("HelmChart/FetchFailed/ReadOperationFailed", "HelmChart/FetchFailed/Failed")
async def test_a_source_whose_artifact_is_no_archive(world: ChartWorld) -> None:
    file = await world.stored_source({}, kind="Bucket", revision=DIGEST)
    file.write_bytes(b"altered")
    await world.chart(sourceRef=BUCKET)
    obj = await world.until_failed("ReadOperationFailed")
    assert condition(obj, "FetchFailed")["reason"] == "ReadOperationFailed"

    await world.store(kinds.BUCKET, "source", b"no archive", f"sha256:{'0' * 64}")
    obj = await world.until_failed("Failed")
    assert condition(obj, "FetchFailed")["reason"] == "Failed"
    data = tarball(below("app", chart()))
    await world.store(kinds.BUCKET, "source", data, f"sha256:{'1' * 64}")
    await world.until_ready()


async def test_a_forged_artifact_of_a_source(world: ChartWorld) -> None:
    """Whoever may write a source's status has no right to what others store."""
    await world.stored_source(below("app", chart()), kind="Bucket", revision=DIGEST, name="victim")
    victim = (await world.of(kinds.BUCKET).get("victim"))["status"]["artifact"]
    await world.stored_source({}, kind="Bucket", revision=DIGEST)
    await world.client.patch(
        kinds.BUCKET,
        ObjectKey(NAMESPACE, "source"),
        {"status": {"artifact": victim}},
        patch_type="merge",
        field_manager="test",
        subresource="status",
    )
    await world.chart(sourceRef=BUCKET)

    await world.until_failed("NoSourceArtifact")
