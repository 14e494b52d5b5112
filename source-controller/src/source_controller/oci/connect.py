"""The one place where connections to registries and token services come from.

Every connection goes through the dialer, which checks the address that is connected to. The
environment is never read, so no proxy and no ``.netrc`` of the process counts.
"""

from __future__ import annotations

import functools
import os
import ssl
from dataclasses import replace

import aiohttp

from fluvial.artifact.threads import in_thread
from fluvial.net.dialer import Dialer
from fluvial.net.tunnel import ProxyConnector
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
    connector = (
        dialer.connector(tls=context, limit=_CONNECTIONS)
        if access.proxy is None
        else ProxyConnector(dialer, access.proxy, context, limit=_CONNECTIONS)
    )
    return aiohttp.ClientSession(
        connector=connector,
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
    if access.verifies and not (access.ca or access.certificate):
        return _system_trust()
    context = _new_context()
    if not access.verifies:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if access.ca:
        try:
            context.load_verify_locations(cadata=access.ca)
        except (ssl.SSLError, ValueError) as error:
            raise InvalidCredentials("'ca.crt' holds no certificate that can be used") from error
    if access.certificate:
        _load_certificate(context, access)
    return context


@functools.cache
def _system_trust() -> ssl.SSLContext:
    """The same for everybody who brings no trust of his own; never changed after it is made."""
    return _new_context()


def _new_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _load_certificate(context: ssl.SSLContext, access: Access) -> None:
    # OpenSSL reads them from files only; this one has no name.
    descriptor = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(access.key.encode() + b"\n" + access.certificate.encode())
        file.flush()
        try:
            context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=lambda: "")
        except (ssl.SSLError, ValueError, OSError):
            raise InvalidCredentials(
                "'tls.crt' and 'tls.key' are no certificate and key that belong together"
            ) from None
