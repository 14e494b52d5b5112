"""What is known of a file is known of that version of it and of no other."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fluvial.artifact.known import KnownDigests
from fluvial.clock import RealClock

CONTENT = b"content" * 1000


class LaterClock(RealClock):
    """A minute ahead of the file system, so that files are old enough to be known."""

    ahead = timedelta(seconds=60)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def descriptor(file: Path) -> Iterator[int]:
    descriptor = os.open(file, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


async def digest(known: KnownDigests, file: Path, *, fresh: bool = False) -> str:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        return (await known.of(descriptor, "sha256", fresh=fresh)).hex
    finally:
        os.close(descriptor)


async def test_a_file_is_read_once(file: Path) -> None:
    known = KnownDigests(LaterClock())
    answers = await asyncio.gather(*(digest(known, file) for _ in range(20)))

    assert set(answers) == {hashlib.sha256(CONTENT).hexdigest()}
    assert known.bytes_read == len(CONTENT)


async def test_two_names_of_one_file_are_one_file(file: Path) -> None:
    known = KnownDigests(LaterClock())
    second = file.with_name("second")
    second.hardlink_to(file)
    await digest(known, file)
    await digest(known, second)

    assert known.bytes_read == len(CONTENT)


async def test_whoever_asks_for_the_bytes_gets_them(file: Path) -> None:
    known = KnownDigests(LaterClock())
    await digest(known, file)
    await digest(known, file, fresh=True)

    assert known.bytes_read == 2 * len(CONTENT)


def overwrite(file: Path) -> None:
    with file.open("r+b") as out:
        out.write(b"CONTENT")


def overwrite_and_set_the_time_back(file: Path) -> None:
    before = file.stat()
    overwrite(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_by_another(file: Path) -> None:
    before = file.stat()
    other = file.with_name("other")
    other.write_bytes(b"CONTENT" + CONTENT[7:])
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)


@pytest.mark.parametrize("alter", [overwrite, overwrite_and_set_the_time_back, replace_by_another])
async def test_an_altered_file_of_the_same_size_is_noticed(
    file: Path, alter: Callable[[Path], None]
) -> None:
    known = KnownDigests(LaterClock())
    before = await digest(known, file)
    await asyncio.sleep(0.02)  # more than one tick of a file system's clock
    alter(file)

    assert await digest(known, file) != before


async def test_a_file_of_this_very_moment_is_read_again(file: Path) -> None:
    """Whoever writes within the same tick leaves the same times."""
    known = KnownDigests(RealClock())
    os.utime(file)
    await digest(known, file)
    await digest(known, file)

    assert known.bytes_read == 2 * len(CONTENT)


async def test_times_of_whole_seconds_are_trusted_later(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = LaterClock()
    known = KnownDigests(clock)
    real = os.fstat

    def coarse(descriptor: int) -> os.stat_result:
        status = real(descriptor)
        seconds = int(status.st_ctime)
        fields = {"st_ctime_ns": seconds * 10**9, "st_ctime": float(seconds)}
        extra = {
            name: fields.get(name, getattr(status, name))
            for name in ("st_atime_ns", "st_mtime_ns", "st_ctime_ns", "st_mtime", "st_ctime")
        }
        return os.stat_result(tuple(status)[:10], extra)

    monkeypatch.setattr("fluvial.artifact.known.os.fstat", coarse)
    clock.ahead = timedelta(seconds=0.5)
    await digest(known, file)
    await digest(known, file)
    assert known.bytes_read == 2 * len(CONTENT)
    clock.ahead = timedelta(seconds=60)
    await digest(known, file)
    await digest(known, file)
    assert known.bytes_read == 3 * len(CONTENT)


async def test_a_clock_that_was_set_back_a_day_makes_nothing_forget(file: Path) -> None:
    clock = LaterClock()
    clock.ahead = timedelta(days=-1)
    known = KnownDigests(clock)
    await digest(known, file)
    await digest(known, file)

    assert known.bytes_read == len(CONTENT)


async def test_not_more_is_remembered_than_that(tmp_path: Path) -> None:
    known = KnownDigests(LaterClock(), most=2)
    files = [tmp_path / str(number) for number in range(3)]
    for file in files:
        file.write_bytes(b"xx")
    for file in (*files, files[2], files[0]):
        await digest(known, file)

    assert known.bytes_read == 8, "the first was forgotten, the last was not"


async def test_a_file_that_changes_while_it_is_read_is_not_remembered(
    descriptor: int, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = KnownDigests(LaterClock())
    real = os.pread

    def altered(descriptor: int, size: int, at: int) -> bytes:
        block = real(descriptor, size, at)
        if not at:
            os.utime(file, (1, 1))
        return block

    with monkeypatch.context() as patched:
        patched.setattr("fluvial.artifact.known.os.pread", altered)
        await known.of(descriptor, "sha256")
    read = known.bytes_read
    await known.of(descriptor, "sha256")

    assert known.bytes_read == 2 * read
