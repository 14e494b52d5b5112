"""Where devcluster listens: on loopback for everybody, elsewhere only for those it knows."""

from __future__ import annotations

import pytest

from devcluster import DevCluster, Options
from devcluster.addresses import AddressRefused, listening_address

# What looks like loopback, or resolves to it, and is not; what is more than one address.
EVERYWHERE = [
    "0.0.0.0",  # noqa: S104 - that it is refused is the point
    "::",
    "0:0:0:0:0:0:0:0",
    "::ffff:0.0.0.0",
    "169.254.169.254",
    "fe80::1",
    "224.0.0.1",
    "ff02::1",
]
NO_ADDRESS = [
    "",
    " ",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "127.0.0.1.example.com",
    "example.com",
    "127.1",
    "0",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "127.0.0.1:0",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "127.0.0.1/8",
    " 127.0.0.1",
    "127.0.0.1\n",
    "fe80::1%eth0",
    "::1%lo",
]
MAPPED = [
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:192.0.2.1",
    "64:ff9b::127.0.0.1",
    "::127.0.0.1",
]
ELSEWHERE = ["192.0.2.1", "10.0.0.1", "128.0.0.1", "126.255.255.255", "2001:db8::1"]


@pytest.mark.parametrize("address", [*NO_ADDRESS, *EVERYWHERE, *MAPPED])
@pytest.mark.parametrize("anonymous", [True, False])
def test_refuses_what_is_not_one_plain_address(address: str, *, anonymous: bool) -> None:
    with pytest.raises(AddressRefused):
        listening_address(address, anonymous=anonymous, tokens=["x" * 32])


@pytest.mark.parametrize("address", ELSEWHERE)
def test_refuses_other_addresses_while_anybody_may_ask(address: str) -> None:
    with pytest.raises(AddressRefused, match="--no-anonymous"):
        listening_address(address, anonymous=True, tokens=["x" * 32])


@pytest.mark.parametrize("address", ELSEWHERE)
def test_refuses_other_addresses_with_a_token_that_can_be_guessed(address: str) -> None:
    with pytest.raises(AddressRefused, match="32 characters") as refused:
        listening_address(address, anonymous=False, tokens=["x" * 32, "secret"])

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("address", ELSEWHERE)
def test_accepts_other_addresses_for_those_with_credentials(address: str) -> None:
    found = listening_address(address, anonymous=False, tokens=["x" * 32])

    assert str(found) == address


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "0:0:0:0:0:0:0:1"])
def test_accepts_loopback(address: str) -> None:
    found = listening_address(address, anonymous=True, tokens=["t"])

    assert found.is_loopback


@pytest.mark.parametrize("address", [*EVERYWHERE, *MAPPED, *ELSEWHERE, "localhost"])
def test_a_cluster_is_not_even_made(address: str) -> None:
    with pytest.raises(AddressRefused):
        DevCluster(Options(address=address))
