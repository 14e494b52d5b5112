"""The services of clouds, by their own names, on loopback.

Answers are those of the services' documentation, whose addresses stand beside them. That requests
are what a real service takes is shown elsewhere, by a service or a library that is real.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

import aiohttp
from aiohttp import web

from fluvial.cloud.http import CloudHttp
from fluvial.net.dialer import Dialer, Stream
from fluvial.net.policy import AddressPolicy, parse_networks
from fluvial.net.proxy import ProxyServer
from fluvial.net.tunnel import ProxyConnector
from gitservers.certs import TestCA

__all__ = ["Asked", "FakeCloud", "LeadingDialer", "Reply", "json_reply", "leading_http"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that a service got."""

    host: str
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a service answers."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def json_reply(document: Any, status: int = 200) -> Reply:
    return Reply(json.dumps(document).encode(), status, {"Content-Type": "application/json"})


class LeadingDialer(Dialer):
    """Leads some names to ports of this machine; all else is as strict as in production."""

    def __init__(self) -> None:
        super().__init__(AddressPolicy.build(allowed=parse_networks("127.0.0.0/8,::1/128")))
        self.leads: dict[str, int] = {}

    async def connect(
        self, host: str, port: int, *, proxy: ProxyServer | None = None, scheme: str = "https"
    ) -> Stream:
        if proxy is None and host in self.leads:
            host, port = "127.0.0.1", self.leads[host]
        return await super().connect(host, port, proxy=proxy, scheme=scheme)

    def connector(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        limit: int = 100,
        proxy: ProxyServer | None = None,
    ) -> aiohttp.BaseConnector:
        context = tls or ssl.create_default_context()
        return ProxyConnector(self, proxy, context, limit=limit)


class FakeCloud:
    """Serves hosts by their names over TLS.

    Attributes:
        ca: that the certificate is from; nobody else trusts it.
        dialer: that leads to it.
        asked: all requests, in order.

    """

    def __init__(self, *hosts: str) -> None:
        self.ca = TestCA("cloud")
        self.dialer = LeadingDialer()
        self.asked: list[Asked] = []
        self._hosts = hosts
        self._replies: dict[tuple[str, str], Callable[[Asked], Reply]] = {}
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, folder: Path) -> Self:
        app = web.Application(client_max_size=1 << 20)
        app.router.add_route("*", "/{rest:.*}", self._serve)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        context = self.ca.server_context(folder, names=self._hosts)
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        assert self._runner.addresses
        self.port = self._runner.addresses[0][1]
        self.dialer.leads.update(dict.fromkeys(self._hosts, self.port))
        return self

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    def on(self, host: str, path: str, reply: Reply | Callable[[Asked], Reply]) -> None:
        """What a host answers at a path."""
        self._replies[host, path] = (lambda _: reply) if isinstance(reply, Reply) else reply

    def http(self) -> CloudHttp:
        """Asks these services, trusting their CA as production trusts the system's."""
        return leading_http(self.dialer, self.ca)

    async def _serve(self, request: web.Request) -> web.Response:
        asked = Asked(
            request.host,
            request.method,
            request.path,
            request.query_string,
            dict(request.headers),
            await request.read(),
        )
        self.asked.append(asked)
        make = self._replies.get((asked.host, asked.path))
        reply = make(asked) if make is not None else Reply(status=404)
        return web.Response(body=reply.body, status=reply.status, headers=dict(reply.headers))


def leading_http(dialer: Dialer, *authorities: TestCA) -> CloudHttp:
    """A client whose system trusts some authorities of tests."""

    def trust(ca: str) -> ssl.SSLContext:
        context = ssl.create_default_context()
        for pem in [*(authority.pem for authority in authorities), *([ca] if ca else [])]:
            context.load_verify_locations(cadata=pem)
        return context

    return CloudHttp(dialer, trust=trust)
