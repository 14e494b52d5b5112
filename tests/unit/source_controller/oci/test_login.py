"""Who is told what: tokens, basic authentication, redirects, and other hosts."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from aiohttp import web

from fluvial.artifact.digest import Digest
from fluvial.net.dialer import Dialer
from fluvial.net.policy import AddressPolicy
from registries.clients import Connect, HastyClock
from registries.fake import FakeRegistry
from registries.images import image_of, tarball
from source_controller.oci.access import DIRECT, Access
from source_controller.oci.challenge import Challenge, choose, parse_challenges
from source_controller.oci.dockerconfig import Credentials
from source_controller.oci.errors import Denied, InvalidContent, RegistryUnreachable
from source_controller.oci.layers import select_layer
from source_controller.oci.reference import Repository
from source_controller.oci.registries import Registries, trust_domain

USER = Access(Credentials("user", "topsecret"))


def basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()


# --- what must fail -------------------------------------------------------------------------------


@pytest.mark.parametrize("bearer", [True, False], ids=["bearer", "basic"])
@pytest.mark.parametrize(
    "access", [DIRECT, Access(Credentials("user", "wrong")), Access(Credentials("", "topsecret"))]
)
async def test_wrong_credentials(
    access: Access, fake: FakeRegistry, connect: Connect, *, bearer: bool
) -> None:
    fake.put("app", "v1", image_of({}))
    fake.basic, fake.bearer = ("user", "topsecret"), bearer

    async with connect(f"{fake.oci}/app", access) as client:
        with pytest.raises(Denied) as caught:
            await client.tags()
    assert caught.value.status == 401
    assert "topsecret" not in str(caught.value)


async def test_credentials_never_go_to_the_host_of_a_redirect(
    fake: FakeRegistry, connect: Connect, tmp_path: Path
) -> None:
    image = fake.put("app", "v1", image_of({"a": "x"}))
    fake.basic = ("user", "topsecret")
    blob = tarball({"a": "x"})

    async with FakeRegistry() as elsewhere:

        async def hook(request: web.Request) -> web.Response:
            return web.Response(body=blob)

        elsewhere.hook = hook
        fake.blobs_at = elsewhere.url
        async with connect(f"{fake.oci}/app", USER) as client:
            layer = select_layer(await client.manifest(Digest.parse(image.digest)), "")
            await client.download(layer, tmp_path / "blob")

    assert (tmp_path / "blob").read_bytes() == blob
    assert [item.authorization for item in elsewhere.seen] == [""]
    assert fake.seen[-1].authorization == basic("user:topsecret")


async def test_a_challenge_of_a_redirected_host_is_not_answered(
    fake: FakeRegistry, connect: Connect
) -> None:
    image = fake.put("app", "v1", image_of({"a": "x"}))
    fake.basic = ("user", "topsecret")

    async with FakeRegistry() as elsewhere:
        elsewhere.basic = ("user", "topsecret")
        fake.blobs_at = f"{elsewhere.url}/v2/app/blobs"
        async with connect(f"{fake.oci}/app", USER) as client:
            layer = select_layer(await client.manifest(Digest.parse(image.digest)), "")
            with pytest.raises(Denied):
                await client.blob(layer)

    assert {item.authorization for item in elsewhere.seen} == {""}


@pytest.mark.parametrize("location", ["", "ftp://x/y", "http://[/", "http://u:p@127.0.0.1:1/x"])
async def test_redirects_to_nowhere(location: str, fake: FakeRegistry, connect: Connect) -> None:
    async def hook(request: web.Request) -> web.Response | None:
        if request.path == "/v2/":
            return None
        return web.Response(status=302, headers={"Location": location})

    fake.hook = hook
    async with connect(f"{fake.oci}/app") as client:
        with pytest.raises(RegistryUnreachable, match="no valid address"):
            await client.tags()


async def test_redirects_end(fake: FakeRegistry, connect: Connect) -> None:
    async def hook(request: web.Request) -> web.Response | None:
        if request.path == "/v2/":
            return None
        return web.Response(status=302, headers={"Location": str(request.url)})

    fake.hook = hook
    async with connect(f"{fake.oci}/app") as client:
        with pytest.raises(RegistryUnreachable, match="more than 5 times"):
            await client.tags()


@pytest.mark.parametrize(
    "address", ["http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/"]
)
async def test_a_redirect_to_a_metadata_service_is_refused(
    address: str, fake: FakeRegistry, connect: Connect
) -> None:
    async def hook(request: web.Request) -> web.Response | None:
        if request.path == "/v2/":
            return None
        return web.Response(status=302, headers={"Location": address})

    fake.hook = hook
    async with connect(f"{fake.oci}/app") as client:
        with pytest.raises(RegistryUnreachable, match="not allowed"):
            await client.tags()


async def test_loopback_is_refused_unless_it_is_allowed(fake: FakeRegistry) -> None:
    strict = Dialer(AddressPolicy.build())
    async with Registries(strict, clock=HastyClock()) as registries:
        repository = Repository.parse_url(f"{fake.oci}/app")
        async with registries.client(repository, DIRECT, namespace="apps") as client:
            with pytest.raises(RegistryUnreachable, match="not allowed"):
                await client.tags()

    assert fake.seen == []


async def test_a_realm_at_a_metadata_service_gets_nothing(
    fake: FakeRegistry, connect: Connect
) -> None:
    fake.bearer, fake.realm = True, "http://169.254.169.254/token"

    async with connect(f"{fake.oci}/app", USER) as client:
        with pytest.raises(RegistryUnreachable, match="not allowed"):
            await client.tags()


@pytest.mark.parametrize("realm", ["", "x", "ftp://x/token", "http://u:p@127.0.0.1/token"])
async def test_a_realm_that_is_no_address(realm: str, fake: FakeRegistry, connect: Connect) -> None:
    async def hook(request: web.Request) -> web.Response:
        challenge = f'Bearer realm="{realm}"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    fake.hook = hook
    async with connect(f"{fake.oci}/app", USER) as client:
        with pytest.raises(Exception, match="names no valid token service"):
            await client.tags()
    assert {item.authorization for item in fake.seen} == {""}


@pytest.mark.parametrize(
    "body",
    ["", "[]", "{}", '{"token": 1}', '{"token": "a\\nb"}', '{"token": "x", "expires_in": "y"}'],
)
async def test_a_malformed_token(body: str, fake: FakeRegistry, connect: Connect) -> None:
    fake.bearer = True

    async def hook(request: web.Request) -> web.Response | None:
        return web.Response(text=body) if request.path == "/token" else None

    fake.hook = hook
    async with connect(f"{fake.oci}/app", USER) as client:
        with pytest.raises(InvalidContent):
            await client.tags()


# --- what must pass -------------------------------------------------------------------------------


async def test_basic(fake: FakeRegistry, connect: Connect) -> None:
    fake.put("app", "v1", image_of({}))
    fake.basic = ("user", "topsecret")

    async with connect(f"{fake.oci}/app", USER) as client:
        assert await client.tags() == ["v1"]
    assert [item.authorization for item in fake.seen] == ["", basic("user:topsecret")]


async def test_a_token_is_asked_for_once(fake: FakeRegistry, connect: Connect) -> None:
    image = fake.put("team/app", "v1", image_of({}))
    fake.basic, fake.bearer = ("user", "topsecret"), True

    async with connect(f"{fake.oci}/team/app", USER) as client:
        await client.tags()
        await client.manifest(Digest.parse(image.digest))
    async with connect(f"{fake.oci}/team/app", USER) as client:
        await client.tags()

    asked = [item for item in fake.seen if item.path == "/token"]
    assert [item.query["scope"] for item in asked] == ["repository:team/app:pull"]
    assert asked[0].query["service"] == "fake"
    assert asked[0].authorization == basic("user:topsecret")
    assert not any(
        item.authorization.startswith("Basic") for item in fake.seen if item.path != "/token"
    )


async def test_an_anonymous_token(fake: FakeRegistry, connect: Connect) -> None:
    fake.put("app", "v1", image_of({}))
    fake.bearer = True

    async with connect(f"{fake.oci}/app") as client:
        assert await client.tags() == ["v1"]


async def test_an_expired_token_is_renewed(fake: FakeRegistry, connect: Connect) -> None:
    fake.put("app", "v1", image_of({}))
    fake.bearer = True

    async with connect(f"{fake.oci}/app") as client:
        await client.tags()
        fake.tokens.clear()  # the registry forgot it
        assert await client.tags() == ["v1"]
    assert len(fake.paths("/token")) == 2


async def test_an_identity_token(fake: FakeRegistry, connect: Connect) -> None:
    fake.put("app", "v1", image_of({}))
    fake.basic, fake.bearer, fake.refresh_token = ("user", "topsecret"), True, "refresh"

    async with connect(f"{fake.oci}/app", Access(Credentials(identity_token="refresh"))) as client:
        assert await client.tags() == ["v1"]
    async with connect(f"{fake.oci}/app", Access(Credentials(identity_token="other"))) as client:
        with pytest.raises(Denied):
            await client.tags()
    assert set(fake.paths("/token")) == {"POST /token"}


async def test_a_registry_token(fake: FakeRegistry, connect: Connect) -> None:
    fake.put("app", "v1", image_of({}))
    fake.bearer = True
    fake.tokens["given"] = "repository:app:pull"

    async with connect(f"{fake.oci}/app", Access(Credentials(registry_token="given"))) as client:
        assert await client.tags() == ["v1"]
    assert not fake.paths("/token")


async def test_tokens_stay_in_their_trust_domain(fake: FakeRegistry, connect: Connect) -> None:
    fake.put("app", "v1", image_of({}))
    fake.basic, fake.bearer = ("user", "topsecret"), True
    async with connect(f"{fake.oci}/app", USER) as client:
        await client.tags()

    for access, namespace in ((DIRECT, "apps"), (Access(insecure=True), "apps")):
        async with connect(f"{fake.oci}/app", access, namespace) as client:
            with pytest.raises(Denied):
                await client.tags()


@pytest.mark.parametrize(
    ("access", "shared"),
    [
        (USER, True),
        (DIRECT, True),
        (Access(insecure=True), False),
        (Access(ca="x"), False),
        (Access(certificate="x"), False),
    ],
)
def test_own_trust_is_not_shared_between_namespaces(access: Access, *, shared: bool) -> None:
    assert (trust_domain(access, "a") == trust_domain(access, "b")) is shared


# --- challenges -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "chosen"),
    [
        (["Basic realm=x"], Challenge("basic", "x")),
        (
            ['Bearer realm="https://a/t?x=1,2",service="s, t",scope="repository:a:pull,push"'],
            Challenge("bearer", "https://a/t?x=1,2", "s, t", "repository:a:pull,push"),
        ),
        (['Basic realm="x", BEARER realm = "y" , service=z'], Challenge("bearer", "y", "z")),
        (["Negotiate", 'Bearer realm="a\\"b"'], Challenge("bearer", 'a"b')),
        (["Negotiate"], None),
        (["", ",,,", '"'], None),
        ([], None),
    ],
)
def test_challenges(headers: list[str], chosen: Challenge | None) -> None:
    assert choose(parse_challenges(headers)) == chosen
