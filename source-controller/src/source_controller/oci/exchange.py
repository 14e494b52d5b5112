"""One HTTP request and its answer, with every bound that a hostile server could miss.

Redirects are followed by hand: a header that proves who we are is sent to the origin it belongs
to and to no other, and an address that was reached by TLS never leads to plain HTTP.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Mapping

import aiohttp
import orjson
from yarl import URL

from fluvial.net.errors import AddressDenied, net_error
from source_controller.oci.errors import (
    ContentTooLarge,
    Denied,
    InvalidContent,
    NotFound,
    RegistryError,
    RegistryUnreachable,
)
from source_controller.oci.limits import Limits

__all__ = ["ask", "error_of", "explain", "read_body"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_BLOCK = 1 << 16
_MAX_ERROR = 64 << 10


async def ask(
    http: aiohttp.ClientSession,
    method: str,
    url: URL,
    *,
    headers: Mapping[str, str] | None = None,
    authorization: str = "",
    data: Mapping[str, str] | None = None,
    foreign: ssl.SSLContext | None = None,
    home: URL | None = None,
    limits: Limits,
) -> aiohttp.ClientResponse:
    """The answer to a request, redirects followed, whatever its status; its body is yet to read.

    Args:
        http: of the trust domain.
        method: redirects are followed for GET and HEAD only.
        url: absolute.
        headers: sent to every origin.
        authorization: sent to the origin of ``url`` only; ``""`` for none.
        data: form of a POST.
        foreign: how TLS is spoken with other origins than ``home``, if it is not as with that.
        home: whom the session's client certificate is for; the origin of ``url`` if it is not given.
        limits: number of redirects, seconds until the head is there.

    Returns:
        The response, which the caller closes.

    Raises:
        RegistryUnreachable: no answer in time, or an address that must not be reached.

    """
    origin = url.origin()
    home = origin if home is None else home.origin()
    for _ in range(limits.max_redirects + 1):
        sent = dict(headers or {})
        if authorization and url.origin() == origin:
            sent["Authorization"] = authorization
        tls = None if url.origin() == home else foreign
        response = await _request(
            http, method, url, headers=sent, data=data, tls=tls, limits=limits
        )
        if response.status not in _REDIRECTS or method not in {"GET", "HEAD"}:
            return response
        location = response.headers.get("Location", "")
        response.close()
        url = _redirected(url, location)
    raise RegistryUnreachable(
        f"{origin.host} redirects more than {limits.max_redirects} times", passing=False
    )


def _redirected(url: URL, location: str) -> URL:
    try:
        target = url.join(URL(location, encoded=True))
        valid = bool(location) and target.scheme in {"http", "https"} and bool(target.host)
    except ValueError:
        raise RegistryUnreachable(
            f"{url.host} redirects to no valid address", passing=False
        ) from None
    if not valid or target.user is not None or target.password is not None:
        raise RegistryUnreachable(f"{url.host} redirects to no valid address", passing=False)
    if url.scheme == "https" and target.scheme != "https":
        raise RegistryUnreachable(f"{url.host} redirects from https to plain http", passing=False)
    return target.with_fragment(None)


async def _request(
    http: aiohttp.ClientSession,
    method: str,
    url: URL,
    *,
    headers: Mapping[str, str],
    data: Mapping[str, str] | None,
    tls: ssl.SSLContext | None,
    limits: Limits,
) -> aiohttp.ClientResponse:
    try:
        async with asyncio.timeout(limits.answer_seconds):
            return await http.request(
                method,
                url,
                headers=headers,
                data=data,
                allow_redirects=False,
                ssl=True if tls is None else tls,
            )
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        lasting = isinstance(error, aiohttp.ClientConnectorCertificateError) or isinstance(
            net_error(error), AddressDenied
        )
        raise RegistryUnreachable(explain(error, url), passing=not lasting) from error


def explain(error: Exception, url: URL) -> str:
    """Why a request failed, without anything but the host of its address."""
    denied = net_error(error)
    if denied is not None:
        return str(denied)
    host = url.host if url.explicit_port is None else f"{url.host}:{url.port}"
    for kind, text in _CAUSES:
        if isinstance(error, kind):
            return text.format(host)
    return f"{host} does not answer as HTTP says"


_CAUSES: tuple[tuple[type[Exception], str], ...] = (
    (TimeoutError, "{} did not answer in time"),
    (aiohttp.ClientConnectorCertificateError, "the certificate of {} cannot be verified"),
    (aiohttp.ClientSSLError, "TLS with {} failed"),
    (aiohttp.ClientConnectorError, "cannot connect to {}"),
    (aiohttp.ClientConnectionError, "the connection to {} broke"),
)


async def read_body(
    response: aiohttp.ClientResponse, *, limit: int, what: str, limits: Limits
) -> bytes:
    """A body that is small enough to hold.

    Args:
        response: of ``ask``.
        limit: bytes.
        what: named if it is larger.
        limits: seconds it may take.

    Raises:
        ContentTooLarge: it is longer than ``limit``; the rest is not read.
        RegistryUnreachable: it stopped.

    """
    if (response.content_length or 0) > limit:
        raise ContentTooLarge(f"{what} has more than {limit} bytes")
    found = bytearray()
    try:
        async with asyncio.timeout(limits.answer_seconds):
            async for block in response.content.iter_chunked(_BLOCK):
                found += block
                if len(found) > limit:
                    raise ContentTooLarge(f"{what} has more than {limit} bytes")
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise RegistryUnreachable(explain(error, response.url)) from error
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise InvalidContent(f"{what} is encoded in a way that was not asked for")
    return bytes(found)


async def error_of(response: aiohttp.ClientResponse, *, what: str, limits: Limits) -> RegistryError:
    """The error that an answer without success stands for.

    Args:
        response: with its body still to read.
        what: was asked for.
        limits: seconds the body may take.

    """
    status = response.status
    codes = await _codes(response, limits)
    detail = f"{response.url.host} answered {status}" + (f" ({', '.join(codes)})" if codes else "")
    if status in {401, 403}:
        return Denied(f"access to {what} denied: {detail}", status=status, codes=codes)
    if status == 404:
        return NotFound(f"{what} not found: {detail}", status=status, codes=codes)
    return RegistryError(f"cannot get {what}: {detail}", status=status, codes=codes)


async def _codes(response: aiohttp.ClientResponse, limits: Limits) -> tuple[str, ...]:
    """The registry's error codes; its texts are not shown, for they may repeat what was sent."""
    try:
        body = await read_body(response, limit=_MAX_ERROR, what="the error", limits=limits)
        errors = orjson.loads(body)["errors"]
        found = [str(item["code"]) for item in errors[:5]]
    except (ContentTooLarge, InvalidContent, RegistryUnreachable, ValueError, KeyError, TypeError):
        return ()
    return tuple(dict.fromkeys(code for code in found if _CODE.fullmatch(code)))
