"""A server that takes its time costs whoever named it, and nobody else."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from fluvial.api.meta import Artifact
from fluvial.artifact import tar
from fluvial.artifact.errors import ArtifactUnreachable
from fluvial.artifact.fetcher import Fetcher
from fluvial.clock import RealClock


@asynccontextmanager
async def serving(data: bytes, release: asyncio.Event) -> AsyncIterator[str]:
    """The address of a server that answers once it is released."""

    async def handle(_: web.Request) -> web.Response:
        await release.wait()
        return web.Response(body=data)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
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
    (folder / "tree" / "a.yaml").write_text("a: 1\n")
    out = io.BytesIO()
    result = tar.pack(folder / "tree", out, lambda _path, _folder: True)
    return out.getvalue(), str(result.digest)


def artifact(url: str, digest: str) -> Artifact:
    return Artifact(digest=digest, last_update_time="", path="p", revision="r", url=url)


def fetcher_in(folder: Path, http: aiohttp.ClientSession, *, deadline: float) -> Fetcher:
    return Fetcher(
        folder / "cache",
        max_cache_bytes=2**20,
        max_artifact_bytes=2**20,
        http=http,
        retries=9,
        clock=RealClock(),
        deadline=deadline,
    )


async def test_all_attempts_together_have_a_deadline(tmp_path: Path) -> None:
    data, digest = packed(tmp_path)
    async with aiohttp.ClientSession() as http, serving(data, asyncio.Event()) as url:
        fetcher = fetcher_in(tmp_path, http, deadline=0.05)
        with pytest.raises(ArtifactUnreachable, match=r"took longer than 0\.05s"):
            async with fetcher.fetch(artifact(url, digest)):
                pass


async def test_the_same_content_from_a_faster_server_does_not_wait(tmp_path: Path) -> None:
    data, digest = packed(tmp_path)
    released, held = asyncio.Event(), asyncio.Event()
    released.set()
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        fast = await stack.enter_async_context(serving(data, released))
        slow = await stack.enter_async_context(serving(data, held))
        fetcher = fetcher_in(tmp_path, http, deadline=5)

        async def content(url: str) -> Path:
            async with fetcher.fetch(artifact(url, digest)) as tree:
                assert (tree.path / "a.yaml").read_text() == "a: 1\n"
                return tree.path

        waiting = asyncio.create_task(content(slow))
        await asyncio.sleep(0.02)
        first = await content(fast)
        assert not waiting.done()
        held.set()

        assert await waiting == first
