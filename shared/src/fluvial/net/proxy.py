"""A user's own proxy: what its Secret says, and how to get through it to a host.

HTTP proxies are asked with CONNECT (RFC 9110 §9.3.6) for every port, HTTPS ones inside TLS,
SOCKS5 ones with the name, which they resolve themselves (RFC 1928, RFC 1929). The address of the
proxy is checked like any other; what lies behind it is the proxy's to decide.
"""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from fluvial.net.errors import DialFailed, ProxyFailed
from fluvial.net.hosts import host_name

__all__ = ["ProxyServer", "pass_through"]

_MAX_ADDRESS = 2048
_MAX_HEAD = 16 << 10
_PORTS = {"http": 80, "https": 443, "socks5": 1080}
_SOCKS_REPLIES = {
    1: "general failure",
    2: "not allowed by its rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "time to live expired",
    7: "command not supported",
    8: "address type not supported",
}


@dataclass(frozen=True, slots=True)
class ProxyServer:
    """Where a proxy is and who we are to it.

    Attributes:
        scheme: how it is spoken to.
        host: name or address.
        port: TCP port.
        username: ``""`` for none.
        password: the same.

    """

    scheme: Literal["http", "https", "socks5"]
    host: str
    port: int
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, address: str, *, username: str = "", password: str = "") -> ProxyServer:
        """Read the address of a proxy Secret.

        Args:
            address: URL of at most 2048 characters; http, https or socks5; no user information,
                which belongs into its own keys.
            username: of the Secret.
            password: of the Secret.

        Raises:
            ValueError: with a message that does not repeat the address, which may hold secrets.

        """
        if len(address) > _MAX_ADDRESS:
            raise ValueError(f"the proxy address is longer than {_MAX_ADDRESS} characters")
        try:
            parts = urlsplit(address)
            port = parts.port
        except ValueError:
            raise ValueError("the proxy address is not a valid URL") from None
        if parts.scheme not in _PORTS:
            raise ValueError("the proxy address must begin with http://, https:// or socks5://")
        if (
            not _is_host(parts.hostname)
            or parts.query
            or parts.fragment
            or parts.path not in {"", "/"}
        ):
            raise ValueError("the proxy address must be scheme://host:port and nothing else")
        if parts.username is not None or parts.password is not None:
            raise ValueError("put the proxy's user and password into the keys username, password")
        if ":" in username or not (username + password).isprintable():
            raise ValueError("the proxy's username or password has characters that cannot be sent")
        scheme: Literal["http", "https", "socks5"] = parts.scheme  # type: ignore[assignment]  # checked above
        return cls(
            scheme, host_name(parts.hostname or ""), port or _PORTS[scheme], username, password
        )


def _is_host(name: str | None) -> bool:
    try:
        return bool(host_name(name or ""))
    except DialFailed:
        return False


async def pass_through(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    *,
    proxy: ProxyServer,
    host: str,
    port: int,
) -> None:
    """Ask a proxy, on a fresh connection to it, for a tunnel to a host.

    Raises:
        ProxyFailed: it refused or spoke nonsense.

    """
    try:
        if proxy.scheme == "socks5":
            await _socks5(reader, writer, proxy, host=host, port=port)
        else:
            await _connect(reader, writer, proxy, host=host, port=port)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError) as error:
        if isinstance(error, ProxyFailed):
            raise
        raise _failed(proxy, "it ended the connection") from error


async def _connect(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    proxy: ProxyServer,
    *,
    host: str,
    port: int,
) -> None:
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.username or proxy.password:
        pair = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {pair}")
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    await writer.drain()
    head = await reader.readuntil(b"\r\n\r\n")
    status = head[:_MAX_HEAD].split(b"\r\n", 1)[0].split(b" ", 2)
    if len(status) < 2 or not status[0].startswith(b"HTTP/1.") or not status[1].isdigit():
        raise _failed(proxy, "it does not answer as an HTTP proxy")
    if not 200 <= int(status[1]) < 300:
        hint = ": check its username and password" if int(status[1]) == 407 else ""
        raise _failed(proxy, f"it answers {int(status[1])} to CONNECT{hint}")


async def _socks5(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    proxy: ProxyServer,
    *,
    host: str,
    port: int,
) -> None:
    with_password = bool(proxy.username or proxy.password)
    writer.write(b"\x05\x02\x00\x02" if with_password else b"\x05\x01\x00")
    version, method = await reader.readexactly(2)
    if version != 5 or method not in ({0, 2} if with_password else {0}):
        raise _failed(proxy, "it offers no authentication that the Secret has credentials for")
    if method == 2:
        user, password = proxy.username.encode()[:255], proxy.password.encode()[:255]
        writer.write(bytes([1, len(user)]) + user + bytes([len(password)]) + password)
        if (await reader.readexactly(2))[1] != 0:
            raise _failed(proxy, "it refuses the username and password")
    name = host.encode("ascii")  # as ``host_name`` has it
    writer.write(b"\x05\x01\x00\x03" + bytes([len(name)]) + name + port.to_bytes(2, "big"))
    _, reply, _, kind = await reader.readexactly(4)
    if reply:
        raise _failed(proxy, _SOCKS_REPLIES.get(reply, f"reply {reply}"))
    length = {1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0]
    await reader.readexactly(length + 2)


def _failed(proxy: ProxyServer, problem: str) -> ProxyFailed:
    return ProxyFailed(f"the proxy {proxy.host}:{proxy.port} failed: {problem}")
