"""The operator's proxies: which connections go through them, and what stays checked."""

from __future__ import annotations

import asyncio
import base64

import aiohttp
import pytest

from fluvial.log import get_logger
from fluvial.net.dialer import Dialer
from fluvial.net.environment import NO_PROXIES, EnvironmentProxies
from fluvial.net.errors import AddressDenied, net_error
from fluvial.net.fields import SCHEME_FIELD
from fluvial.net.gateway import Gateway
from fluvial.net.policy import AddressPolicy, parse_networks
from fluvial.net.proxy import ProxyServer
from registries.fake import FakeRegistry
from registries.proxies import ConnectProxy

BOTH = {"HTTP_PROXY": "http://plain.example:3128", "HTTPS_PROXY": "http://tls.example:3128"}


@pytest.mark.parametrize(
    ("environ", "scheme", "host"),
    [
        ({}, "https", ""),
        (BOTH, "https", "tls.example"),
        (BOTH, "http", "plain.example"),
        (BOTH, "ssh", ""),
        ({"ALL_PROXY": "socks5://all.example"}, "ssh", "all.example"),
        ({"ALL_PROXY": "socks5://all.example"}, "https", ""),
        ({"https_proxy": "low.example:1"}, "https", "low.example"),
        ({"HTTPS_PROXY": "", "https_proxy": "low.example:1"}, "https", "low.example"),
        ({"HTTPS_PROXY": "up.example:1", "https_proxy": "low.example:1"}, "https", "up.example"),
        ({"HTTPS_PROXY": "socks5h://socks.example"}, "https", "socks.example"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_the_scheme_chooses_the_proxy(environ: dict[str, str], scheme: str, host: str) -> None:
    found = EnvironmentProxies.read(environ).choose(scheme, "git.example", 443)

    assert (found.host if found else "") == host


def test_the_credentials_are_in_the_address() -> None:
    proxies = EnvironmentProxies.read({"HTTPS_PROXY": "http://me:p%40ss@proxy.example:3128"})
    found = proxies.choose("https", "git.example", 443)

    assert found == ProxyServer("http", "proxy.example", 3128, "me", "p@ss")
    assert "p@ss" not in repr(proxies)


@pytest.mark.parametrize(
    ("no_proxy", "host", "direct"),
    [
        ("example.com", "example.com", True),
        ("example.com", "git.example.com", True),
        ("example.com", "notexample.com", False),
        (".example.com", "example.com", False),
        (".example.com", "git.example.com", True),
        ("*.example.com", "git.example.com", True),
        ("*.example.com", "example.com", False),
        ("EXAMPLE.com", "Git.Example.COM.", True),
        (" a , example.com ", "example.com", True),
        ("example.com:443", "example.com", True),
        ("example.com:8443", "example.com", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.1/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "ten.example", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3:443", "10.1.2.3", True),
        ("10.1.2.3:80", "10.1.2.3", False),
        ("10.0.0.0/8", "::ffff:10.1.2.3", True),
        ("fd00::/8", "fd00::1", True),
        ("[fd00::1]:443", "fd00::1", True),
        ("[fd00::1]:80", "fd00::1", False),
        ("fd00::1", "fd00::1", True),
        ("*", "anything.example", True),
        ("a,*", "anything.example", True),
        ("bücher.example", "xn--bcher-kva.example", True),
        (":443,,", "example.com", False),
        ("", "localhost", True),
        ("", "127.8.8.8", True),
        ("", "::1", True),
        ("", "10.0.0.1", False),
    ],
    ids=lambda value: str(value) or "none",
)
def test_exceptions_are_those_of_go(no_proxy: str, host: str, *, direct: bool) -> None:
    proxies = EnvironmentProxies.read({**BOTH, "NO_PROXY": no_proxy})

    assert (proxies.choose("https", host, 443) is None) == direct


@pytest.mark.parametrize("value", ["http://", "ftp://x", "http://a:secret@b:port", "a b"])
def test_what_is_no_proxy_is_refused_without_repeating_it(value: str) -> None:
    with pytest.raises(ValueError, match="HTTPS_PROXY cannot be used") as caught:
        EnvironmentProxies.read({"HTTPS_PROXY": value})

    assert "secret" not in str(caught.value)


def _dialer(proxy: ConnectProxy, **more: str) -> Dialer:
    return Dialer(
        AddressPolicy.build(),
        proxies=EnvironmentProxies.read(
            {"HTTP_PROXY": f"http://127.0.0.1:{proxy.port}", "HTTPS_PROXY": proxy.url, **more}
        ),
    )


async def _answering(dialer: Dialer, url: str) -> None:
    async with (
        aiohttp.ClientSession(connector=dialer.connector()) as session,
        session.get(url) as response,
    ):
        assert response.status == 200


@pytest.mark.parametrize("named", ["git.example", "10.1.2.3"])
async def test_the_proxy_finds_the_host_and_may_itself_be_on_loopback(named: str) -> None:
    """127.0.0.1 is denied to every source, and not to what the operator has set."""
    async with FakeRegistry() as server, ConnectProxy() as proxy:
        host, _, port = server.host.rpartition(":")
        proxy.detour = (host, int(port))
        await _answering(_dialer(proxy), f"http://{named}/v2/")

    assert proxy.targets == [f"{named}:80"]


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "168.63.129.16"],
)
async def test_a_denied_address_is_not_asked_of_the_proxy(host: str) -> None:
    async with ConnectProxy() as proxy:
        for dialer in (_dialer(proxy), _dialer(proxy, NO_PROXY="*")):
            with pytest.raises(aiohttp.ClientError) as caught:
                await _answering(dialer, f"http://{host}/")

            assert isinstance(net_error(caught.value), AddressDenied)
    assert proxy.targets == []


@pytest.mark.parametrize("host", ["2852039166", "0xa9fea9fe", "169.254.43518", "0251.254.169.254"])
async def test_nor_in_another_spelling(host: str) -> None:
    async with ConnectProxy() as proxy:
        with pytest.raises(AddressDenied):
            await _dialer(proxy).connect(host, 80, scheme="http")

    assert proxy.targets == []


async def test_the_api_server_is_not_asked_of_the_proxy() -> None:
    policy = AddressPolicy.build(api_servers=[("10.96.0.1", 443)])
    async with ConnectProxy() as proxy:
        proxies = EnvironmentProxies.read({"HTTPS_PROXY": proxy.url})
        with pytest.raises(AddressDenied, match="API server"):
            await Dialer(policy, proxies=proxies).connect("10.96.0.1", 443)

    assert proxy.targets == []


async def test_loopback_goes_past_the_proxy_and_is_denied() -> None:
    async with ConnectProxy() as proxy:
        for host in ("localhost", "127.0.0.1", "[::1]"):
            with pytest.raises(aiohttp.ClientError) as caught:
                await _answering(_dialer(proxy), f"http://{host}:{proxy.port}/")

            assert isinstance(net_error(caught.value), AddressDenied)
    assert proxy.targets == []


async def test_the_proxy_of_the_object_wins_and_stays_checked() -> None:
    allowed = AddressPolicy.build(allowed=parse_networks("127.0.0.1"))
    async with FakeRegistry() as server, ConnectProxy() as operators, ConnectProxy() as own:
        host, _, port = server.host.rpartition(":")
        own.detour = (host, int(port))
        proxies = EnvironmentProxies.read({"HTTPS_PROXY": operators.url, "NO_PROXY": "*"})
        proxy = ProxyServer.parse(own.url)
        _, writer = await Dialer(allowed, proxies=proxies).connect("a.example", 443, proxy=proxy)
        writer.close()
        with pytest.raises(AddressDenied):
            await Dialer(AddressPolicy.build(), proxies=proxies).connect(
                "a.example", 443, proxy=proxy
            )

    assert own.targets == ["a.example:443"]
    assert operators.targets == []


@pytest.mark.parametrize(
    ("scheme", "host"), [("http", "h.example"), ("https", "s.example"), ("ssh", "all.example")]
)
async def test_a_child_process_says_what_it_will_speak(scheme: str, host: str) -> None:
    """The gateway sees CONNECT alone: which of the operator's proxies it is depends on more."""
    async with FakeRegistry() as server, ConnectProxy() as proxy:
        there, _, port = server.host.rpartition(":")
        proxy.detour = (there, int(port))
        dialer = Dialer(
            AddressPolicy.build(),
            proxies=EnvironmentProxies.read(
                {
                    "HTTP_PROXY": proxy.url,
                    "HTTPS_PROXY": proxy.url,
                    "ALL_PROXY": proxy.url,
                    "NO_PROXY": ",".join({"h.example", "s.example", "all.example"} - {host}),
                }
            ),
        )
        async with Gateway(dialer, log=get_logger("test")) as gateway, gateway.route() as route:
            gate, _, number = route.address.partition(":")
            reader, writer = await asyncio.open_connection(gate, int(number))
            pair = base64.b64encode(f"{route.username}:{route.password}".encode()).decode()
            writer.write(
                f"CONNECT {host}:22 HTTP/1.1\r\nProxy-Authorization: Basic {pair}\r\n"
                f"{SCHEME_FIELD}: {scheme}\r\n\r\n".encode()
            )
            status = await reader.readline()
            writer.close()

    assert b" 200 " in status
    assert proxy.targets == [f"{host}:22"]


def test_without_any_nothing_changes() -> None:
    assert not EnvironmentProxies.read({"NO_PROXY": "*"})
    assert NO_PROXIES.choose("https", "git.example", 443) is None
