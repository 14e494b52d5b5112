"""How to reach one API server: address, TLS, proxy and credentials, without any request.

``fluvial.kube.config`` and ``fluvial.kube.remote`` make these values; the transport uses them.
Private keys touch the disk only for as long as OpenSSL needs to read them (it takes no bytes).
"""

from __future__ import annotations

import ipaddress
import os
import ssl
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from fluvial.errors import FluvialError
from fluvial.kube.auth import Auth, NoAuth
from fluvial.net.tls import is_encrypted

__all__ = [
    "AddressCheck",
    "BadConnection",
    "Connection",
    "load_client_certificate",
    "proxy_for",
    "tls_context",
]

AddressCheck = Callable[[str, int], None]
"""Called with the address (IP text, port) about to be connected; raises ``OSError`` to refuse."""


class BadConnection(FluvialError):
    """The description of the connection is wrong; the text says which part and has no secret."""


@dataclass(frozen=True, slots=True)
class Connection:
    """One API server.

    Attributes:
        server: scheme, host, port and path prefix; no trailing slash.
        tls: ``None`` for plain HTTP.
        server_name: the TLS name to expect instead of the host, or ``""``.
        proxy: URL of an HTTP proxy, or ``""``.
        auth: source of the ``Authorization`` header.
        check_address: refuses addresses that must not be connected; ``None`` allows all.
        trusted: the operator chose the address. Where a tenant did, a refusal in other words than
            Kubernetes' is not quoted: it may be what an internal service says.

    """

    server: str
    tls: ssl.SSLContext | None = None
    server_name: str = ""
    proxy: str = field(default="", repr=False)
    auth: Auth = field(default_factory=NoAuth, repr=False)
    check_address: AddressCheck | None = None
    trusted: bool = True

    def __post_init__(self) -> None:
        parts = urlsplit(self.server)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise BadConnection("the server address must be an http(s) URL with a host")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise BadConnection("the server address must be scheme, host, port and path only")
        if any(part in {".", ".."} for part in parts.path.split("/")) or "%" in parts.path:
            raise BadConnection("the server address's path must not contain '.', '..' or '%'")

    @property
    def host(self) -> str:
        """Host and port, as metrics name the server."""
        return urlsplit(self.server).netloc


def tls_context(
    *,
    ca: bytes | None,
    certificate: bytes | None = None,
    key: bytes | None = None,
    insecure: bool = False,
) -> ssl.SSLContext:
    """TLS as a client of an API server; reads the system's roots if ``ca`` is ``None``.

    Args:
        ca: PEM certificates to trust, and no others.
        certificate: PEM client certificate chain; needs ``key``.
        key: PEM private key, not encrypted.
        insecure: verify nothing.

    Raises:
        BadConnection: something is not the PEM it should be, or key and certificate differ.

    """
    try:
        context = ssl.create_default_context(
            cadata=None if ca is None else ca.decode("ascii", errors="strict")
        )
    except (ssl.SSLError, UnicodeDecodeError, ValueError):
        raise BadConnection("the certificate authority is not PEM certificates") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if bool(certificate) != bool(key):
        raise BadConnection("a client certificate and its key must be given together")
    if certificate and key:
        load_client_certificate(context, certificate, key)
    return context


def load_client_certificate(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Use a client certificate for new connections.

    Raises:
        BadConnection: not PEM, encrypted, or the key is another certificate's.

    """
    if any(is_encrypted(text.decode("latin-1")) for text in (certificate, key)):
        raise BadConnection("the key of the client certificate is encrypted")
    handle, name = tempfile.mkstemp(prefix="fluvial-")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(certificate.rstrip() + b"\n" + key.rstrip() + b"\n")
        # Without a password function OpenSSL would ask on the terminal.
        context.load_cert_chain(name, password=lambda: "")
    except (ssl.SSLError, ValueError):
        raise BadConnection(
            "the client certificate or key is not valid PEM, or they do not match"
        ) from None
    finally:
        with suppress(OSError):
            os.unlink(name)  # noqa: PTH108 - the counterpart of mkstemp


def proxy_for(server: str, environ: Mapping[str, str]) -> str:
    """The proxy that ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY`` name for a server, or ``""``.

    The rules are Go's: loopback never goes through a proxy; ``NO_PROXY`` holds hosts, domain
    suffixes, addresses and networks, each with an optional port, or ``*``.
    """
    parts = urlsplit(server)
    host = (parts.hostname or "").lower()
    names = (
        ("HTTPS_PROXY", "https_proxy") if parts.scheme == "https" else ("HTTP_PROXY", "http_proxy")
    )
    proxy = next((environ[name] for name in names if environ.get(name)), "")
    if not proxy or _is_local(host):
        return ""
    port = str(parts.port or (443 if parts.scheme == "https" else 80))
    excluded = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    if any(_excludes(rule.strip().lower(), host, port) for rule in excluded.split(",")):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _excludes(rule: str, host: str, port: str) -> bool:
    if rule == "*":
        return True
    if not rule:
        return False
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(rule, strict=False)
    except ValueError:
        pass  # one of them is a name
    if rule.count(":") == 1:
        rule, _, wanted = rule.partition(":")
        if wanted != port:
            return False
    if rule.startswith("*."):
        rule = rule[1:]
    return (
        host.endswith(rule) if rule.startswith(".") else (host == rule or host.endswith("." + rule))
    )
