"""Two processes and one storage folder."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fluvial.artifact.errors import StorageLocked, StorageUnusable
from fluvial.artifact.lock import SharedVolume, VolumeLock, read_holder
from fluvial.artifact.storage import Storage
from fluvial.clock import RealClock
from fluvial.log import get_logger

OTHER = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(fd, fcntl.LOCK_EX)
os.pwrite(fd, b"the other".ljust(512), 0)
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def other_process(base: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds the folder until its standard input is closed, or it is killed."""
    base.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(  # this interpreter and a text of ours
        [sys.executable, "-c", OTHER, str(base / ".lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"locked\n"
            yield process
        finally:
            process.kill()


def lock(base: Path, holder: str = "ours") -> VolumeLock:
    return VolumeLock(base, holder=holder, clock=RealClock(), log=get_logger("test"))


@pytest.fixture
async def ours(tmp_path: Path) -> AsyncIterator[VolumeLock]:
    ours = lock(tmp_path / "data")
    yield ours
    ours.release()


async def test_a_second_process_is_refused_and_told_who_is_first(
    ours: VolumeLock, tmp_path: Path
) -> None:
    with other_process(tmp_path / "data"), pytest.raises(StorageLocked, match="the other"):
        await ours.acquire(0)


async def test_a_killed_process_holds_nothing(ours: VolumeLock, tmp_path: Path) -> None:
    with other_process(tmp_path / "data") as process:
        waiting = asyncio.create_task(ours.acquire(30), name="waiting")
        await asyncio.sleep(0.05)
        assert not waiting.done()
        process.kill()
        await waiting

    assert read_holder(tmp_path / "data") == "ours"


async def test_who_gave_the_lock_up_writes_no_more(ours: VolumeLock, tmp_path: Path) -> None:
    """A thread that is late must not write beside the next process."""
    await ours.acquire(0)
    ours.confirm()
    ours.release()

    with pytest.raises(StorageUnusable, match="given up"):
        ours.confirm()
    await ours.acquire(0)
    ours.confirm()
    ours.release()


async def test_what_was_released_can_be_taken(ours: VolumeLock, tmp_path: Path) -> None:
    await ours.acquire(0)
    second = lock(tmp_path / "data", "second")
    with pytest.raises(StorageLocked, match="ours"):
        await second.acquire(0)
    ours.release()
    await second.acquire(0)
    second.release()

    assert read_holder(tmp_path / "data") == "second"


async def test_a_folder_that_was_emptied_is_not_ours(ours: VolumeLock, tmp_path: Path) -> None:
    await ours.acquire(0)
    ours.confirm()
    (tmp_path / "data/.lock").unlink()
    for _ in range(2):
        with pytest.raises(StorageUnusable, match="emptied or replaced"):
            ours.confirm()


async def test_a_folder_that_was_replaced_is_not_ours(ours: VolumeLock, tmp_path: Path) -> None:
    await ours.acquire(0)
    (tmp_path / "data").rename(tmp_path / "away")
    with pytest.raises(StorageUnusable, match="emptied or replaced"):
        ours.confirm()
    with other_process(tmp_path / "data"), pytest.raises(StorageUnusable):
        ours.confirm()


async def test_a_link_in_place_of_the_lock_is_not_followed(
    ours: VolumeLock, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "data/.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        await ours.acquire(0)

    assert (tmp_path / "precious").read_text() == "precious"


async def test_a_volume_without_locks_is_used_nevertheless(
    ours: VolumeLock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "not supported")

    monkeypatch.setattr("fluvial.artifact.lock.fcntl.flock", refuse)
    await ours.acquire(0)

    assert read_holder(tmp_path / "data") == "ours"


async def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    storage = Storage(
        tmp_path / "file/data", adv_addr="x:1", clock=RealClock(), log=get_logger("test")
    )
    with pytest.raises(StorageUnusable, match="file/data cannot be used: Not a directory"):
        await storage.start()


# --- a standby ----------------------------------------------------------------------------------


class FakeClock(RealClock):
    def __init__(self) -> None:
        self.time = 100.0

    def monotonic(self) -> float:
        return self.time


async def test_a_standby_knows_whether_it_sees_the_leaders_volume(tmp_path: Path) -> None:
    clock, leader = FakeClock(), [""]
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    writer = lock(theirs, "leader-1")
    await writer.acquire(0)
    views = [SharedVolume(base, leader=lambda: leader[0], clock=clock) for base in (mine, theirs)]

    async def answers() -> list[bool]:
        clock.time += 2
        return [await view.is_shared() for view in views]

    assert await answers() == [False, False], "nobody leads"
    leader[0] = "leader-1"
    assert await answers() == [False, True]
    leader[0] = ""
    assert await answers() == [False, True], "it is gone, its volume is there"
    leader[0] = "leader-2"
    assert await answers() == [False, True], "it waits for the lock"
    clock.time += 100
    assert await answers() == [False, False], "it writes elsewhere"
    writer.release()


def test_a_lock_file_can_be_anything(tmp_path: Path) -> None:
    assert read_holder(tmp_path) == ""
    os.mkfifo(tmp_path / ".lock")
    assert read_holder(tmp_path) == ""
