"""A server that answers what a test tells it to: refusals, cut connections, half-dead watches."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from aiohttp import web

from fluvial.kube.connection import Connection
from fluvial.kube.http import HttpKubeClient
from fluvial.kube.retry import RetryPolicy

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answer(body: Any, status: int = 200, **headers: str) -> web.Response:
    """A JSON answer; ``_`` in header names stands for ``-``."""
    return web.Response(
        body=orjson.dumps(body),
        status=status,
        content_type="application/json",
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


def refusal(status: int, reason: str = "", message: str = "no", **headers: str) -> web.Response:
    """A Status answer."""
    body = {"kind": "Status", "code": status, "reason": reason, "message": message}
    return answer(body, status, **headers)


async def cut(request: web.Request) -> web.StreamResponse:
    """Close the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@dataclass
class Scripted:
    """Answers in order; the last one repeats. Keeps what was asked."""

    answers: list[Handler] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    headers: list[Any] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    url: str = ""

    def will(self, *answers: Handler | web.Response) -> None:
        """Set the answers."""
        self.answers = [_handler(each) for each in answers]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.raw_path))
        self.headers.append(request.headers.copy())
        self.bodies.append(await request.read())
        handler = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await handler(request)


def _handler(each: Handler | web.Response) -> Handler:
    if not isinstance(each, web.Response):
        return each

    async def fixed(_: web.Request) -> web.StreamResponse:
        body = each.body
        assert isinstance(body, bytes)
        return web.Response(body=body, status=each.status, headers=each.headers)

    return fixed


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    """A scripted server on loopback."""
    scripted = Scripted()
    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{rest:.*}", scripted.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    scripted.url = f"http://{host}:{port}"
    yield scripted
    await runner.cleanup()


@pytest.fixture
async def client(server: Scripted) -> AsyncIterator[HttpKubeClient]:
    """A client of the scripted server that repeats quickly."""
    async with make_client(server) as made:
        yield made


def make_client(server: Scripted, **options: Any) -> HttpKubeClient:
    """A client with other options."""
    options.setdefault("retry", RetryPolicy(budget=1.0, base=0.001, cap=0.002))
    options.setdefault("user_agent", "test")
    return HttpKubeClient(options.pop("connection", Connection(server.url)), **options)
