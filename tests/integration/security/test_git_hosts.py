"""Git servers that mean harm."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fluvial.log import get_logger
from gitservers.http import GitHttpServer
from gitservers.repos import Repo
from harness.outbound import loopback_gateway
from source_controller.git.client import GitClient, GitError, git_pool
from source_controller.git.model import Auth, CheckoutRequest, Limits, Reference

_ID = b"1" * 40
_TOKEN = "t0ken-4711"
_ADVERTISEMENT = b"application/x-git-upload-pack-advertisement"
_RESULT = b"application/x-git-upload-pack-result"


def line(data: bytes) -> bytes:
    return b"%04x%s" % (len(data) + 4, data)


def heads(reference: bytes = b"refs/heads/main") -> bytes:
    first = line(_ID + b" " + reference + b"\0side-band-64k ofs-delta shallow\n")
    return line(b"# service=git-upload-pack\n") + b"0000" + first + b"0000"


@asynccontextmanager
async def host(listing: bytes, result: bytes = b"") -> AsyncIterator[str]:
    """Answers the listing, then the fetch, with these bytes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                is_listing = request.startswith(b"GET")
                body, kind = (listing, _ADVERTISEMENT) if is_listing else (result, _RESULT)
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n"
                    b"Connection: close\r\n\r\n%s" % (kind, len(body), body)
                )
                await writer.drain()
                writer.close()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"


@pytest.fixture
async def checkout(tmp_path: Path) -> AsyncIterator[Callable[..., object]]:
    work = tmp_path / "work"
    work.mkdir()
    async with (
        loopback_gateway() as gateway,
        git_pool(size=1, log=get_logger("test"), memory_bytes=256 << 20) as pool,
    ):

        def run(url: str, *, auth: Auth | None = None, limits: Limits | None = None) -> object:
            request = CheckoutRequest(
                url=url,
                work=str(work),
                timeout=10,
                reference=Reference(branch="main"),
                auth=auth or Auth(),
                limits=limits or Limits(),
            )
            return GitClient(pool, gateway).checkout(request, namespace="team")

        yield run


async def fails(run: Callable[..., object], url: str, **options: object) -> str:
    with pytest.raises(GitError) as caught:
        await run(url, **options)  # type: ignore[misc]  # a coroutine
    return str(caught.value)


@pytest.mark.parametrize(
    "listing",
    [
        b"",
        b"<html>no git</html>",
        b"ffff",
        b"0000" * 1000,
        line(b"# service=git-receive-pack\n") + b"0000",
        line(b"# service=git-upload-pack\n") + b"0000" + b"zzzz",
        line(b"# service=git-upload-pack\n") + b"0000" + line(b"not a head\n") + b"0000",
        line(b"# service=git-upload-pack\n") + b"0000" + line(b"ERR \x1b[31mred\n\0") + b"0000",
        heads(b"refs/heads/../../../../etc/passwd"),
        heads(b"refs/heads/main\n\0x"),
    ],
    ids=["empty", "html", "cut", "flushes", "service", "length", "head", "ERR", "up", "control"],
)
async def test_wrong_listings(checkout: Callable[..., object], listing: bytes) -> None:
    async with host(listing) as url:
        message = await fails(checkout, url)

    assert message.isprintable()
    assert "worker failed" not in message


PACKS = {
    "nothing": b"",
    "no pack": line(b"NAK\n") + line(b"\x01garbage") + b"0000",
    "error": line(b"NAK\n") + line(b"\x03\x1b]0;evil\x07 " + b"x" * 5_000) + b"0000",
    "huge count": line(b"NAK\n") + line(b"\x01PACK\0\0\0\x02\xff\xff\xff\xff") + b"0000",
    "huge object": line(b"NAK\n")
    + line(
        b"\x01PACK\0\0\0\x02\0\0\0\x01\xbf\xff\xff\xff\xff\xff\x7f" + zlib.compress(b"x" * 1_000)
    )
    + b"0000",
    "cut object": line(b"NAK\n")
    + line(b"\x01PACK\0\0\0\x02\0\0\0\x01\xb8\x3e" + zlib.compress(b"x" * 1_000)[:-6])
    + b"0000",
    "cut line": line(b"NAK\n") + b"00ff\x01PACK",
    "endless deltas": line(b"NAK\n")
    + line(b"\x01PACK\0\0\0\x02\0\0\0\x01\x64\x01" + zlib.compress(b"x"))
    + b"0000",
}


@pytest.mark.parametrize("case", PACKS)
async def test_wrong_packs(checkout: Callable[..., object], case: str) -> None:
    async with host(heads(), PACKS[case]) as url:
        message = await fails(checkout, url)

    assert message.isprintable()
    assert len(message) <= 2_500


async def test_a_file_that_inflates(checkout: Callable[..., object], tmp_path: Path) -> None:
    """A thousand times larger than what is transferred."""
    repo = Repo(tmp_path / "repos", "bomb.git")
    repo.commit({"big.txt": "0" * (30 << 20)})
    async with GitHttpServer(tmp_path / "repos") as server:
        limits = Limits(max_file_bytes=1 << 20)
        message = await fails(checkout, f"{server.url}/bomb.git", limits=limits)

    assert "too large" in message


async def test_what_a_server_says_does_not_carry_the_token_back(
    checkout: Callable[..., object],
) -> None:
    echo = (
        line(b"# service=git-upload-pack\n") + b"0000" + line(b"ERR " + _TOKEN.encode()) + b"0000"
    )
    async with host(echo) as url:
        message = await fails(checkout, url, auth=Auth(username="me", password=_TOKEN))

    assert _TOKEN not in message
