"""Sends requests of one client to one API server: pools, time limits, credentials, repetition.

Called by ``fluvial.kube.http`` only. Invariants: a request is repeated here and nowhere else (see
``retry``); redirects are never followed and the environment is never read, so credentials go to
the configured server alone; watches have connections of their own, so that a hundred of them
never delay a request, and ``own_pool`` gives the same to whoever must not wait behind others.
"""

from __future__ import annotations

import asyncio
import re
import socket
import weakref
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
)
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import yarl
from multidict import CIMultiDict, CIMultiDictProxy

from fluvial.clock import Clock
from fluvial.kube.auth import CredentialsError
from fluvial.kube.connection import Connection
from fluvial.kube.decode import decode_object
from fluvial.kube.errors import ApiError, Unauthorized, Unreachable, error_from_status
from fluvial.kube.farewell import beginning, cut, gone
from fluvial.kube.redact import mask_credentials, mask_secret_text
from fluvial.kube.retry import RateLimiter, RetryPolicy, retry_after_seconds, should_retry_status
from fluvial.net.errors import net_error

__all__ = ["Call", "Reply", "RequestHook", "Transport", "TransportOptions", "WarningHook"]

RequestHook = Callable[[str, str, str], None]
"""Called once per attempt: HTTP status or ``<error>``, method, host. For metrics."""
WarningHook = Callable[[str], None]
"""Called with the text of each ``Warning: 299`` header."""

_CONNECT_SECONDS = 10.0
_KEEPALIVE_SECONDS = 60.0  # API servers drop idle connections after 90
_MAX_BODY = 256 * 1024 * 1024
_MAX_ERROR_BODY = 1024 * 1024
_SHOWN_BODY = 256
_TOKEN_LENGTH = 32  # of what is looked for in answers; shorter texts may be anything
_REQUEST_BUFFER = 2**18
_WATCH_BUFFER = 2**17
_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Call:
    """One request as the client means it; ``path`` is encoded and has its query.

    Attributes:
        idempotent: whether it may be repeated after it may have been processed.
        secret: whether nothing of the answer may be quoted.
        cut_at: bytes of a text after which the rest is not read; 0 for an answer that counts
            only as a whole.

    """

    method: str
    path: str
    headers: CIMultiDict[str]
    body: bytes | None = None
    idempotent: bool = True
    secret: bool = False
    cut_at: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """A successful answer."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """What all pools of a client share.

    Attributes:
        user_agent: sent with every request.
        retry: bounds of the repetitions.
        timeout: seconds for one attempt, body included.
        limiter: shared by all identities of a client.
        on_request: counts attempts.
        on_warning: hears the server's warnings.
        clock: the time.

    """

    user_agent: str
    retry: RetryPolicy
    timeout: float
    limiter: RateLimiter
    on_request: RequestHook | None
    on_warning: WarningHook | None
    clock: Clock


class Transport:
    """A pool of ``limit`` connections for requests and an unlimited one for watches."""

    def __init__(self, connection: Connection, options: TransportOptions, *, limit: int) -> None:
        self._connection = connection
        self.options = options
        self._limit = limit
        self._requests: aiohttp.ClientSession | None = None
        self._watches: aiohttp.ClientSession | None = None
        self._pools: list[Transport] = []
        self._timeout = aiohttp.ClientTimeout(total=options.timeout, sock_connect=_CONNECT_SECONDS)
        self._closed = False
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self.host = connection.host

    def own_pool(self, limit: int) -> Transport:
        """Other connections to the same server, closed with this transport."""
        pool = Transport(self._connection, self.options, limit=limit)
        self._pools.append(pool)
        return pool

    async def aclose(self) -> None:
        """Close every connection; running requests fail."""
        self._closed = True
        for pool in self._pools:
            await pool.aclose()
        for session in (self._requests, self._watches):
            if session is not None:
                await session.close()
        await gone(self._sockets)

    async def send(self, call: Call) -> Reply:
        """Ask, repeat as ``retry`` says, and read the whole answer.

        Raises:
            ApiError: the server refused, or could not be asked.

        """
        if self._requests is None or self._closed:
            self._requests = self._session(self._limit, _REQUEST_BUFFER)
        session = self._requests

        async def attempt() -> Reply:
            with self._translated():
                async with await self._ask(session, call, self._timeout) as response:
                    body = await self._body(response, cut_at=call.cut_at)
            self._check(response, call, body)
            return Reply(response.status, response.headers, body)

        return await self._repeat(call, attempt)

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[AsyncIterator[bytes]]:
        """Ask as ``send`` does and give the answer's chunks for as long as they come.

        Raises:
            ApiError: as ``send``; from the iterator if the connection fails.

        """
        if self._watches is None or self._closed:
            self._watches = self._session(0, _WATCH_BUFFER)
        session = self._watches
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)

        async def attempt() -> aiohttp.ClientResponse:
            body = b""
            with self._translated():
                async with asyncio.timeout(self.options.timeout):
                    response = await self._ask(session, call, timeout)
                    if response.status >= 300:
                        async with response:
                            body = await self._body(response)
            self._check(response, call, body)
            return response

        response = await self._repeat(call, attempt)
        chunks = self._chunks(response)
        try:
            yield chunks
        finally:
            cut(response)
            await chunks.aclose()

    def _session(self, limit: int, buffer: int) -> aiohttp.ClientSession:
        if self._closed:
            raise Unreachable(f"the client of {self.host} is closed")
        connector = aiohttp.TCPConnector(
            limit=limit,
            ssl=self._connection.tls if self._connection.tls is not None else True,
            keepalive_timeout=_KEEPALIVE_SECONDS,
            socket_factory=self._socket,
        )
        return aiohttp.ClientSession(
            connector=connector,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": self.options.user_agent, "Accept-Encoding": "identity"},
            read_bufsize=buffer,
        )

    def _socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, where = address
        if self._connection.check_address is not None:
            self._connection.check_address(str(where[0]), int(where[1]))
        made = socket.socket(family, kind, protocol)
        self._sockets.add(made)
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # A peer that is gone without a word is noticed within a minute, even on an idle watch.
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, name):
                made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        return made

    async def _repeat(self, call: Call, attempt: Callable[[], Awaitable[_T]]) -> _T:
        clock = self.options.clock
        started = clock.monotonic()
        number, refreshed = 0, False
        while True:
            number += 1
            await self.options.limiter.wait()
            try:
                return await attempt()
            except Unauthorized:
                if refreshed or not await self._refresh():
                    raise
                refreshed = True
            except ApiError as error:
                delay = self._delay(error, call, number, clock.monotonic() - started)
                if delay is None:
                    raise
                await clock.sleep(delay)

    def _delay(self, error: ApiError, call: Call, number: int, elapsed: float) -> float | None:
        """Seconds until the next attempt, or ``None`` if this was the last."""
        if isinstance(error, Unreachable):
            again = not error.permanent and (call.idempotent or not error.may_have_happened)
        else:
            again = should_retry_status(
                error.status,
                attempt=number,
                idempotent=call.idempotent,
                retry_after=error.retry_after,
            )
        if not again:
            return None
        delay = self.options.retry.delay(number, error.retry_after)
        return delay if elapsed + delay <= self.options.retry.budget else None

    async def _refresh(self) -> bool:
        try:
            return await self._connection.auth.refresh()
        except CredentialsError:
            return False

    async def _ask(
        self, session: aiohttp.ClientSession, call: Call, timeout: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        headers = call.headers
        authorization = await self._authorization()
        if authorization:
            headers = headers.copy()
            headers["Authorization"] = authorization
        code = "<error>"
        try:
            response = await session.request(
                call.method,
                yarl.URL(self._connection.server + call.path, encoded=True),
                data=call.body,
                headers=headers,
                timeout=timeout,
                proxy=self._connection.proxy or None,
                server_hostname=self._connection.server_name or None,
                allow_redirects=False,
            )
            code = str(response.status)
        finally:
            if self.options.on_request is not None:
                self.options.on_request(code, call.method, self.host)
        if self.options.on_warning is not None and "Warning" in response.headers:
            for text in _warnings(response.headers):
                self.options.on_warning(text)
        return response

    async def _authorization(self) -> str:
        try:
            return await self._connection.auth.header()
        except CredentialsError as error:
            raise Unauthorized(str(error), status=401, reason="Unauthorized") from error

    async def _body(self, response: aiohttp.ClientResponse, *, cut_at: int = 0) -> bytes:
        """The answer, without the token that the server was shown where that may matter."""
        body = await self._read(response, cut_at=cut_at)
        failed = response.status >= 300
        if self._connection.trusted and not failed:
            return body
        header = response.request_info.headers.get("Authorization", "")
        return mask_credentials(body, header, shortest=1 if failed else _TOKEN_LENGTH)

    async def _read(self, response: aiohttp.ClientResponse, *, cut_at: int) -> bytes:
        if cut_at and response.status < 300:
            return await beginning(response, cut_at)
        chunks: list[bytes] = []
        size = 0
        limit = _MAX_BODY if response.status < 300 else _MAX_ERROR_BODY
        length = response.content_length
        if length is not None and length <= limit and "Content-Encoding" not in response.headers:
            return await response.read()
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > limit:
                response.close()
                raise ApiError(f"the answer of {self.host} is longer than {limit} bytes")
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _check(self, response: aiohttp.ClientResponse, call: Call, body: bytes) -> None:
        if response.status < 300:
            return
        status = _status_of(body, call, quote=self._connection.trusted)
        error = error_from_status(response.status, status)
        error.retry_after = retry_after_seconds(response.headers, self.options.clock.now())
        try:
            raise error
        finally:
            del error  # which knows this frame, and those of all who called

    async def _chunks(self, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
        with self._translated():
            async for chunk in response.content.iter_any():
                yield chunk

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what the network does into ``Unreachable``, without a secret in the text."""
        try:
            yield
        except aiohttp.ClientConnectorCertificateError as error:
            problem = getattr(error.certificate_error, "verify_message", "it is not valid")
            raise self._unreachable(
                f"its certificate is not trusted: {problem}", permanent=True
            ) from error
        except aiohttp.ClientConnectorError as error:
            denied = net_error(error)
            problem = str(denied or error.os_error.strerror or type(error.os_error).__name__)
            raise self._unreachable(problem, sent=False, permanent=denied is not None) from error
        except TimeoutError as error:
            sent = not isinstance(error, aiohttp.ConnectionTimeoutError)
            raise self._unreachable("no answer in time", sent=sent) from error
        except (aiohttp.ClientError, OSError) as error:
            problem = getattr(error, "strerror", None) or type(error).__name__
            raise self._unreachable(f"the connection failed ({problem})") from error

    def _unreachable(
        self, problem: str, *, sent: bool = True, permanent: bool = False
    ) -> Unreachable:
        error = Unreachable(f"cannot reach the API server {self.host}: {problem}")
        error.may_have_happened = sent and not permanent
        error.permanent = permanent
        return error


def _status_of(body: bytes, call: Call, *, quote: bool) -> dict[str, Any]:
    """The Status object of a refusal; for other texts a short excerpt, for Secrets masked."""
    try:
        status = decode_object(body)
    except ApiError:
        text = body[:_SHOWN_BODY].decode(errors="replace").strip()
        shown = "".join(letter if letter.isprintable() else " " for letter in text)
        is_shown = quote and shown and not call.secret and "<" not in shown
        return {"message": shown} if is_shown else {}
    if status.get("kind") != "Status":
        return {}
    if call.secret:
        status["message"] = mask_secret_text(str(status.get("message") or ""), call.body)
        details = status.get("details")
        causes = details.get("causes") if isinstance(details, dict) else None
        for cause in causes if isinstance(causes, list) else []:
            if isinstance(cause, dict):
                cause["message"] = mask_secret_text(str(cause.get("message") or ""), call.body)
    return status


def _warnings(headers: CIMultiDictProxy[str]) -> Iterator[str]:
    """Texts of ``299 <agent> "<text>"`` headers (RFC 7234, section 5.5)."""
    for value in headers.getall("Warning"):
        for found in _WARNING.finditer(value):
            yield found[1].replace('\\"', '"').replace("\\\\", "\\")
