"""Where to listen.

TLS cannot be switched off. On a loopback address that and RBAC are enough; whoever can reach any
other address has to prove who they are for every single request, by a token that cannot be guessed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

__all__ = ["AddressRefused", "listening_address"]

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_TOKEN_LENGTH = 32
# IPv6 addresses that stand for an IPv4 one: which one is meant is written plainly or not at all.
_EMBEDDING = tuple(
    ipaddress.IPv6Network(network) for network in ("::/96", "::ffff:0:0/96", "64:ff9b::/96")
)


class AddressRefused(ValueError):
    """devcluster does not listen there; the message says what would be accepted."""


def listening_address(text: str, *, anonymous: bool, tokens: Iterable[str]) -> IPAddress:
    """The address to listen on.

    Args:
        text: one IP address, written out. Names are refused: what they mean may change.
        anonymous: whether requests without credentials are answered at all.
        tokens: the fixed bearer tokens that are accepted.

    Raises:
        AddressRefused: it is no address, or one that is not safe like this.

    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise AddressRefused(f"{text!r} is not an IP address") from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise AddressRefused(f"{address} has a zone, which no URL and no certificate can have")
    if address == ipaddress.IPv6Address("::1"):
        return address
    if address.is_unspecified or address.is_multicast or address.is_link_local:
        raise AddressRefused(f"{address} is no loopback address and no single routed one")
    if isinstance(address, ipaddress.IPv6Address) and any(address in net for net in _EMBEDDING):
        raise AddressRefused(f"{address} stands for an IPv4 address; give that one")
    if not address.is_loopback:
        _check_exposed(address, anonymous=anonymous, tokens=tokens)
    return address


def _check_exposed(address: IPAddress, *, anonymous: bool, tokens: Iterable[str]) -> None:
    if anonymous:
        raise AddressRefused(
            f"{address} is not a loopback address: listening there takes --no-anonymous"
        )
    if any(len(token) < _TOKEN_LENGTH for token in tokens):
        raise AddressRefused(
            f"{address} is not a loopback address: each token there needs at least"
            f" {_TOKEN_LENGTH} characters"
        )
