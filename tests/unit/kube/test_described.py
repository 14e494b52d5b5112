"""What a ConfigMap may say about a cluster, and where its address may lead."""

from __future__ import annotations

import pytest

from fluvial.kube import kinds
from fluvial.kube.auth import StaticAuth
from fluvial.kube.described import (
    BadDescription,
    Endpoint,
    canonical_address,
    client_from_description,
    read_description,
)
from fluvial.kube.errors import Unreachable
from fluvial.net.dialer import Dialer
from fluvial.net.policy import AddressPolicy
from fluvial.objects import ObjectKey
from gitservers.certs import TestCA

GENERIC = {"provider": "generic", "address": "https://cluster.example"}


@pytest.fixture(scope="module")
def pem() -> str:
    return TestCA("cluster").pem


# --- what must fail -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({}, "provider: is needed and not set"),
        ({"provider": ""}, "provider: is needed"),
        ({**GENERIC, "provider": "openstack"}, "provider: 'openstack' is not known"),
        ({**GENERIC, "provider": "AWS"}, "provider: 'AWS' is not known"),
        ({"provider": "generic"}, "address: is needed and not set"),
        ({**GENERIC, "address": "http://cluster.example"}, "address: .* must use https"),
        ({**GENERIC, "address": "ftp://cluster.example"}, "address: .* must use https"),
        ({**GENERIC, "ca.crt": "nonsense"}, "ca.crt: the certificate authority is not PEM"),
        ({**GENERIC, "ca.crt": "-----BEGIN CERTIFICATE-----\nQQ==\n-----END"}, "ca.crt: "),
        ({**GENERIC, "audiences": "a\n\x07"}, "audiences: one is too long, or has characters"),
        ({**GENERIC, "audiences": "\n".join(map(str, range(17)))}, "audiences: there are more"),
        ({**GENERIC, "serviceAccountName": "../../kube-system/x"}, "serviceAccountName: "),
        ({**GENERIC, "serviceAccountName": "a:b"}, "serviceAccountName: "),
    ],
)
def test_a_bad_key_is_named(data: dict[str, str], says: str) -> None:
    with pytest.raises(BadDescription, match=says):
        read_description("team", data)


@pytest.mark.parametrize(
    "address",
    [
        "https://",
        "https://user@cluster.example",
        "https://user:password@cluster.example",
        "https://cluster.example/path",
        "https://cluster.example/?a=b",
        "https://cluster.example?",
        "https://cluster.example#",
        "https://cluster.example:port",
        "https://cluster.example:99999",
        "https://[::1",
        "https://a b",
        "https://a\\@b",
        "http:cluster.example",
        "file:///etc/passwd",
    ],
)
def test_an_address_is_a_host_and_a_port(address: str) -> None:
    with pytest.raises(BadDescription, match=r"^address: "):
        canonical_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "https://127.0.0.1:6443",
        "https://127.1",
        "https://2130706433",
        "https://0x7f000001",
        "https://[::1]",
        "https://[::ffff:127.0.0.1]",
        "https://169.254.169.254",
        "https://[fe80::1]",
        "https://[fd00:ec2::254]",
        "https://localhost",
        "https://0.0.0.0",
    ],
)
async def test_addresses_of_the_machine_are_refused(address: str) -> None:
    with pytest.raises(BadDescription, match=r"^address: connections to .* are not allowed"):
        await client_from_description(
            Endpoint(canonical_address(address)),
            auth=StaticAuth("Bearer x"),
            dialer=Dialer(AddressPolicy.build()),
            user_agent="test",
        )


async def test_a_name_that_leads_there_is_refused() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        del host, port
        return ["169.254.169.254"]

    with pytest.raises(BadDescription, match=r"^address: .*metadata service"):
        await client_from_description(
            Endpoint("https://innocent.example:443"),
            auth=StaticAuth("Bearer x"),
            dialer=Dialer(AddressPolicy.build(), resolve=resolve),
            user_agent="test",
        )


# --- what is right --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("https://Cluster.Example", "https://cluster.example:443"),
        ("https://cluster.example/", "https://cluster.example:443"),
        ("HTTPS://cluster.example:6443", "https://cluster.example:6443"),
        ("cluster.example", "https://cluster.example:443"),
        ("httpbin.example:6443", "https://httpbin.example:6443"),
        ("https://10.1.2.3", "https://10.1.2.3:443"),
        ("https://[2001:DB8::1]:6443", "https://[2001:db8::1]:6443"),
        ("2001:db8::1", ""),
    ],
)
def test_the_canonical_form(written: str, canonical: str) -> None:
    if not canonical:
        with pytest.raises(BadDescription):
            canonical_address(written)
        return

    assert canonical_address(written) == canonical


def test_everything_that_can_be_said(pem: str) -> None:
    found = read_description(
        "team",
        {
            "provider": " aws\n",
            "cluster": "arn:aws:eks:eu-west-1:1:cluster/x",
            "address": "https://Cluster.example\n",
            "ca.crt": pem,
            "audiences": "\n one \n\ntwo\n",
            "serviceAccountName": "deployer",
            "unknown": "is passed over",
        },
    )

    assert (found.namespace, found.provider) == ("team", "aws")
    assert found.cluster == "arn:aws:eks:eu-west-1:1:cluster/x"
    assert (found.address, found.written_address) == (
        "https://cluster.example:443",
        "https://Cluster.example",
    )
    assert found.ca == pem.strip()
    assert found.audiences == ("one", "two")
    assert found.service_account == "deployer"


def test_every_part_counts_for_the_digest(pem: str) -> None:
    """So that nothing kept for one ConfigMap is ever another's."""
    variants = [
        read_description(namespace, {**GENERIC, **more})
        for namespace, more in (
            ("team", {}),
            ("other", {}),
            ("team", {"provider": "aws"}),
            ("team", {"cluster": "c"}),
            ("team", {"address": "https://other.example"}),
            ("team", {"address": "https://cluster.example:443"}),
            ("team", {"ca.crt": pem}),
            ("team", {"audiences": "a"}),
            ("team", {"audiences": "a\nb"}),
            ("team", {"serviceAccountName": "a"}),
        )
    ]

    assert len({found.digest for found in variants}) == len(variants)


async def test_a_name_that_changes_its_address_is_refused_at_the_connection() -> None:
    """What was resolved for the check is not believed: the socket's own address counts."""

    async def resolve(host: str, port: int) -> list[str]:
        del host, port
        return ["192.0.2.1"]

    client = await client_from_description(
        Endpoint("https://localhost:1"),
        auth=StaticAuth("Bearer x"),
        dialer=Dialer(AddressPolicy.build(), resolve=resolve),
        user_agent="test",
    )
    async with client:
        with pytest.raises(Unreachable, match="a loopback address, are not allowed"):
            await client.get(kinds.CONFIG_MAP, ObjectKey("team", "x"))
