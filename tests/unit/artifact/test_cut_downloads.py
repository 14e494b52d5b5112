"""A download that is cut is no artifact; the next attempt is."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from fluvial.api.meta import Artifact
from fluvial.artifact import tar
from fluvial.artifact.errors import ArtifactUnreachable
from fluvial.artifact.fetcher import Fetcher

CUTS = ("length", "chunk", "reset")


class NoWaits:
    """Waiting costs nothing."""

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        del seconds


@asynccontextmanager
async def serving(data: bytes, cut: str, *, times: int) -> AsyncIterator[str]:
    """The address of a server that sends half of ``data`` so often, then all of it."""
    left = times

    async def handle(request: web.Request) -> web.StreamResponse:
        nonlocal left
        if left == 0:
            return web.Response(body=data)
        left -= 1
        response = web.StreamResponse()
        if cut == "length":
            response.content_length = len(data)
        else:
            response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
        assert request.transport is not None
        if cut == "reset":
            request.transport.abort()
        else:
            request.transport.close()
        return response

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/a/b/c/d.tar.gz"
    finally:
        await runner.cleanup()


def packed(folder: Path) -> tuple[bytes, str]:
    (folder / "tree").mkdir()
    (folder / "tree" / "a.yaml").write_text("a: 1\n" * 1000)
    out = io.BytesIO()
    result = tar.pack(folder / "tree", out, lambda _path, _folder: True)
    return out.getvalue(), str(result.digest)


@pytest.mark.parametrize("cut", CUTS)
async def test_a_cut_download_is_repeated(cut: str, tmp_path: Path) -> None:
    data, digest = packed(tmp_path)
    async with serving(data, cut, times=2) as url, aiohttp.ClientSession() as http:
        artifact = Artifact(digest=digest, last_update_time="", path="p", revision="r", url=url)
        fetcher = _fetcher(tmp_path, http, retries=2)
        async with fetcher.fetch(artifact) as tree:
            content = (tree.path / "a.yaml").read_text()

    assert content == "a: 1\n" * 1000


@pytest.mark.parametrize("cut", CUTS)
async def test_a_download_that_is_always_cut_leaves_nothing(cut: str, tmp_path: Path) -> None:
    data, digest = packed(tmp_path)
    async with serving(data, cut, times=9) as url, aiohttp.ClientSession() as http:
        artifact = Artifact(digest=digest, last_update_time="", path="p", revision="r", url=url)
        fetcher = _fetcher(tmp_path, http, retries=2)
        with pytest.raises(ArtifactUnreachable, match="cannot fetch the artifact"):
            async with fetcher.fetch(artifact):
                pass

    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def _fetcher(folder: Path, http: aiohttp.ClientSession, *, retries: int) -> Fetcher:
    return Fetcher(
        folder / "cache",
        max_cache_bytes=2**20,
        max_artifact_bytes=2**20,
        http=http,
        retries=retries,
        clock=NoWaits(),
    )
