"""The one way out: resolve, check what was found, connect to just that.

A name is resolved once for a connection, the addresses that the policy denies are dropped, and
the connection goes to one of the rest: between check and use nothing is looked up again, so a name
that changes its address gains nothing. HTTP sessions get the same by ``connector``.

Behind a proxy the host is the proxy's to find. Of an object's own proxy the address is checked, and
nothing more: what it reaches, its owner reaches. An operator's proxy may be anywhere, and serves
everybody: it is asked for no host that is a denied address itself, in whatever spelling. What a
name means to it is for its own rules.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import aiohappyeyeballs
import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from fluvial.net.environment import NO_PROXIES, EnvironmentProxies
from fluvial.net.errors import AddressDenied, DialFailed, NetError, ProxyFailed
from fluvial.net.hosts import host_name, literal_address
from fluvial.net.policy import AddressPolicy
from fluvial.net.proxy import ProxyServer, pass_through
from fluvial.net.tunnel import ProxyConnector

__all__ = ["Dialer", "Resolve", "Stream", "system_resolve"]

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Resolve = Callable[[str, int], Awaitable[list[str]]]
"""From a host and port to addresses in text form, the preferred first; ``OSError`` if none."""

_CONNECT_SECONDS = 30.0
_STAGGER_SECONDS = 0.25


async def system_resolve(host: str, port: int) -> list[str]:
    """Addresses by the system's resolver."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


class Dialer:
    """Makes connections under a policy.

    Args:
        policy: which addresses may be reached.
        resolve: from names to addresses; tests give their own.
        connect_timeout: seconds to resolve and connect, proxies included.
        proxies: the operator's; an object's own wins.

    """

    def __init__(
        self,
        policy: AddressPolicy,
        *,
        resolve: Resolve = system_resolve,
        connect_timeout: float = _CONNECT_SECONDS,
        proxies: EnvironmentProxies = NO_PROXIES,
    ) -> None:
        self.policy = policy
        self.proxies = proxies
        self._resolve = resolve
        self._timeout = connect_timeout

    def under(self, policy: AddressPolicy) -> Dialer:
        """The same under another policy, for what the operator alone decides."""
        return Dialer(
            policy, resolve=self._resolve, connect_timeout=self._timeout, proxies=self.proxies
        )

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a host that may be connected to.

        Args:
            host: name, or address in text form.
            port: TCP port.

        Raises:
            AddressDenied: it has addresses, and all of them are denied.
            DialFailed: it has none.

        """
        found = await self._resolved(host, port)
        denied: AddressDenied | None = None
        allowed: list[str] = []
        for address in found:
            try:
                self.policy.check(address, port, host=host)
            except AddressDenied as error:
                denied = denied or error
            else:
                allowed.append(address)
        if allowed:
            return allowed
        raise denied or DialFailed(f"the host name {host!r} does not resolve")

    async def connect(
        self,
        host: str,
        port: int,
        *,
        proxy: ProxyServer | None = None,
        scheme: str = "https",
    ) -> Stream:
        """Connect to a host, directly or by a proxy.

        Args:
            host: name or address.
            port: TCP port.
            proxy: of the object; ``None`` for the operator's, if there is one for this host.
            scheme: what will be spoken, which chooses among the operator's proxies.

        Returns:
            Streams that the caller closes.

        Raises:
            AddressDenied, DialFailed, ProxyFailed: see there.

        """
        host = host_name(host)
        chosen = proxy or self.proxies.choose(scheme, host, port)
        try:
            async with asyncio.timeout(self._timeout):
                if chosen is None:
                    return await self._connect(host, port)
                if proxy is None:
                    self._check_behind_proxy(host, port)
                return await self._connect_by(chosen, host, port, by_operator=proxy is None)
        except TimeoutError as error:
            raise DialFailed(f"{host}:{port} did not answer within {self._timeout:g}s") from error
        except NetError:
            raise
        except (OSError, ValueError) as error:
            raise DialFailed(f"cannot connect to {host}:{port}") from error

    def connector(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        limit: int = 100,
        proxy: ProxyServer | None = None,
    ) -> aiohttp.BaseConnector:
        """A connector for one HTTP session, whose every connection is checked.

        Args:
            tls: trust and client certificate; ``None`` for the system's trust.
            limit: connections at once.
            proxy: of the object; as for ``connect``.

        """
        if proxy is not None or self.proxies:
            context = tls or ssl.create_default_context()
            return ProxyConnector(self, proxy, context, limit=limit)
        return aiohttp.TCPConnector(
            ssl=True if tls is None else tls,
            limit=limit,
            resolver=_CheckedResolver(self),
            socket_factory=self._socket,
        )

    async def _resolved(self, host: str, port: int) -> list[str]:
        try:
            return await self._resolve(host_name(host), port)
        except NetError:
            raise
        except (OSError, ValueError) as error:
            raise DialFailed(f"the host name {host!r} does not resolve") from error

    def _check_behind_proxy(self, host: str, port: int) -> None:
        address = literal_address(host)
        if address:
            self.policy.check(address, port, host=host)

    async def _connect(self, host: str, port: int) -> Stream:
        return await self._open(host, port, await self.addresses(host, port), self._socket)

    async def _open(
        self, host: str, port: int, addresses: list[str], make: Callable[[Any], socket.socket]
    ) -> Stream:
        try:
            connected = await aiohappyeyeballs.start_connection(
                [_address_info(item, port) for item in addresses],
                happy_eyeballs_delay=_STAGGER_SECONDS,
                socket_factory=make,
            )
        except NetError:
            raise
        except OSError as error:
            detail = os.strerror(error.errno).lower() if error.errno else "no address answers"
            raise DialFailed(f"cannot connect to {host}:{port}: {detail}") from error
        return await asyncio.open_connection(sock=connected)

    async def _connect_by(
        self, proxy: ProxyServer, host: str, port: int, *, by_operator: bool
    ) -> Stream:
        if by_operator:  # who sets the policy may have the proxy where nobody else may connect
            found = await self._resolved(proxy.host, proxy.port)
            reader, writer = await self._open(proxy.host, proxy.port, found, _plain_socket)
        else:
            reader, writer = await self._connect(proxy.host, proxy.port)
        try:
            if proxy.scheme == "https":
                await _start_tls(writer, proxy)
            await pass_through(reader, writer, proxy=proxy, host=host, port=port)
        except BaseException:
            writer.close()
            raise
        return reader, writer

    def _socket(self, info: Any) -> socket.socket:
        """Called with every address just before it is connected to: the last word."""
        address = info[4]
        self.policy.check(str(address[0]), int(address[1]))
        return _plain_socket(info)


def _plain_socket(info: Any) -> socket.socket:
    family, kind, protocol, _, _ = info
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    return made


async def _start_tls(writer: asyncio.StreamWriter, proxy: ProxyServer) -> None:
    where = f"{proxy.host}:{proxy.port}"
    try:
        await writer.start_tls(ssl.create_default_context(), server_hostname=proxy.host)
    except ssl.SSLCertVerificationError as error:
        raise ProxyFailed(f"the proxy {where} failed: its certificate is not trusted") from error
    except OSError as error:  # what TLS raises is one, too
        raise ProxyFailed(f"the proxy {where} failed: TLS with it fails") from error


def _address_info(address: str, port: int) -> tuple[Any, ...]:
    if ":" in address:
        numeric, _, zone = address.partition("%")
        scope = socket.if_nametoindex(zone) if zone else 0
        return (socket.AF_INET6, socket.SOCK_STREAM, 0, "", (numeric, port, 0, scope))
    return (socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, port))


class _CheckedResolver(AbstractResolver):
    """Gives an HTTP client only what may be connected to, with an error that says why."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        del family  # both are wanted
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in await self._dialer.addresses(host, port)
        ]

    async def close(self) -> None:
        """Nothing is held."""
