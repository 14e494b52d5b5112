"""The one way in which storages are asked.

Every request is made anew for each attempt, so that its signature is fresh. Redirects are never
followed: what proves who we are is for the host that the object names, and for no other.
"""

from __future__ import annotations

import http
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import orjson
from yarl import URL

from fluvial.clock import Clock
from fluvial.net.errors import AddressDenied, net_error
from source_controller.bucket.stores import xml
from source_controller.bucket.stores.errors import (
    Changed,
    InvalidAnswer,
    NoBucket,
    NoObject,
    Refused,
    StoreError,
    TooLarge,
    Unreachable,
)
from source_controller.bucket.stores.model import Limits

__all__ = ["HttpBody", "Make", "Requests", "Sent", "read_body"]

_BLOCK = 1 << 16
_MAX_ERROR = 64 << 10
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_FIRST_WAIT, _WAIT_FACTOR, _LONGEST_WAIT = 0.2, 3, 5.0
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_NO_BUCKET = frozenset({"NoSuchBucket", "ContainerNotFound"})


@dataclass(frozen=True, slots=True)
class Sent:
    """One request, ready to be sent.

    Attributes:
        url: encoded, with its query.
        what: is asked for, for errors.

    """

    method: str
    url: URL
    what: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


Make = Callable[[], Awaitable[Sent]]
"""Makes a request, for one attempt."""


class Requests:
    """Asks one storage as one trust domain.

    Args:
        session: made for that trust domain; whoever made it closes it.
        clock: for waits.
        limits: attempts, and bytes of an answer.

    """

    def __init__(self, session: aiohttp.ClientSession, *, clock: Clock, limits: Limits) -> None:
        self._session = session
        self._clock = clock
        self.limits = limits

    @asynccontextmanager
    async def open(
        self, make: Make, *, fine: frozenset[int] = frozenset({200})
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer, its body yet to be read.

        Args:
            make: makes the request, for each attempt.
            fine: statuses that are no error.

        Raises:
            Refused: another status, after all attempts.
            Unreachable: no answer, after all attempts.
            InvalidAnswer: a redirect.

        """
        response, sent = await self._persist(make)
        try:
            if response.status not in fine:
                raise await _error_of(response, sent)
            yield response
        finally:
            response.close()

    @asynccontextmanager
    async def content(self, make: Make, *, key: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """An object that was asked for on a condition.

        Args:
            make: as for ``open``.
            key: for errors.

        Raises:
            Changed: it does not meet the condition.
            StoreError: as ``open``.

        """
        try:
            async with self.open(make) as response:
                yield response
        except Refused as error:
            if error.status != http.HTTPStatus.PRECONDITION_FAILED:
                raise
            text = f"object {key!r} has changed"
            raise Changed(text, status=error.status, code=error.code) from error

    async def read(self, make: Make, *, limit: int = 0) -> bytes:
        """A whole answer.

        Args:
            make: as for ``open``.
            limit: bytes; ``limits.max_answer`` if it is 0.

        Raises:
            StoreError: as ``open``; or the answer is too large or stopped.

        """
        async with self.open(make) as response:
            return await read_body(response, limit or self.limits.max_answer)

    async def _persist(self, make: Make) -> tuple[aiohttp.ClientResponse, Sent]:
        wait = _FIRST_WAIT
        for left in range(self.limits.attempts - 1, -1, -1):
            sent = await make()
            try:
                response = await self._send(sent)
            except _Passing as error:
                if not left:
                    raise Unreachable(str(error)) from error
            else:
                if response.status not in _AGAIN or not left:
                    return response, sent
                wait = max(wait, _retry_after(response))
                response.close()
            await self._clock.sleep(min(wait, _LONGEST_WAIT))
            wait *= _WAIT_FACTOR
        raise AssertionError("unreachable")

    async def _send(self, sent: Sent) -> aiohttp.ClientResponse:
        try:
            return await self._session.request(
                sent.method,
                sent.url,
                headers=sent.headers,
                data=sent.body or None,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            text = f"cannot get {sent.what}: {_why(error, sent.url)}"
            lasting = isinstance(error, aiohttp.ClientConnectorCertificateError)
            if lasting or isinstance(net_error(error), AddressDenied):
                raise Unreachable(text) from error
            raise _Passing(text) from error


class _Passing(StoreError):
    """No answer, and perhaps one the next time."""


class HttpBody:
    """The content of an object out of an answer.

    Args:
        response: with its body to read.
        etag: of that content; that of the answer's head if it is ``""``.

    """

    def __init__(self, response: aiohttp.ClientResponse, *, etag: str = "") -> None:
        self._response = response
        self.etag = etag or response.headers.get("ETag", "").removeprefix("W/").strip('"')

    async def blocks(self) -> AsyncIterator[bytes]:
        """See ``model.Body``."""
        try:
            async for block in self._response.content.iter_chunked(_BLOCK):
                yield block
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable(_why(error, self._response.url)) from error


async def read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """A body that is small enough to hold.

    Raises:
        TooLarge: it is longer than ``limit``; the rest is not read.
        Unreachable: it stopped.

    """
    found = bytearray()
    async for block in HttpBody(response).blocks():
        found += block
        if len(found) > limit:
            raise TooLarge(f"{response.url.host} gave an answer of more than {limit} bytes")
    return bytes(found)


async def _error_of(response: aiohttp.ClientResponse, sent: Sent) -> StoreError:
    status = response.status
    host = sent.url.host
    if 300 <= status < 400 and status != 304:
        region = _word(response.headers.get("x-amz-bucket-region", ""))
        hint = f": the bucket's region is {region}" if region else ""
        return InvalidAnswer(f"{host} redirects to another place, which is not followed{hint}")
    code, region = await _told(response)
    detail = f"{host} answered {status}{f' ({code})' if code else ''}"
    text = f"cannot get {sent.what}: {detail}"
    if code in _NO_BUCKET:
        return NoBucket(text, status=status, code=code)
    if status == http.HTTPStatus.NOT_FOUND:
        return NoObject(text, status=status, code=code)
    return Refused(text, status=status, code=code, region=region)


async def _told(response: aiohttp.ClientResponse) -> tuple[str, str]:
    """Error code and region; texts are not shown, for they may repeat what was sent."""
    region = _word(response.headers.get("x-amz-bucket-region", ""))
    code = _word(response.headers.get("x-ms-error-code", ""))
    if code:
        return code, region
    try:
        body = await read_body(response, _MAX_ERROR)
        if body.lstrip()[:1] != b"<":
            return _word(_json_code(body)), region
        root = xml.parse(body)
    except (StoreError, ValueError):
        return "", region
    return _word(root.value("Code")), region or _word(root.value("Region"))


def _word(text: str) -> str:
    return text if _CODE.fullmatch(text) else ""


def _json_code(body: bytes) -> str:
    document = orjson.loads(body)
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(error, str):
        return error
    if not isinstance(error, dict):
        return ""
    listed = error.get("errors")
    first = listed[0] if isinstance(listed, list) and listed else {}
    found = first.get("reason") if isinstance(first, dict) else None
    return str(found or error.get("status") or "")


def _retry_after(response: aiohttp.ClientResponse) -> float:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 5 else 0.0


def _why(error: BaseException, url: URL) -> str:
    """What happened, in words of ours: the library's may quote an address with its query."""
    ours = net_error(error)
    if ours is not None:
        return str(ours)
    host = url.host if url.explicit_port is None else f"{url.host}:{url.port}"
    for kind, text in _CAUSES:
        if isinstance(error, kind):
            return text.format(host)
    return f"{host} does not answer as HTTP says"


_CAUSES: tuple[tuple[type[BaseException], str], ...] = (
    (TimeoutError, "{} did not answer in time"),
    (aiohttp.ClientConnectorCertificateError, "the certificate of {} cannot be verified"),
    (aiohttp.ClientSSLError, "TLS with {} failed"),
    (aiohttp.ClientConnectorError, "cannot connect to {}"),
    (aiohttp.ClientPayloadError, "the answer of {} ends too early"),
    (aiohttp.ClientConnectionError, "the connection to {} broke"),
)
