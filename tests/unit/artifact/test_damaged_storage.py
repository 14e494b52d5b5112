"""What somebody else, a full disk or a broken one does to a storage, and what comes of it."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fluvial.api.meta import Artifact
from fluvial.artifact import tar
from fluvial.artifact.cache import remove_tree
from fluvial.artifact.errors import (
    ArtifactError,
    ArtifactNotFound,
    DigestMismatch,
    StorageUnusable,
)
from fluvial.artifact.storage import Retention, Storage
from fluvial.clock import RealClock
from fluvial.log import get_logger
from fluvial.objects import ObjectKey

KIND, KEY = "GitRepository", ObjectKey("apps", "web")


class JumpingClock(RealClock):
    """The wall clock can be set; the other one cannot."""

    def __init__(self) -> None:
        self.jump = timedelta()
        self.passed = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + self.jump + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return super().monotonic() + self.passed


@pytest.fixture
def clock() -> JumpingClock:
    return JumpingClock()


@pytest.fixture
async def storage(tmp_path: Path, clock: JumpingClock) -> AsyncIterator[Storage]:
    storage = Storage(
        tmp_path / "data",
        adv_addr="source:9090",
        clock=clock,
        log=get_logger("test"),
        retention=Retention(ttl=60, records=2),
    )
    await storage.start()
    yield storage
    storage.stop()


async def store(storage: Storage, content: str = "a", name: str = "x.tar.gz") -> Artifact:
    source = storage.base.parent / "source"
    source.mkdir(exist_ok=True)
    (source / "app.yaml").write_text(content)
    path = storage.relative_path(KIND, KEY, name)
    return await storage.archive(source, path=path, revision=content, keep_for=keep_all)


def keep_all(_: Path) -> tar.Keep:
    return lambda path, is_folder: True


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Files outside of the storage, with the same names."""
    folder = tmp_path / "elsewhere"
    (folder / "web").mkdir(parents=True)
    for name in ("x.tar.gz", "old.tar.gz", "web/x.tar.gz", "web/old.tar.gz"):
        (folder / name).write_text("precious")
        os.utime(folder / name, (1, 1))
    return folder


# --- one file -------------------------------------------------------------------------------------


def truncated(file: Path) -> None:
    os.truncate(file, 10)


def altered(file: Path) -> None:
    before = file.stat()
    with file.open("r+b") as out:
        out.seek(20)
        out.write(b"!")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def emptied(file: Path) -> None:
    os.truncate(file, 0)


def folder(file: Path) -> None:
    file.unlink()
    (file / "in/it").mkdir(parents=True)


def link(file: Path) -> None:
    file.rename(file.with_name("moved"))
    file.symlink_to("moved")


def pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def socket(file: Path) -> None:
    file.unlink()
    os.mknod(file, 0o140600)


def device(file: Path) -> None:
    file.unlink()
    try:
        os.mknod(file, 0o020600, os.makedev(1, 5))  # /dev/zero, endless
    except PermissionError:
        pytest.skip("devices are made by root")


def gone(file: Path) -> None:
    file.unlink()


DAMAGES = [truncated, altered, emptied, folder, link, pipe, socket, device, gone]


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_file_is_noticed_and_replaced(
    storage: Storage, damage: Callable[[Path], None]
) -> None:
    artifact = await store(storage)
    await storage.verify(artifact)
    damage(storage.local_path(artifact))
    error = DigestMismatch if damage in (truncated, altered, emptied) else ArtifactNotFound
    with pytest.raises(error):
        await storage.verify(artifact)
    with pytest.raises(error):
        await storage.unpack(artifact, storage.base / "out", tar.UnpackLimits())
    await storage.verify(await store(storage))

    await storage.remove(artifact)
    with pytest.raises(ArtifactNotFound):
        await storage.verify(artifact)


@pytest.mark.parametrize("damage", [folder, link, pipe])
async def test_what_stands_in_place_of_a_file_can_be_removed(
    storage: Storage, damage: Callable[[Path], None]
) -> None:
    artifact = await store(storage)
    damage(storage.local_path(artifact))
    await storage.remove(artifact)

    assert not os.path.lexists(storage.base / artifact.path)


# --- the folders ----------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("by", ["link", "file"])
async def test_what_stands_in_place_of_a_folder_leads_nowhere(
    storage: Storage, elsewhere: Path, level: int, by: str
) -> None:
    artifact = await store(storage)
    place = storage.base / artifact.path
    for _ in range(3 - level):
        place = place.parent
    remove_tree(place)
    if by == "link":
        place.symlink_to(elsewhere)
    else:
        place.write_text("a file")
    with pytest.raises(ArtifactError):
        await storage.verify(artifact)
    await storage.collect_garbage(KIND, KEY, current="")
    await storage.remove(artifact)
    await storage.remove_object(KIND, KEY)
    await storage.collect_orphans(KIND, ())
    await storage.verify(await store(storage))

    assert {file.read_text() for file in elsewhere.rglob("*.gz")} == {"precious"}
    assert len(list(elsewhere.rglob("*.gz"))) == 4


async def test_a_volume_that_vanished_is_not_written(storage: Storage, clock: JumpingClock) -> None:
    """Nor is what is in its place now; the process is to start again."""
    artifact = await store(storage)
    away = storage.base.with_name("away")
    storage.base.rename(away)
    with pytest.raises(ArtifactNotFound):
        await storage.verify(artifact)
    with pytest.raises(StorageUnusable):
        await store(storage)
    assert not storage.base.exists()
    away.rename(storage.base)
    await storage.verify(await store(storage))


@pytest.mark.looptime
async def test_a_volume_that_vanished_ends_the_watch(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that does not answer is not gone."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    watch = asyncio.create_task(storage.watch(), name="watch")
    await asyncio.sleep(10)
    with monkeypatch.context() as broken:
        broken.setattr(Path, "lstat", refuse)
        await asyncio.sleep(10)
    assert not watch.done()
    storage.base.rename(storage.base.with_name("away"))
    with pytest.raises(StorageUnusable, match="emptied or replaced"):
        await watch


# --- a disk that is full, broken or read only -----------------------------------------------------


PLACES = ["write", "fsync", "replace", "mkstemp"]


def fail(monkeypatch: pytest.MonkeyPatch, where: str, number: int) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    targets = {
        "write": "fluvial.artifact.tar.gzip.GzipFile.write",
        "fsync": "fluvial.artifact.publishing.os.fsync",
        "replace": "pathlib.Path.replace",
        "mkstemp": "fluvial.artifact.publishing.tempfile.mkstemp",
    }
    monkeypatch.setattr(targets[where], refuse)


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
async def test_what_cannot_be_written_leaves_what_was_there(
    storage: Storage, where: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = await store(storage, "a")
    with monkeypatch.context() as broken:
        fail(broken, where, number)
        with pytest.raises(OSError, match=os.strerror(number)):
            await store(storage, "b")

    await storage.verify(artifact)
    assert [item.name for item in storage.local_path(artifact).parent.iterdir()] == ["x.tar.gz"]
    await storage.verify(await store(storage, "b"))


@pytest.mark.parametrize("what", ["os.open", "os.pread"])
async def test_a_disk_that_does_not_say_is_no_missing_file(
    storage: Storage, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = await store(storage)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        module = {"os.open": "opening.os.open", "os.pread": "known.os.pread"}[what]
        broken.setattr(f"fluvial.artifact.{module}", refuse)
        with pytest.raises(OSError, match="Input/output error"):
            await storage.verify(artifact, fresh=True)

    await storage.verify(artifact)


# --- who may write --------------------------------------------------------------------------------


class NotLeader(Exception):
    pass


async def test_who_lost_the_lease_while_it_wrote_publishes_nothing(storage: Storage) -> None:
    """The check before is passed, the one ahead of the rename is not."""
    answers = iter([False, True])

    def permit() -> None:
        if next(answers):
            raise NotLeader

    artifact = await store(storage, "a")
    storage._permit = permit
    with pytest.raises(NotLeader):
        await store(storage, "b")
    storage._permit = lambda: None

    await storage.verify(artifact)
    assert len(list(storage.local_path(artifact).parent.iterdir())) == 1


async def test_who_lost_the_lease_changes_nothing(storage: Storage) -> None:
    def permit() -> None:
        raise NotLeader

    artifact = await store(storage)
    storage._permit = permit
    for change in (
        storage.remove(artifact),
        storage.remove_object(KIND, KEY),
        storage.collect_garbage(KIND, KEY, current=""),
        storage.collect_orphans(KIND, ()),
        storage.link(artifact, "latest"),
        storage.store_file(storage.local_path(artifact), path=artifact.path, revision="b"),
    ):
        with pytest.raises(NotLeader):
            await change

    await storage.verify(artifact)


# --- clocks that jump -----------------------------------------------------------------------------


async def versions(storage: Storage, clock: JumpingClock, *names: str) -> None:
    for name in names:
        await store(storage, name, f"{name}.tar.gz")
        clock.passed += 1


def stored(storage: Storage) -> set[str]:
    return {item.name for item in (storage.base / "gitrepository/apps/web").iterdir()}


async def collect(storage: Storage, current: str) -> None:
    path = storage.relative_path(KIND, KEY, current)
    await storage.collect_garbage(KIND, KEY, current=path)


@pytest.mark.parametrize("days", [1, -1, 4000, -4000])
async def test_a_jump_makes_nothing_old_and_keeps_no_more(
    storage: Storage, clock: JumpingClock, days: int
) -> None:
    """Consumers may still be loading what was replaced a second ago."""
    await versions(storage, clock, "a", "b")
    clock.jump += timedelta(days=days)
    await collect(storage, "b.tar.gz")
    assert stored(storage) == {"a.tar.gz", "b.tar.gz"}
    clock.passed += 120
    await versions(storage, clock, "c")
    await collect(storage, "c.tar.gz")

    assert "c.tar.gz" in stored(storage)
    assert len(stored(storage)) <= 2


async def test_without_a_jump_old_is_old(storage: Storage, clock: JumpingClock) -> None:
    await versions(storage, clock, "a", "b")
    clock.passed += 120
    await collect(storage, "b.tar.gz")

    assert stored(storage) == {"b.tar.gz"}


@pytest.mark.parametrize("days", [1, -1])
async def test_a_jump_makes_nobody_read_twice(
    storage: Storage, clock: JumpingClock, days: int
) -> None:
    artifact = await store(storage)
    clock.jump += timedelta(days=days)
    for _ in range(3):
        await storage.verify(artifact)

    assert storage.digests.bytes_read == 0, "it was known when it was written"
