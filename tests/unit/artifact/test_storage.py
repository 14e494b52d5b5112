"""Storage: whole files or none, verified, collected."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from fluvial.api.meta import Artifact
from fluvial.artifact import tar
from fluvial.artifact.digest import Digest
from fluvial.artifact.errors import (
    ArtifactNotFound,
    ArtifactTooLarge,
    DigestMismatch,
    InvalidDigest,
    UnsafeArchive,
)
from fluvial.artifact.storage import Retention, Storage
from fluvial.clock import RealClock
from fluvial.log import get_logger
from fluvial.objects import ObjectKey

KEY = ObjectKey("apps", "web")
NOW = datetime(2030, 1, 1, tzinfo=UTC)


class FixedClock(RealClock):
    def now(self) -> datetime:
        return NOW


def keep_all(_: Path) -> tar.Keep:
    return lambda path, is_folder: True


def make(base: Path, *, max_bytes: int = 0, adv_addr: str = "source:9090") -> Storage:
    return Storage(
        base,
        adv_addr=adv_addr,
        clock=FixedClock(),
        log=get_logger("test"),
        retention=Retention(ttl=60, records=2),
        max_bytes=max_bytes,
    )


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    storage = make(tmp_path / "data")
    await storage.start()
    yield storage
    storage.stop()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "app.yaml").write_text("kind: App\n")
    return folder


async def store(storage: Storage, source: Path, name: str = "abc.tar.gz") -> Artifact:
    path = storage.relative_path("GitRepository", KEY, name)
    return await storage.archive(source, path=path, revision="main@sha1:abc", keep_for=keep_all)


async def test_an_archive_is_described_by_its_artifact(storage: Storage, source: Path) -> None:
    artifact = await store(storage, source)
    stored = storage.local_path(artifact)

    assert artifact.path == "gitrepository/apps/web/abc.tar.gz"
    assert artifact.url == "http://source:9090/gitrepository/apps/web/abc.tar.gz"
    assert artifact.last_update_time == "2030-01-01T00:00:00Z"
    assert artifact.size == stored.stat().st_size
    assert stored.stat().st_mode & 0o777 == 0o600
    await storage.verify(artifact)


async def test_unpack_gives_the_content_back(
    storage: Storage, source: Path, tmp_path: Path
) -> None:
    artifact = await store(storage, source)
    await storage.unpack(artifact, tmp_path / "out", tar.UnpackLimits())

    assert (tmp_path / "out/app.yaml").read_text() == "kind: App\n"


async def test_a_changed_or_missing_file_is_noticed(storage: Storage, source: Path) -> None:
    artifact = await store(storage, source)
    stored = storage.local_path(artifact)
    stored.write_bytes(stored.read_bytes() + b"x")
    with pytest.raises(DigestMismatch):
        await storage.verify(artifact)
    await storage.remove(artifact)
    with pytest.raises(ArtifactNotFound):
        await storage.verify(artifact)
    with pytest.raises(InvalidDigest):
        await storage.verify(msgspec.structs.replace(artifact, digest=""))


async def test_a_link_in_place_of_the_file_is_not_followed(
    storage: Storage, source: Path, tmp_path: Path
) -> None:
    artifact = await store(storage, source)
    stored = storage.local_path(artifact)
    stored.rename(stored.parent / "moved")
    stored.symlink_to("moved")
    # secure_join resolves links inside the base, so the link's target decides: none outside.
    (stored.parent / "moved").unlink()
    with pytest.raises(ArtifactNotFound):
        await storage.verify(artifact)


async def test_an_artifact_path_cannot_leave_the_base(storage: Storage, source: Path) -> None:
    artifact = await store(storage, source)
    for path in ("../../etc/passwd", "/etc/passwd", "a/../../../../etc/passwd"):
        local = storage.local_path(msgspec.structs.replace(artifact, path=path))
        assert local.is_relative_to(storage.base)


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "a\\b", "a\nb"])
async def test_names_that_are_no_single_segment_are_refused(storage: Storage, name: str) -> None:
    with pytest.raises(UnsafeArchive):
        storage.relative_path("GitRepository", ObjectKey("apps", name))


async def test_a_failed_archive_leaves_the_old_file_and_no_other(
    tmp_path: Path, source: Path
) -> None:
    storage = make(tmp_path / "data", max_bytes=100)
    await storage.start()
    artifact = await store(storage, source)
    (source / "big").write_bytes(b"x" * 101)
    with pytest.raises(ArtifactTooLarge):
        await store(storage, source)

    await storage.verify(artifact)
    assert [p.name for p in storage.local_path(artifact).parent.iterdir()] == ["abc.tar.gz"]


async def test_a_finished_file_is_shared_by_name(storage: Storage, source: Path) -> None:
    first = await store(storage, source)
    file = storage.local_path(first)
    packed = tar.PackResult(file.stat().st_size, Digest.parse(first.digest), ())
    path = storage.relative_path("OCIRepository", KEY, "sha256:abc.tar.gz")

    await storage.share_file(file, packed, path=path, revision="x")
    metadata = {"a": "b"}
    shared = await storage.share_file(file, packed, path=path, revision="x", metadata=metadata)

    await storage.verify(shared)
    assert (shared.digest, shared.size, shared.metadata) == (first.digest, first.size, {"a": "b"})
    assert storage.local_path(shared).stat().st_ino == file.stat().st_ino
    assert [item.name for item in storage.local_path(shared).parent.iterdir()] == [
        "sha256:abc.tar.gz"
    ]
    await storage.remove(first)
    await storage.verify(shared)


async def test_a_file_that_cannot_be_shared_is_copied(
    storage: Storage, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await store(storage, source)
    file = storage.local_path(first)
    packed = tar.PackResult(file.stat().st_size, Digest.parse(first.digest), ())

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "another device")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    path = storage.relative_path("OCIRepository", KEY, "x.tar.gz")
    copied = await storage.share_file(file, packed, path=path, revision="x")

    await storage.verify(copied)
    assert storage.local_path(copied).stat().st_ino != file.stat().st_ino


async def test_start_removes_what_a_killed_process_left(tmp_path: Path, source: Path) -> None:
    storage = make(tmp_path / "data")
    await storage.start()
    artifact = await store(storage, source)
    (storage.local_path(artifact).parent / ".tmp-half").write_text("half")
    storage.stop()
    await make(tmp_path / "data").start()

    assert [p.name for p in storage.local_path(artifact).parent.iterdir()] == ["abc.tar.gz"]


async def test_url_follows_the_address_of_this_process(storage: Storage, source: Path) -> None:
    artifact = await store(storage, source)
    moved = make(storage.base, adv_addr="https://artifacts.example/x/").with_current_url(artifact)

    assert moved.url == "https://artifacts.example/x/gitrepository/apps/web/abc.tar.gz"
    assert storage.with_current_url(artifact) is artifact


async def ages(storage: Storage, **seconds: float) -> None:
    folder = storage.base / storage.relative_path("GitRepository", KEY)
    folder.mkdir(parents=True, exist_ok=True)
    for name, age in seconds.items():
        (folder / f"{name}.tar.gz").write_text(name)
        moment = NOW.timestamp() - age
        os.utime(folder / f"{name}.tar.gz", (moment, moment))


def names(storage: Storage) -> list[str]:
    folder = storage.base / storage.relative_path("GitRepository", KEY)
    return sorted(p.name.removesuffix(".tar.gz") for p in folder.iterdir())


async def collect(storage: Storage, current: str) -> None:
    path = storage.relative_path("GitRepository", KEY, f"{current}.tar.gz")
    await storage.collect_garbage("GitRepository", KEY, current=path)


async def test_garbage_is_what_is_older_than_the_ttl(storage: Storage) -> None:
    await ages(storage, a=100, b=61, c=59)
    await collect(storage, "c")

    assert names(storage) == ["c"]


async def test_the_current_artifact_is_never_garbage(storage: Storage) -> None:
    await ages(storage, a=1000, b=10)
    await collect(storage, "a")

    assert names(storage) == ["a", "b"]


async def test_records_bound_what_is_within_the_ttl(storage: Storage) -> None:
    await ages(storage, a=40, b=30, c=20, d=10)
    await collect(storage, "d")

    assert names(storage) == ["c", "d"]


async def test_equal_times_do_not_hide_a_candidate(storage: Storage) -> None:
    await ages(storage, a=40, b=40, c=40, d=40)
    await collect(storage, "d")

    assert len(names(storage)) == 2
    assert "d" in names(storage)


async def test_removing_an_object_removes_its_folder(storage: Storage, source: Path) -> None:
    await store(storage, source)
    await storage.remove_object("GitRepository", KEY)
    await storage.remove_object("GitRepository", KEY)

    assert list((storage.base / "gitrepository").iterdir()) == []


async def test_orphans_of_objects_that_are_gone_are_removed(storage: Storage, source: Path) -> None:
    artifact = await store(storage, source)
    gone = ObjectKey("old", "thing")
    path = storage.relative_path("GitRepository", gone, "x.tar.gz")
    await storage.archive(source, path=path, revision="x", keep_for=keep_all)
    removed = await storage.collect_orphans("GitRepository", {KEY})

    assert removed == 1
    assert not (storage.base / "gitrepository/old").exists()
    await storage.verify(artifact)


async def test_a_file_is_stored_as_it_is(storage: Storage, tmp_path: Path) -> None:
    file = tmp_path / "chart.tgz"
    file.write_bytes(b"chart")
    path = storage.relative_path("HelmChart", KEY, "app-1.0.0.tgz")
    artifact = await storage.store_file(file, path=path, revision="1.0.0", metadata={"a": "b"})

    assert storage.local_path(artifact).read_bytes() == b"chart"
    assert (artifact.size, artifact.revision, artifact.metadata) == (5, "1.0.0", {"a": "b"})
    assert artifact.url == f"http://source:9090/{path}"
    await storage.verify(artifact)


async def test_a_file_beyond_the_limit_leaves_nothing(tmp_path: Path) -> None:
    storage = make(tmp_path / "data", max_bytes=4)
    await storage.start()
    (tmp_path / "large").write_bytes(b"large")
    path = storage.relative_path("HelmChart", KEY, "x.tgz")
    with pytest.raises(ArtifactTooLarge):
        await storage.store_file(tmp_path / "large", path=path, revision="1")

    assert [p.name for p in storage.base.rglob("*") if p.is_file()] == [".lock"]


async def test_a_link_leads_to_the_newest_and_is_no_garbage(
    storage: Storage, tmp_path: Path
) -> None:
    file, url = tmp_path / "index", ""
    for number in range(4):
        file.write_text(str(number))
        path = storage.relative_path("HelmRepository", KEY, f"index-{number}.yaml")
        artifact = await storage.store_file(file, path=path, revision=str(number))
        url = await storage.link(artifact, "index.yaml")
        await storage.collect_garbage("HelmRepository", KEY, current=artifact.path)

    link = storage.base / "helmrepository/apps/web/index.yaml"
    assert url == "http://source:9090/helmrepository/apps/web/index.yaml"
    assert link.is_symlink()
    assert link.read_text() == "3"
