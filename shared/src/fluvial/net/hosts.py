"""Names of hosts: what may be one at all, and which are addresses in disguise."""

from __future__ import annotations

import socket

from fluvial.net.errors import DialFailed
from fluvial.net.policy import parse_address

__all__ = ["host_name", "literal_address"]

_LONGEST = 253
_FORBIDDEN = frozenset("/\\@?#\"'<>^`{|}[]")


def host_name(host: str) -> str:
    """A host as it is resolved and told to proxies: in ASCII.

    Args:
        host: name or address, without brackets.

    Raises:
        DialFailed: it is none; what it holds could be read as something else by others.

    """
    try:
        name = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError as error:
        raise DialFailed(f"{ascii(host)[:100]} is not a valid host name") from error
    if (
        not 0 < len(name) <= _LONGEST
        or any(not "!" <= char <= "~" for char in name)
        or not _FORBIDDEN.isdisjoint(name)
    ):
        raise DialFailed(f"{ascii(host)[:100]} is not a valid host name")
    return name


def literal_address(host: str) -> str:
    """The address that a host is, in its usual spelling; ``""`` for a name.

    Resolvers also take ``127.1``, ``0x7f000001`` and ``2130706433`` for an address.
    """
    try:
        return str(parse_address(host))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host.rstrip(".")))
    except OSError:
        return ""
