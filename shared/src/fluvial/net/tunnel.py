"""Connections for an HTTP session that are the dialer's own, proxies of every kind included.

``Dialer.connector`` gives one where it takes a proxy.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Protocol

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.tracing import Trace

from fluvial.net.errors import DialFailed
from fluvial.net.proxy import ProxyServer

__all__ = ["ProxyConnector"]


class _Connects(Protocol):
    """The part of the dialer that is used here."""

    async def connect(
        self, host: str, port: int, *, proxy: ProxyServer | None, scheme: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]: ...


class _Handler(ResponseHandler):
    """Holds the writer that the connection came with, which would close it when it is dropped."""

    def __init__(self, loop: asyncio.AbstractEventLoop, writer: asyncio.StreamWriter) -> None:
        super().__init__(loop=loop)
        self._writer = writer


class ProxyConnector(aiohttp.BaseConnector):
    """Asks the dialer for every connection.

    Args:
        dialer: connects.
        proxy: of the object; ``None`` leaves the choice to the dialer.
        context: trust and client certificate, where a request has none of its own.
        limit: connections at once.

    """

    allowed_protocol_schema_set = frozenset({"http", "https"})

    def __init__(
        self,
        dialer: _Connects,
        proxy: ProxyServer | None,
        context: ssl.SSLContext,
        *,
        limit: int = 100,
    ) -> None:
        super().__init__(limit=limit)
        self._dialer = dialer
        self._proxy = proxy
        self._context = context

    async def _create_connection(
        self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        del traces, timeout  # none is set, and the dialer has its own
        host, port = req.url.raw_host, req.url.port
        assert host is not None  # noqa: S101  # aiohttp refuses such addresses before
        assert port is not None  # noqa: S101  # http and https have one
        _, writer = await self._dialer.connect(host, port, proxy=self._proxy, scheme=req.url.scheme)
        protocol = _Handler(self._loop, writer)
        transport: asyncio.Transport | None = writer.transport  # type: ignore[assignment]  # TCP's is
        if req.url.scheme == "https":
            context = req.ssl if isinstance(req.ssl, ssl.SSLContext) else self._context
            try:
                transport = await self._loop.start_tls(
                    writer.transport, protocol, context, server_hostname=host
                )
            except OSError as error:  # what TLS raises is one, too
                writer.close()
                if isinstance(error, ssl.SSLCertVerificationError):
                    raise DialFailed(f"the certificate of {host} cannot be verified") from error
                raise DialFailed(f"TLS with {host}:{port} failed") from error
            except BaseException:
                writer.close()
                raise
        else:
            writer.transport.set_protocol(protocol)
        assert transport is not None  # noqa: S101  # only on a closed connection, which raised
        protocol.connection_made(transport)
        return protocol
