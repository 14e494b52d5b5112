"""Downloads from hosts of all manners."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import threading
import zlib
from pathlib import Path
from typing import IO, Any, cast

import pytest
import yarl

from fluvial.net.dialer import Dialer
from fluvial.net.policy import AddressPolicy
from fluvial.net.tls import Tls
from gitservers.certs import TestCA
from harness.outbound import loopback_dialer
from harness.webserver import FileHost, raw_server, requiring_certificate
from source_controller.web.access import Access
from source_controller.web.client import Download, WebClient, WebError

LIMIT = 1 << 20


@pytest.fixture
def client() -> WebClient:
    dialer = loopback_dialer()
    return WebClient(lambda tls: dialer.connector(tls=tls))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "f").write_bytes(b"content")
    return folder


async def fetch(
    client: WebClient, folder: Path, url: str, *, timeout: float = 10.0, **access: Any
) -> Download:
    target = yarl.URL(url)
    return await client.download(
        target,
        folder / "out",
        access=Access(target.origin(), **access),
        max_bytes=LIMIT,
        timeout=timeout,
    )


async def test_content_arrives_with_size_and_digest(
    client: WebClient, tmp_path: Path, files: Path
) -> None:
    async with FileHost(files) as host:
        found = await fetch(client, tmp_path, f"{host.url}/f?x=1")

    assert (tmp_path / "out").read_bytes() == b"content"
    assert (found.size, found.digest.hex) == (7, hashlib.sha256(b"content").hexdigest())
    assert host.requests == ["/f?x=1"]
    assert host.authorizations == [""]


async def test_compressed_content_counts_decompressed(
    client: WebClient, tmp_path: Path, files: Path
) -> None:
    (files / "f").write_bytes(gzip.compress(b"content", mtime=0))
    async with FileHost(files) as host:
        host.headers = {"Content-Encoding": "gzip"}
        found = await fetch(client, tmp_path, f"{host.url}/f")

    assert (tmp_path / "out").read_bytes() == b"content"
    assert found.digest.hex == hashlib.sha256(b"content").hexdigest()


@pytest.mark.parametrize("compressed", [False, True])
async def test_the_limit_is_exact(
    client: WebClient, tmp_path: Path, files: Path, *, compressed: bool
) -> None:
    async with FileHost(files) as host:
        for size in (LIMIT, LIMIT + 1):
            data = b"\0" * size
            (files / "f").write_bytes(gzip.compress(data, mtime=0) if compressed else data)
            host.headers = {"Content-Encoding": "gzip"} if compressed else {}
            if size <= LIMIT:
                assert (await fetch(client, tmp_path, f"{host.url}/f")).size == size
                continue
            with pytest.raises(WebError, match=f"maximum size of {LIMIT} bytes"):
                await fetch(client, tmp_path, f"{host.url}/f")


async def test_a_stream_without_end_is_cut_at_the_limit(client: WebClient, tmp_path: Path) -> None:
    sent = 0

    async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            await writer.drain()
            sent += 0x10000

    async with raw_server(handle) as url:
        with pytest.raises(WebError, match="maximum size"):
            await fetch(client, tmp_path, url)

    assert (tmp_path / "out").stat().st_size <= LIMIT
    assert sent < 64 * LIMIT


async def test_a_bomb_is_cut_at_the_limit(client: WebClient, tmp_path: Path) -> None:
    stream = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    bomb = b"".join(stream.compress(bytes(1 << 20)) for _ in range(64)) + stream.flush()

    async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
        writer.write(head.encode() + bomb)
        await writer.drain()

    async with raw_server(handle) as url:
        with pytest.raises(WebError, match="maximum size"):
            await fetch(client, tmp_path, url)

    assert (tmp_path / "out").stat().st_size <= LIMIT


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", "ends too early"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nshort", "ends too early"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\n"
            + gzip.compress(b"x" * 1000, mtime=0)[:20],
            "ends too early",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain",
            "not gzip",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx", "encoding"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * (1 << 17) + b"\r\n\r\n", "is not HTTP"),
        (b"", "closed the connection"),
        (b"HTTP/1.1 404 s3cret\r\nContent-Length: 6\r\n\r\ns3cret", "404 Not Found$"),
        (b"HTTP/1.1 299 s3cret\r\nContent-Length: 0\r\n\r\n", "status 299$"),
        (b"HTTP/1.1 206 Partial\r\nContent-Length: 1\r\n\r\nx", "206 Partial Content$"),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "no address"),
        (b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n", "no address"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\n\r\n", "no address"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://xn--/\r\n\r\n", "no address"),
        (b"HTTP/1.1 302 Found\r\nLocation: /again?a\r\n\r\n", "more than 10 redirects"),
    ],
)
async def test_answers_that_are_no_file(
    client: WebClient, tmp_path: Path, *, answer: bytes, message: str
) -> None:
    async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    async with raw_server(handle) as url:
        with pytest.raises(WebError, match=message) as caught:
            await fetch(client, tmp_path, f"{url}/f?token=s3cret")

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"],
    ids=["head", "body"],
)
async def test_a_server_that_drips_is_left_in_time(
    client: WebClient, tmp_path: Path, head: bytes
) -> None:
    async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with raw_server(handle) as url:
        with pytest.raises(WebError, match=r"was not fetched within 0\.1s"):
            await fetch(client, tmp_path, url, timeout=0.1)


async def test_nobody_listens(client: WebClient, tmp_path: Path, files: Path) -> None:
    async with FileHost(files) as host:
        url = host.url
    with pytest.raises(WebError, match="cannot connect to 127"):
        await fetch(client, tmp_path, url)
    with pytest.raises(WebError, match="does not resolve"):
        await fetch(client, tmp_path, "http://no-such-host.invalid/f")


async def test_addresses_that_are_denied_are_not_connected_to(tmp_path: Path, files: Path) -> None:
    dialer = Dialer(AddressPolicy.build())
    client = WebClient(lambda tls: dialer.connector(tls=tls))
    async with FileHost(files) as host:
        for url in (host.url, host.url.replace("127.0.0.1", "localhost")):
            with pytest.raises(WebError, match="loopback"):
                await fetch(client, tmp_path, url)

    assert host.requests == []


# --- redirects ------------------------------------------------------------------------------------


async def test_credentials_go_to_their_host_and_no_other(
    client: WebClient, tmp_path: Path, files: Path
) -> None:
    async with FileHost(files) as home, FileHost(files) as other:
        home.redirects = {"/a": "/b", "/b": f"{other.url}/c"}
        other.redirects = {"/c": f"{home.url}/f"}
        await fetch(client, tmp_path, f"{home.url}/a", username="me", password="pw")

    assert home.requests == ["/a", "/b", "/f"]
    assert all(home.authorizations[:2])
    assert home.authorizations[2] == "", "who has been elsewhere is a stranger"
    assert other.authorizations == [""]


async def test_user_information_in_a_redirect_is_not_used(
    client: WebClient, tmp_path: Path, files: Path
) -> None:
    async with FileHost(files) as home, FileHost(files) as other:
        home.redirects = {"/a": other.url.replace("://", "://evil:login@") + "/f"}
        await fetch(client, tmp_path, f"{home.url}/a", username="me", password="pw")

    assert other.authorizations == [""]


async def test_no_redirect_leads_out_of_tls(client: WebClient, tmp_path: Path, files: Path) -> None:
    ca = TestCA()
    async with (
        FileHost(files, tls=ca.server_context(tmp_path)) as home,
        FileHost(files) as other,
    ):
        home.redirects = {"/a": f"{other.url}/f"}
        with pytest.raises(WebError, match="redirects from https to http"):
            await fetch(client, tmp_path, f"{home.url}/a", tls=Tls(ca=ca.pem))

    assert other.requests == []


# --- TLS ------------------------------------------------------------------------------------------


async def test_trust_is_the_objects_own(client: WebClient, tmp_path: Path, files: Path) -> None:
    ca, strange = TestCA(), TestCA()
    async with FileHost(files, tls=ca.server_context(tmp_path)) as host:
        await fetch(client, tmp_path, f"{host.url}/f", tls=Tls(ca=ca.pem))
        for tls in (Tls(), Tls(ca=strange.pem)):
            with pytest.raises(WebError, match="certificate is not trusted"):
                await fetch(client, tmp_path, f"{host.url}/f", tls=tls)

    assert host.requests == ["/f"]


async def test_the_name_in_the_certificate_counts(
    client: WebClient, tmp_path: Path, files: Path
) -> None:
    ca = TestCA()
    async with FileHost(files, tls=ca.server_context(tmp_path), name="127.0.0.2") as host:
        with pytest.raises(WebError, match="certificate is not trusted: IP address mismatch"):
            await fetch(client, tmp_path, host.url, tls=Tls(ca=ca.pem))


async def test_a_client_certificate_opens_its_host_and_is_shown_to_no_other(
    client: WebClient, tmp_path: Path, files: Path
) -> None:
    ca = TestCA()
    certificate, key = ca.pair()
    mine = Tls(ca=ca.pem, certificate=certificate, key=key)
    strict = requiring_certificate(ca.server_context(tmp_path), ca.pem)
    async with FileHost(files, tls=strict) as host, FileHost(files, tls=strict) as other:
        await fetch(client, tmp_path, f"{host.url}/f", tls=mine)
        with pytest.raises(WebError, match="failed to fetch"):
            await fetch(client, tmp_path, f"{host.url}/f", tls=Tls(ca=ca.pem))
        host.redirects = {"/a": f"{other.url}/f"}
        with pytest.raises(WebError, match="failed to fetch"):
            await fetch(client, tmp_path, f"{host.url}/a", tls=mine)

    assert host.certified == [True, True]
    assert other.requests == []


async def test_who_is_cancelled_while_the_file_is_opened_leaves_it_closed(tmp_path: Path) -> None:
    opened: list[IO[bytes]] = []
    begun, may_go_on = threading.Event(), threading.Event()

    class Slow:
        def open(self, mode: str) -> IO[bytes]:
            begun.set()
            may_go_on.wait(5)
            file = (tmp_path / "x").open(mode)
            opened.append(cast("IO[bytes]", file))
            return opened[0]

    download = WebClient().download(
        yarl.URL("http://127.0.0.1:1/"),
        cast("Path", Slow()),
        access=Access(yarl.URL("http://127.0.0.1:1")),
        max_bytes=1,
        timeout=5,
    )
    task = asyncio.create_task(download)
    while not begun.is_set():
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    may_go_on.set()
    await asyncio.gather(task, return_exceptions=True)

    assert task.cancelled()
    assert opened[0].closed
