"""Connections are checked on the address that they really go to.

127.0.0.2 plays the address that is allowed, 127.0.0.1 the one that is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from fluvial.net.dialer import Dialer
from fluvial.net.errors import AddressDenied, DialFailed, NetError, ProxyFailed, net_error
from fluvial.net.policy import AddressPolicy, parse_networks
from fluvial.net.proxy import ProxyServer
from gitservers.certs import TestCA

ALLOWED, DENIED = "127.0.0.2", "127.0.0.1"
POLICY = AddressPolicy.build(allowed=parse_networks(ALLOWED))


class Names:
    """A resolver whose answers change with every question, as a hostile name's do."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        answer = self.answers[min(self.asked, len(self.answers)) - 1]
        if not answer:
            raise OSError("no such name")
        return answer


@asynccontextmanager
async def _server(
    host: str, port: int = 0, location: str = ""
) -> AsyncIterator[tuple[int, list[str]]]:
    seen: list[str] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        seen.append(request.path)
        if location and request.path == "/redirect":
            raise web.HTTPFound(location)
        return web.Response(text="answer")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    try:
        yield runner.addresses[0][1], seen
    finally:
        await runner.cleanup()


async def _get(dialer: Dialer, url: str) -> str:
    async with (
        aiohttp.ClientSession(connector=dialer.connector()) as session,
        session.get(url) as response,
    ):
        return await response.text()


async def test_a_name_is_connected_to_by_an_allowed_address() -> None:
    async with _server(ALLOWED) as (port, _):
        dialer = Dialer(POLICY, resolve=Names([DENIED, ALLOWED]))
        reader, writer = await dialer.connect("git.example", port)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")

        assert b"answer" in await reader.read()
        writer.close()


async def test_a_name_with_denied_addresses_only_is_refused_before_anything_is_sent() -> None:
    async with _server(DENIED) as (port, seen):
        dialer = Dialer(POLICY, resolve=Names([DENIED]))
        with pytest.raises(AddressDenied, match=r"git\.example \(127\.0\.0\.1\), a loopback"):
            await dialer.connect("git.example", port)
        with pytest.raises(aiohttp.ClientError) as caught:
            await _get(dialer, f"http://git.example:{port}/")

    assert isinstance(net_error(caught.value), AddressDenied)
    assert seen == []


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"])
async def test_an_address_in_the_url_is_checked_although_nothing_is_resolved(host: str) -> None:
    with pytest.raises(aiohttp.ClientError) as caught:
        await _get(Dialer(POLICY), f"http://{host}:9/")

    assert isinstance(net_error(caught.value), AddressDenied)


async def test_a_name_that_changes_its_address_after_the_check_gains_nothing() -> None:
    async with _server(ALLOWED) as (port, _), _server(DENIED, port) as (_, seen):
        names = Names([ALLOWED], [DENIED])
        dialer = Dialer(POLICY, resolve=names)

        assert await _get(dialer, f"http://rebinding.example:{port}/") == "answer"
        with pytest.raises(aiohttp.ClientError) as caught:
            await _get(dialer, f"http://rebinding.example:{port}/")

    assert isinstance(net_error(caught.value), AddressDenied)
    assert names.asked == 2, "one question for each connection"
    assert seen == []


@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/latest/meta-data", "http://meta.example"]
)
async def test_a_redirect_to_a_denied_address_is_not_followed(target: str) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return [ALLOWED] if host == "git.example" else ["169.254.169.254"]

    async with _server(ALLOWED, location=target) as (port, seen):
        with pytest.raises(aiohttp.ClientError) as caught:
            await _get(Dialer(POLICY, resolve=resolve), f"http://git.example:{port}/redirect")

    assert isinstance(net_error(caught.value), AddressDenied)
    assert seen == ["/redirect"]


async def test_a_name_that_does_not_exist_is_said_so() -> None:
    with pytest.raises(DialFailed, match=r"'nowhere\.example' does not resolve"):
        await Dialer(POLICY, resolve=Names([])).connect("nowhere.example", 443)


async def test_a_closed_port_is_said_so() -> None:
    async with _server(ALLOWED) as (port, _):
        pass

    with pytest.raises(DialFailed, match=f"cannot connect to git.example:{port}: .*refused"):
        await Dialer(POLICY, resolve=Names([ALLOWED])).connect("git.example", port)


@pytest.mark.looptime
async def test_a_name_server_that_never_answers_costs_the_time_limit() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        await asyncio.sleep(3600)
        return []

    with pytest.raises(DialFailed, match="did not answer within 5s"):
        await Dialer(POLICY, resolve=resolve, connect_timeout=5).connect("slow.example", 443)


BAD_NAMES = ["a\0b.example", "two words.example", "a\r\nHost: b", "", "ä" * 64 + ".example"]
BAD_NAMES += [f"{'a' * 63}." * 5 + "example"]


@pytest.mark.parametrize("proxied", ["", "http", "socks5"])
@pytest.mark.parametrize("host", BAD_NAMES, ids=[ascii(name)[:20] for name in BAD_NAMES])
async def test_a_host_that_is_no_name_is_an_error_of_this_room(host: str, proxied: str) -> None:
    """Nothing of it reaches a proxy either: a line break would be a header of its own."""
    async with _server(ALLOWED) as (port, seen):
        proxy = ProxyServer.parse(f"{proxied}://{ALLOWED}:{port}") if proxied else None
        with pytest.raises(NetError):
            await Dialer(POLICY).connect(host, 443, proxy=proxy)
        with pytest.raises((NetError, aiohttp.ClientError, ValueError)):
            await _get(Dialer(POLICY), f"http://{host}:9/")

    assert seen == []


async def test_a_zone_that_does_not_exist_is_an_error_of_this_room() -> None:
    policy = AddressPolicy.build(allowed=parse_networks("fe80::/10"))
    with pytest.raises(NetError):
        await Dialer(policy).connect("fe80::1%nosuch0", 443)


async def test_a_proxy_whose_certificate_is_not_trusted_is_an_error_of_this_room(
    tmp_path: Path,
) -> None:
    context = TestCA().server_context(tmp_path)
    server = await asyncio.start_server(lambda _, writer: writer.close(), ALLOWED, 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        proxy = ProxyServer.parse(f"https://proxy.example:{port}")
        with pytest.raises(ProxyFailed, match="certificate is not trusted"):
            await Dialer(POLICY, resolve=Names([ALLOWED])).connect("a.example", 443, proxy=proxy)


async def test_a_proxy_that_speaks_no_tls_is_an_error_of_this_room() -> None:
    async with _server(ALLOWED) as (port, _):
        proxy = ProxyServer.parse(f"https://proxy.example:{port}")
        with pytest.raises(ProxyFailed, match="TLS"):
            await Dialer(POLICY, resolve=Names([ALLOWED])).connect("a.example", 443, proxy=proxy)
