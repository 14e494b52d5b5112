"""OCIRepository from spec to artifact, condition by condition."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.oci import OciWorld
from harness.source import condition
from registries.fake import FakeRegistry
from registries.images import FLUX_CONTENT, image_of, tarball

FILES = {"app.yaml": "v1\n", "photo.jpg": "x", "deploy/run.sh": "#!/bin/sh\n"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[OciWorld]:
    async with OciWorld.start(tmp_path) as world:
        assert isinstance(world, OciWorld)
        yield world


@pytest.fixture
async def fake() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry() as registry:
        yield registry


@pytest.mark.shows(
    "OCIRepository/Ready/Succeeded",
    "OCIRepository/ArtifactInStorage/Succeeded",
    "event:OCIRepository/NewArtifact",
    "field:OCIRepository/spec.url",
    "field:OCIRepository/spec.ref.tag",
)
async def test_a_tag_becomes_a_served_artifact(world: OciWorld, fake: FakeRegistry) -> None:
    notes = {
        "org.opencontainers.image.source": "https://git.example/app",
        "org.opencontainers.image.revision": "main@sha1:abc",
    }
    image = fake.put("team/app", "v1", image_of(FILES, annotations=notes))
    url = f"{fake.oci}/team/app"
    await world.oci(url=url, ref={"tag": "v1"})
    obj = await world.until_ready()

    status = obj["status"]
    artifact = status["artifact"]
    assert artifact["revision"] == f"v1@{image.digest}"
    assert artifact["path"] == f"ocirepository/apps/app/{image.digest}.tar.gz"
    assert artifact["url"] == f"{world.url}{artifact['path']}"
    assert artifact["metadata"] == notes
    assert status["url"] == f"{world.url}ocirepository/apps/app/latest.tar.gz"
    assert status["observedGeneration"] == 1
    assert await world.files(obj) == {"app.yaml": "v1\n", "deploy/run.sh": "#!/bin/sh\n"}
    for type_ in ("Ready", "ArtifactInStorage"):
        found = condition(obj, type_)
        assert (found["status"], found["reason"]) == ("True", "Succeeded")
        assert found["message"] == f"stored artifact for digest 'v1@{image.digest}'"
    assert {item["type"] for item in status["conditions"]} == {"Ready", "ArtifactInStorage"}
    assert obj["metadata"]["finalizers"] == ["finalizers.fluxcd.io"]
    event = await world.until_event("NewArtifact")
    assert event["type"] == "Normal"
    assert event["message"] == (
        f"stored artifact with revision 'v1@{image.digest}' from '{url}',"
        " origin source 'https://git.example/app', origin revision 'main@sha1:abc'"
    )


async def test_latest_is_the_default(world: OciWorld, fake: FakeRegistry) -> None:
    image = fake.put("app", "latest", image_of(FILES))
    await world.oci(url=f"{fake.oci}/app")

    await world.until_ready(revision=f"latest@{image.digest}")


@pytest.mark.shows("field:OCIRepository/spec.ref.digest")
async def test_a_digest_is_stronger_than_everything(world: OciWorld, fake: FakeRegistry) -> None:
    image = fake.put("app", "v1", image_of(FILES))
    fake.put("app", "v2", image_of({"app.yaml": "v2\n"}))
    ref = {"digest": image.digest, "semver": "*", "tag": "v2"}
    await world.oci(url=f"{fake.oci}/app", ref=ref)

    await world.until_ready(revision=image.digest)
    assert not fake.paths("/v2/app/tags")


@pytest.mark.shows(
    "field:OCIRepository/spec.ref.semver",
    "field:OCIRepository/spec.ref.semverFilter",
)
async def test_a_range_and_a_filter(world: OciWorld, fake: FakeRegistry) -> None:
    for tag in ("1.0.0", "1.1.0", "1.2.0-rc.1", "2.0.0"):
        fake.put("app", tag, image_of({"tag": tag}))
    await world.oci(url=f"{fake.oci}/app", ref={"semver": "1.x", "tag": "2.0.0"})
    obj = await world.until_ready()
    assert await world.files(obj) == {"tag": "1.1.0"}

    ref = {"semver": ">=1.0.0-0", "semverFilter": ".*-rc.*"}
    await world.oci(url=f"{fake.oci}/app", ref=ref)
    obj = await world.until_ready()
    assert await world.files(obj) == {"tag": "1.2.0-rc.1"}


async def test_a_moved_tag_after_a_request(world: OciWorld, fake: FakeRegistry) -> None:
    fake.put("app", "v1", image_of(FILES))
    await world.oci(url=f"{fake.oci}/app", ref={"tag": "v1"})
    old = await world.until_ready()
    image = fake.put("app", "v1", image_of({"app.yaml": "v2\n"}))
    await world.request("now")
    obj = await world.until_ready(revision=f"v1@{image.digest}")

    assert obj["status"]["lastHandledReconcileAt"] == "now"
    assert await world.files(obj) == {"app.yaml": "v2\n"}
    assert (await world.files(old))["app.yaml"] == "v1\n", "kept for who still loads it"


@pytest.mark.shows(
    "OCIRepository/ArtifactOutdated/NewRevision",
    "OCIRepository/Reconciling/Progressing",
    "OCIRepository/Ready/Progressing",
)
async def test_progress_is_told(world: OciWorld, fake: FakeRegistry) -> None:
    fake.put("app", "v1", image_of(FILES))
    await world.oci(url=f"{fake.oci}/app", ref={"tag": "v1"})
    await world.until_ready()
    image = fake.put("app", "v1", image_of({"app.yaml": "v2\n"}))
    async with world.history() as seen:
        await world.request("now")
        await world.until_ready(revision=f"v1@{image.digest}")

    outdated = [condition(obj, "ArtifactOutdated") for obj in seen]
    assert "NewRevision" in {item.get("reason") for item in outdated}
    assert any(
        condition(obj, "Ready").get("reason") == "Progressing"
        and condition(obj, "Reconciling").get("reason") == "Progressing"
        for obj in seen
    )


@pytest.mark.shows(
    "field:OCIRepository/spec.interval",
    "event:OCIRepository/ArtifactUpToDate",
)
async def test_nothing_new_pulls_nothing_and_keeps_the_object(
    world: OciWorld, fake: FakeRegistry
) -> None:
    fake.put("app", "v1", image_of(FILES))
    await world.oci(url=f"{fake.oci}/app", ref={"tag": "v1"}, interval="1s")
    before = await world.until_ready()
    fake.seen.clear()
    for _ in range(2):
        await world.run_now()
    assert await world.get() == before
    await world.request("token")
    handled = await world.until_handled("token")

    assert set(fake.paths("/v2/app")) == {"HEAD /v2/app/manifests/v1"}
    assert handled["status"]["artifact"] == before["status"]["artifact"]
    await world.until_event("ArtifactUpToDate")


@pytest.mark.shows(
    "field:OCIRepository/spec.ignore",
    "field:OCIRepository/spec.layerSelector.mediaType",
    "field:OCIRepository/spec.layerSelector.operation",
)
async def test_other_wishes_make_another_artifact(world: OciWorld, fake: FakeRegistry) -> None:
    chart = tarball({"chart/Chart.yaml": "name: x\n"})
    layers = [(FLUX_CONTENT, tarball(FILES)), ("x/chart", chart)]
    image = fake.put("app", "v1", image_of(layers))
    url, ref = f"{fake.oci}/app", {"tag": "v1"}
    await world.oci(url=url, ref=ref)
    obj = await world.until_ready()
    assert set(await world.files(obj)) == {"app.yaml", "deploy/run.sh"}

    await world.oci(url=url, ref=ref, ignore="deploy/\n!*.jpg")
    obj = await world.until_ready()
    assert set(await world.files(obj)) == {"app.yaml", "photo.jpg"}
    assert obj["status"]["observedIgnore"] == "deploy/\n!*.jpg"

    await world.oci(url=url, ref=ref, layerSelector={"mediaType": "x/chart"})
    obj = await world.until_ready()
    assert set(await world.files(obj)) == {"chart/Chart.yaml"}
    assert "observedIgnore" not in obj["status"]

    selector = {"mediaType": "x/chart", "operation": "copy"}
    await world.oci(url=url, ref=ref, layerSelector=selector)
    obj = await world.until_ready()
    async with world.http.get(obj["status"]["artifact"]["url"]) as response:
        assert await response.read() == chart
    assert obj["status"]["observedLayerSelector"] == selector
    assert obj["status"]["artifact"]["revision"] == f"v1@{image.digest}"


@pytest.mark.shows("field:OCIRepository/spec.suspend")
async def test_suspension(world: OciWorld, fake: FakeRegistry) -> None:
    await world.oci(url=f"{fake.oci}/app", suspend=True)
    await world.request("now")
    obj = await world.until_handled("now")

    assert "artifact" not in obj["status"]
    assert fake.seen == []


@pytest.mark.shows("event:OCIRepository/GarbageCollectionSucceeded")
async def test_deletion_removes_the_artifacts(world: OciWorld, fake: FakeRegistry) -> None:
    fake.put("app", "v1", image_of(FILES))
    await world.oci(url=f"{fake.oci}/app", ref={"tag": "v1"})
    await world.until_ready()
    await world.delete()
    await world.gone()

    assert not (world.storage_path / "ocirepository/apps").exists()
    await world.until_event("GarbageCollectionSucceeded")


@pytest.mark.shows("event:OCIRepository/ArtifactVerificationFailed")
async def test_an_altered_artifact_is_made_again(world: OciWorld, fake: FakeRegistry) -> None:
    fake.put("app", "v1", image_of(FILES))
    await world.oci(url=f"{fake.oci}/app", ref={"tag": "v1"})
    before = await world.until_ready()
    path = world.storage_path / before["status"]["artifact"]["path"]
    data = path.read_bytes()
    path.write_bytes(data + b"?")
    await world.run_now()
    after = await world.until_ready()

    assert after["status"]["artifact"]["digest"] == before["status"]["artifact"]["digest"]
    assert path.read_bytes() == data
    await world.until_event("ArtifactVerificationFailed")
