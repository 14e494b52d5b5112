"""What readers of the file server may try, and when it serves nothing."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fluvial.artifact.known import KnownDigests
from fluvial.artifact.server import FileServer
from fluvial.clock import RealClock
from fluvial.log import get_logger

NAME = "gitrepository/apps/web/abc.tar.gz"
LARGE = 1 << 24  # more than the buffers of both ends of a connection take


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data" / NAME).parent.mkdir(parents=True)
    (tmp_path / "data" / NAME).write_bytes(b"small")
    return tmp_path / "data"


@asynccontextmanager
async def serve(root: Path, **options: Any) -> AsyncIterator[str]:
    server = FileServer(root, log=get_logger("test"), algorithm="sha256", **options)
    host, port = await server.start("127.0.0.1:0")
    try:
        yield f"http://{host}:{port}/"
    finally:
        await server.stop()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def status(http: aiohttp.ClientSession, url: str, method: str = "GET") -> int:
    async with http.request(method, url) as response:
        return response.status


def slow_reader(url: str) -> socket.socket:
    """A connection that asks for a file and takes nothing of it."""
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((host, int(port)))
    connection.sendall(f"GET /{NAME} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return connection


def open_files(path: Path) -> int:
    """How often this process has a file open."""
    found = 0
    for item in Path("/proc/self/fd").iterdir():
        try:
            found += item.readlink() == path
        except OSError:
            continue
    return found


async def test_slow_readers_keep_nobody_waiting(root: Path, http: aiohttp.ClientSession) -> None:
    os.truncate(root / NAME, LARGE)
    (root / "gitrepository/apps/web/other").write_bytes(b"other")
    async with serve(root) as url:
        readers = [slow_reader(url) for _ in range(50)]
        try:
            while open_files(root / NAME) < len(readers):  # another's state
                await asyncio.sleep(0.01)
            assert await status(http, f"{url}gitrepository/apps/web/other") == 200
        finally:
            for reader in readers:
                reader.close()


async def test_a_reader_that_takes_nothing_is_cut_off(root: Path) -> None:
    os.truncate(root / NAME, LARGE)
    async with serve(root, stall_seconds=0.05) as url:
        reader = slow_reader(url)
        try:
            while not open_files(root / NAME):  # another's state
                await asyncio.sleep(0.005)
            while open_files(root / NAME):  # another's state
                await asyncio.sleep(0.005)
        finally:
            reader.close()

    assert open_files(root / NAME) == 0


async def test_there_is_an_end_to_how_many_are_served(
    root: Path, http: aiohttp.ClientSession
) -> None:
    os.truncate(root / NAME, LARGE)
    async with serve(root, most_answers=2) as url:
        readers = [slow_reader(url) for _ in range(2)]
        try:
            while open_files(root / NAME) < len(readers):  # another's state
                await asyncio.sleep(0.005)
            async with http.get(url + NAME) as refused:
                assert refused.status == 503
                assert refused.headers["Retry-After"] == "1"
            assert await status(http, url) == 200, "the probe"
        finally:
            for reader in readers:
                reader.close()
        while await status(http, url + NAME, "HEAD") == 503:
            await asyncio.sleep(0.005)


async def test_half_a_request_keeps_nobody_waiting(root: Path, http: aiohttp.ClientSession) -> None:
    async with serve(root) as url:
        host, port = url.removeprefix("http://").rstrip("/").split(":")
        halves = [socket.create_connection((host, int(port))) for _ in range(100)]
        try:
            for half in halves:
                half.sendall(b"GET /x HTTP/1.1\r\nHost:")
            assert await status(http, url + NAME) == 200
        finally:
            for half in halves:
                half.close()


async def test_nothing_is_served_by_who_has_nothing_to_serve(
    root: Path, http: aiohttp.ClientSession
) -> None:
    answers = [False]

    async def available() -> bool:
        return answers[0]

    async with serve(root, available=available) as url:
        for path in ("", NAME, "missing"):
            assert await status(http, url + path) == 503
        answers[0] = True
        assert await status(http, url) == 200
        assert await status(http, url + NAME) == 200


async def test_a_disk_that_fails_is_no_missing_file(
    root: Path, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async with serve(root) as url:
        with monkeypatch.context() as broken:
            broken.setattr("fluvial.artifact.server.open_file", refuse)
            async with http.get(url + NAME) as response:
                assert response.status == 500
                assert "Input/output" not in await response.text()
        assert await status(http, url + NAME) == 200


async def test_a_file_that_was_altered_is_announced_as_what_it_is(
    root: Path, http: aiohttp.ClientSession
) -> None:
    async with serve(root) as url:
        async with http.head(url + NAME) as first:
            before = first.headers["ETag"]
        times = (root / NAME).stat()
        await asyncio.sleep(0.02)  # more than one tick of a file system's clock
        with (root / NAME).open("r+b") as out:
            out.write(b"SMALL")
        os.utime(root / NAME, ns=(times.st_atime_ns, times.st_mtime_ns))
        async with http.head(url + NAME) as second:
            assert second.headers["ETag"] != before


async def test_what_the_storage_knows_is_not_read_to_be_announced(
    root: Path, http: aiohttp.ClientSession
) -> None:
    known = KnownDigests(RealClock())
    os.utime(root / NAME)
    descriptor = os.open(root / NAME, os.O_RDONLY)
    known.learn(os.fstat(descriptor), await known.of(descriptor, "sha256"))
    os.close(descriptor)
    read = known.bytes_read
    async with serve(root, digests=known) as url:
        assert await status(http, url + NAME, "HEAD") == 200
        assert await status(http, url + NAME, "HEAD") == 200

    assert known.bytes_read == read


async def test_no_file_is_of_the_future(root: Path, http: aiohttp.ClientSession) -> None:
    """After the clock was set back."""
    later = datetime(2200, 1, 1, tzinfo=UTC).timestamp()
    os.utime(root / NAME, (later, later))
    async with serve(root) as url, http.head(url + NAME) as response:
        modified = parsedate_to_datetime(response.headers["Last-Modified"])

    assert modified <= datetime.now(UTC)


@pytest.mark.parametrize(
    "header", ["bytes=0-0," * 500, "bytes=" + "9" * 400 + "-", "bytes=-" + "9" * 400]
)
async def test_ranges_that_are_meant_to_hurt(
    root: Path, http: aiohttp.ClientSession, header: str
) -> None:
    async with serve(root) as url, http.get(url + NAME, headers={"Range": header}) as response:
        assert response.status in {200, 206, 416}
        assert len(await response.read()) <= 5
