"""Whom we take for the registry: CAs, client certificates, plain HTTP, proxies."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from fluvial.artifact.digest import Digest
from fluvial.net.proxy import ProxyServer
from gitservers.certs import TestCA
from registries.clients import Connect
from registries.fake import FakeRegistry
from registries.images import image_of
from registries.proxies import ConnectProxy
from source_controller.oci.access import DIRECT, Access
from source_controller.oci.dockerconfig import Credentials
from source_controller.oci.errors import InvalidCredentials, RegistryUnreachable


@pytest.fixture(scope="module")
def ca() -> TestCA:
    return TestCA()


async def test_an_unknown_authority_is_refused_even_where_plain_http_is_allowed(
    ca: TestCA, connect: Connect, tmp_path: Path
) -> None:
    other = TestCA("other")
    async with FakeRegistry(tls=ca.server_context(tmp_path)) as registry:
        for access in (DIRECT, Access(ca=other.pem), Access(ca=other.pem, insecure=True)):
            async with connect(f"{registry.oci}/app", access) as client:
                with pytest.raises(RegistryUnreachable):
                    await client.tags()

    assert registry.seen == []


async def test_a_ca_of_ones_own(ca: TestCA, connect: Connect, tmp_path: Path) -> None:
    async with FakeRegistry(tls=ca.server_context(tmp_path)) as registry:
        registry.put("app", "v1", image_of({}))
        for access in (Access(ca=ca.pem), Access(insecure=True)):
            async with connect(f"{registry.oci}/app", access) as client:
                assert await client.tags() == ["v1"]
        async with connect(f"{registry.oci}/app", DIRECT, "other") as client:
            with pytest.raises(RegistryUnreachable):
                await client.tags()


async def test_a_certificate_for_another_name(ca: TestCA, connect: Connect, tmp_path: Path) -> None:
    async with FakeRegistry(tls=ca.server_context(tmp_path)) as registry:
        url = registry.oci.replace("127.0.0.1", "127.0.0.2")
        async with connect(f"{url}/app", Access(ca=ca.pem)) as client:
            with pytest.raises(RegistryUnreachable):
                await client.tags()


async def test_a_client_certificate(ca: TestCA, connect: Connect, tmp_path: Path) -> None:
    context = ca.server_context(tmp_path)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=ca.pem)
    certificate, key = ca.pair()
    stranger_certificate, stranger_key = TestCA("other").pair()
    async with FakeRegistry(tls=context) as registry:
        registry.put("app", "v1", image_of({}))
        good = Access(ca=ca.pem, certificate=certificate, key=key)
        async with connect(f"{registry.oci}/app", good) as client:
            assert await client.tags() == ["v1"]
        for access in (
            Access(ca=ca.pem),
            Access(ca=ca.pem, certificate=stranger_certificate, key=stranger_key),
        ):
            async with connect(f"{registry.oci}/app", access) as client:
                with pytest.raises(RegistryUnreachable):
                    await client.tags()


@pytest.mark.parametrize("by_proxy", [False, True], ids=["direct", "proxy"])
async def test_a_client_certificate_is_not_shown_to_the_host_of_a_redirect(
    ca: TestCA, connect: Connect, tmp_path: Path, *, by_proxy: bool
) -> None:
    context = ca.server_context(tmp_path)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=ca.pem)
    certificate, key = ca.pair()
    shown: dict[str, list[bool]] = {"registry": [], "elsewhere": []}
    async with (
        FakeRegistry(tls=context) as registry,
        FakeRegistry(tls=context) as elsewhere,
        ConnectProxy() as proxy,
    ):
        image = registry.put("app", "v1", image_of({"a": "x"}))
        elsewhere.put("app", "v1", image)
        registry.blobs_at = f"{elsewhere.url}/v2/app/blobs"

        def note(name: str) -> Callable[[web.Request], Awaitable[None]]:
            async def hook(request: web.Request) -> None:
                shown[name].append(bool(request.get_extra_info("peercert")))

            return hook

        registry.hook, elsewhere.hook = note("registry"), note("elsewhere")
        server = ProxyServer.parse(proxy.url) if by_proxy else None
        access = Access(ca=ca.pem, certificate=certificate, key=key, proxy=server)
        async with connect(f"{registry.oci}/app", access) as client:
            manifest = await client.manifest(Digest.parse(image.digest))
            await client.blob(manifest.layers[0])

    assert set(shown["registry"]) == {True}
    assert shown["elsewhere"] == [False]


@pytest.mark.parametrize("refresh", [False, True], ids=["get", "refresh-token"])
@pytest.mark.parametrize("own", [False, True], ids=["elsewhere", "own"])
async def test_a_client_certificate_is_shown_to_a_token_service_of_the_registry_itself_only(
    ca: TestCA, connect: Connect, tmp_path: Path, *, own: bool, refresh: bool
) -> None:
    context = ca.server_context(tmp_path)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=ca.pem)
    certificate, key = ca.pair()
    shown: list[bool] = []

    async def note(request: web.Request) -> None:
        if request.path == "/token":
            shown.append(bool(request.get_extra_info("peercert")))

    async with FakeRegistry(tls=context) as registry, FakeRegistry(tls=context) as elsewhere:
        service = registry if own else elsewhere
        registry.put("app", "v1", image_of({}))
        registry.bearer, registry.realm = True, f"{service.url}/token"
        registry.tokens, service.hook, service.refresh_token = service.tokens, note, "refresh"
        credentials = Credentials(identity_token="refresh" if refresh else "")
        access = Access(credentials, ca=ca.pem, certificate=certificate, key=key)
        async with connect(f"{registry.oci}/app", access) as client:
            assert await client.tags() == ["v1"]

    assert set(shown) == {own}


@pytest.mark.parametrize(
    "access",
    [
        Access(ca="topsecret"),
        Access(ca="-----BEGIN CERTIFICATE-----\ntopsecret\n-----END CERTIFICATE-----"),
        Access(certificate="topsecret", key="topsecret"),
    ],
)
async def test_certificates_that_are_none(access: Access, connect: Connect) -> None:
    with pytest.raises(InvalidCredentials) as caught:
        async with connect("oci://registry.example/app", access):
            pass

    assert "topsecret" not in str(caught.value)


async def test_a_key_of_another_certificate(ca: TestCA, connect: Connect) -> None:
    access = Access(certificate=ca.pair()[0], key=ca.pair()[1])

    with pytest.raises(InvalidCredentials, match="belong together"):
        async with connect("oci://registry.example/app", access):
            pass


async def test_who_brings_a_ca_expects_tls(
    fake: FakeRegistry, ca: TestCA, connect: Connect
) -> None:
    user = Credentials("user", "topsecret")
    async with connect(f"{fake.oci}/app", Access(user, ca=ca.pem)) as client:
        with pytest.raises(RegistryUnreachable):
            await client.tags()

    assert fake.seen == []


async def test_plain_http_beside_a_ca_if_it_is_asked_for(
    fake: FakeRegistry, ca: TestCA, connect: Connect
) -> None:
    fake.put("app", "v1", image_of({}))

    async with connect(f"{fake.oci}/app", Access(ca=ca.pem, insecure=True)) as client:
        assert await client.tags() == ["v1"]


@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
async def test_everything_goes_through_the_proxy(
    ca: TestCA, connect: Connect, tmp_path: Path, *, tls: bool
) -> None:
    context = ca.server_context(tmp_path) if tls else None
    async with FakeRegistry(tls=context) as registry, ConnectProxy() as proxy:
        registry.put("app", "v1", image_of({}))
        registry.basic, registry.bearer = ("user", "p"), True
        proxy.password = "me:topsecret"
        server = ProxyServer.parse(proxy.url, username="me", password="topsecret")
        access = Access(Credentials("user", "p"), ca=ca.pem if tls else "", proxy=server)
        async with connect(f"{registry.oci}/app", access) as client:
            assert await client.tags() == ["v1"]
        assert set(proxy.targets) == {registry.host}

        wrong = ProxyServer.parse(proxy.url, username="me", password="other")
        async with connect(f"{registry.oci}/app", Access(proxy=wrong)) as client:
            with pytest.raises(RegistryUnreachable, match="407"):
                await client.tags()


async def test_a_proxy_that_is_away(fake: FakeRegistry, connect: Connect) -> None:
    access = Access(proxy=ProxyServer.parse("http://127.0.0.1:1"))

    async with connect(f"{fake.oci}/app", access) as client:
        with pytest.raises(RegistryUnreachable):
            await client.tags()
    assert fake.seen == []


async def test_a_proxy_cannot_pose_as_a_registry(
    ca: TestCA, connect: Connect, tmp_path: Path
) -> None:
    async with (
        FakeRegistry(tls=TestCA("evil").server_context(tmp_path)) as evil,
        ConnectProxy() as proxy,
    ):
        host, _, port = evil.host.rpartition(":")
        proxy.detour = (host, int(port))
        access = Access(Credentials("user", "topsecret"), proxy=ProxyServer.parse(proxy.url))
        async with connect("oci://registry.example/app", access) as client:
            with pytest.raises(RegistryUnreachable, match="certificate"):
                await client.tags()
    assert evil.seen == []
