"""Bucket: who it is for the storage, what it trusts, and that nobody else hears of it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import pytest
from aiohttp import web

from fluvial.cloud.azure import AzureSecret
from fluvial.cloud.model import CONTROLLER, ServiceAccount
from gitservers.certs import TestCA
from harness.source import condition
from harness.webserver import requiring_certificate
from objectstores.fake import FakeStorage
from objectstores.world import BucketWorld, bucket_world
from registries.proxies import ConnectProxy
from source_controller.bucket import lending

KEYS = {"accesskey": "AKIA", "secretkey": "s3cret"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[BucketWorld]:
    async with bucket_world(tmp_path) as world:
        yield world


@pytest.fixture
async def fake() -> AsyncIterator[FakeStorage]:
    async with FakeStorage() as storage:
        storage.put("app.yaml", "v1\n")
        yield storage


@pytest.mark.shows("field:Bucket/spec.certSecretRef.name")
@pytest.mark.parametrize("provider", ["generic", "gcp", "azure"])
async def test_an_authority_is_trusted_by_who_names_it_and_by_nobody_else(
    provider: str, world: BucketWorld, tmp_path: Path
) -> None:
    ca = TestCA()
    await world.secret("ca", {"ca.crt": ca.pem})
    await world.secret("keys", KEYS | {"serviceaccount": "{}", "sasKey": "sig=x"})
    async with FakeStorage(tls=ca.server_context(tmp_path)) as storage:
        storage.put("app.yaml", "v1\n")
        spec: dict[str, Any] = {
            "endpoint": storage.endpoint,
            "provider": provider,
            "insecure": None,
            "secretRef": {"name": "keys"},
        }
        for name, extra in (("before", {}), ("with", {"certSecretRef": {"name": "ca"}})):
            await world.bucket(name, **spec | extra)
        failed = await world.until_failed("BucketOperationFailed", "before")
        await world.until_ready("with")
        await world.bucket("after", **spec)
        after = await world.until_failed("BucketOperationFailed", "after")

    for obj in (failed, after):
        assert "certificate" in condition(obj, "FetchFailed")["message"]
        assert "artifact" not in obj["status"]


async def test_a_client_certificate_is_shown(world: BucketWorld, tmp_path: Path) -> None:
    ca = TestCA()
    certificate, key = ca.pair()
    context = requiring_certificate(ca.server_context(tmp_path), ca.pem)
    await world.secret("ca", {"ca.crt": ca.pem})
    await world.secret("pair", {"ca.crt": ca.pem, "tls.crt": certificate, "tls.key": key})
    async with FakeStorage(tls=context) as storage:
        storage.put("app.yaml", "v1\n")
        for name in ("ca", "pair"):
            await world.bucket(
                name, endpoint=storage.endpoint, insecure=None, certSecretRef={"name": name}
            )
        await world.until_ready("pair")
        await world.until_failed("BucketOperationFailed", "ca")


async def test_certificates_that_do_not_do(world: BucketWorld, fake: FakeStorage) -> None:
    cases = [
        ({"tls.crt": "s3cret"}, "'tls.crt' is set without 'tls.key'"),
        ({"ca.crt": "s3cret"}, "'ca.crt' holds no certificate"),
        ({"tls.crt": "s3cret", "tls.key": "s3cret"}, "belong together"),
        ({"other": "s3cret"}, "needs 'tls.crt' and 'tls.key', or 'ca.crt'"),
    ]
    for number, (values, message) in enumerate(cases):
        name = f"tls-{number}"
        await world.secret(name, values)
        await world.bucket(name, endpoint=fake.endpoint, certSecretRef={"name": name})
        obj = await world.until_failed("AuthenticationFailed", name)
        assert message in condition(obj, "FetchFailed")["message"]
        assert "s3cret" not in str(obj)


@pytest.mark.shows("field:Bucket/spec.proxySecretRef.name")
async def test_everything_goes_by_the_proxy(world: BucketWorld, fake: FakeStorage) -> None:
    async with ConnectProxy() as proxy:
        proxy.password = "user:s3cret"
        await world.secret(
            "proxy", {"address": proxy.url, "username": "user", "password": "s3cret"}
        )
        await world.bucket(endpoint=fake.endpoint, proxySecretRef={"name": "proxy"})
        await world.until_ready()
        assert set(proxy.targets) == {fake.endpoint}

        await world.secret("proxy", {"address": proxy.url, "username": "user", "password": "no"})
        await world.request("now")
        obj = await world.until_failed("BucketOperationFailed")

    assert "407" in condition(obj, "FetchFailed")["message"]
    assert "s3cret" not in str(obj)


# --- identities -----------------------------------------------------------------------------------


@pytest.fixture
def anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clouds are on loopback here; what is refused elsewhere has tests of its own below."""
    monkeypatch.setattr(lending, "check_lent", lambda *_: None)


@pytest.mark.shows("field:Bucket/spec.serviceAccountName", "field:Bucket/spec.provider")
@pytest.mark.usefixtures("anywhere")
@pytest.mark.parametrize("provider", ["aws", "gcp", "azure"])
async def test_without_a_secret_the_identity_counts(
    provider: str, world: BucketWorld, fake: FakeStorage
) -> None:
    spec = {"endpoint": fake.endpoint, "provider": provider}
    await world.bucket("ours", **spec)
    await world.until_ready("ours")
    shown = fake.headers[-1]["Authorization"]
    await world.bucket("its", serviceAccountName="robot", **spec)
    await world.until_ready("its")

    asked = {note[1] for note in world.identities.asked}
    assert asked == {CONTROLLER, ServiceAccount("apps", "robot")}
    assert {note[0] for note in world.identities.asked} == {provider}
    if provider == "aws":
        assert "Credential=AKIA-ROLE/" in shown
        assert fake.headers[-1]["X-Amz-Security-Token"] == "role-session"
    else:
        assert shown == f"Bearer {provider}-token"


@pytest.mark.usefixtures("anywhere")
@pytest.mark.parametrize("provider", ["aws", "gcp", "azure"])
async def test_a_login_that_is_refused(
    provider: str, world: BucketWorld, fake: FakeStorage
) -> None:
    world.identities.refused = True
    await world.bucket(endpoint=fake.endpoint, provider=provider)
    obj = await world.until_failed("AuthenticationFailed")

    assert "login.example refused a token" in condition(obj, "FetchFailed")["message"]
    assert fake.requests == []


@pytest.mark.usefixtures("anywhere")
async def test_the_token_service_of_aws_is_the_one_that_is_named(
    world: BucketWorld, fake: FakeStorage
) -> None:
    endpoint = "https://sts.eu-west-1.amazonaws.com"
    await world.bucket(
        endpoint=fake.endpoint,
        provider="aws",
        region="eu-west-1",
        sts={"provider": "aws", "endpoint": endpoint},
    )
    await world.until_ready()

    assert {note[2:] for note in world.identities.asked} == {("eu-west-1", endpoint)}


async def test_keys_of_google_and_applications_of_azure(
    world: BucketWorld, fake: FakeStorage
) -> None:
    await world.secret("google", {"serviceaccount": '{"type": "service_account"}'})
    await world.secret(
        "azure",
        {
            "tenantId": "tenant",
            "clientId": "client",
            "clientCertificate": "PEM",
            "clientCertificatePassword": "pw",
            "clientCertificateSendChain": "true",
            "authorityHost": "https://login.example/",
        },
    )
    for provider in ("gcp", "azure"):
        name = "google" if provider == "gcp" else provider
        await world.bucket(
            name, endpoint=fake.endpoint, provider=provider, secretRef={"name": name}
        )
        await world.until_ready(name)
        assert fake.headers[-1]["Authorization"] == f"Bearer {provider}-secret-token"

    application = AzureSecret(
        client_id="client",
        tenant_id="tenant",
        certificate=b"PEM",
        certificate_password="pw",
        send_chain=True,
        authority_host="https://login.example/",
    )
    notes = {note[0]: note[1] for note in world.identities.asked}
    assert notes == {"gcp_secret": b'{"type": "service_account"}', "azure_secret": application}


async def test_lent_credentials_reach_nobody_but_their_cloud(
    world: BucketWorld, fake: FakeStorage
) -> None:
    """A host, an authority or plain HTTP of a tenant would show it what the controller may do."""
    await world.secret("machine", {"clientId": "id"})
    await world.secret("ca", {"ca.crt": TestCA().pem})
    machine, ca = {"secretRef": {"name": "machine"}}, {"certSecretRef": {"name": "ca"}}
    clouds = {
        "aws": "s3.eu-west-1.amazonaws.com",
        "gcp": "storage.googleapis.com",
        "azure": "teama.blob.core.windows.net",
    }
    cases: list[dict[str, Any]] = []
    for provider, host in clouds.items():
        for spec in (
            {"endpoint": fake.endpoint},
            {"endpoint": f"{host}.evil.example", "insecure": None},
            {"endpoint": "evil.example", "insecure": None, "serviceAccountName": "robot"},
            {"endpoint": host},
            {"endpoint": host, "insecure": None, **ca},
        ):
            cases += [{"provider": provider} | spec]
    cases += [
        {"provider": "azure", "endpoint": "https://evil.example", **machine},
        {"provider": "azure", "endpoint": "https://a.blob.core.windows.net", **machine, **ca},
    ]
    for number, spec in enumerate(cases):
        await world.bucket(f"app-{number}", **spec)
        obj = await world.until_failed("AuthenticationFailed", f"app-{number}")
        message = condition(obj, "FetchFailed")["message"]
        assert "for hosts of that cloud only" in message or "exclude each other" in message

    assert world.identities.asked == []
    assert fake.requests == []


# --- LDAP -----------------------------------------------------------------------------------------


class TokenService:
    """Gives keys to whoever knows a password."""

    __test__ = False

    def __init__(self) -> None:
        self.forms: list[dict[str, list[str]]] = []

    async def answer(self, request: web.Request) -> web.Response:
        form = parse_qs(await request.text(), keep_blank_values=True)
        self.forms.append(form)
        if form["LDAPPassword"] not in (["s3cret"], [""]):
            body = "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"
            return web.Response(text=body, status=403)
        return web.Response(
            text="<AssumeRoleWithLDAPIdentityResponse xmlns='https://sts.amazonaws.com/doc/'>"
            "<AssumeRoleWithLDAPIdentityResult><Credentials><AccessKeyId>AKIALDAP</AccessKeyId>"
            "<SecretAccessKey>ldap-secret</SecretAccessKey><SessionToken>ldap-session"
            "</SessionToken></Credentials></AssumeRoleWithLDAPIdentityResult>"
            "</AssumeRoleWithLDAPIdentityResponse>"
        )


@pytest.mark.shows(
    "field:Bucket/spec.sts.provider",
    "field:Bucket/spec.sts.endpoint",
    "field:Bucket/spec.sts.secretRef.name",
)
async def test_keys_for_a_user_of_ldap(world: BucketWorld, fake: FakeStorage) -> None:
    service = TokenService()

    async def hook(request: web.Request) -> web.Response | None:
        return await service.answer(request) if request.method == "POST" else None

    fake.hook = hook
    sts = {
        "provider": "ldap",
        "endpoint": f"http://{fake.endpoint}",
        "secretRef": {"name": "user"},
    }
    await world.secret("user", {"username": "robot", "password": "s3cret"})
    await world.bucket(endpoint=fake.endpoint, sts=sts)
    await world.until_ready()

    assert service.forms == [
        {
            "Action": ["AssumeRoleWithLDAPIdentity"],
            "Version": ["2011-06-15"],
            "LDAPUsername": ["robot"],
            "LDAPPassword": ["s3cret"],
        }
    ]
    assert "Credential=AKIALDAP/" in fake.headers[-1]["Authorization"]
    assert fake.headers[-1]["X-Amz-Security-Token"] == "ldap-session"

    await world.secret("user", {"username": "robot", "password": "wr0ng"})
    await world.request("now")
    obj = await world.until_failed("AuthenticationFailed")
    message = condition(obj, "FetchFailed")["message"]
    assert message.endswith("answered 403 (AccessDenied) instead of giving temporary keys")
    assert "wr0ng" not in str(obj)


async def test_a_token_service_that_gives_nothing(world: BucketWorld, fake: FakeStorage) -> None:
    access, key = "<AccessKeyId>a</AccessKeyId>", "<SecretAccessKey>b</SecretAccessKey>"
    keys = [
        access,
        f"<AccessKeyId> </AccessKeyId>{key}",
        f"{access}{key}<SessionToken>c\nX: y</SessionToken>",
    ]
    result = "AssumeRoleWithLDAPIdentityResult"
    bodies = ["", "{}", "<html/>"]
    bodies += [f"<R><{result}><Credentials>{k}</Credentials></{result}></R>" for k in keys]

    async def hook(request: web.Request) -> web.Response:
        assert request.method == "POST", "the storage is not asked"
        return web.Response(text=bodies[int(request.path.strip("/"))])

    fake.hook = hook
    for number in range(len(bodies)):
        sts = {"provider": "ldap", "endpoint": f"http://{fake.endpoint}/{number}"}
        await world.bucket(f"app-{number}", endpoint=fake.endpoint, sts=sts)
        obj = await world.until_failed("BucketOperationFailed", f"app-{number}")
        message = condition(obj, "FetchFailed")["message"]
        assert message.endswith("gave an answer without temporary keys")


@pytest.mark.parametrize("values", [{"username": "robot"}, {"username": "", "password": "x"}])
async def test_a_user_without_a_password_is_not_asked_for(
    values: dict[str, str], world: BucketWorld, fake: FakeStorage
) -> None:
    sts = {
        "provider": "ldap",
        "endpoint": f"http://{fake.endpoint}",
        "secretRef": {"name": "user"},
    }
    await world.secret("user", values)
    await world.bucket(endpoint=fake.endpoint, sts=sts)
    await world.until_failed("AuthenticationFailed")

    assert fake.requests == []


@pytest.mark.shows("field:Bucket/spec.sts.certSecretRef.name")
async def test_the_token_service_has_trust_of_its_own(
    world: BucketWorld, fake: FakeStorage, tmp_path: Path
) -> None:
    ca, service = TestCA(), TokenService()
    certificate, key = ca.pair()
    context = requiring_certificate(ca.server_context(tmp_path), ca.pem)
    await world.secret("pair", {"ca.crt": ca.pem, "tls.crt": certificate, "tls.key": key})
    async with FakeStorage(tls=context) as sts, ConnectProxy() as proxy:
        sts.hook = service.answer
        await world.secret("proxy", {"address": proxy.url})
        spec = {"provider": "ldap", "endpoint": f"https://{sts.endpoint}"}
        await world.bucket("without", endpoint=fake.endpoint, sts=spec)
        await world.bucket(
            endpoint=fake.endpoint,
            sts=spec | {"certSecretRef": {"name": "pair"}},
            proxySecretRef={"name": "proxy"},
        )
        await world.until_ready()
        await world.until_failed("BucketOperationFailed", "without")

    assert sts.endpoint in proxy.targets
    assert service.forms[0]["LDAPUsername"] == [""]


# --- shared access signatures ---------------------------------------------------------------------


@pytest.mark.parametrize("place", ["secret", "endpoint", "both"])
async def test_a_shared_access_signature_is_sent_and_never_told(
    place: str, world: BucketWorld, fake: FakeStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    sas = "sv=2021-01-01&sp=rl&sig=s3%2Bcret%3D"
    await world.secret("sas", {"sasKey": f"?{sas}"})
    query = {"secret": "", "endpoint": f"?{sas}", "both": "?sig=other&x=1"}[place]
    await world.bucket(
        endpoint=f"http://{fake.endpoint}{query}",
        provider="azure",
        secretRef=None if place == "endpoint" else {"name": "sas"},
    )
    await world.until_ready()
    assert all("sig=s3%2Bcret%3D" in line for line in fake.requests)
    assert not any("other" in line for line in fake.requests)
    assert not any("Authorization" in headers for headers in fake.headers)

    async def refuse(request: web.Request) -> web.Response:
        text = f"<Error><Code>AuthenticationFailed</Code><Message>{escape(sas)}</Message></Error>"
        return web.Response(text=text, status=403)

    fake.hook = refuse
    await world.request("now")
    obj = await world.until_failed("BucketOperationFailed")
    event = await world.until_event("BucketOperationFailed")
    message = condition(obj, "FetchFailed")["message"]
    assert message.endswith("answered 403 (AuthenticationFailed)")
    for text in (str(obj["status"]), str(event), capsys.readouterr().out):
        assert "s3%2Bcret" not in text
        assert "sig=" not in text


async def test_an_account_key_signs(world: BucketWorld, fake: FakeStorage) -> None:
    key = base64.b64encode(b"s3cret").decode()
    await world.secret("key", {"accountKey": key})
    await world.bucket(
        endpoint=f"http://{fake.endpoint}", provider="azure", secretRef={"name": "key"}
    )
    await world.until_ready()

    assert fake.headers[-1]["Authorization"].startswith("SharedKey ")
    assert key not in str(fake.headers)
