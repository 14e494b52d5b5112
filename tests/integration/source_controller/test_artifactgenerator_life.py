"""ArtifactGenerators over time: drift, restarts, suspension, garbage and deletion."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fluvial.api.codec import decode
from fluvial.api.meta import Artifact
from fluvial.api.source_extensions import ArtifactGenerator
from fluvial.clock import RealClock
from fluvial.kube import kinds
from fluvial.objects import JsonObject, ObjectKey
from harness.generator import GeneratorWorld, Shelf
from harness.source import NAMESPACE, condition, fast_settings
from source_controller.artifactgenerator.desired import desired_for
from source_controller.artifactgenerator.outputs import Outputs
from source_controller.source.run import StepFailed

SOURCE = {"alias": "repo", "kind": "ExternalArtifact", "name": "mono"}
FILES = {"web/app.yaml": "web: 1\n", "api/app.yaml": "api: 1\n"}
SWITCH = "source.extensions.fluxcd.io/reconcile"


def artifact(name: str) -> dict[str, Any]:
    return {"name": name, "copy": [{"from": f"@repo/{name}/**", "to": "@artifact/"}]}


SPEC: dict[str, Any] = {"sources": [SOURCE], "artifacts": [artifact("web"), artifact("api")]}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[GeneratorWorld]:
    async with GeneratorWorld.start(tmp_path) as world:
        assert isinstance(world, GeneratorWorld)
        yield world


@pytest.fixture
async def shelf(world: GeneratorWorld, tmp_path: Path) -> AsyncIterator[Shelf]:
    async with Shelf.open(tmp_path / "shelf", world.client) as shelf:
        yield shelf


async def ready(world: GeneratorWorld, shelf: Shelf) -> JsonObject:
    await shelf.put("mono", FILES)
    await world.generator(**SPEC)
    return await world.until_ready()


async def patch(
    world: GeneratorWorld, name: str, body: JsonObject, *, subresource: str = ""
) -> None:
    """Do something to an ExternalArtifact, as somebody else."""
    await world.client.patch(
        kinds.EXTERNAL_ARTIFACT,
        ObjectKey(NAMESPACE, name),
        body,
        patch_type="merge",
        field_manager="intruder",
        subresource=subresource,
    )


async def until_as_before(world: GeneratorWorld, before: JsonObject) -> JsonObject:
    """An ExternalArtifact once it says again what it said."""

    def said(obj: JsonObject) -> list[Any]:
        metadata, status = obj["metadata"], obj["status"]
        artifact = {**status["artifact"], "lastUpdateTime": ""}
        return [metadata["labels"], obj["spec"], artifact, len(status["conditions"])]

    async with asyncio.timeout(20):
        while True:
            found = await world.external(before["metadata"]["name"])
            if found is not None and "status" in found and said(found) == said(before):
                return found
            await asyncio.sleep(0.02)


# --- drift --------------------------------------------------------------------------------------


async def test_what_somebody_changes_is_put_right_at_once(
    world: GeneratorWorld, shelf: Shelf
) -> None:
    await ready(world, shelf)
    before = await world.made("web")
    harms: list[tuple[JsonObject, str]] = [
        ({"metadata": {"labels": {"source.extensions.fluxcd.io/generator": "x"}}}, ""),
        ({"metadata": {"labels": {"source.extensions.fluxcd.io/generator": None}}}, ""),
        ({"spec": {"sourceRef": {"name": "other"}}}, ""),
        ({"status": {"artifact": {"url": "http://evil.example/x.tar.gz"}}}, "status"),
        ({"status": {"artifact": {"digest": f"sha256:{'6' * 64}"}}}, "status"),
        ({"status": {"conditions": []}}, "status"),
    ]
    for body, subresource in harms:
        await patch(world, "web", body, subresource=subresource)

        await until_as_before(world, before)


async def test_what_somebody_deletes_is_made_again(world: GeneratorWorld, shelf: Shelf) -> None:
    await ready(world, shelf)
    before = await world.made("web")
    await world.client.delete(kinds.EXTERNAL_ARTIFACT, ObjectKey(NAMESPACE, "web"))
    after = await until_as_before(world, {**before, "metadata": before["metadata"]})

    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert after["status"]["artifact"]["revision"] == before["status"]["artifact"]["revision"]


async def test_a_file_that_is_harmed_is_made_again(world: GeneratorWorld, shelf: Shelf) -> None:
    await ready(world, shelf)
    web = await world.made("web")
    file = world.storage_path / web["status"]["artifact"]["path"]
    for harm in (lambda: shutil.rmtree(file.parent), lambda: file.write_bytes(b"harmed")):
        harm()
        await world.run_now("gen")

        assert await world.made_files("web") == {"app.yaml": "web: 1\n"}
        after = (await world.made("web"))["status"]["artifact"]
        assert after["digest"] == web["status"]["artifact"]["digest"]


@pytest.mark.shows("event:ArtifactGenerator/no drift")
async def test_nothing_new_writes_nothing(world: GeneratorWorld, shelf: Shelf) -> None:
    await ready(world, shelf)
    await world.idle()
    before = [await world.get("gen"), await world.made("web"), await world.made("api")]
    await world.run_now("gen")
    assert [await world.get("gen"), await world.made("web"), await world.made("api")] == before
    assert not [one for one in await world.messages() if "No drift" in one[2]]

    await world.request("now", "gen")
    await world.until_handled("now", "gen")
    await world.until_told("No drift detected, 2 artifact(s) up to date")
    assert [await world.made("web"), await world.made("api")] == before[1:]


async def test_its_own_writes_do_not_wake_it(
    world: GeneratorWorld, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = 0
    of = Outputs.of

    async def counted(self: Outputs, generator: ArtifactGenerator) -> dict[str, JsonObject]:
        nonlocal runs
        runs += 1
        return await of(self, generator)

    monkeypatch.setattr(Outputs, "of", counted)
    await ready(world, shelf)
    await asyncio.sleep(0.3)  # the events of what was written last
    await world.idle()

    assert runs == 1


async def test_a_restart_writes_nothing(world: GeneratorWorld, shelf: Shelf) -> None:
    await ready(world, shelf)
    before = [await world.get("gen"), await world.made("web"), await world.made("api")]
    await world.stop_controller()
    await world.start_controller(fast_settings())
    await world.run_now("gen")

    assert [await world.get("gen"), await world.made("web"), await world.made("api")] == before


async def test_a_change_while_nobody_looked_is_put_right_at_the_start(
    world: GeneratorWorld, shelf: Shelf
) -> None:
    await ready(world, shelf)
    before = await world.made("web")
    await world.stop_controller()
    body = {"status": {"artifact": {"digest": f"sha256:{'6' * 64}"}}}
    await patch(world, "web", body, subresource="status")
    await world.client.delete(kinds.EXTERNAL_ARTIFACT, ObjectKey(NAMESPACE, "api"))
    await world.start_controller(fast_settings())

    await until_as_before(world, before)
    await world.until(lambda _: True, "gen")
    await world.idle()
    assert await world.made_files("api") == {"app.yaml": "api: 1\n"}


async def test_what_somebody_writes_meanwhile_is_kept(world: GeneratorWorld, shelf: Shelf) -> None:
    """A write that comes too late looks again, and takes nobody else's object for its own."""
    obj = await ready(world, shelf)
    stale = await world.made("web")
    await patch(world, "web", {"metadata": {"labels": {"theirs": "x"}}})
    generator = decode(obj, ArtifactGenerator)
    outputs = Outputs(world.client, RealClock())
    artifact = decode(stale["status"]["artifact"], Artifact)
    desired = desired_for(generator, "web", captured={"new": "y"}, artifact=artifact)
    assert await outputs.write(generator, desired, stale)

    labels = (await world.made("web"))["metadata"]["labels"]
    assert (labels["theirs"], labels["new"]) == ("x", "y")

    stale = await world.made("web")
    await world.delete("gen")
    await world.gone("gen")
    await shelf.put("web", {"theirs": "1"})
    theirs = await world.made("web")
    changed = desired_for(generator, "web", captured={"other": "z"}, artifact=artifact)
    with pytest.raises(StepFailed, match="is not of this generator"):
        await outputs.write(generator, changed, stale)
    assert await world.made("web") == theirs


async def test_one_out_of_a_backup_is_recognised(world: GeneratorWorld, shelf: Shelf) -> None:
    """A generator that was made anew has another uid; what refers to it by name is its own."""
    await shelf.put("mono", FILES)
    old = {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "ExternalArtifact",
        "metadata": {
            "name": "web",
            "namespace": NAMESPACE,
            "labels": {"source.extensions.fluxcd.io/generator": "of-another-life"},
        },
        "spec": {
            "sourceRef": {
                "apiVersion": "source.extensions.fluxcd.io/v1beta1",
                "kind": "ArtifactGenerator",
                "name": "gen",
                "namespace": NAMESPACE,
            }
        },
    }
    key = ObjectKey(NAMESPACE, "web")
    await world.client.apply(kinds.EXTERNAL_ARTIFACT, key, old, field_manager="restore")
    created = await world.generator(**SPEC)
    await world.until_ready()

    labels = (await world.made("web"))["metadata"]["labels"]
    assert labels["source.extensions.fluxcd.io/generator"] == created["metadata"]["uid"]
    assert await world.made_files("web") == {"app.yaml": "web: 1\n"}


# --- progress and suspension ---------------------------------------------------------------------


@pytest.mark.shows(
    "ArtifactGenerator/Ready/Progressing", "ArtifactGenerator/Reconciling/Progressing"
)
async def test_work_is_announced(world: GeneratorWorld, shelf: Shelf) -> None:
    async with world.history("gen") as seen:
        await ready(world, shelf)
        async with asyncio.timeout(20):
            while not any(condition(obj, "Ready").get("status") == "True" for obj in seen):
                await asyncio.sleep(0.02)

    working = [obj for obj in seen if condition(obj, "Reconciling")]
    assert working
    for type_, status in (("Ready", "Unknown"), ("Reconciling", "True")):
        found = condition(working[0], type_)
        assert (found["status"], found["reason"], found["message"]) == (
            status,
            "Progressing",
            "Reconciliation in progress",
        )


@pytest.mark.shows(
    "ArtifactGenerator/Ready/ReconciliationDisabled",
    "event:ArtifactGenerator/ReconciliationDisabled",
)
async def test_suspended_by_annotation_and_resumed_by_it(
    world: GeneratorWorld, shelf: Shelf
) -> None:
    await shelf.put("mono", FILES)
    await world.generator(annotations={SWITCH: "Disabled"}, **SPEC)
    obj = await world.until(lambda obj: bool(condition(obj, "Ready")), "gen")
    assert condition(obj, "Ready")["reason"] == "ReconciliationDisabled"
    await world.until_told("Reconciliation is disabled")
    assert await world.external("web") is None

    await world.generator(annotations={SWITCH: "enabled"}, **SPEC)
    await world.until(lambda obj: condition(obj, "Ready")["reason"] == "Succeeded", "gen")
    before = await world.made("web")
    await world.generator(annotations={SWITCH: "disabled"}, **SPEC)
    await shelf.put("mono", {**FILES, "web/app.yaml": "web: 2\n"})
    await world.run_now("gen")
    assert await world.made("web") == before


# --- garbage ------------------------------------------------------------------------------------


@pytest.mark.shows("event:ArtifactGenerator/GarbageCollectionSucceeded")
async def test_what_is_no_longer_generated_goes_with_its_files(
    world: GeneratorWorld, shelf: Shelf
) -> None:
    before = await ready(world, shelf)
    folder = world.storage_path / "externalartifact" / NAMESPACE
    assert {path.name for path in folder.iterdir()} == {"web", "api"}
    await world.generator(sources=[SOURCE], artifacts=[artifact("web")])
    obj = await world.until_ready()

    assert await world.external("api") is None
    assert {path.name for path in folder.iterdir()} == {"web"}
    assert [item["name"] for item in obj["status"]["inventory"]] == ["web"]
    assert len(before["status"]["inventory"]) == 2
    await world.until_told("garbage collected 1 external artifact(s)")


async def test_what_a_killed_process_left_is_found_by_its_label(
    world: GeneratorWorld, shelf: Shelf
) -> None:
    """One that was made, and did not get into the inventory."""
    await ready(world, shelf)
    stray = await world.made("web")
    stray = {
        "apiVersion": stray["apiVersion"],
        "kind": stray["kind"],
        "metadata": {
            "name": "stray",
            "namespace": NAMESPACE,
            "labels": stray["metadata"]["labels"],
        },
        "spec": stray["spec"],
    }
    key = ObjectKey(NAMESPACE, "stray")
    await world.client.apply(kinds.EXTERNAL_ARTIFACT, key, stray, field_manager="test")
    await world.run_now("gen")

    assert await world.external("stray") is None


async def test_files_of_no_object_go_at_the_start(world: GeneratorWorld, shelf: Shelf) -> None:
    await ready(world, shelf)
    await world.stop_controller()
    folder = world.storage_path / "externalartifact" / NAMESPACE
    shutil.copytree(folder / "web", folder / "orphan")
    await world.start_controller(fast_settings())
    await world.run_now("gen")

    assert {path.name for path in folder.iterdir()} == {"web", "api"}


async def test_deletion_takes_everything_along(world: GeneratorWorld, shelf: Shelf) -> None:
    await ready(world, shelf)
    await world.delete("gen")
    await world.gone("gen")

    assert await world.external("web") is None
    assert await world.external("api") is None
    assert await world.external("mono") is not None
    assert not list((world.storage_path / "externalartifact").rglob("*.tar.gz"))


# --- shards -------------------------------------------------------------------------------------


async def test_another_shards_generator_is_left_alone(tmp_path: Path) -> None:
    selector = "sharding.fluxcd.io/key=one"
    settings = dataclasses.replace(fast_settings(), label_selector=selector)
    async with (
        GeneratorWorld.start(tmp_path, settings=settings) as world,
        Shelf.open(tmp_path / "shelf", world.client) as shelf,
    ):
        assert isinstance(world, GeneratorWorld)
        await shelf.put("mono", FILES)
        await world.generator("other", **SPEC)
        mine: dict[str, Any] = {
            "sources": [SOURCE],
            "artifacts": [{**artifact("web"), "name": "mine"}],
        }
        await world.generator("mine", labels={"sharding.fluxcd.io/key": "one"}, **mine)
        await world.until_ready("mine")
        await patch(world, "mine", {"status": {"conditions": []}}, subresource="status")
        await world.idle()

        assert "status" not in await world.get("other")
        assert await world.external("web") is None
        assert await world.made_files("mine") == {"app.yaml": "web: 1\n"}
