"""The operator's own proxies: ``HTTPS_PROXY`` and its kin, as Go's programs read them.

Which variables count and how they are understood is that of ``golang.org/x/net/http/httpproxy``,
so that a deployment that was written for Flux connects as before. The values are given by a
controller's composition root; nothing here looks at the process's environment.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from fluvial.net.policy import Address, Network
from fluvial.net.proxy import ProxyServer

__all__ = ["NO_PROXIES", "EnvironmentProxies"]

_SCHEMES = ("http", "https", "socks5", "socks5h")


@dataclass(frozen=True, slots=True)
class _Exception:
    """One entry of ``NO_PROXY``; the first of its attributes that is set counts.

    Attributes:
        everything: ``*``.
        network: addresses.
        domain: begins with a dot: names that end with it.
        itself: the name without the dot, too.
        port: ``""`` for every one.

    """

    everything: bool = False
    network: Network | None = None
    domain: str = ""
    itself: bool = False
    port: str = ""

    def fits(self, host: str, address: Address | None, port: str) -> bool:
        if self.everything:
            return True
        if self.port not in {"", port}:
            return False
        if self.network is not None:
            return address is not None and address in self.network
        return host.endswith(self.domain) or (self.itself and host == self.domain[1:])


@dataclass(frozen=True, slots=True)
class EnvironmentProxies:
    """Through which proxy connections go whose object names none.

    Attributes:
        http: for plain HTTP.
        https: for HTTPS.
        everything: for all else, such as SSH.
        exceptions: entries of ``NO_PROXY``.

    """

    http: ProxyServer | None = None
    https: ProxyServer | None = None
    everything: ProxyServer | None = None
    exceptions: tuple[_Exception, ...] = field(default=(), repr=False)

    def __bool__(self) -> bool:
        return any((self.http, self.https, self.everything))

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> EnvironmentProxies:
        """The proxies that an environment names.

        Args:
            environ: ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``; of each the
                form in lower case counts where the other is empty.

        Raises:
            ValueError: a value is no address of a proxy; the message names the variable alone.

        """
        return cls(
            _proxy(environ, "HTTP_PROXY"),
            _proxy(environ, "HTTPS_PROXY"),
            _proxy(environ, "ALL_PROXY"),
            tuple(_exceptions(_value(environ, "NO_PROXY"))),
        )

    def choose(self, scheme: str, host: str, port: int) -> ProxyServer | None:
        """The proxy for a connection; ``None`` for a direct one.

        Args:
            scheme: ``http``, ``https`` or another.
            host: name or address, without brackets.
            port: TCP port.

        """
        proxy = {"http": self.http, "https": self.https}.get(scheme, self.everything)
        if proxy is None:
            return None
        host = host.lower().rstrip(".")
        address = _address(host)
        if host == "localhost" or (address is not None and address.is_loopback):
            return None
        if any(item.fits(host, address, str(port)) for item in self.exceptions):
            return None
        return proxy


NO_PROXIES = EnvironmentProxies()


def _value(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or environ.get(name.lower()) or ""


def _proxy(environ: Mapping[str, str], name: str) -> ProxyServer | None:
    text = _value(environ, name).strip()
    if not text:
        return None
    try:
        if urlsplit(text).scheme not in _SCHEMES:
            text = f"http://{text}"
        parts = urlsplit(text)
        address = parts._replace(
            netloc=parts.netloc.rpartition("@")[2], scheme=parts.scheme.removesuffix("h")
        )
        return ProxyServer.parse(
            address.geturl(),
            username=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
        )
    except ValueError as error:
        raise ValueError(f"{name} cannot be used: {error}") from None


def _exceptions(text: str) -> Iterator[_Exception]:
    entries = [entry.strip().lower() for entry in text.split(",")]
    if "*" in entries:
        yield _Exception(everything=True)
        return
    for entry in filter(None, entries):
        network = _network(entry)
        if network is not None:
            yield _Exception(network=network)
            continue
        host, port = _split(entry)
        address = _address(host)
        if address is not None:
            yield _Exception(network=ipaddress.ip_network(address), port=port)
        elif host:
            host = host.removeprefix("*") if host.startswith("*.") else host
            itself = not host.startswith(".")
            yield _Exception(
                domain=_ascii(f".{host}" if itself else host), itself=itself, port=port
            )


def _split(entry: str) -> tuple[str, str]:
    """Host and port; an IPv6 address has brackets where it has a port."""
    if entry.startswith("["):
        host, _, port = entry[1:].partition("]")
        return host, port.removeprefix(":")
    if entry.count(":") == 1:
        host, _, port = entry.partition(":")
        return host, port
    return entry, ""


def _network(entry: str) -> Network | None:
    if "/" not in entry:
        return None
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None


def _address(host: str) -> Address | None:
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def _ascii(host: str) -> str:
    try:
        return "." + host[1:].encode("idna").decode()
    except UnicodeError:
        return host
