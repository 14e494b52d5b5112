"""The one way out: resolve, check what was found, connect to just that.

A name is resolved once for a connection, the addresses that the policy denies are dropped, and
the connection goes to one of the rest: between check and use nothing is looked up again, so a name
that changes its address gains nothing. HTTP sessions get the same by ``connector``.
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

from fluvial.net.errors import AddressDenied, DialFailed
from fluvial.net.policy import AddressPolicy
from fluvial.net.proxy import ProxyServer, pass_through

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

    """

    def __init__(
        self,
        policy: AddressPolicy,
        *,
        resolve: Resolve = system_resolve,
        connect_timeout: float = _CONNECT_SECONDS,
    ) -> None:
        self.policy = policy
        self._resolve = resolve
        self._timeout = connect_timeout

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a host that may be connected to.

        Args:
            host: name, or address in text form.
            port: TCP port.

        Raises:
            AddressDenied: it has addresses, and all of them are denied.
            DialFailed: it has none.

        """
        try:
            found = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise DialFailed(f"the host name {host!r} does not resolve") from error
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

    async def connect(self, host: str, port: int, *, proxy: ProxyServer | None = None) -> Stream:
        """Connect to a host, directly or by a proxy.

        Args:
            host: name or address.
            port: TCP port.
            proxy: of the object; its own address is checked, the host is its to find.

        Returns:
            Streams that the caller closes.

        Raises:
            AddressDenied, DialFailed, ProxyFailed: see there.

        """
        try:
            async with asyncio.timeout(self._timeout):
                if proxy is None:
                    return await self._connect(host, port)
                return await self._connect_by(proxy, host, port)
        except TimeoutError as error:
            raise DialFailed(f"{host}:{port} did not answer within {self._timeout:g}s") from error

    def connector(
        self, *, tls: ssl.SSLContext | None = None, limit: int = 100
    ) -> aiohttp.TCPConnector:
        """A connector for one HTTP session, whose every connection is checked.

        Args:
            tls: trust and client certificate; ``None`` for the system's trust.
            limit: connections at once.

        """
        return aiohttp.TCPConnector(
            ssl=True if tls is None else tls,
            limit=limit,
            resolver=_CheckedResolver(self),
            socket_factory=self._socket,
        )

    async def _connect(self, host: str, port: int) -> Stream:
        found = [_address_info(item, port) for item in await self.addresses(host, port)]
        try:
            connected = await aiohappyeyeballs.start_connection(
                found, happy_eyeballs_delay=_STAGGER_SECONDS, socket_factory=self._socket
            )
        except OSError as error:
            detail = os.strerror(error.errno).lower() if error.errno else "no address answers"
            raise DialFailed(f"cannot connect to {host}:{port}: {detail}") from error
        return await asyncio.open_connection(sock=connected)

    async def _connect_by(self, proxy: ProxyServer, host: str, port: int) -> Stream:
        reader, writer = await self._connect(proxy.host, proxy.port)
        try:
            if proxy.scheme == "https":
                await writer.start_tls(ssl.create_default_context(), server_hostname=proxy.host)
            await pass_through(reader, writer, proxy=proxy, host=host, port=port)
        except BaseException:
            writer.close()
            raise
        return reader, writer

    def _socket(self, info: Any) -> socket.socket:
        """Called with every address just before it is connected to: the last word."""
        family, kind, protocol, _, address = info
        self.policy.check(str(address[0]), int(address[1]))
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made


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
