"""The services that are told, as a process of its own: ``python -m bench.events.services``.

One answers at once, one is slow, one takes connections and never answers. The first line of output
tells their addresses; ``GET /`` of the first tells how many messages were answered, by Provider.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter
from pathlib import Path

import aiohttp
import orjson
from aiohttp import web

from bench.events.workload import DEAD, SLOW
from fluvial_cli.dev import says_ready
from fluvial_cli.processes import Processes, Program

__all__ = ["Services", "start"]

_SLOW_SECONDS = 2.0


class Services:
    """The running process.

    Args:
        urls: by ``live``, ``DEAD`` and ``SLOW``.

    """

    def __init__(self, urls: dict[str, str]) -> None:
        self.urls = urls

    async def answered(self) -> Counter[str]:
        """Messages that were answered, by Provider."""
        async with aiohttp.ClientSession() as http, http.get(self.urls["live"]) as answer:
            return Counter(await answer.json())


async def start(processes: Processes, folder: Path) -> Services:
    """Start the process.

    Args:
        processes: stops it.
        folder: for its log.

    """
    log = folder / "services.log"
    argv = [sys.executable, "-m", "bench.events.services"]
    await processes.start(Program("services", argv, log), is_ready=says_ready)
    line = next(line for line in log.read_bytes().splitlines() if says_ready(line))
    return Services(orjson.loads(line)["urls"])


async def _serve() -> None:
    answered: Counter[str] = Counter()

    async def take(request: web.Request) -> web.Response:
        provider = request.path.strip("/")
        await request.read()
        if provider == SLOW:
            await asyncio.sleep(_SLOW_SECONDS)
        answered[provider] += 1
        return web.Response()

    async def tell(_: web.Request) -> web.Response:
        return web.json_response(answered)

    app = web.Application()
    app.router.add_get("/", tell)
    app.router.add_post("/{path:.*}", take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    dead = await asyncio.start_server(_never, "127.0.0.1", 0)
    live = f"http://127.0.0.1:{runner.addresses[0][1]}"
    silent = f"http://127.0.0.1:{dead.sockets[0].getsockname()[1]}"
    urls = {"live": live, SLOW: live, DEAD: silent}
    sys.stdout.write(orjson.dumps({"msg": "ready", "urls": urls}).decode() + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


async def _never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read, and say nothing."""
    with contextlib.suppress(OSError):
        while await reader.read(1 << 16):
            pass
    writer.close()


if __name__ == "__main__":
    asyncio.run(_serve())
