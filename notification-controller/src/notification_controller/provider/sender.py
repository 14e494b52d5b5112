"""Sends requests: one connection each, by the dialer, never redirected."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import aiohttp

from fluvial.net.dialer import Dialer, Stream
from fluvial.net.errors import NetError, ProxyFailed, net_error
from fluvial.net.proxy import ProxyServer
from notification_controller.provider.answers import is_temporary, tls_problem, wait_of
from notification_controller.provider.nats import Connect
from notification_controller.provider.outgoing import Exchange, Outgoing, Reply, SendFailed

__all__ = ["Sender", "Way", "masked"]

_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Way:
    """How a Provider is reached.

    Attributes:
        tls: whom to trust, and the client certificate; ``None`` for the system's authorities.

    """

    proxy: ProxyServer | None = None
    tls: ssl.SSLContext | None = field(default=None, repr=False)


class Sender:
    """Sends what a type composed.

    Args:
        dialer: makes the connections.

    """

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer

    async def send(
        self,
        talk: Callable[[Exchange], Awaitable[None]],
        way: Way,
        *,
        timeout: float,
        secrets: Sequence[str] = (),
    ) -> None:
        """Send the requests of one message.

        Args:
            talk: is given what sends one request, and sends them one after the other.
            way: proxy and trust.
            timeout: seconds for all of them.
            secrets: what no error may repeat.

        Raises:
            SendFailed: one was not taken, or ``talk`` cannot do without something.

        """
        connector = self._dialer.connector(tls=way.tls, proxy=way.proxy)
        try:
            async with (
                asyncio.timeout(timeout),
                aiohttp.ClientSession(
                    connector=connector,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    trust_env=False,
                    timeout=aiohttp.ClientTimeout(total=None),
                    headers={"User-Agent": "fluvial"},
                ) as session,
            ):

                async def exchange(request: Outgoing) -> Reply:
                    return await _one(session, request, secrets)

                await talk(exchange)
        except TimeoutError as error:
            raise SendFailed(f"no answer within {timeout:g}s", again=True) from error

    async def publish(
        self,
        talk: Callable[[Connect], Awaitable[None]],
        way: Way,
        *,
        timeout: float,
        secrets: Sequence[str] = (),
    ) -> None:
        """Talk to a service that does not speak HTTP.

        Args:
            talk: is given what connects.
            way: proxy; TLS is up to ``talk``.
            timeout: seconds for all of it.
            secrets: what no error may repeat.

        Raises:
            SendFailed: there is no connection, or ``talk`` says so.

        """

        async def connect(host: str, port: int) -> Stream:
            try:
                return await self._dialer.connect(host, port, proxy=way.proxy)
            except NetError as error:
                raise SendFailed(str(error), again=True) from error

        try:
            async with asyncio.timeout(timeout):
                await talk(connect)
        except TimeoutError as error:
            raise SendFailed(f"no answer within {timeout:g}s", again=True) from error
        except SendFailed as error:
            raise SendFailed(masked(str(error), secrets), again=error.again) from error


async def _one(session: aiohttp.ClientSession, request: Outgoing, secrets: Sequence[str]) -> Reply:
    try:
        async with session.request(
            request.method,
            request.url,
            data=request.body,
            headers=request.headers,
            allow_redirects=False,
        ) as response:
            reply = Reply(response.status, await _read(response, request.room))
            headers = response.headers
    except (aiohttp.ClientError, OSError) as error:
        raise SendFailed(_why(error), again=not isinstance(error, aiohttp.InvalidURL)) from error
    except ValueError as error:
        raise SendFailed(
            "the request cannot be written: a header is malformed", again=False
        ) from error
    if 300 <= reply.status < 400:
        raise SendFailed("the service redirects, which is not followed", again=False)
    if not 200 <= reply.status < 300 and not (reply.status == 404 and request.absent):
        said = masked(reply.body.decode("utf-8", "replace"), secrets)
        raise SendFailed(
            f"the service answers {reply.status}: {said}",
            again=is_temporary(reply.status, headers),
            after=wait_of(headers),
            status=reply.status,
        )
    problem = request.problem(reply)
    if problem:
        raise SendFailed(masked(problem, secrets), again=False)
    return reply


async def _read(response: aiohttp.ClientResponse, room: int) -> bytes:
    """The beginning of an answer."""
    body = b""
    async for block in response.content.iter_chunked(1 << 16):
        body += block
        if len(body) >= room:
            return body[:room]
    return body


def masked(text: str, secrets: Sequence[str]) -> str:
    """The beginning of a text of a service, on one line and without secrets."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    shown = " ".join(text.split())
    return "".join(char for char in shown if char.isprintable())[:_SHOWN]


def _why(error: BaseException) -> str:
    """What went wrong with a connection, in words that quote nothing of the request."""
    ours, problem = net_error(error), tls_problem(error)
    if problem and not isinstance(ours, ProxyFailed):
        return problem
    if ours is not None:
        return str(ours)
    if isinstance(error, aiohttp.ClientConnectorError):
        return "the service cannot be connected to"
    return "the connection broke off"
