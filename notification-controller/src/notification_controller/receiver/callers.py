"""Who calls: the address of the peer, or the one that a trusted proxy tells of."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from multidict import CIMultiDict, CIMultiDictProxy

from fluvial.net.policy import Network

__all__ = ["Callers"]

_HEADER = "X-Forwarded-For"
_IPV6_SHARE = 64  # the bits of an IPv6 address that say whose it is

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Callers:
    """Tells callers apart, for limits and logs; never for whether a call is taken.

    Attributes:
        trusted: networks of proxies whose ``X-Forwarded-For`` counts (``--trusted-proxies``).

    """

    trusted: Sequence[Network] = ()

    def of(self, peer: str, headers: CIMultiDict[str] | CIMultiDictProxy[str]) -> str:
        """The address of whoever called.

        Each proxy adds the address it was called from on the right, and what stands further left
        was told by others. So addresses are read from the right for as long as the one who told
        them is trusted; what is no address ends that.

        Args:
            peer: the other end of the connection.
            headers: of the call.

        Returns:
            The address without a port. ``peer`` as it is where it is no address.

        """
        caller = _address(peer)
        if caller is None:
            return peer
        for told in _from_the_right(headers):
            if not self._is_trusted(caller):
                break
            before = _address(told)
            if before is None:
                break
            caller = before
        return str(caller)

    def share(self, caller: str) -> str:
        """What limits count for: an IPv4 address, or the network of an IPv6 one.

        Whoever has one address of IPv6 has 2⁶⁴ of them.
        """
        address = _address(caller)
        if address is None or address.version == 4:
            return caller
        return str(ipaddress.ip_network((address, _IPV6_SHARE), strict=False))

    def _is_trusted(self, address: Address) -> bool:
        return any(
            address.version == network.version and address in network for network in self.trusted
        )


def _from_the_right(headers: CIMultiDict[str] | CIMultiDictProxy[str]) -> Iterator[str]:
    for line in reversed(headers.getall(_HEADER, [])):
        for part in reversed(line.split(",")):
            yield part.strip()


def _address(text: str) -> Address | None:
    """An address, with or without a port; IPv4 in IPv6 is IPv4, and a zone does not count."""
    host = text
    if text.startswith("["):
        host, bracket, _ = text[1:].partition("]")
        if not bracket:
            return None
    elif text.count(":") == 1:
        host = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
