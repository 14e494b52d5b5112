"""Which addresses a connection may lead to.

Whoever may create a source may make the controller connect anywhere, and read in the status what
came of it. So what only the machine itself should reach is denied: loopback, link-local, the
metadata services of clouds, and the API server. Addresses of Services and of other networks stay
allowed: registries and Git servers live there.

What counts is the address, never the name: it is checked after DNS, at the moment of connecting
(``dialer``). IPv6 addresses that stand for an IPv4 one are judged by that.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from fluvial.net.errors import AddressDenied

__all__ = ["AddressPolicy", "Endpoint", "Network", "parse_networks"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Endpoint = tuple[str, int]

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_METADATA = {
    ipaddress.ip_address(text): who
    for text, who in (
        ("169.254.169.254", "AWS, Azure, Google Cloud, OpenStack and others"),
        ("169.254.170.2", "Amazon ECS"),
        ("169.254.170.23", "Amazon EKS"),
        ("fd00:ec2::254", "AWS"),
        ("fd00:ec2::23", "Amazon EKS"),
        ("fd20:ce::254", "Google Cloud"),
        ("100.100.100.200", "Alibaba Cloud"),
        ("fd00:100::100:200", "Alibaba Cloud"),
        ("168.63.129.16", "Azure"),
        ("192.0.0.192", "Oracle Cloud"),
        ("fd00:c1::a9fe:a9fe", "Oracle Cloud"),
        ("169.254.42.42", "Scaleway"),
        ("fd00:42::42", "Scaleway"),
        ("fd00:a9fe:a9fe::1", "Akamai"),
        ("169.254.0.23", "Tencent Cloud"),
    )
}
# Asked in this order; the first that fits gives the reason.
_DENIED: tuple[tuple[str, tuple[Network, ...]], ...] = tuple(
    (reason, tuple(ipaddress.ip_network(text) for text in networks))
    for reason, networks in (
        ("a loopback address", ("127.0.0.0/8", "::1/128")),
        ("a link-local address", ("169.254.0.0/16", "fe80::/10")),
        ("an unspecified address", ("0.0.0.0/8", "::/128")),
        ("a multicast or broadcast address", ("224.0.0.0/4", "255.255.255.255/32", "ff00::/8")),
        ("a reserved address", ("240.0.0.0/4", "192.0.0.0/24", "fec0::/10")),
        ("an address of a transition mechanism", ("64:ff9b:1::/48", "2002::/16", "2001::/32")),
    )
)


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """Judges addresses.

    Attributes:
        allowed: networks that may be reached although they are denied by kind, such as loopback
            for a development cluster.
        api_servers: addresses and ports of the cluster's API server: denied whatever is allowed.

    """

    allowed: tuple[Network, ...] = ()
    api_servers: frozenset[tuple[Address, int]] = frozenset()

    @classmethod
    def build(
        cls, *, allowed: Iterable[Network] = (), api_servers: Iterable[Endpoint] = ()
    ) -> AddressPolicy:
        """A policy.

        Args:
            allowed: see above.
            api_servers: pairs of an address in text form and a port.

        """
        endpoints = ((_effective(parse_address(host)), port) for host, port in api_servers)
        return cls(tuple(allowed), frozenset(endpoints))

    def check(self, address: str, port: int, *, host: str = "") -> None:
        """Refuse an address.

        Args:
            address: in text form, a zone (``%eth0``) is ignored.
            port: TCP port.
            host: the name that led here, for the message.

        Raises:
            AddressDenied: with the reason and what an operator can do.

        """
        reason = self._reason(_effective(parse_address(address)), port)
        if not reason:
            return
        name = f"{host} ({address})" if host and host != address else address
        raise AddressDenied(
            f"connections to {name}, {reason}, are not allowed"
            " (an operator can allow networks with --allow-outbound)"
        )

    def _reason(self, address: Address, port: int) -> str:
        if (address, port) in self.api_servers:
            return "the cluster's API server"
        if any(address in network for network in self.allowed):
            return ""
        if address in _METADATA:
            return f"the metadata service of {_METADATA[address]}"
        return next(
            (reason for reason, networks in _DENIED if any(address in net for net in networks)), ""
        )


def parse_address(text: str) -> Address:
    """An address from its text form, without a zone.

    Raises:
        ValueError: it is none.

    """
    return ipaddress.ip_address(text.partition("%")[0])


def parse_networks(text: str) -> tuple[Network, ...]:
    """Networks from a comma-separated list such as ``127.0.0.0/8,::1``.

    Raises:
        ValueError: with a message that names the entry.

    """
    found: list[Network] = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        try:
            found.append(ipaddress.ip_network(entry))
        except ValueError as error:
            raise ValueError(f"{entry!r} is not a network: {error}") from error
    return tuple(found)


def _effective(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, where it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    embeds = address in _NAT64 or (address in _COMPATIBLE and int(address) > 1)
    return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF) if embeds else address
