"""The one place where connections to registries and token services come from.

Every connection goes through the dialer, which checks the address that is connected to and knows
the operator's proxies. The HTTP library reads no environment: no ``.netrc`` of the process counts.
"""

from __future__ import annotations

import ssl
from dataclasses import replace

import aiohttp

from fluvial.artifact.threads import in_thread
from fluvial.net import tls
from fluvial.net.dialer import Dialer
from fluvial.net.tls import Tls
from source_controller.oci.access import Access
from source_controller.oci.errors import InvalidCredentials

__all__ = ["foreign_context", "open_session", "tls_context"]

_CONNECTIONS = 100
_MAX_LINE = 16 << 10
_MAX_HEADERS = 32 << 10  # addresses of blobs carry signatures of several KiB
_READ_BUFFER = 1 << 18


async def open_session(access: Access, dialer: Dialer) -> aiohttp.ClientSession:
    """A session for one trust domain; the caller closes it.

    Args:
        access: CA, client certificate, proxy.
        dialer: makes the connections.

    Raises:
        InvalidCredentials: the CA or the client certificate cannot be used.

    """
    context = await in_thread(lambda _: tls_context(access))
    return aiohttp.ClientSession(
        connector=dialer.connector(tls=context, limit=_CONNECTIONS, proxy=access.proxy),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        max_line_size=_MAX_LINE,
        max_field_size=_MAX_HEADERS,
        read_bufsize=_READ_BUFFER,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=30),
        headers={"User-Agent": "fluvial-source-controller", "Accept-Encoding": "identity"},
    )


def foreign_context(access: Access) -> ssl.SSLContext | None:
    """How TLS is spoken with hosts that the registry redirects to: without its certificate.

    Returns:
        ``None`` if there is no client certificate, so that nothing is different. Blocks.

    """
    return tls_context(replace(access, certificate="", key="")) if access.certificate else None


def tls_context(access: Access) -> ssl.SSLContext:
    """How TLS is spoken; reads the system's authorities, so call it in a thread.

    Raises:
        InvalidCredentials: the CA or the client certificate cannot be used.

    """
    given = Tls(access.ca, access.certificate, access.key, verify=access.verifies)
    try:
        return tls.tls_context(given)
    except tls.InvalidTls as error:
        raise InvalidCredentials(str(error)) from error
