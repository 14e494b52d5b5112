"""Downloads. Every connection of this room is made by ``WebClient._session``.

Each download has a session of its own: no connection, cookie or cached answer of one object can
reach another. What may be shown to whom is decided hop by hop (``access``).
"""

from __future__ import annotations

import asyncio
import base64
import http
import ssl
import zlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import aiohttp
import yarl

from fluvial.artifact.digest import DEFAULT_ALGORITHM, Digest, new_hasher
from fluvial.artifact.threads import in_thread
from fluvial.errors import FluvialError
from fluvial.net.tls import Tls, tls_context
from source_controller.web.access import Access, same_origin, shown
from source_controller.web.gunzip import Gunzip

__all__ = ["AccessRefused", "Connector", "Download", "WebClient", "WebError", "plain_connector"]

Connector = Callable[[ssl.SSLContext], aiohttp.BaseConnector]
"""Makes what connects; the one place for rules about addresses."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 10
_BLOCK = 1 << 16
_MAX_LINE = 16 << 10
_MAX_CONTEXTS = 256
_HEADERS = {"User-Agent": "fluvial-source-controller", "Accept-Encoding": "gzip"}


class WebError(FluvialError):
    """A download failed; the text is for a status."""


class AccessRefused(WebError):
    """The host wants other credentials, or there is no trust between it and us."""


@dataclass(frozen=True, slots=True)
class Download:
    """What was downloaded: size in bytes and digest of the content, decompressed."""

    size: int
    digest: Digest


def plain_connector(context: ssl.SSLContext) -> aiohttp.BaseConnector:
    """Connects to whatever address a name has."""
    return aiohttp.TCPConnector(ssl=context)


class WebClient:
    """Downloads files over HTTP and HTTPS.

    Args:
        connector: see ``Connector``.

    """

    def __init__(self, connector: Connector = plain_connector) -> None:
        self._connector = connector
        self._contexts: OrderedDict[Tls, ssl.SSLContext] = OrderedDict()

    async def download(
        self,
        url: yarl.URL,
        target: Path,
        *,
        access: Access,
        max_bytes: int,
        timeout: float,
        algorithm: str = DEFAULT_ALGORITHM,
    ) -> Download:
        """Fetch one file.

        Args:
            url: ``http`` or ``https``, without user information.
            target: file to write; what is there after an error is no use.
            access: what may be shown to the host of ``url``, as by ``Access.for_file``.
            max_bytes: largest content, decompressed.
            timeout: seconds for all of it, redirects included.
            algorithm: of the digest.

        Raises:
            AccessRefused: the host answers 401, or TLS does not come about.
            WebError: no connection, another status than 200, too large, truncated or too slow.
            InvalidTls: the CA or the client certificate cannot be used.

        """
        try:
            async with asyncio.timeout(timeout):
                with ExitStack() as stack:
                    # Entered in the thread: whoever is cancelled meanwhile leaves no file open.
                    out = await in_thread(lambda _: stack.enter_context(target.open("wb")))
                    return await self._follow(url, _Sink(out, max_bytes, algorithm), access)
        except TimeoutError as error:
            raise WebError(f"{shown(url)} was not fetched within {timeout:g}s") from error
        except aiohttp.ClientError as error:
            kind = AccessRefused if isinstance(error, _NO_TRUST) else WebError
            raise kind(f"failed to fetch {shown(url)}: {_explain(error)}") from error
        except zlib.error as error:
            raise WebError(f"failed to fetch {shown(url)}: the answer is not gzip") from error
        except OSError as error:
            problem = str(error) if isinstance(error, FluvialError) else error.strerror
            raise WebError(f"failed to fetch {shown(url)}: {problem}") from error

    async def _follow(self, url: yarl.URL, sink: _Sink, access: Access) -> Download:
        for _ in range(_MAX_REDIRECTS + 1):
            async with (
                self._session(access.tls) as session,
                session.get(url, headers=_authorization(access), allow_redirects=False) as response,
            ):
                if response.status not in _REDIRECTS:
                    return await _receive(response, url, sink)
                location = response.headers.get("Location", "")
            url, old = _next_hop(url, location), url
            if not same_origin(url, old):
                access = access.for_redirect(url)
        raise WebError(f"{shown(url)}: more than {_MAX_REDIRECTS} redirects")

    @asynccontextmanager
    async def _session(self, tls: Tls) -> AsyncIterator[aiohttp.ClientSession]:
        context = await self._context(tls)
        async with aiohttp.ClientSession(
            connector=self._connector(context),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            max_line_size=_MAX_LINE,
            max_field_size=_MAX_LINE,
            headers=_HEADERS,
            timeout=aiohttp.ClientTimeout(total=None),  # ``download`` has one for everything
        ) as session:
            yield session

    async def _context(self, tls: Tls) -> ssl.SSLContext:
        known = self._contexts.get(tls)
        if known is None:
            known = await in_thread(lambda _: tls_context(tls))
            self._contexts[tls] = known
            if len(self._contexts) > _MAX_CONTEXTS:
                self._contexts.popitem(last=False)
        self._contexts.move_to_end(tls)
        return known


def _authorization(access: Access) -> dict[str, str]:
    if not access.username and not access.password:
        return {}
    pair = f"{access.username}:{access.password}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


class _Sink:
    """Writes, counts and hashes."""

    def __init__(self, out: BinaryIO, max_bytes: int, algorithm: str) -> None:
        self._out = out
        self._max_bytes = max_bytes
        self._size = 0
        self._algorithm = algorithm
        self._hasher = new_hasher(algorithm)

    def write(self, piece: bytes) -> None:
        self._size += len(piece)
        self.check(self._size)
        self._hasher.update(piece)
        self._out.write(piece)

    def check(self, size: int) -> None:
        if size > self._max_bytes:
            raise WebError(f"the content exceeds the maximum size of {self._max_bytes} bytes")

    def finish(self) -> Download:
        self._out.flush()
        return Download(self._size, Digest(self._algorithm, self._hasher.hexdigest()))


async def _receive(response: aiohttp.ClientResponse, url: yarl.URL, sink: _Sink) -> Download:
    if response.status == http.HTTPStatus.UNAUTHORIZED:
        raise AccessRefused(f"failed to fetch {shown(url)}: {_status_text(response.status)}")
    if response.status != http.HTTPStatus.OK:
        raise WebError(f"failed to fetch {shown(url)}: {_status_text(response.status)}")
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip"}:
        raise WebError(f"failed to fetch {shown(url)}: its content encoding was not asked for")
    if encoding not in {"gzip", "x-gzip"}:
        sink.check(response.content_length or 0)
        async for block in response.content.iter_chunked(_BLOCK):
            sink.write(block)
        return sink.finish()
    gunzip, received = Gunzip(), 0
    async for block in response.content.iter_chunked(_BLOCK):
        received += len(block)
        sink.check(received - received // 64 - _BLOCK)  # what gzip adds where it cannot compress
        for piece in gunzip.feed(block):
            sink.write(piece)
            await asyncio.sleep(0)  # a block can stand for a thousand times its size
    if not gunzip.complete:
        raise WebError(f"failed to fetch {shown(url)}: the answer ends too early")
    return sink.finish()


def _next_hop(url: yarl.URL, location: str) -> yarl.URL:
    try:
        target = url.join(yarl.URL(location)).with_user(None)
        valid = bool(location) and target.scheme in {"http", "https"} and bool(target.host)
    except ValueError:  # the host is decoded only when somebody looks at it
        raise WebError(f"{shown(url)} redirects to what is no address") from None
    if not valid:
        raise WebError(f"{shown(url)} redirects to what is no address")
    if url.scheme == "https" and target.scheme == "http":
        raise WebError(f"{shown(url)} redirects from https to http")
    return target


def _status_text(status: int) -> str:
    try:
        return f"{status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return f"status {status}"


def _explain(error: aiohttp.ClientError) -> str:
    """What happened, in words of ours: the library's may quote an address with its secrets."""
    ours = _cause_of_ours(error)
    if ours is not None:
        return str(ours)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        found = error.certificate_error
        detail = found.verify_message if isinstance(found, ssl.SSLCertVerificationError) else ""
        return f"the server's certificate is not trusted: {detail or 'it does not verify'}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the host name {error.host!r} does not resolve"
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(
        error, aiohttp.ClientSSLError
    ):
        return f"cannot connect to {error.host}:{error.port}: {error.strerror}"
    return next((text for kind, text in _TEXTS if isinstance(error, kind)), "the request failed")


_NO_TRUST = (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError)
_TEXTS: tuple[tuple[type[aiohttp.ClientError], str], ...] = (
    (aiohttp.ClientSSLError, "the TLS handshake failed"),
    (aiohttp.ClientPayloadError, "the answer ends too early"),
    (aiohttp.ServerDisconnectedError, "the server closed the connection"),
    (aiohttp.ClientOSError, "the server closed the connection"),
    (aiohttp.ClientResponseError, "the answer is not HTTP"),
)


def _cause_of_ours(error: BaseException) -> FluvialError | None:
    """What the connector has refused, wherever the library has wrapped it."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, FluvialError):
            return link
        link = getattr(link, "os_error", None) or link.__cause__
    return None
