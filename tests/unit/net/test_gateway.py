"""Child processes reach the outside through the gateway, and only as the dialer allows."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from fluvial.log import get_logger
from fluvial.net.dialer import Dialer
from fluvial.net.errors import AddressDenied, DialFailed, ProxyFailed
from fluvial.net.gateway import Gateway, Route
from fluvial.net.policy import AddressPolicy, parse_networks
from fluvial.net.proxy import ProxyServer

ALLOWED, DENIED = "127.0.0.2", "127.0.0.1"
POLICY = AddressPolicy.build(allowed=parse_networks(ALLOWED))
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _resolve(host: str, port: int) -> list[str]:
    if host == "nowhere.example":
        raise OSError("no such name")
    return [DENIED] if host == "inside.example" else [ALLOWED]


@asynccontextmanager
async def _gateway() -> AsyncIterator[Gateway]:
    async with Gateway(Dialer(POLICY, resolve=_resolve), log=get_logger("test")) as gateway:
        yield gateway


@asynccontextmanager
async def _web(host: str = ALLOWED) -> AsyncIterator[tuple[int, list[web.Request]]]:
    seen: list[web.Request] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        return web.Response(body=request.path.encode() + b" " + await request.read())

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, host, 0).start()
    try:
        yield runner.addresses[0][1], seen
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _raw(serve: Serve) -> AsyncIterator[int]:
    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(closing, ALLOWED, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _post(route: Route, url: str, *, password: str | None = None) -> tuple[int, str]:
    proxy = route.url.replace(route.password, password or route.password)
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=b"body", proxy=proxy) as answer,
    ):
        return answer.status, await answer.text()


async def _connect(
    route: Route, target: str
) -> tuple[str, asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = route.address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    pair = base64.b64encode(f"{route.username}:{route.password}".encode()).decode()
    writer.write(f"CONNECT {target} HTTP/1.1\r\nProxy-Authorization: Basic {pair}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    return head.split(b"\r\n")[0].decode(), reader, writer


async def test_a_plain_request_goes_through_without_what_was_for_the_gateway() -> None:
    async with _gateway() as gateway, _web() as (port, seen), gateway.route() as route:
        status, text = await _post(route, f"http://git.example:{port}/a?b=c")

        assert (status, text) == (200, "/a body")
        assert seen[0].query_string == "b=c"
        assert seen[0].headers["Host"] == f"git.example:{port}"
        assert not [name for name in seen[0].headers if name.lower().startswith("proxy-")]


async def test_a_tunnel_carries_bytes_both_ways_until_both_ends_are_done() -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())  # to the end: half-closing must work
        await writer.drain()

    async with _raw(shout) as port, _gateway() as gateway, gateway.route() as route:
        status, reader, writer = await _connect(route, f"git.example:{port}")
        writer.write(b"x" * 300_000)
        writer.write_eof()

        assert status.endswith("200 Connection established")
        assert await reader.read() == b"X" * 300_000
        writer.close()


@pytest.mark.parametrize(
    ("host", "error"), [("inside.example", AddressDenied), ("nowhere.example", DialFailed)]
)
async def test_what_the_dialer_refuses_is_refused_and_remembered(
    host: str, error: type[Exception]
) -> None:
    async with _web(DENIED) as (port, seen), _gateway() as gateway, gateway.route() as route:
        status, _, writer = await _connect(route, f"{host}:{port}")
        writer.close()
        plain, _ = await _post(route, f"http://{host}:{port}/")

        assert " 502 " in status
        assert plain == 502
        assert isinstance(route.problem, error)
        assert seen == []


async def test_without_the_password_of_a_living_route_nothing_goes_out() -> None:
    async with _web() as (port, seen), _gateway() as gateway:
        async with gateway.route() as other, gateway.route() as route:
            wrong, _ = await _post(route, f"http://git.example:{port}/", password="guess")
            mixed, _ = await _post(route, f"http://git.example:{port}/", password=other.password)
        ended, _ = await _post(route, f"http://git.example:{port}/")

    assert (wrong, mixed, ended) == (407, 407, 407)
    assert seen == []


async def test_the_connections_of_a_route_end_with_it() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with _raw(hang) as port, _gateway() as gateway:
        async with gateway.route() as route:
            _, reader, writer = await _connect(route, f"git.example:{port}")

        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize(
    "head",
    [
        b"CONNECT git.example HTTP/1.1\r\n\r\n",
        b"CONNECT git.example:99999 HTTP/1.1\r\n\r\n",
        b"GET https://git.example/ HTTP/1.1\r\n\r\n",
        b"GET /path HTTP/1.1\r\n\r\n",
        b"GET http://git.example/ HTTP/1.1\r\nfolded\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
async def test_what_is_no_proxy_request_gets_400(head: bytes) -> None:
    async with _gateway() as gateway, gateway.route() as route:
        host, _, port = route.address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head)

        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        writer.close()


# --- the user's own proxy -------------------------------------------------------------------------


@asynccontextmanager
async def _http_proxy(answer: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        if b" 200 " in answer:
            writer.write(b"beyond: " + await reader.read())

    async with _raw(serve) as port:
        yield port, heads


async def test_a_users_proxy_is_asked_for_the_host_by_name() -> None:
    async with _http_proxy(b"HTTP/1.1 200 OK\r\n\r\n") as (port, heads), _gateway() as gateway:
        proxy = ProxyServer.parse(f"http://proxy.example:{port}", username="me", password="secret")
        async with gateway.route(proxy=proxy) as route:
            _, reader, writer = await _connect(route, "inside.example:443")
            writer.write(b"hello")
            writer.write_eof()

            assert await reader.read() == b"beyond: hello"
            writer.close()

    basic = base64.b64encode(b"me:secret")
    assert heads[0].startswith(b"CONNECT inside.example:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic " + basic in heads[0]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HTTP/1.1 407 No\r\n\r\n", "check its username and password"),
        (b"HTTP/1.1 503 No\r\n\r\n", "it answers 503 to CONNECT"),
        (b"SSH-2.0-x\r\n\r\n", "does not answer as an HTTP proxy"),
        (b"", "it ended the connection"),
    ],
)
async def test_a_proxy_that_refuses_is_named_without_its_credentials(
    answer: bytes, text: str
) -> None:
    async with _http_proxy(answer) as (port, _), _gateway() as gateway:
        proxy = ProxyServer.parse(f"http://proxy.example:{port}", username="me", password="secret")
        async with gateway.route(proxy=proxy) as route:
            _, _, writer = await _connect(route, "git.example:443")
            writer.close()

    assert isinstance(route.problem, ProxyFailed)
    assert text in str(route.problem)
    assert "secret" not in str(route.problem) + repr(route) + repr(proxy)


async def test_a_proxy_at_a_denied_address_is_refused() -> None:
    proxy = ProxyServer.parse("http://inside.example:3128")
    async with _gateway() as gateway, gateway.route(proxy=proxy) as route:
        _, _, writer = await _connect(route, "git.example:443")
        writer.close()

    assert isinstance(route.problem, AddressDenied)


async def _socks(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, reply: int, seen: list[bytes]
) -> None:
    """A SOCKS5 server by RFC 1928 and RFC 1929: user me, password secret."""
    _, count = await reader.readexactly(2)
    writer.write(b"\x05\x02" if 2 in await reader.readexactly(count) else b"\x05\xff")
    _, length = await reader.readexactly(2)
    user = await reader.readexactly(length)
    password = await reader.readexactly((await reader.readexactly(1))[0])
    writer.write(b"\x01\x00" if (user, password) == (b"me", b"secret") else b"\x01\x01")
    *_, kind, length = await reader.readexactly(5)
    seen.append(bytes([kind]) + await reader.readexactly(length + 2))
    writer.write(bytes([5, reply, 0, 1]) + bytes(6))
    writer.write(await reader.read())


@pytest.mark.parametrize(
    ("reply", "password", "problem"),
    [(0, "secret", ""), (2, "secret", "not allowed by its rules"), (0, "no", "refuses the user")],
)
async def test_a_socks5_proxy_is_asked_by_name_with_a_password(
    reply: int, password: str, problem: str
) -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            await _socks(reader, writer, reply=reply, seen=seen)

    async with _raw(serve) as port, _gateway() as gateway:
        proxy = ProxyServer.parse(
            f"socks5://proxy.example:{port}", username="me", password=password
        )
        async with gateway.route(proxy=proxy) as route:
            _, reader, writer = await _connect(route, "git.example:443")
            if problem:
                assert problem in str(route.problem)
            else:
                writer.write(b"echo")
                writer.write_eof()
                assert await reader.read() == b"echo"
                assert seen == [b"\x03git.example\x01\xbb"]
            writer.close()


@pytest.mark.parametrize(
    "address",
    [
        "proxy.example:3128",
        "ftp://proxy.example",
        "http://",
        "http://user:hidden@proxy.example",
        "http://proxy.example/path",
        "http://proxy.example:port",
        "http://" + "x" * 2048,
    ],
)
def test_a_bad_proxy_address_is_refused_without_repeating_it(address: str) -> None:
    with pytest.raises(ValueError, match=r"proxy") as caught:
        ProxyServer.parse(address)

    assert "hidden" not in str(caught.value)
