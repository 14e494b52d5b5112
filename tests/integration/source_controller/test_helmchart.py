"""HelmChart of a repository over HTTP, from spec to stored package, condition by condition."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fluvial.artifact import publishing
from fluvial.kube import kinds
from fluvial.kube.errors import Invalid
from harness.helmcharts import ChartWorld, chart, packed, publish, unpacked
from harness.source import condition, fast_settings
from harness.webserver import FileHost
from source_controller.helm import client

APP = packed(chart())


@pytest.fixture
def charts(tmp_path: Path) -> Path:
    folder = tmp_path / "charts"
    folder.mkdir()
    publish(folder, APP)
    return folder


@pytest.fixture
async def host(charts: Path) -> AsyncIterator[FileHost]:
    async with FileHost(charts) as host:
        yield host


@pytest.fixture
async def world(tmp_path: Path, host: FileHost) -> AsyncIterator[ChartWorld]:
    """With the HelmRepository ``charts``."""
    async with ChartWorld.start(tmp_path) as world:
        assert isinstance(world, ChartWorld)
        await world.helm_repository(url=host.url)
        yield world


async def reindexed(world: ChartWorld, revision: str) -> None:
    """Have the HelmRepository look again, until it has an index."""
    repositories = world.of(kinds.HELM_REPOSITORY)
    await repositories.request(revision[:20], "charts")
    await repositories.until_ready("charts", revision=revision)


def downloads(host: FileHost) -> list[str]:
    return [path for path in host.requests if path.endswith(".tgz")]


@pytest.mark.shows(
    "HelmChart/Ready/ChartPullSucceeded",
    "HelmChart/ArtifactInStorage/ChartPullSucceeded",
    "event:HelmChart/ChartPullSucceeded",
    "field:HelmChart/spec.chart",
    "field:HelmChart/spec.sourceRef.kind",
    "field:HelmChart/spec.sourceRef.name",
)
async def test_a_chart_becomes_a_served_artifact(world: ChartWorld, charts: Path) -> None:
    revision = publish(charts, APP, packed(chart(version="0.9.0")))
    await reindexed(world, revision)
    await world.chart()
    obj = await world.until_ready(revision="1.0.0")

    status = obj["status"]
    artifact = status["artifact"]
    assert artifact["path"] == "helmchart/apps/app/app-1.0.0.tgz"
    assert artifact["digest"] == f"sha256:{hashlib.sha256(APP).hexdigest()}", "as it was published"
    assert artifact["url"] == world.url + artifact["path"]
    assert status["url"] == f"{world.url}helmchart/apps/app/latest.tar.gz"
    assert status["observedChartName"] == "app"
    assert status["observedSourceArtifactRevision"] == revision
    assert status["observedGeneration"] == 1
    assert "observedValuesFiles" not in status
    assert await world.package(obj) == APP
    for name in ("Ready", "ArtifactInStorage"):
        found = condition(obj, name)
        assert (found["status"], found["reason"], found["message"]) == (
            "True",
            "ChartPullSucceeded",
            "pulled 'app' chart with version '1.0.0'",
        )
    assert {item["type"] for item in status["conditions"]} == {"Ready", "ArtifactInStorage"}
    assert obj["metadata"]["finalizers"] == ["finalizers.fluxcd.io"]
    event = await world.until_event("ChartPullSucceeded")
    group = "source.toolkit.fluxcd.io"
    assert event["type"] == "Normal"
    assert event["message"] == "pulled 'app' chart with version '1.0.0'"
    assert event["metadata"]["annotations"][f"{group}/revision"] == "1.0.0"
    assert event["metadata"]["annotations"][f"{group}/digest"] == artifact["digest"]


@pytest.mark.shows("field:HelmChart/spec.version")
async def test_which_version_is_meant(world: ChartWorld, charts: Path) -> None:
    versions = ("0.9.0", "1.0.0", "1.1.0", "2.0.0-rc.1", "1.5.0+b1")
    revision = publish(charts, *(packed(chart(version=version)) for version in versions))
    await reindexed(world, revision)
    wanted = {
        "any": (None, "1.5.0+b1"),
        "tilde": ("~1.0", "1.0.0"),
        "exact": ("2.0.0-rc.1", "2.0.0-rc.1"),
        "pre": (">=1.0.0-0", "2.0.0-rc.1"),
        "old": ("<1.0.0", "0.9.0"),
    }
    for name, (version, _) in wanted.items():
        await world.chart(name, version=version)

    for name, (_, found) in wanted.items():
        await world.until_ready(name, revision=found)


@pytest.mark.shows("event:HelmChart/ArtifactUpToDate")
async def test_what_is_stored_is_not_fetched_again(world: ChartWorld, host: FileHost) -> None:
    await world.chart()
    before = await world.until_ready()
    await world.request("now")
    obj = await world.until_handled("now")

    assert obj["status"]["artifact"] == before["status"]["artifact"]
    assert len(downloads(host)) == 1
    assert await world.until_event("ArtifactUpToDate")


@pytest.mark.shows(
    "HelmChart/ArtifactOutdated/NewChart",
    "HelmChart/Ready/Progressing",
    "HelmChart/Reconciling/Progressing",
)
async def test_a_new_index_wakes_its_charts(
    world: ChartWorld, host: FileHost, charts: Path
) -> None:
    await world.chart()
    await world.until_ready(revision="1.0.0")
    async with world.history() as seen:
        revision = publish(charts, APP, packed(chart(version="1.1.0")))
        await reindexed(world, revision)
        obj = await world.until_ready(revision="1.1.0")

    assert obj["status"]["observedSourceArtifactRevision"] == revision
    states = [
        {item["type"]: (item["status"], item["reason"]) for item in one["status"]["conditions"]}
        for one in seen
    ]
    on_its_way = {
        "ArtifactOutdated": ("True", "NewChart"),
        "Ready": ("Unknown", "Progressing"),
        "Reconciling": ("True", "Progressing"),
    }
    assert any(on_its_way.items() <= state.items() for state in states)
    assert (world.storage_path / "helmchart/apps/app/app-1.0.0.tgz").exists(), "for who loads it"


# --- values ---------------------------------------------------------------------------------------

WITH_VALUES = packed(
    chart(
        files={
            "values.yaml": "v: one\nkeep: 1\nmap: {a: 1, b: 2}\n",
            "prod.yaml": "v: prod\nmap: {b: 3}\n",
            "envs/more.yaml": "v: more\nlist: [1]\n",
            "list.yaml": "- no mapping\n",
        }
    )
)


@pytest.mark.shows(
    "field:HelmChart/spec.valuesFiles[]",
    "HelmChart/Ready/ChartPackageSucceeded",
    "HelmChart/ArtifactInStorage/ChartPackageSucceeded",
    "event:HelmChart/ChartPackageSucceeded",
)
async def test_values_files_are_merged_and_the_later_wins(
    world: ChartWorld, host: FileHost, charts: Path
) -> None:
    await reindexed(world, publish(charts, WITH_VALUES))
    files = ["values.yaml", "prod.yaml", "./envs/../envs/more.yaml"]
    await world.chart(valuesFiles=files)
    obj = await world.until_ready(revision="1.0.0+1")

    found = unpacked(await world.package(obj))
    assert found["values.yaml"] == ("keep: 1\nlist:\n- 1\nmap:\n  a: 1\n  b: 3\nv: more\n")
    assert "version: 1.0.0+1" in found["Chart.yaml"]
    assert found["prod.yaml"].startswith("v: prod"), "the files stay"
    message = (
        f"packaged 'app' chart with version '1.0.0+1' and merged values files [{' '.join(files)}]"
    )
    assert condition(obj, "Ready")["reason"] == "ChartPackageSucceeded"
    assert condition(obj, "ArtifactInStorage")["message"] == message
    assert (await world.until_event("ChartPackageSucceeded"))["message"] == message
    assert "observedValuesFiles" not in obj["status"], "only where missing ones are passed over"

    await world.chart(valuesFiles=["prod.yaml"])
    obj = await world.until_ready(revision="1.0.0+2")
    assert unpacked(await world.package(obj))["values.yaml"] == "map:\n  b: 3\nv: prod\n"
    assert len(downloads(host)) == 1


async def test_the_charts_own_values_alone_are_no_values_files(
    world: ChartWorld, charts: Path
) -> None:
    await world.chart(valuesFiles=["./values.yaml"])
    obj = await world.until_ready(revision="1.0.0")

    assert await world.package(obj) == APP


@pytest.mark.shows("field:HelmChart/spec.ignoreMissingValuesFiles")
async def test_missing_values_files_can_be_passed_over(world: ChartWorld, charts: Path) -> None:
    await reindexed(world, publish(charts, WITH_VALUES))
    files = ["missing.yaml", "prod.yaml"]
    await world.chart(valuesFiles=files, ignoreMissingValuesFiles=True)
    obj = await world.until_ready(revision="1.0.0+1")

    assert obj["status"]["observedValuesFiles"] == ["prod.yaml"]
    await world.request("now")
    obj = await world.until_handled("now")
    assert obj["status"]["observedValuesFiles"] == ["prod.yaml"]
    assert condition(obj, "Ready")["message"].endswith("values files [prod.yaml]")


@pytest.mark.shows("HelmChart/BuildFailed/ValuesFilesError", "HelmChart/Stalled/ValuesFilesError")
async def test_values_files_that_cannot_be_merged(world: ChartWorld, charts: Path) -> None:
    await reindexed(world, publish(charts, WITH_VALUES))
    for file in ("missing.yaml", "list.yaml"):
        await world.chart(valuesFiles=[file])
        obj = await world.until_failed("ValuesFilesError")
        assert condition(obj, "BuildFailed")["status"] == "True"
        assert condition(obj, "Stalled")["reason"] == "ValuesFilesError"
        assert file in condition(obj, "Ready")["message"]

    await world.chart(valuesFiles=None)
    obj = await world.until_ready(revision="1.0.0")
    assert not condition(obj, "BuildFailed")


@pytest.mark.shows("HelmChart/BuildFailed/ChartPackageError")
async def test_a_package_that_helm_would_not_load(world: ChartWorld, charts: Path) -> None:
    large = {f"{name}.yaml": f"{name}: {'x' * (3 << 20)}\n" for name in "ab"}
    await reindexed(world, publish(charts, packed(chart(files=large))))
    await world.chart(valuesFiles=["a.yaml", "b.yaml"])
    obj = await world.until_failed("ChartPackageError")

    assert condition(obj, "BuildFailed")["status"] == "True"
    assert "'values.yaml' has more than 5242880 bytes" in condition(obj, "Ready")["message"]


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.shows(
    "HelmChart/FetchFailed/InvalidChartReference", "HelmChart/Stalled/InvalidChartReference"
)
async def test_a_chart_that_there_is_not(world: ChartWorld) -> None:
    """No such chart, a path, a name that an expression would chew on for hours, no such version."""
    specs: tuple[dict[str, str], ...] = (
        {"chart": "other"},
        {"chart": "../app"},
        {"chart": "a" * 30 + "!"},
        {"version": "^9"},
        {"version": "no range"},
    )
    for number, spec in enumerate(specs):
        await world.chart(f"app-{number}", **spec)

    for number in range(len(specs)):
        obj = await world.until_failed("InvalidChartReference", f"app-{number}")
        assert condition(obj, "FetchFailed")["status"] == "True"
        assert condition(obj, "Stalled")["reason"] == "InvalidChartReference"
        assert obj["status"]["observedGeneration"] == 1
        assert "artifact" not in obj["status"]


async def test_a_stalled_chart_is_woken_by_a_new_index(world: ChartWorld, charts: Path) -> None:
    await world.chart(version="^2")
    await world.until_failed("InvalidChartReference")
    await reindexed(world, publish(charts, packed(chart(version="2.1.0"))))

    obj = await world.until_ready(revision="2.1.0")
    assert not condition(obj, "Stalled")


@pytest.mark.shows(
    "HelmChart/FetchFailed/ChartPullError",
    "HelmChart/Reconciling/ProgressingWithRetry",
    "event:HelmChart/failure",
)
async def test_a_chart_that_cannot_be_downloaded(
    world: ChartWorld, host: FileHost, charts: Path
) -> None:
    (charts / "app-1.0.0.tgz").unlink()
    await world.chart()
    obj = await world.until_failed("ChartPullError")

    assert condition(obj, "FetchFailed")["reason"] == "ChartPullError"
    assert condition(obj, "Reconciling")["reason"] == "ProgressingWithRetry"
    assert "404 Not Found" in condition(obj, "Ready")["message"]
    assert (await world.until_event("ChartPullError"))["type"] == "Warning"
    (charts / "app-1.0.0.tgz").write_bytes(APP)
    obj = await world.until_ready()
    assert not condition(obj, "FetchFailed")


@pytest.mark.shows("HelmChart/FetchFailed/SourceUnavailable")
async def test_a_source_that_is_not_there_yet(world: ChartWorld, host: FileHost) -> None:
    await world.chart(sourceRef={"kind": "HelmRepository", "name": "later"})
    obj = await world.until_failed("SourceUnavailable")
    assert "HelmRepository 'apps/later' not found" in condition(obj, "Ready")["message"]
    await world.helm_repository("later", url=host.url)

    await world.until_ready()


@pytest.mark.shows("HelmChart/FetchFailed/NoSourceArtifact", "event:HelmChart/NoSourceArtifact")
async def test_a_source_without_artifact_is_waited_for(world: ChartWorld, host: FileHost) -> None:
    host.status = 503
    await world.helm_repository("late", url=f"{host.url}/")
    await world.chart(sourceRef={"kind": "HelmRepository", "name": "late"})
    obj = await world.until_failed("NoSourceArtifact")

    assert condition(obj, "FetchFailed")["status"] == "True"
    message = "no artifact available for HelmRepository source 'late'"
    assert condition(obj, "Ready")["message"] == message
    assert (await world.until_event("NoSourceArtifact"))["type"] == "Normal"
    host.status = 0
    await world.until_ready()


@pytest.mark.shows("HelmChart/FetchFailed/Unknown")
async def test_a_worker_that_runs_out_of_time(
    world: ChartWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as hurry:
        hurry.setattr(client, "_CHART_SECONDS", 0.0)
        await world.chart()
        obj = await world.until_failed("Unknown")
        assert condition(obj, "FetchFailed")["reason"] == "Unknown"

    await world.until_ready()


@pytest.mark.shows("HelmChart/FetchFailed/URLInvalid", "HelmChart/Stalled/URLInvalid")
async def test_an_address_that_is_none(world: ChartWorld) -> None:
    await world.chart()
    await world.until_ready()
    await world.helm_repository(url="oci://registry.example/charts")
    await world.chart(version="1.x")
    obj = await world.until_failed("URLInvalid")

    assert condition(obj, "Stalled")["reason"] == "URLInvalid"
    assert condition(obj, "FetchFailed")["reason"] == "URLInvalid"
    assert obj["status"]["artifact"]["revision"] == "1.0.0", "what there is stays"


@pytest.mark.shows(
    "HelmChart/BuildFailed/ChartVerificationError", "HelmChart/SourceVerified/VerificationError"
)
async def test_charts_over_http_cannot_be_verified(world: ChartWorld) -> None:
    await world.chart(verify={"provider": "cosign"})
    obj = await world.until_failed("VerificationError")

    assert condition(obj, "BuildFailed")["reason"] == "ChartVerificationError"
    assert condition(obj, "SourceVerified")["status"] == "False"
    assert not condition(obj, "Stalled")
    assert "artifact" not in obj["status"]


async def test_what_the_api_refuses(world: ChartWorld) -> None:
    git = {"kind": "GitRepository", "name": "app"}
    for spec in (
        {"verify": {"provider": "cosign"}, "sourceRef": git},
        {"sourceRef": {"kind": "OCIRepository", "name": "app"}},
        {"reconcileStrategy": "Always"},
    ):
        with pytest.raises(Invalid):
            await world.chart(**spec)


# --- the rest of an object's life -----------------------------------------------------------------


@pytest.mark.shows("field:HelmChart/spec.suspend")
async def test_a_suspended_chart_is_left_alone(world: ChartWorld, host: FileHost) -> None:
    await world.chart(suspend=True)
    await world.request("now")
    obj = await world.until_handled("now")
    assert "artifact" not in obj["status"]
    await world.chart(suspend=False)

    await world.until_ready()


@pytest.mark.shows("event:HelmChart/GarbageCollectionSucceeded")
async def test_a_deleted_chart_leaves_nothing(world: ChartWorld) -> None:
    await world.chart()
    await world.until_ready()
    await world.delete()
    await world.gone()

    assert not (world.storage_path / "helmchart/apps/app").exists()
    await world.until_event("GarbageCollectionSucceeded")


@pytest.mark.shows("event:HelmChart/ArtifactVerificationFailed")
@pytest.mark.parametrize("harm", ["altered", "removed"])
async def test_a_file_that_is_gone_or_altered_is_made_again(world: ChartWorld, harm: str) -> None:
    await world.chart()
    before = await world.until_ready()
    file = world.storage_path / before["status"]["artifact"]["path"]
    if harm == "altered":
        file.write_text("{}")
    else:
        file.unlink()
    await world.request("now")
    await world.until_handled("now")
    obj = await world.until_ready()

    assert await world.package(obj) == APP
    assert obj["status"]["artifact"]["digest"] == before["status"]["artifact"]["digest"]
    if harm == "altered":
        await world.until_event("ArtifactVerificationFailed")


async def test_a_restart_keeps_the_artifact(world: ChartWorld, host: FileHost) -> None:
    await world.chart()
    before = await world.until_ready()
    await world.stop_controller()
    await world.start_controller(fast_settings())
    await world.request("after the restart")
    obj = await world.until_handled("after the restart")

    assert obj["status"]["artifact"] == before["status"]["artifact"]
    assert len(downloads(host)) == 1


@pytest.mark.shows("HelmChart/StorageOperationFailed/ArchiveOperationFailed")
async def test_a_chart_that_cannot_be_stored(
    world: ChartWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    await world.of(kinds.HELM_REPOSITORY).until_ready("charts")
    with monkeypatch.context() as full:
        full.setattr(publishing, "place", refuse)
        await world.chart()
        obj = await world.until_failed("ArchiveOperationFailed")
        assert condition(obj, "StorageOperationFailed")["status"] == "True"

    obj = await world.until_ready()
    assert not condition(obj, "StorageOperationFailed")


@pytest.mark.shows("HelmChart/StorageOperationFailed/DirectoryCreationFailed")
async def test_no_room_for_a_download(world: ChartWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> str:
        raise OSError(errno.ENOSPC, "no space")

    await world.of(kinds.HELM_REPOSITORY).until_ready("charts")
    with monkeypatch.context() as full:
        full.setattr(tempfile, "mkdtemp", refuse)
        await world.chart()
        obj = await world.until_failed("DirectoryCreationFailed")
        assert condition(obj, "StorageOperationFailed")["status"] == "True"

    await world.until_ready()


async def test_equal_charts_cost_one_download(world: ChartWorld, host: FileHost) -> None:
    names = [f"app-{number}" for number in range(6)]
    for name in names:
        await world.chart(name)
    objects = [await world.until_ready(name) for name in names]

    files = {
        (world.storage_path / obj["status"]["artifact"]["path"]).stat().st_ino for obj in objects
    }
    assert len(files) == 1, "one stored file"
    assert len(downloads(host)) == 1


async def test_a_source_of_another_namespace_is_none(world: ChartWorld, host: FileHost) -> None:
    """Neither by name, nor by a status that somebody forged."""
    await world.chart()
    await world.until_ready()
    other: dict[str, Any] = {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "HelmChart",
        "metadata": {"name": "app", "namespace": "other"},
        "spec": {
            "interval": "1h",
            "chart": "app",
            "sourceRef": {"kind": "HelmRepository", "name": "charts"},
        },
    }
    await world._create_namespace("other")
    await world.client.create(kinds.HELM_CHART, other, field_manager="test")
    async with asyncio.timeout(20):
        while not (page := (await world.client.list_all(kinds.EVENT, namespace="other")).items):
            await asyncio.sleep(0.02)

    assert page[0]["reason"] == "SourceUnavailable"
