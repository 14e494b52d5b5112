"""Web servers of all manners: files as hosts serve them, and bytes as nobody should."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

__all__ = ["FileHost", "raw_server", "requiring_certificate"]

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class FileHost:
    """Serves the files below a folder.

    Attributes:
        basic: ``(username, password)`` that is required, or ``None``.
        redirects: from a path to the address that it redirects to.
        headers: of every answer.
        status: answered to every request if not 0.
        hold: while it is not set, requests wait.
        requests: path and query of every request, in order.
        authorizations: the Authorization header of every request.
        certified: for every request, whether the client had a certificate.

    """

    def __init__(
        self, root: Path, *, tls: ssl.SSLContext | None = None, name: str = "127.0.0.1"
    ) -> None:
        self.root = root
        self.basic: tuple[str, str] | None = None
        self.redirects: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        self.status = 0
        self.hold = asyncio.Event()
        self.hold.set()
        self.requests: list[str] = []
        self.authorizations: list[str] = []
        self.certified: list[bool] = []
        self.url = ""
        self._tls = tls
        self._name = name
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._name, 0, ssl_context=self._tls).start()
        port = self._runner.addresses[0][1]
        self.url = f"{'https' if self._tls else 'http'}://{self._name}:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._runner is not None
        self.hold.set()
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.raw_path)
        self.authorizations.append(request.headers.get("Authorization", ""))
        transport = request.transport
        peer = transport.get_extra_info("peercert") if transport else None
        self.certified.append(bool(peer))
        await self.hold.wait()
        if self.status:
            return web.Response(status=self.status, headers=self.headers)
        if request.path in self.redirects:
            return web.Response(status=302, headers={"Location": self.redirects[request.path]})
        if self.basic is not None:
            pair = base64.b64encode(":".join(self.basic).encode()).decode()
            if self.authorizations[-1] != f"Basic {pair}":
                return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})
        file = self.root / request.path.lstrip("/")
        if not file.is_file():
            return web.Response(status=404)
        return web.Response(body=file.read_bytes(), headers=self.headers)


def requiring_certificate(context: ssl.SSLContext, ca: str) -> ssl.SSLContext:
    """A server's context that lets in only clients with a certificate of an authority."""
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=ca)
    return context


@asynccontextmanager
async def raw_server(handle: Handle) -> AsyncIterator[str]:
    """A server whose every byte is the test's; gives its URL.

    Args:
        handle: gets each connection after the head of a request was read.

    """

    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                await handle(reader, writer)
                writer.close()
                await writer.wait_closed()
        except asyncio.CancelledError:
            return  # the test is over
        finally:
            writer.transport.abort()
            connections.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
