"""Which addresses may be reached."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluvial.net.errors import AddressDenied
from fluvial.net.policy import AddressPolicy, parse_networks

STRICT = AddressPolicy.build()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.9.10",
        "::1",
        "0.0.0.0",  # noqa: S104
        "::",
        "169.254.1.1",
        "fe80::1",
        "fe80::1%eth0",
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fd00:c1::a9fe:a9fe",
        "fd00:42::42",
        "fd00:a9fe:a9fe::1",
        "fd00:100::100:200",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "240.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:a9fe:a9fe",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::a9fe:a9fe",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
    ],
)
def test_what_only_the_machine_should_reach_is_denied(address: str) -> None:
    with pytest.raises(AddressDenied, match="not allowed"):
        STRICT.check(address, 443)


@pytest.mark.parametrize(
    "address",
    ["10.96.0.10", "172.20.0.1", "192.168.1.5", "140.82.121.4", "fd12::1", "2606:50c0:8000::153"],
)
def test_services_private_and_public_networks_stay_allowed(address: str) -> None:
    STRICT.check(address, 443)


def test_the_api_server_is_denied_on_its_port_alone() -> None:
    policy = AddressPolicy.build(api_servers=[("10.96.0.1", 443)])
    policy.check("10.96.0.1", 8443)

    for address in ("10.96.0.1", "::ffff:10.96.0.1", "64:ff9b::a60:1"):
        with pytest.raises(AddressDenied, match="API server"):
            policy.check(address, 443)


def test_the_api_server_stays_denied_in_an_allowed_network() -> None:
    policy = AddressPolicy.build(
        allowed=parse_networks("127.0.0.0/8"), api_servers=[("127.0.0.1", 6443)]
    )
    policy.check("127.0.0.1", 8080)

    with pytest.raises(AddressDenied, match="API server"):
        policy.check("127.0.0.1", 6443)


def test_an_operator_allows_networks() -> None:
    policy = AddressPolicy.build(allowed=parse_networks(" 127.0.0.0/8, ::1 ,"))
    policy.check("127.0.0.1", 80)
    policy.check("::1", 80)
    policy.check("::ffff:127.0.0.1", 80)

    with pytest.raises(AddressDenied, match="metadata"):
        policy.check("169.254.169.254", 80)


@pytest.mark.parametrize("text", ["localhost", "10.0.0.1/8", "1.2.3", "::/129"])
def test_what_is_no_network_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=text.replace("/", "/")):
        parse_networks(f"10.0.0.0/8,{text}")


def test_the_message_names_what_was_asked_and_what_to_do() -> None:
    with pytest.raises(AddressDenied) as caught:
        STRICT.check("169.254.169.254", 80, host="metadata.example")

    text = str(caught.value)
    assert "metadata.example (169.254.169.254)" in text
    assert "--allow-outbound" in text


@given(st.ip_addresses(v=4))
def test_no_spelling_of_an_ipv4_address_is_judged_otherwise(address: ipaddress.IPv4Address) -> None:
    def denied(text: str) -> bool:
        try:
            STRICT.check(text, 443)
        except AddressDenied:
            return True
        return False

    spellings = (f"::ffff:{address}", f"64:ff9b::{address}")

    assert {denied(text) for text in spellings} == {denied(str(address))}
