"""The file server and the fetcher, over real connections on loopback."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from fluvial.api.meta import Artifact
from fluvial.artifact import tar
from fluvial.artifact.errors import (
    ArtifactNotFound,
    ArtifactTooLarge,
    ArtifactUnreachable,
    DigestMismatch,
    InvalidDigest,
    UnsafeArchive,
)
from fluvial.artifact.fetcher import Fetcher
from fluvial.artifact.server import FileServer
from fluvial.clock import RealClock
from fluvial.log import get_logger

PATH = "gitrepository/apps/web/abc.tar.gz"


class NoWaits(RealClock):
    def __init__(self) -> None:
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)


def archive(tmp_path: Path, content: str = "kind: App\n") -> tuple[bytes, str]:
    source = tmp_path / f"source-{abs(hash(content))}"
    source.mkdir()
    (source / "app.yaml").write_text(content)
    (source / "link").symlink_to("app.yaml")
    out = io.BytesIO()
    result = tar.pack(source, out, lambda path, is_folder: True)
    return out.getvalue(), str(result.digest)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@dataclass
class Served:
    root: Path
    url: str
    digest: str
    data: bytes


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    data, digest = archive(tmp_path)
    root = tmp_path / "data"
    (root / PATH).parent.mkdir(parents=True)
    (root / PATH).write_bytes(data)
    server = FileServer(root, log=get_logger("test"), algorithm="sha256")
    host, port = await server.start("127.0.0.1:0")
    yield Served(root, f"http://{host}:{port}/", digest, data)
    await server.stop()


# --- the server --------------------------------------------------------------------------------


async def test_get_and_head_carry_size_and_digest(
    served: Served, http: aiohttp.ClientSession
) -> None:
    async with http.get(served.url + PATH) as got, http.head(served.url + PATH) as head:
        assert await got.read() == served.data
        for answer in (got, head):
            assert answer.status == 200
            assert answer.headers["ETag"] == f'"{served.digest}"'
            assert answer.headers["Content-Length"] == str(len(served.data))


async def test_a_replaced_file_has_another_etag(
    served: Served, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with http.head(served.url + PATH):
        pass
    data, digest = archive(tmp_path, "changed")
    (served.root / "new").write_bytes(data)
    (served.root / "new").rename(served.root / PATH)
    async with http.get(served.url + PATH) as got:
        assert await got.read() == data
        assert got.headers["ETag"] == f'"{digest}"'


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=5-9", 5, 9),
        ("bytes=10-", 10, None),
        ("bytes=-7", -7, None),
        ("bytes=5-999999", 5, None),
    ],
)
async def test_ranges(
    served: Served, http: aiohttp.ClientSession, header: str, first: int, last: int | None
) -> None:
    async with http.get(served.url + PATH, headers={"Range": header}) as got:
        expected = served.data[first:] if last is None else served.data[first : last + 1]
        begin = first % len(served.data)
        assert got.status == 206
        assert await got.read() == expected
        total = len(served.data)
        assert got.headers["Content-Range"] == f"bytes {begin}-{begin + len(expected) - 1}/{total}"


@pytest.mark.parametrize(
    "header", ["bytes=1-2,4-5", "bytes=x-", "bytes=-", "items=0-1", "bytes=9-5"]
)
async def test_ranges_that_are_not_understood_give_the_whole(
    served: Served, http: aiohttp.ClientSession, header: str
) -> None:
    async with http.get(served.url + PATH, headers={"Range": header}) as got:
        assert got.status == 200
        assert await got.read() == served.data


async def test_ranges_outside_of_the_file(served: Served, http: aiohttp.ClientSession) -> None:
    for header in ("bytes=999999-", "bytes=-0"):
        async with http.get(served.url + PATH, headers={"Range": header}) as got:
            assert got.status == 416


async def test_conditional_requests(served: Served, http: aiohttp.ClientSession) -> None:
    etag = f'"{served.digest}"'
    for header, status in ((etag, 304), (f'"x", W/{etag}', 304), ("*", 304), ('"x"', 200)):
        async with http.get(served.url + PATH, headers={"If-None-Match": header}) as got:
            assert got.status == status
    async with http.get(
        served.url + PATH, headers={"Range": "bytes=0-0", "If-Range": '"old"'}
    ) as got:
        assert got.status == 200


async def raw_status(url: str, target: str, method: str = "GET") -> int:
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return int(line.split()[1])


@pytest.mark.parametrize(
    "target",
    [
        "/gitrepository",
        "/gitrepository/",
        "/gitrepository/apps/web",
        "/gitrepository/apps/web/",
        "/../secret",
        "/gitrepository/../../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "//secret",
        "/gitrepository/apps/web/out",
        "/gitrepository/apps/web/up",
        "/gitrepository/apps/web/hidden",
        "/gitrepository/apps/web/twice",
        "/gitrepository/apps/web/folder",
        "/gitrepository/apps/web/loop",
        "/gitrepository/linked/web/abc.tar.gz",
        "/gitrepository/apps/web/.tmp-x",
        "/gitrepository/apps/web/abc.tar.gz/",
        "/gitrepository/apps/web/abc.tar.gz%00",
        "/gitrepository/apps/web/%ff",
        "/gitrepository/apps/web/pipe",
    ],
)
async def test_nothing_else_is_served(served: Served, tmp_path: Path, target: str) -> None:
    import os

    (tmp_path / "secret").write_text("secret")
    web_folder = (served.root / PATH).parent
    (web_folder / ".tmp-x").write_text("unfinished")
    for name, leads_to in {
        "latest": "abc.tar.gz",
        "out": str(tmp_path / "secret"),
        "up": "../web/abc.tar.gz",
        "hidden": ".tmp-x",
        "twice": "latest",
        "folder": "..",
        "loop": "loop",
    }.items():
        (web_folder / name).symlink_to(leads_to)
    (served.root / "gitrepository/linked").symlink_to(served.root / "gitrepository/apps")
    os.mkfifo(web_folder / "pipe")

    assert await raw_status(served.url, target) == 404


async def test_a_link_to_a_file_beside_it_is_served_as_that_file(
    served: Served, http: aiohttp.ClientSession
) -> None:
    (served.root / PATH).with_name("latest").symlink_to("abc.tar.gz")
    async with (
        http.get(f"{served.url}{PATH}") as file,
        http.get(f"{served.url}gitrepository/apps/web/latest") as link,
    ):
        assert await link.read() == await file.read() == served.data
        assert link.headers["ETag"] == file.headers["ETag"]


async def test_probe_and_methods(served: Served) -> None:
    assert await raw_status(served.url, "/") == 200
    assert await raw_status(served.url, f"/{PATH}", "POST") == 405
    assert await raw_status(served.url, f"/{PATH}", "DELETE") == 405


# --- the fetcher -------------------------------------------------------------------------------


@dataclass
class Script:
    """A server whose answers the test writes."""

    answers: list[Callable[[web.Request], Awaitable[web.StreamResponse]]] = field(
        default_factory=list
    )
    seen: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.method, request.path))
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        return await answer(request)


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    script = Script()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", script.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    script.url = f"http://{host}:{port}/"
    yield script
    await runner.cleanup()


def answer(**keywords: Any) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def respond(_: web.Request) -> web.StreamResponse:
        return web.Response(**keywords)

    return respond


def make(tmp_path: Path, http: aiohttp.ClientSession, **changes: Any) -> Fetcher:
    settings: dict[str, Any] = {
        "max_cache_bytes": 1 << 20,
        "max_artifact_bytes": 1 << 20,
        "http": http,
        "retries": 2,
        "clock": NoWaits(),
    }
    return Fetcher(tmp_path / "cache", **(settings | changes))


def artifact(url: str, digest: str) -> Artifact:
    return Artifact(
        digest=digest, last_update_time="", path=PATH, revision="main@sha1:abc", url=url + PATH
    )


async def test_content_comes_read_only_with_its_dropped_links(
    served: Served, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    fetcher = make(tmp_path, http)
    async with fetcher.fetch(artifact(served.url, served.digest)) as tree:
        assert (tree.path / "app.yaml").read_text() == "kind: App\n"
        assert (tree.path / "app.yaml").stat().st_mode & 0o777 == 0o400
        assert tree.path.stat().st_mode & 0o777 == 0o500
        assert (tree.revision, tree.digest) == ("main@sha1:abc", served.digest)
        assert tree.dropped_links == ("link",)


async def test_one_download_for_many_who_ask_at_once(
    served: Served, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    fetcher = make(tmp_path, http)

    async def use() -> Path:
        async with fetcher.fetch(artifact(served.url, served.digest)) as tree:
            return tree.path

    paths = await asyncio.gather(*(use() for _ in range(10)))

    assert len(set(paths)) == 1
    assert fetcher.downloads == 1


async def test_a_cached_digest_needs_the_objects_own_url(
    served: Served, script: Script, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    fetcher = make(tmp_path, http)
    async with fetcher.fetch(artifact(served.url, served.digest)):
        pass
    script.answers = [answer(status=404)]
    with pytest.raises(ArtifactNotFound):
        async with fetcher.fetch(artifact(script.url, served.digest)):
            pass
    # From another server only the bytes themselves count.
    script.answers = [answer(body=b"other bytes")]
    with pytest.raises(DigestMismatch):
        async with fetcher.fetch(artifact(script.url, served.digest)):
            pass
    script.answers = [answer(body=served.data)]
    async with fetcher.fetch(artifact(script.url, served.digest)) as tree:
        assert (tree.path / "app.yaml").exists()
    # Another ETag, then none at all: the same.
    for headers in ({"ETag": '"sha256:other"'}, {}):
        script.answers = [answer(headers=headers), answer(body=b"other bytes")]
        with pytest.raises(DigestMismatch):
            async with fetcher.fetch(artifact(script.url, served.digest)):
                pass
    script.answers = [answer(headers={"ETag": f'"{served.digest}"'})]
    async with fetcher.fetch(artifact(script.url, served.digest)) as tree:
        assert (tree.path / "app.yaml").exists()

    assert script.seen[-1][0] == "HEAD"
    assert fetcher.downloads == 2


async def test_retries_with_growing_waits_then_gives_up(
    script: Script, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    data, digest = archive(tmp_path)
    clock = NoWaits()
    fetcher = make(tmp_path, http, clock=clock, retries=3)
    script.answers = [answer(status=503), answer(status=429), answer(body=data)]
    async with fetcher.fetch(artifact(script.url, digest)) as tree:
        assert (tree.path / "app.yaml").exists()
    assert clock.waits == [0.5, 1.0]
    script.answers = [answer(status=500)]
    with pytest.raises(ArtifactUnreachable, match="answered 500"):
        async with fetcher.fetch(artifact(script.url, "sha256:" + "0" * 64)):
            pass

    assert len(clock.waits) == 5


async def test_an_unreachable_server_is_named(
    http: aiohttp.ClientSession, tmp_path: Path, unused_tcp_port: int
) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}/"
    with pytest.raises(ArtifactUnreachable, match=f"127.0.0.1:{unused_tcp_port}"):
        async with make(tmp_path, http).fetch(artifact(url, "sha256:" + "0" * 64)):
            pass


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, ArtifactNotFound), (302, ArtifactUnreachable), (403, ArtifactUnreachable)],
)
async def test_answers_that_are_not_repeated(
    script: Script, http: aiohttp.ClientSession, tmp_path: Path, status: int, error: type[Exception]
) -> None:
    script.answers = [answer(status=status, headers={"Location": "http://169.254.169.254/"})]
    with pytest.raises(error):
        async with make(tmp_path, http).fetch(artifact(script.url, "sha256:" + "0" * 64)):
            pass

    assert len(script.seen) == 1


async def test_too_large_archives_are_cut_off_while_streaming(
    script: Script, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
        except ConnectionError:
            return response

    fetcher = make(tmp_path, http)
    for reply in (endless, answer(body=b"x" * ((1 << 20) + 1))):
        script.answers = [reply]
        with pytest.raises(ArtifactTooLarge):
            async with fetcher.fetch(artifact(script.url, "sha256:" + "0" * 64)):
                pass

    assert list((tmp_path / "cache").iterdir()) == []


async def test_unsafe_archives_and_bad_digests_leave_nothing(
    script: Script, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    import hashlib

    fetcher = make(tmp_path, http)
    script.answers = [answer(body=b"no archive")]
    digest = "sha256:" + hashlib.sha256(b"no archive").hexdigest()
    with pytest.raises(UnsafeArchive):
        async with fetcher.fetch(artifact(script.url, digest)):
            pass
    with pytest.raises(InvalidDigest):
        async with fetcher.fetch(artifact(script.url, "sha1:" + "0" * 40)):
            pass

    assert list((tmp_path / "cache").iterdir()) == []


async def test_the_cache_is_bounded_and_spares_what_is_in_use(
    script: Script, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    fetcher = make(tmp_path, http, max_cache_bytes=25)
    archives = [archive(tmp_path, f"content {i}") for i in range(3)]  # 9 bytes each

    def serve(number: int) -> Artifact:
        data, digest = archives[number]
        script.answers = [answer(body=data, headers={"ETag": f'"{digest}"'})]
        return artifact(script.url, digest)

    async with fetcher.fetch(serve(0)) as first:
        for number in (1, 2):
            async with fetcher.fetch(serve(number)) as tree:
                assert tree.path.exists()
        assert (first.path / "app.yaml").exists()
        assert fetcher.downloads == 3
    async with fetcher.fetch(serve(2)):
        assert fetcher.downloads == 3, "used last, so kept"
    async with fetcher.fetch(serve(1)):
        assert fetcher.downloads == 4, "the oldest that nobody used had to go"
    assert sum(p.stat().st_size for p in (tmp_path / "cache").rglob("*.yaml")) <= 25


async def test_what_an_earlier_process_left_is_not_trusted(
    served: Served, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with make(tmp_path, http).fetch(artifact(served.url, served.digest)) as tree:
        path = tree.path
    (path / "app.yaml").chmod(0o600)
    (path / "app.yaml").write_text("tampered")
    async with make(tmp_path, http).fetch(artifact(served.url, served.digest)) as tree:
        assert (tree.path / "app.yaml").read_text() == "kind: App\n"


async def test_cancelling_a_fetch_leaves_nothing_behind(
    script: Script, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    asked = asyncio.Event()

    async def stuck(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        asked.set()
        await asyncio.Event().wait()
        return response

    fetcher = make(tmp_path, http)
    script.answers = [stuck]

    async def use() -> None:
        async with fetcher.fetch(artifact(script.url, "sha256:" + "0" * 64)):
            pass

    task = asyncio.create_task(use())
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert list((tmp_path / "cache").iterdir()) == []


async def test_host_override_replaces_the_host_only(
    served: Served, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    host = served.url.removeprefix("http://").rstrip("/")
    fetcher = make(tmp_path, http, host_override=host)
    async with fetcher.fetch(
        artifact("http://source-controller.flux-system.svc.cluster.local./", served.digest)
    ) as tree:
        assert (tree.path / "app.yaml").exists()


@pytest.mark.parametrize("url", ["file:///etc/", "ftp://x/", "http:///x", "nonsense", ""])
async def test_urls_that_are_not_http_are_refused(
    http: aiohttp.ClientSession, tmp_path: Path, url: str
) -> None:
    with pytest.raises(ArtifactUnreachable, match="invalid artifact URL"):
        async with make(tmp_path, http).fetch(artifact(url, "sha256:" + "0" * 64)):
            pass
