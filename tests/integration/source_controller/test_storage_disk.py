"""A volume that is full, broken, read only or gone, under a running controller.

The full volume is a real one: a tmpfs of a megabyte. Where none can be mounted, which takes root,
these tests are skipped, and the same is shown by injected errors in ``unit/artifact``.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from fluvial.artifact import garbage
from fluvial.artifact.errors import StorageUnusable
from fluvial.artifact.storage import Storage
from fluvial.clock import RealClock
from fluvial.kube.kinds import BUCKET, GIT_REPOSITORY, HELM_CHART, HELM_REPOSITORY, OCI_REPOSITORY
from fluvial.kube.resource import Resource
from fluvial.log import get_logger
from fluvial.objects import JsonObject
from gitservers.http import GitHttpServer
from gitservers.repos import Repo
from harness.charts import chart
from harness.oci import OciWorld
from harness.source import SourceWorld, condition, fast_settings
from harness.webserver import FileHost
from objectstores.fake import FakeStorage
from registries.fake import FakeRegistry
from registries.images import image_of

KINDS = [GIT_REPOSITORY, OCI_REPOSITORY, HELM_REPOSITORY]
ALL = [*KINDS, HELM_CHART, BUCKET]
_SIZE = 1 << 20


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A tmpfs at a folder, which is made; skips where there is no right to."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a tmpfs is mounted by root")
    try:
        yield
    finally:
        unmount(folder)


def unmount(folder: Path) -> None:
    """Lazily: it may be in use, or gone already."""
    subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)


@dataclass
class Sources:
    """One world, and what each kind is fetched from."""

    world: SourceWorld
    repo: Repo
    git_url: str
    registry: FakeRegistry
    host: FileHost
    bucket: FakeStorage

    def publish(self, version: str, *, size: int = 0) -> None:
        """Another revision of each source, at least so large, and incompressible."""
        payload = os.urandom(size // 2).hex()
        self.repo.commit({"app.yaml": version, "payload": payload})
        self.registry.put("app", "v1", image_of({"app.yaml": version, "payload": payload}))
        entry = {"name": "app", "version": version, "urls": [f"{payload}app-{version}.tgz"]}
        index = {"apiVersion": "v1", "entries": {"app": [entry]}}
        (self.host.root / "index.yaml").write_bytes(orjson.dumps(index))

    def of(self, kind: Resource) -> SourceWorld:
        """The world with names about one kind."""
        return self.world.of(kind)

    async def make(self, kinds: Sequence[Resource] = ALL) -> None:
        """One source of each kind, all Ready."""
        specs: dict[Resource, dict[str, Any]] = {
            GIT_REPOSITORY: {"url": f"{self.git_url}/app.git", "ref": {"branch": "main"}},
            OCI_REPOSITORY: {
                "url": f"{self.registry.oci}/app",
                "ref": {"tag": "v1"},
                "insecure": True,
            },
            HELM_REPOSITORY: {"url": self.host.url},
            HELM_CHART: {
                "chart": "app",
                "sourceRef": {"kind": HELM_REPOSITORY.kind, "name": "app"},
            },
            BUCKET: {"bucketName": "bucket", "endpoint": self.bucket.endpoint, "insecure": True},
        }
        for kind in kinds:
            await self.of(kind).make(interval="1h", **specs[kind])
        for kind in kinds:
            await self.of(kind).until_ready()

    async def whole(self, kind: Resource) -> str:
        """The digest of what the status's address has, which must be the status's."""
        artifact = (await self.of(kind).get())["status"]["artifact"]
        async with self.world.http.get(artifact["url"]) as response:
            assert response.status == 200
            digest = f"sha256:{hashlib.sha256(await response.read()).hexdigest()}"
        assert digest == artifact["digest"]
        return digest


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "storage", f"size={_SIZE}"):
        yield tmp_path / "storage"


@pytest.fixture
async def sources(tmp_path: Path) -> AsyncIterator[Sources]:
    async with AsyncExitStack() as stack:
        git = await stack.enter_async_context(GitHttpServer(tmp_path / "repos"))
        registry = await stack.enter_async_context(FakeRegistry())
        (tmp_path / "host").mkdir()
        host = await stack.enter_async_context(FileHost(tmp_path / "host"))
        world = await stack.enter_async_context(OciWorld.start(tmp_path))
        bucket = await stack.enter_async_context(FakeStorage())
        bucket.put("app.yaml", "1.0.0")
        (tmp_path / "host/app-1.0.0.tgz").write_bytes(chart())
        repo = Repo(tmp_path / "repos", "app.git")
        sources = Sources(world, repo, git.url, registry, host, bucket)
        sources.publish("1.0.0")
        yield sources


@pytest.mark.slow
async def test_a_full_volume_is_told_and_nothing_is_served_half(
    volume: Path, sources: Sources
) -> None:
    await sources.make(KINDS)
    before = {kind: await sources.whole(kind) for kind in KINDS}
    sources.publish("2.0.0", size=_SIZE)
    filler = volume / "filler"
    with filler.open("wb", buffering=0) as out, contextlib.suppress(OSError):
        while out.write(b"x" * 4096):
            pass
    for kind in KINDS:
        world = sources.of(kind)
        await world.request("full")
        obj = await world.until(
            lambda obj: "No space left on device" in condition(obj, "Ready").get("message", "")
        )
        assert condition(obj, "Ready")["status"] == "False"
        assert await sources.whole(kind) == before[kind], "what was there is there"

    filler.unlink()
    sources.publish("3.0.0")
    for kind in KINDS:
        world = sources.of(kind)
        await world.request("room")
        await world.until_handled("room")
        obj = await world.until_ready()
        assert not condition(obj, "StorageOperationFailed")
        assert await sources.whole(kind) != before[kind]
    assert not list(volume.rglob(".tmp-*"))


async def test_a_volume_that_is_gone_ends_the_controller_and_is_filled_by_the_next(
    volume: Path, sources: Sources
) -> None:
    world = sources.world
    await sources.make(KINDS)
    unmount(volume)
    with pytest.raises(StorageUnusable, match="emptied or replaced"):
        await world.controller_ended()
    await world.start_controller(fast_settings())
    for kind in KINDS:
        await sources.of(kind).request("gone")
        await sources.of(kind).until_handled("gone")
        await sources.of(kind).until_ready()
        await sources.whole(kind)


async def test_a_volume_that_is_read_only_ends_the_start(tmp_path: Path) -> None:
    with mounted(tmp_path / "storage", "ro"):
        storage = Storage(
            tmp_path / "storage", adv_addr="x:1", clock=RealClock(), log=get_logger("test")
        )
        with pytest.raises(StorageUnusable, match="Read-only file system"):
            await storage.start()


def broken(*_: object, **__: object) -> None:
    """A disk that does not answer."""
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.shows(
    "GitRepository/StorageOperationFailed/StatOperationFailed",
    "OCIRepository/StorageOperationFailed/StatOperationFailed",
    "HelmRepository/StorageOperationFailed/StatOperationFailed",
    "HelmChart/StorageOperationFailed/StatOperationFailed",
    "Bucket/StorageOperationFailed/StatOperationFailed",
)
async def test_a_broken_disk_takes_no_artifact_from_a_status(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows whether it is there, so consumers keep it."""
    await sources.make()
    with monkeypatch.context() as disk:
        disk.setattr("fluvial.artifact.storage.open_file", broken)
        for kind in ALL:
            world = sources.of(kind)
            await world.request("broken")
            obj = await world.until_failed("StatOperationFailed")
            assert condition(obj, "StorageOperationFailed")["status"] == "True"
            assert "Input/output error" in condition(obj, "Ready")["message"]
            assert obj["status"]["artifact"]
    for kind in ALL:
        obj = await sources.of(kind).until_ready()
        assert not condition(obj, "StorageOperationFailed")


@pytest.mark.shows(
    "event:GitRepository/GarbageCollectionFailed",
    "event:OCIRepository/GarbageCollectionFailed",
    "event:HelmRepository/GarbageCollectionFailed",
    "event:HelmChart/GarbageCollectionFailed",
    "event:Bucket/GarbageCollectionFailed",
)
async def test_what_cannot_be_deleted_is_told_and_tried_again(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sources.make()
    with monkeypatch.context() as disk:
        disk.setattr(garbage, "collect", broken)
        for kind in ALL:
            world = sources.of(kind)
            await world.request("garbage")
            obj = await world.until_handled("garbage")
            assert condition(obj, "Ready")["status"] == "True"
            event = await world.until_event("GarbageCollectionFailed")
            assert (event["type"], event["message"]) == (
                "Normal",
                "garbage collection failed: Input/output error",
            )
    with monkeypatch.context() as disk:
        disk.setattr(garbage, "remove_folder", broken)
        for kind in ALL:
            await sources.of(kind).delete()
            await sources.of(kind).until(failed_to_delete(sources.world))
    for kind in ALL:
        await sources.of(kind).gone()


def failed_to_delete(world: SourceWorld) -> Any:
    """Whether an object that is being deleted still has its finalizer."""

    def check(obj: JsonObject) -> bool:
        return "deletionTimestamp" in obj["metadata"] and bool(obj["metadata"]["finalizers"])

    return check
