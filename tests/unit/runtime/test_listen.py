"""Addresses as flags have them."""

from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from fluvial.runtime.listen import listen


def app() -> web.Application:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    made = web.Application()
    made.router.add_get("/", hello)
    return made


async def test_port_0_takes_a_free_one_and_the_stack_closes_it() -> None:
    async with AsyncExitStack() as stack, aiohttp.ClientSession() as http:
        bound = await listen(stack, app(), "127.0.0.1:0")
        async with http.get(f"http://{bound}/") as answer:
            text = await answer.text()
        await stack.aclose()
        with pytest.raises(aiohttp.ClientConnectionError):
            await http.get(f"http://{bound}/")

    assert text == "hello"


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
async def test_an_ipv6_host_stands_in_brackets() -> None:
    async with AsyncExitStack() as stack:
        bound = await listen(stack, app(), "[::1]:0")

    assert bound.startswith("[::1]:")


@pytest.mark.parametrize(
    ("failure", "families"),
    [
        pytest.param(0, [socket.AF_INET6], id="both"),
        pytest.param(errno.EADDRNOTAVAIL, [socket.AF_INET6, socket.AF_INET], id="ipv6-off"),
        pytest.param(errno.EADDRINUSE, [socket.AF_INET6], id="taken"),
    ],
)
async def test_all_interfaces(
    failure: int, families: list[socket.AddressFamily], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[socket.AddressFamily] = []
    real = socket.create_server

    def create(address: Any, *, family: Any = socket.AF_INET, **_: Any) -> socket.socket:
        tried.append(family)
        if failure and family == socket.AF_INET6:
            raise OSError(failure, "no")
        return real(("127.0.0.1", address[1]))  # tests stay on loopback

    monkeypatch.setattr(socket, "create_server", create)
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: True)
    async with AsyncExitStack() as stack:
        if failure == errno.EADDRINUSE:
            with pytest.raises(OSError, match="no"):
                await listen(stack, app(), ":0")
        else:
            assert (await listen(stack, app(), ":0")).startswith("127.0.0.1:")

    assert tried == families


async def test_what_callers_send_is_neither_logged_nor_are_stacks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with AsyncExitStack() as stack:
        bound = await listen(stack, app(), "127.0.0.1:0")
        host, _, port = bound.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\nAuthorization: s3cr3t\0\r\n\r\n")
        first = await reader.readline()
        writer.close()

    assert b" 400 " in first
    assert "s3cr3t" not in caplog.text
    assert "Traceback" not in caplog.text


async def test_what_is_our_fault_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_: web.Request) -> web.Response:
        raise ValueError("ours")

    made = web.Application()
    made.router.add_get("/", broken)
    async with AsyncExitStack() as stack, aiohttp.ClientSession() as http:
        bound = await listen(stack, made, "127.0.0.1:0")
        async with http.get(f"http://{bound}/") as answer:
            assert answer.status == 500

    assert "ValueError: ours" in caplog.text


async def test_bodies_stay_as_they_were_sent() -> None:
    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    made = web.Application()
    made.router.add_post("/", echo)
    async with AsyncExitStack() as stack, aiohttp.ClientSession() as http:
        bound = await listen(stack, made, "127.0.0.1:0")
        sent = {"Content-Encoding": "gzip"}
        async with http.post(f"http://{bound}/", data=b"no gzip", headers=sent) as answer:
            assert await answer.read() == b"no gzip"
