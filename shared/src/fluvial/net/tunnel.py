"""HTTP sessions through an object's own proxy, of any scheme that the dialer knows."""

from __future__ import annotations

import asyncio
import ssl

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.tracing import Trace

from fluvial.net.dialer import Dialer
from fluvial.net.errors import DialFailed
from fluvial.net.proxy import ProxyServer

__all__ = ["ProxyConnector"]


class ProxyConnector(aiohttp.BaseConnector):
    """Connects by a proxy; what is asked for there is for the proxy to find.

    Args:
        dialer: reaches the proxy, whose address it checks.
        proxy: of the object.
        context: how TLS is spoken with the host behind it.
        limit: connections at once.

    """

    allowed_protocol_schema_set = frozenset({"http", "https"})

    def __init__(
        self, dialer: Dialer, proxy: ProxyServer, context: ssl.SSLContext, *, limit: int = 100
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
        _, writer = await self._dialer.connect(host, port, proxy=self._proxy)
        protocol = _Handler(self._loop, writer)
        transport: asyncio.Transport | None = writer.transport  # type: ignore[assignment]  # TCP's is
        if req.url.scheme == "https":
            try:
                transport = await self._loop.start_tls(
                    writer.transport,
                    protocol,
                    req.ssl if isinstance(req.ssl, ssl.SSLContext) else self._context,
                    server_hostname=host,
                )
            except (ssl.SSLError, OSError) as error:
                writer.close()
                if isinstance(error, ssl.SSLCertVerificationError):
                    raise DialFailed(f"the certificate of {host} cannot be verified") from error
                raise DialFailed(f"TLS with {host}:{port} failed") from error
        else:
            writer.transport.set_protocol(protocol)
        assert transport is not None  # noqa: S101  # only on a closed connection, which raised
        protocol.connection_made(transport)
        return protocol


class _Handler(ResponseHandler):
    """Holds the writer that the connection came with, which would close it when it is dropped."""

    def __init__(self, loop: asyncio.AbstractEventLoop, writer: asyncio.StreamWriter) -> None:
        super().__init__(loop=loop)
        self._writer = writer
