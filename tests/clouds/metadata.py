"""Metadata services on a socket of the file system, which no address leads to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web

from fluvial.cloud.metadata import Metadata, Place

__all__ = ["FakeMetadata", "no_metadata"]

Handler = Callable[[web.Request], web.Response]


class FakeMetadata:
    """Answers for every place.

    Attributes:
        asked: address, method and path with query of every request.
        replies: by path without query; 404 for all others.

    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self.asked: list[tuple[str, str, str]] = []
        self.replies: dict[str, Handler] = {}

    @classmethod
    @asynccontextmanager
    async def start(cls, folder: Path) -> AsyncIterator[FakeMetadata]:
        found = cls(folder / "metadata.sock")
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", found._serve)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.UnixSite(runner, str(found._socket)).start()
        try:
            yield found
        finally:
            await runner.cleanup()

    @property
    def metadata(self) -> Metadata:
        def connect(place: Place) -> aiohttp.BaseConnector:
            del place
            return aiohttp.UnixConnector(str(self._socket))

        return Metadata(connect=connect)

    async def _serve(self, request: web.Request) -> web.Response:
        self.asked.append((request.host, request.method, request.path_qs))
        reply = self.replies.get(request.path)
        return web.Response(status=404) if reply is None else reply(request)


def no_metadata() -> Metadata:
    """A machine without any: who asks has a bug."""

    def connect(place: Place) -> aiohttp.BaseConnector:
        raise AssertionError(f"{place.address} was asked")

    return Metadata(connect=connect)
