"""The proxy itself: listens, asks the rules, and lets an exchange play."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import socket
import struct
import warnings
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from devcluster import certs
from faultproxy.asked import Asked, Log
from faultproxy.endpoint import Endpoint
from faultproxy.exchange import Cut, Exchange, Stream
from faultproxy.faults import Fault
from faultproxy.match import Match
from faultproxy.rules import Rule, Rules, Timing
from faultproxy.upstream import Upstream

__all__ = ["FaultProxy"]

_HOST = "127.0.0.1"
_ANY = Match()


class FaultProxy:
    """A proxy for one control plane. See the package; ``async with`` starts and stops it.

    Args:
        kubeconfig: of the control plane; its current context is stood in front of.
        port: where to listen on 127.0.0.1; 0 takes a free port.
        control_port: serve the JSON control there (0: a free port); ``None`` serves none.
        keep_bodies: keep what requests send, in ``bodies``.

    Attributes:
        bodies: media type and body of requests by their sequence numbers.

    Raises:
        BadUpstream: see ``faultproxy.upstream``.

    """

    def __init__(
        self,
        kubeconfig: Mapping[str, Any],
        *,
        port: int = 0,
        control_port: int | None = None,
        keep_bodies: bool = False,
    ) -> None:
        self.bodies: dict[int, tuple[str, bytes]] = {}
        self._keep_bodies = keep_bodies
        self._upstream = Upstream(kubeconfig)
        self._authority = certs.make_authority()
        self._tls = certs.server_context(self._authority, host=_HOST)
        self._rules = Rules()
        self._log = Log()
        self._streams: set[Stream] = set()
        self._port = port
        self._control_port = control_port
        self._endpoint = Endpoint(self)
        self._server: web.Server | None = None
        self._runner: web.ServerRunner | None = None
        self._site: web.SockSite | None = None

    async def __aenter__(self) -> Self:
        self._server = web.Server(
            self._handle, request_factory=_request, handler_cancellation=True, access_log=None
        )
        self._runner = web.ServerRunner(self._server, shutdown_timeout=1.0)
        await self._runner.setup()
        await self.back()
        if self._control_port is not None:
            await self._endpoint.start(self._control_port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._endpoint.stop()
        self.clear()
        self.end_streams(then="reset")
        if self._runner is not None:
            await self._runner.cleanup()
        await self._upstream.close()

    # --- what clients need ------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"https://{_HOST}:{self._port}"

    @property
    def control_url(self) -> str:
        """Where its control listens; empty when it is off."""
        return self._endpoint.url

    @property
    def ca_pem(self) -> bytes:
        """The authority that clients must trust."""
        return self._authority.pem

    def kubeconfig(self) -> dict[str, Any]:
        """For the same user as the control plane's own, through the proxy."""
        return self._upstream.kubeconfig(self.url, base64.b64encode(self.ca_pem).decode())

    # --- rules ------------------------------------------------------------------------------------

    def add(
        self,
        match: Match,
        fault: Fault,
        *,
        times: int = 0,
        skip: int = 0,
        every: int = 1,
        probability: float = 1.0,
        seed: int = 0,
    ) -> Rule:
        """Put a rule in place; it holds for requests that come from now on."""
        timing = Timing(times, skip, every, probability, seed)
        return self._rules.add(match, fault, timing)

    def rule(self, number: int) -> Rule | None:
        """A rule by its id."""
        return self._rules.get(number)

    def rules(self) -> list[Rule]:
        """Those in place."""
        return self._rules.all()

    def remove(self, number: int) -> None:
        """Take a rule away; connections that it keeps hanging are cut."""
        self._rules.remove(number)

    def clear(self) -> None:
        """Take all rules away."""
        self._rules.clear()

    # --- everything at once -----------------------------------------------------------------------

    def end_streams(self, match: Match = _ANY, *, then: str = "end") -> int:
        """End running watches: ``end`` as if their time were up, ``reset``, or ``gone`` with a 410."""
        if then not in {"end", "reset", "gone"}:
            raise ValueError("then is end, reset or gone")
        chosen = [stream for stream in self._streams if match.matches(stream.asked)]
        for stream in chosen:
            stream.end(then)
        return len(chosen)

    def running(self, match: Match = _ANY) -> int:
        """How many such watches run now."""
        return sum(match.matches(stream.asked) for stream in self._streams)

    async def away(self) -> None:
        """Refuse connections, and reset those that are there."""
        if self._site is not None:
            await self._site.stop()
            self._site = None
        for connection in self._server.connections if self._server else ():
            _reset(connection.transport)
        _forget_handshakes()

    async def back(self) -> None:
        """Listen (again)."""
        if self._site is not None or self._runner is None:
            return
        listener = socket.create_server((_HOST, self._port), backlog=512)
        self._port = listener.getsockname()[1]
        self._site = web.SockSite(self._runner, listener, ssl_context=self._tls)
        await self._site.start()

    async def retarget(self, kubeconfig: Mapping[str, Any]) -> None:
        """Stand in front of another control plane, such as the same after a restart.

        Raises:
            BadUpstream: as at the start, or its user authenticates in another way than before.

        """
        await self._upstream.retarget(kubeconfig)

    # --- the log ----------------------------------------------------------------------------------

    def requests(self, match: Match = _ANY, *, after: int = 0) -> list[Asked]:
        """The log, oldest first, from the entry after sequence number ``after``."""
        return [each for each in self._log if each.seq > after and match.matches(each)]

    @property
    def position(self) -> int:
        """Sequence number of the newest request."""
        return self._log.position

    def forget_requests(self) -> None:
        """Empty the log."""
        self._log.clear()

    # --- serving ----------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        asked = self._log.begin(request)
        try:
            if "Upgrade" in request.headers:
                return web.Response(status=501, text="the fault proxy passes no upgrades on\n")
            body = await request.read()
            if self._keep_bodies and body:
                self.bodies[asked.seq] = (request.content_type, body)
            asked.user = await self._upstream.user(request.headers)
            delays, rule = self._rules.choose(asked)
            for each in delays:
                await asyncio.sleep(each.seconds())
                each.happened += 1
            exchange = Exchange(request, asked, body, self._upstream, self._log, self._streams)
            return await exchange.play(rule)
        except Cut:
            _reset(request.transport)
        except ConnectionError:
            pass  # the client has gone
        return web.Response(status=500)  # for nobody


def _forget_handshakes() -> None:
    """Collect connections that were in the middle of their handshake.

    asyncio tells a server of a connection when its handshake is done, so nobody can close them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def _reset(transport: asyncio.BaseTransport | None) -> None:
    """Close with a RST rather than an orderly end."""
    if not isinstance(transport, asyncio.WriteTransport):
        return
    with contextlib.suppress(OSError, AttributeError):
        underlying = transport.get_extra_info("socket")
        underlying.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    """A request whose body may have any size: the control plane has its own limit."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=0)
