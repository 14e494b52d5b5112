"""A way out for child processes: an HTTP proxy on loopback that connects as the dialer does.

A library in a child process (libgit2, an object store's client) resolves and connects by itself;
behind this proxy it can only name a host. Each job gets a route of its own, with a password that
ends with it; what a route may use as a further proxy is fixed by the parent. A route remembers why
its last connection failed, since libraries tell little of it.

Spoken: CONNECT, and requests in absolute form for plain http (RFC 9112 §3.2), one request for
each connection. Beside CONNECT the field ``SCHEME_FIELD`` may say what will be spoken, where that
is not https: the operator's proxies differ by that.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from fluvial.log import Logger
from fluvial.net.dialer import Dialer, Stream
from fluvial.net.errors import NetError
from fluvial.net.fields import SCHEME_FIELD
from fluvial.net.proxy import ProxyServer

__all__ = ["Gateway", "Route"]

_LOOPBACK = "127.0.0.1"
_MAX_HEAD = 64 << 10
_HEAD_SECONDS = 30.0
_CHUNK = 64 << 10
_NOT_FORWARDED = frozenset({b"proxy-authorization", b"proxy-connection", b"connection"})


@dataclass(slots=True)
class Route:
    """One job's way through the gateway.

    Attributes:
        address: ``host:port`` of the gateway.
        username: to be sent to it by Basic authentication.
        password: the same; valid until the job ends.
        problem: why the last connection could not be made; ``None`` if it could.
        tasks: its connections.

    """

    address: str
    username: str
    password: str = field(repr=False)
    proxy: ProxyServer | None = field(default=None, repr=False)
    problem: NetError | None = None
    tasks: set[asyncio.Task[Any]] = field(default_factory=set, repr=False)

    @property
    def url(self) -> str:
        """For libraries that take a proxy as one URL; it holds the password."""
        return f"http://{self.username}:{self.password}@{self.address}"


class Gateway:
    """The proxy; use it as a context manager.

    Args:
        dialer: makes the connections.
        log: for what the other side did wrong.

    """

    def __init__(self, dialer: Dialer, *, log: Logger) -> None:
        self._dialer = dialer
        self._log = log
        self._routes: dict[str, Route] = {}
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._address = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, _LOOPBACK, 0, limit=_MAX_HEAD)
        port = self._server.sockets[0].getsockname()[1]
        self._address = f"{_LOOPBACK}:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        await _cancel(self._connections)

    @asynccontextmanager
    async def route(self, *, proxy: ProxyServer | None = None) -> AsyncIterator[Route]:
        """A route for one job; its connections end with it.

        Args:
            proxy: the object's own, to go through.

        """
        route = Route(self._address, secrets.token_hex(8), secrets.token_urlsafe(32), proxy)
        self._routes[route.username] = route
        try:
            yield route
        finally:
            del self._routes[route.username]
            await _cancel(route.tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer), name="gateway-connection")
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_HEAD_SECONDS):
                asked = await self._authenticated(reader, writer)
            if asked is not None:
                await self._pass_on((reader, writer), *asked)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            self._log.debug("a connection through the gateway broke off")
        finally:
            writer.close()

    async def _pass_on(self, near: Stream, request: _Request, route: Route) -> None:
        """Connect and carry bytes, for as long as the route lives."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # ``_accept`` made it
        route.tasks.add(task)
        try:
            upstream = await self._dial(route, request)
            if upstream is None:
                await _answer(near[1], f"502 {_one_line(route.problem)}")
                return
            if request.forward:
                upstream[1].write(request.forward)
            else:
                await _answer(near[1], "200 Connection established")
            await _join(near, upstream)
        finally:
            route.tasks.discard(task)

    async def _authenticated(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[_Request, Route] | None:
        """The first request that shows a route's password; one without gets 407 and a new try."""
        for _ in range(3):
            request = _parse(await reader.readuntil(b"\r\n\r\n"))
            if request is None:
                await _answer(writer, "400 Bad request", close=True)
                return None
            route = self._routes.get(request.username)
            if route is not None and hmac.compare_digest(
                route.password.encode(), request.password.encode()
            ):
                return request, route
            await _answer(writer, "407 Proxy authentication required")
        return None

    async def _dial(self, route: Route, request: _Request) -> Stream | None:
        try:
            upstream = await self._dialer.connect(
                request.host, request.port, proxy=route.proxy, scheme=request.scheme
            )
        except NetError as error:
            route.problem = error
            return None
        route.problem = None
        return upstream


@dataclass(frozen=True, slots=True)
class _Request:
    host: str
    port: int
    username: str
    password: str = field(repr=False)
    scheme: str
    forward: bytes = field(default=b"", repr=False)


def _parse(head: bytes) -> _Request | None:
    """The request of a head; ``forward`` is what the host gets instead, for absolute form."""
    lines = head[:-4].split(b"\r\n")
    parts = lines[0].split(b" ")
    headers = [line.partition(b":") for line in lines[1:]]
    if len(parts) != 3 or any(not colon or line[:1] in b" \t" for line, colon, _ in headers):
        return None
    username, password = _credentials(headers)
    try:
        method, target = parts[0], parts[1].decode("ascii")
        url = urlsplit(f"//{target}" if method == b"CONNECT" else target)
        host, port = url.hostname or "", url.port
    except ValueError:
        return None
    if not host:
        return None
    if method == b"CONNECT":
        scheme = _field(headers, SCHEME_FIELD.lower().encode()).decode("latin-1") or "https"
        return _Request(host, port, username, password, scheme) if port else None
    if url.scheme != "http":
        return None
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    kept = [b"%s:%s" % (n, v) for n, _, v in headers if n.strip().lower() not in _NOT_FORWARDED]
    first = b"%s %s %s" % (method, path.encode(), parts[2])
    forward = b"\r\n".join([first, *kept, b"Connection: close", b"", b""])
    return _Request(host, port or 80, username, password, "http", forward)


def _field(headers: list[tuple[bytes, bytes, bytes]], wanted: bytes) -> bytes:
    return next(
        (value.strip() for name, _, value in headers if name.strip().lower() == wanted), b""
    )


def _credentials(headers: list[tuple[bytes, bytes, bytes]]) -> tuple[str, str]:
    scheme, _, encoded = _field(headers, b"proxy-authorization").partition(b" ")
    if scheme.lower() == b"basic":
        with contextlib.suppress(ValueError):
            pair = base64.b64decode(encoded, validate=True).decode()
            username, _, password = pair.partition(":")
            return username, password
    return "", ""


async def _answer(writer: asyncio.StreamWriter, status: str, *, close: bool = False) -> None:
    head = [f"HTTP/1.1 {status}"]
    if not status.startswith("200"):
        head.append("Content-Length: 0")
    if status.startswith("407"):
        head.append('Proxy-Authenticate: Basic realm="gateway"')
    if close:
        head.append("Connection: close")
    writer.write(("\r\n".join(head) + "\r\n\r\n").encode("latin-1", errors="replace"))
    await writer.drain()


async def _join(near: Stream, far: Stream) -> None:
    """Carry bytes both ways until both sides have ended, or one has broken off."""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_carry(near[0], far[1]), name="gateway-up")
            group.create_task(_carry(far[0], near[1]), name="gateway-down")
    except* OSError as broken:
        raise ConnectionResetError from broken
    finally:
        far[1].close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    running = list(tasks)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


def _one_line(problem: NetError | None) -> str:
    return " ".join(str(problem or "Bad gateway").split())[:200]
