"""Who calls a webhook: nobody chooses that for himself, behind proxies or without."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from fluvial.net.policy import parse_networks
from notification_controller.receiver.callers import Callers

PROXIES = Callers(parse_networks("10.0.0.0/8,fd00::/8"))
few = settings(max_examples=30, deadline=None, database=None, derandomize=True)
PEER, PROXY = "203.0.113.9", "10.0.0.1"


def who(peer: str, *forwarded: str, callers: Callers = PROXIES) -> str:
    return callers.of(peer, CIMultiDict([("X-Forwarded-For", line) for line in forwarded]))


@pytest.mark.parametrize(
    ("peer", "forwarded", "caller"),
    [
        pytest.param(PEER, ("198.51.100.1",), PEER, id="nobody is trusted who is no proxy"),
        pytest.param(PEER, ("10.0.0.1",), PEER, id="nor by calling himself one"),
        pytest.param(PROXY, ("1.1.1.1, 203.0.113.9",), PEER, id="what the caller wrote himself"),
        pytest.param(PROXY, ("1.1.1.1", "203.0.113.9"), PEER, id="in a line of its own"),
        pytest.param(PROXY, ("203.0.113.9, 10.9.9.9",), PEER, id="through two proxies"),
        pytest.param(
            PROXY, ("10.1.1.1, 203.0.113.9, 10.9.9.9",), PEER, id="who claims to be a proxy, too"
        ),
        pytest.param(PROXY, ("203.0.113.9, what",), PROXY, id="a proxy that tells nonsense"),
        pytest.param(PROXY, ("what, 203.0.113.9",), PEER, id="nonsense of the caller"),
        pytest.param(PROXY, ("203.0.113.9,",), PROXY, id="an empty entry on the right"),
        pytest.param(PROXY, ("unknown",), PROXY, id="a proxy that hides it"),
        pytest.param(PROXY, ("",), PROXY, id="an empty header"),
        pytest.param(PROXY, (), PROXY, id="no header"),
        pytest.param(PROXY, ("10.0.0.7",), "10.0.0.7", id="proxies alone"),
    ],
)
def test_spoofed_addresses_do_not_count(peer: str, forwarded: tuple[str, ...], caller: str) -> None:
    assert who(peer, *forwarded) == caller


@pytest.mark.parametrize(
    ("peer", "forwarded", "caller"),
    [
        pytest.param(PROXY, "203.0.113.9:4711", PEER, id="with a port"),
        pytest.param(PROXY, "[2001:db8::1]:4711", "2001:db8::1", id="IPv6 with a port"),
        pytest.param(PROXY, "2001:db8::1", "2001:db8::1", id="IPv6"),
        pytest.param(PROXY, "2001:DB8:0::1", "2001:db8::1", id="IPv6 written otherwise"),
        pytest.param(PROXY, "::ffff:203.0.113.9", PEER, id="IPv4 in IPv6"),
        pytest.param("::ffff:10.0.0.1", PEER, PEER, id="a proxy as IPv4 in IPv6"),
        pytest.param("fd00::1%eth0", PEER, PEER, id="a proxy with a zone"),
        pytest.param(PROXY, "[2001:db8::1", PROXY, id="a bracket that does not end"),
        pytest.param("/run/socket", PEER, "/run/socket", id="no address"),
        pytest.param("", PEER, "", id="nothing"),
    ],
)
def test_forms_of_addresses(peer: str, forwarded: str, caller: str) -> None:
    assert who(peer, forwarded) == caller


def test_nobody_is_trusted_unless_the_operator_says_so() -> None:
    for peer in (PROXY, "127.0.0.1", "::1"):
        assert who(peer, "198.51.100.1", callers=Callers()) == peer


@few
@given(st.lists(st.text(max_size=40) | st.ip_addresses().map(str), max_size=6))
def test_what_callers_write_never_changes_who_they_are(lines: list[str]) -> None:
    """The proxy adds the address on the right; everything else is the caller's invention."""
    told = ", ".join([*lines, PEER])

    assert who(PROXY, told) == PEER
    assert who(PROXY, *lines, PEER) == PEER
    assert who(PEER, told) == PEER


@few
@given(st.ip_addresses(v=6))
def test_a_network_of_ipv6_counts_as_one_caller(address: ipaddress.IPv6Address) -> None:
    callers = Callers()
    other = ipaddress.IPv6Address(int(address) ^ 1)

    if address.ipv4_mapped is None:
        assert callers.share(str(address)) == callers.share(str(other))
    assert callers.share("203.0.113.9") == "203.0.113.9"
    assert callers.share("2001:db8:0:1::1") != callers.share("2001:db8:0:2::1")
