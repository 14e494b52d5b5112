"""HelmRepository from spec to stored index, condition by condition."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fluvial.artifact import publishing
from fluvial.artifact.cache import remove_tree
from fluvial.kube import kinds
from fluvial.kube.errors import Invalid
from fluvial.objects import JsonObject, ObjectKey
from harness.source import NAMESPACE, SourceWorld, condition, fast_settings
from harness.webserver import FileHost

HELM = "HelmRepository"


def entry(version: str, **fields: Any) -> JsonObject:
    return {"name": "app", "version": version, "urls": [f"app-{version}.tgz"], **fields}


def publish(folder: Path, *entries: JsonObject) -> str:
    """Write an index; the revision that it makes."""
    data = json.dumps({"apiVersion": "v1", "entries": {"app": list(entries)}}).encode()
    (folder / "index.yaml").write_bytes(data)
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.fixture
def charts(tmp_path: Path) -> Path:
    folder = tmp_path / "charts"
    folder.mkdir()
    publish(folder, entry("1.0.0"))
    return folder


@pytest.fixture
async def host(charts: Path) -> AsyncIterator[FileHost]:
    async with FileHost(charts) as host:
        yield host


@pytest.fixture
def helm(world: SourceWorld) -> SourceWorld:
    return world.of(kinds.HELM_REPOSITORY)


def _is_blank(obj: JsonObject) -> bool:
    """Whether there is nothing in the status."""
    return not any((obj.get("status") or {}).values())


async def stored(world: SourceWorld, url: str) -> list[str]:
    """The versions in a stored index."""
    async with world.http.get(url) as response:
        assert response.status == 200
        found = json.loads(await response.read())
    return [item["version"] for item in found["entries"]["app"]]


@pytest.mark.shows(
    "HelmRepository/Ready/Succeeded",
    "HelmRepository/ArtifactInStorage/Succeeded",
    "event:HelmRepository/NewArtifact",
    "field:HelmRepository/spec.url",
    "field:HelmRepository/spec.type",
)
@pytest.mark.parametrize("type_", [None, "default"])
async def test_an_index_becomes_a_served_artifact(
    helm: SourceWorld, host: FileHost, charts: Path, type_: str | None
) -> None:
    revision = publish(charts, entry("1.0.0"), entry("1.1.0"), entry("not a version"))
    await helm.make(url=f"{host.url}/", type=type_)
    obj = await helm.until_ready()

    status, digits = obj["status"], revision.removeprefix("sha256:")
    artifact = status["artifact"]
    assert artifact["revision"] == revision, "of the bytes that were served"
    assert artifact["path"] == f"helmrepository/apps/app/index-{digits}.yaml"
    assert artifact["digest"] != revision, "of the file that is stored"
    assert artifact["url"] == helm.url + artifact["path"]
    assert status["url"] == f"{helm.url}helmrepository/apps/app/index.yaml"
    assert status["observedGeneration"] == 1
    for url in (artifact["url"], status["url"]):
        assert await stored(helm, url) == ["1.1.0", "1.0.0"]
    for name in ("Ready", "ArtifactInStorage"):
        found = condition(obj, name)
        message = f"stored artifact: revision '{revision}'"
        assert (found["status"], found["reason"], found["message"]) == (
            "True",
            "Succeeded",
            message,
        )
    assert {item["type"] for item in status["conditions"]} == {"Ready", "ArtifactInStorage"}
    assert obj["metadata"]["finalizers"] == ["finalizers.fluxcd.io"]
    event = await helm.until_event("NewArtifact")
    group = "source.toolkit.fluxcd.io"
    assert event["type"] == "Normal"
    assert (
        event["message"] == f"stored fetched index of size {artifact['size']}B from '{host.url}/'"
    )
    assert event["metadata"]["annotations"][f"{group}/revision"] == revision
    assert event["metadata"]["annotations"][f"{group}/digest"] == artifact["digest"]


async def test_where_the_index_is_looked_for(helm: SourceWorld, host: FileHost) -> None:
    for number, (path, asked) in enumerate(
        {
            "": "/index.yaml",
            "/charts": "/charts/index.yaml",
            "/a//b/../c/?token=1": "/a/c/index.yaml?token=1",
        }.items()
    ):
        host.requests.clear()
        await helm.make(f"at-{number}", url=host.url + path)
        await helm.until(
            lambda obj: condition(obj, "Ready").get("status") in {"True", "False"}, f"at-{number}"
        )
        assert asked in host.requests


async def test_a_server_of_another_make(helm: SourceWorld, charts: Path) -> None:
    """Python's own file server, in a process of its own."""
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"),
        cwd=charts,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert server.stdout is not None
        line = (await server.stdout.readline()).decode()
        await helm.make(url=f"http://127.0.0.1:{line.split(' port ')[1].split()[0]}")
        obj = await helm.until_ready()
    finally:
        server.kill()
        await server.wait()

    assert await stored(helm, obj["status"]["url"]) == ["1.0.0"]


@pytest.mark.shows(
    "HelmRepository/ArtifactOutdated/NewRevision",
    "HelmRepository/Ready/Progressing",
    "HelmRepository/Reconciling/Progressing",
)
async def test_a_new_index_replaces_the_artifact(
    helm: SourceWorld, host: FileHost, charts: Path
) -> None:
    await helm.make(url=host.url)
    old = await helm.until_ready()
    revision = publish(charts, entry("2.0.0"))
    async with helm.history() as versions:
        await helm.request("now")
        obj = await helm.until_ready(revision=revision)

    assert await stored(helm, obj["status"]["url"]) == ["2.0.0"]
    assert await stored(helm, old["status"]["artifact"]["url"]) == ["1.0.0"], "still loaded by some"
    outdated = [condition(version, "ArtifactOutdated") for version in versions]
    assert ("True", "NewRevision") in [(o.get("status"), o.get("reason")) for o in outdated]
    ready = [condition(version, "Ready") for version in versions]
    assert ("Unknown", "Progressing") in [(o["status"], o["reason"]) for o in ready]
    reconciling = [condition(version, "Reconciling") for version in versions]
    assert ("True", "Progressing") in [(o.get("status"), o.get("reason")) for o in reconciling]
    assert not condition(obj, "ArtifactOutdated")


@pytest.mark.shows(
    "event:HelmRepository/ArtifactUpToDate",
    "field:HelmRepository/spec.interval",
)
async def test_the_same_index_is_fetched_again_and_nothing_is_written(
    helm: SourceWorld, host: FileHost
) -> None:
    await helm.make(url=host.url, interval="200ms")
    before = await helm.until_ready()
    asked = len(host.requests)
    async with asyncio.timeout(20):
        while len(host.requests) < asked + 2:
            await asyncio.sleep(0.02)
    await helm.controller.queue_of(helm.resource).wait_idle()
    after = await helm.get()

    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert ("Normal", "ArtifactUpToDate") not in await helm.events(), "nobody asked"
    await helm.request("now")
    await helm.until_handled("now")
    await helm.until_event("ArtifactUpToDate")


async def test_the_interval_wakes_it(helm: SourceWorld, host: FileHost, charts: Path) -> None:
    await helm.make(url=host.url, interval="200ms")
    await helm.until_ready()

    await helm.until_ready(revision=publish(charts, entry("2.0.0")))


@pytest.mark.shows("field:HelmRepository/spec.suspend")
async def test_a_suspended_repository_rests(
    helm: SourceWorld, host: FileHost, charts: Path
) -> None:
    await helm.make(url=host.url)
    before = await helm.until_ready()
    asked = len(host.requests)
    await helm.make(url=host.url, suspend=True)
    publish(charts, entry("2.0.0"))
    await helm.request("while suspended")
    obj = await helm.until_handled("while suspended")

    assert obj["status"]["artifact"] == before["status"]["artifact"]
    assert len(host.requests) == asked
    await helm.make(url=host.url, suspend=False)
    obj = await helm.until_ready()
    assert await stored(helm, obj["status"]["url"]) == ["2.0.0"]


@pytest.mark.shows("event:HelmRepository/GarbageCollectionSucceeded")
async def test_deletion_removes_the_files(helm: SourceWorld, host: FileHost) -> None:
    await helm.make(url=host.url)
    await helm.until_ready()
    await helm.delete()
    await helm.gone()

    assert list((helm.storage_path / "helmrepository").rglob("*")) == []
    await helm.until_event("GarbageCollectionSucceeded")


@pytest.mark.shows("event:HelmRepository/ArtifactVerificationFailed")
@pytest.mark.parametrize("harm", ["altered", "removed"])
async def test_a_file_that_is_gone_or_altered_is_made_again(
    helm: SourceWorld, host: FileHost, harm: str
) -> None:
    await helm.make(url=host.url)
    before = await helm.until_ready()
    file = helm.storage_path / before["status"]["artifact"]["path"]
    if harm == "altered":
        file.write_text("{}")
    else:
        file.unlink()
    await helm.request("now")
    await helm.until_handled("now")
    obj = await helm.until_ready()

    assert await stored(helm, obj["status"]["url"]) == ["1.0.0"]
    assert obj["status"]["artifact"]["digest"] == before["status"]["artifact"]["digest"]
    if harm == "altered":
        await helm.until_event("ArtifactVerificationFailed")


async def test_a_restart_keeps_the_artifact_and_gives_it_the_new_address(
    helm: SourceWorld, host: FileHost
) -> None:
    await helm.make(url=host.url)
    before = await helm.until_ready()
    await helm.stop_controller()
    left = helm.storage_path / "helmrepository" / NAMESPACE / "gone"
    left.mkdir()
    (left / "index-1.yaml").write_text("{}")
    await helm.start_controller(fast_settings())
    await helm.request("after the restart")
    obj = await helm.until_handled("after the restart")

    assert obj["status"]["artifact"] == before["status"]["artifact"]
    assert not left.exists(), "of an object that is gone"


@pytest.mark.shows("event:HelmRepository/SymlinkUpdateFailed")
async def test_a_link_that_cannot_be_made_costs_only_the_link(
    helm: SourceWorld, host: FileHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links on this volume")

    monkeypatch.setattr(publishing, "point", refuse)
    await helm.make(url=host.url)
    obj = await helm.until_ready()

    assert "url" not in obj["status"]
    assert await stored(helm, obj["status"]["artifact"]["url"]) == ["1.0.0"]
    await helm.until_event("SymlinkUpdateFailed")


# --- static repositories --------------------------------------------------------------------------


@pytest.mark.shows("field:HelmRepository/spec.type")
async def test_a_repository_that_moves_to_a_registry_leaves_nothing(
    helm: SourceWorld, host: FileHost
) -> None:
    await helm.make(url=host.url)
    await helm.until_ready()
    await helm.make(url="oci://registry.example/charts", type="oci")
    obj = await helm.until(lambda o: not o["metadata"].get("finalizers"))

    assert _is_blank(obj)
    assert list((helm.storage_path / "helmrepository").rglob("*")) == []
    await helm.delete()
    await helm.gone()


async def test_a_new_static_repository_is_left_alone(helm: SourceWorld, host: FileHost) -> None:
    await helm.make(url="oci://registry.example/charts", type="oci")
    obj = await helm.until(_is_blank)
    await helm.request("now")
    await helm.run_now()
    after = await helm.get()

    assert "finalizers" not in obj["metadata"]
    assert _is_blank(after), "not even the request is noted"
    assert await helm.events() == []


async def test_a_suspended_static_repository_keeps_what_it_has_until_it_is_deleted(
    helm: SourceWorld, host: FileHost
) -> None:
    await helm.make(url=host.url)
    await helm.until_ready()
    await helm.make(url="oci://registry.example/charts", type="oci", suspend=True)
    await helm.run_now()
    obj = await helm.get()

    assert obj["status"]["artifact"]
    assert obj["metadata"]["finalizers"]
    await helm.delete()
    await helm.gone()
    assert list((helm.storage_path / "helmrepository").rglob("*")) == []


async def test_a_static_repository_can_become_a_default_one(
    helm: SourceWorld, host: FileHost
) -> None:
    await helm.make(url="oci://registry.example/charts", type="oci")
    await helm.until(_is_blank)
    await helm.make(url=host.url, type="default")

    await helm.until_ready()


# --- failures -------------------------------------------------------------------------------------


@pytest.mark.shows(
    "HelmRepository/FetchFailed/Failed",
    "HelmRepository/Reconciling/ProgressingWithRetry",
    "event:HelmRepository/failure",
    "event:HelmRepository/Succeeded",
)
async def test_an_outage_is_told_and_so_is_its_end(helm: SourceWorld, host: FileHost) -> None:
    await helm.make(url=host.url)
    before = await helm.until_ready()
    host.status = 503
    await helm.request("down")
    obj = await helm.until_failed("Failed")

    message = (
        "failed to fetch Helm repository index: failed to fetch"
        f" {host.url}/index.yaml: 503 Service Unavailable"
    )
    assert condition(obj, "FetchFailed")["message"] == message
    assert condition(obj, "Reconciling")["reason"] == "ProgressingWithRetry"
    assert obj["status"]["artifact"] == before["status"]["artifact"], "the old one stays"
    assert (await helm.until_event("Failed"))["type"] == "Warning"
    host.status = 0
    obj = await helm.until_ready()
    assert not condition(obj, "FetchFailed")
    assert obj["status"]["artifact"] == before["status"]["artifact"]
    await helm.until_event("Succeeded")


@pytest.mark.shows("HelmRepository/FetchFailed/IndexationFailed")
async def test_what_is_no_index_is_refused(helm: SourceWorld, host: FileHost, charts: Path) -> None:
    await helm.make(url=host.url)
    before = await helm.until_ready()
    (charts / "index.yaml").write_text("apiVersion: v1\nentries:\n  app: [{nmae: app}]\n")
    await helm.request("broken")
    obj = await helm.until_failed("IndexationFailed")

    message = condition(obj, "FetchFailed")["message"]
    assert message == (
        "failed to load Helm repository from index YAML:"
        " entries.app[0]: unknown field 'nmae' in the entry"
    )
    assert obj["status"]["artifact"] == before["status"]["artifact"]


async def test_the_limit_of_an_index_is_exact(tmp_path: Path, charts: Path) -> None:
    limit = 2000
    settings = replace(fast_settings(), max_index_bytes=limit)
    async with SourceWorld.start(tmp_path, settings=settings) as world, FileHost(charts) as host:
        helm = world.of(kinds.HELM_REPOSITORY)
        padding = limit - len(
            json.dumps({"apiVersion": "v1", "entries": {"app": [entry("1.0.0", description="")]}})
        )
        publish(charts, entry("1.0.0", description="x" * padding))
        assert (charts / "index.yaml").stat().st_size == limit
        await helm.make(url=host.url)
        await helm.until_ready()
        publish(charts, entry("1.0.0", description="x" * (padding + 1)))
        await helm.request("more")
        obj = await helm.until_failed("Failed")

    assert "maximum size of 2000 bytes" in condition(obj, "FetchFailed")["message"]


async def test_a_bomb_of_aliases_costs_only_its_object(
    helm: SourceWorld, host: FileHost, charts: Path
) -> None:
    bomb = "".join(f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    (charts / "index.yaml").write_text(f"apiVersion: v1\nserverInfo:\n  a0: &a0 [x]\n{bomb}")
    await helm.make("bomb", url=host.url)
    obj = await helm.until_failed("IndexationFailed", "bomb")

    assert "aliases" in condition(obj, "FetchFailed")["message"]
    publish(charts, entry("1.0.0"))
    await helm.make("good", url=host.url)
    await helm.until_ready("good")


@pytest.mark.shows("field:HelmRepository/spec.timeout")
async def test_a_slow_host_is_left_after_the_timeout(helm: SourceWorld, host: FileHost) -> None:
    host.hold.clear()
    await helm.make(url=host.url, timeout="100ms")
    obj = await helm.until_failed("Failed")

    assert condition(obj, "FetchFailed")["message"].endswith("was not fetched within 0.1s")


@pytest.mark.shows(
    "HelmRepository/FetchFailed/URLInvalid",
    "HelmRepository/Stalled/URLInvalid",
)
async def test_an_address_that_cannot_be_fetched_stalls(helm: SourceWorld) -> None:
    for number, url in enumerate(
        ("oci://registry.example/charts", "https://", "http://ex ample.com", "http://h:port/")
    ):
        name = f"at-{number}"
        await helm.make(name, url=url)
        obj = await helm.until_failed("URLInvalid", name)

        for type_ in ("Stalled", "FetchFailed"):
            found = condition(obj, type_)
            assert (found["status"], found["reason"]) == ("True", "URLInvalid")
        assert obj["status"]["observedGeneration"] == 1
        assert not condition(obj, "Reconciling")


@pytest.mark.shows(
    "HelmRepository/Ready/UnsupportedField",
    "HelmRepository/Stalled/UnsupportedField",
    "refused:HelmRepository/spec.accessFrom",
)
async def test_access_from_other_namespaces_is_refused(helm: SourceWorld, host: FileHost) -> None:
    await helm.make(url=host.url, accessFrom={"namespaceSelectors": [{"matchLabels": {"a": "b"}}]})
    obj = await helm.until_failed("UnsupportedField")

    assert condition(obj, "Stalled")["reason"] == "UnsupportedField"
    assert "spec.accessFrom" in condition(obj, "Ready")["message"]
    assert host.requests == []


async def test_the_schema_refuses(helm: SourceWorld) -> None:
    wrong: list[dict[str, Any]] = [
        {"url": "ftp://h/x"},
        {"url": "http://h", "type": "other"},
        {"url": "http://h", "provider": "other"},
        {"url": "http://h", "interval": "1d"},
        {"url": "http://h", "timeout": "1h"},
        {"url": "http://h", "accessFrom": {}},
        {},
    ]
    for spec in wrong:
        with pytest.raises(Invalid):
            await helm.make(**spec)


@pytest.mark.shows("HelmRepository/StorageOperationFailed/ArchiveOperationFailed")
async def test_an_index_that_cannot_be_stored(
    helm: SourceWorld, host: FileHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as full:
        full.setattr(publishing, "place", refuse)
        await helm.make(url=host.url)
        obj = await helm.until_failed("ArchiveOperationFailed")

        assert condition(obj, "StorageOperationFailed")["status"] == "True"
        assert "artifact" not in obj["status"]
    obj = await helm.until_ready()
    assert not condition(obj, "StorageOperationFailed")


@pytest.mark.shows("HelmRepository/StorageOperationFailed/DirectoryCreationFailed")
async def test_no_room_for_a_download(helm: SourceWorld, host: FileHost) -> None:
    await helm.make("first", url=host.url)
    await helm.until_ready("first")
    work = helm.storage_path / ".work"
    remove_tree(work / NAMESPACE)
    (work / NAMESPACE).write_text("a file where a folder should be")
    await helm.make(url=host.url)
    obj = await helm.until_failed("DirectoryCreationFailed")

    assert condition(obj, "StorageOperationFailed")["status"] == "True"
    (work / NAMESPACE).unlink()
    await helm.until_ready()


async def test_a_forged_artifact_is_neither_believed_nor_deleted(
    helm: SourceWorld, host: FileHost
) -> None:
    await helm.make("victim", url=host.url)
    victim = (await helm.until_ready("victim"))["status"]["artifact"]
    await helm.make(url=host.url)
    before = await helm.until_ready()
    await helm.client.patch(
        kinds.HELM_REPOSITORY,
        ObjectKey(NAMESPACE, "app"),
        {"status": {"artifact": {**victim, "digest": "sha256:" + "0" * 64}}},
        patch_type="merge",
        subresource="status",
        field_manager="test",
    )
    await helm.request("now")
    await helm.until_handled("now")
    obj = await helm.until_ready()

    assert obj["status"]["artifact"]["path"] == before["status"]["artifact"]["path"]
    assert await stored(helm, victim["url"]) == ["1.0.0"]


async def test_a_retry_of_what_was_asked_for_takes_no_older_answer(
    helm: SourceWorld, host: FileHost, charts: Path
) -> None:
    """It would be Ready with the index of before, and nobody would look again for an hour."""
    await helm.make(url=host.url)
    await helm.until_ready()
    revision = publish(charts, entry("2.0.0"))
    host.status = 503
    await helm.request("now")
    await helm.until_failed("Failed")
    host.status = 0

    assert (await helm.until_ready())["status"]["artifact"]["revision"] == revision
