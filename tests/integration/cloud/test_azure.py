"""Entra ID and Azure's registries, as Microsoft documents them.

https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
https://learn.microsoft.com/entra/identity-platform/certificate-credentials
https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12
from cryptography.x509.oid import NameOID

from clouds.assertions import verified_claims
from clouds.clocks import TwoClocks
from clouds.fake import Asked, FakeCloud, Reply, json_reply
from clouds.metadata import FakeMetadata
from fluvial.cloud.azure import AzureSecret
from fluvial.cloud.errors import InvalidIdentity, LoginRefused, LoginUnreachable, NoIdentity
from fluvial.cloud.http import CloudHttp
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.model import CONTROLLER
from fluvial.cloud.registries import registry_login
from fluvial.net.dialer import Dialer
from fluvial.net.policy import AddressPolicy

Make = Callable[..., CloudIdentities]
LOGIN = "login.microsoftonline.com"
TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT = "66666666-7777-8888-9999-000000000000"
PATH = f"/{TENANT}/oauth2/v2.0/token"
ENVIRON = {"AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": CLIENT}
SECRET = AzureSecret(CLIENT, TENANT, client_secret="app-secret")


@pytest.fixture
def entra(cloud: FakeCloud) -> FakeCloud:
    answer = {"token_type": "Bearer", "expires_in": 3599, "access_token": "eyJ0eXAi.access"}
    cloud.on(LOGIN, PATH, json_reply(answer))
    return cloud


@pytest.fixture(scope="session")
def certificate(rsa_pem: str) -> bytes:
    """Key and certificate in one PEM."""
    key = load_pem_private_key(rsa_pem.encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app")])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=365))
        .sign(key, hashes.SHA256())
    )
    return rsa_pem.encode() + made.public_bytes(serialization.Encoding.PEM)


# --- what must fail -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "authority",
    [
        "http://login.microsoftonline.com",
        "https://user@login.microsoftonline.com",
        "https://login.microsoftonline.com/path",
        "https://login.microsoftonline.com?x",
        "https://[::1",
        "login.microsoftonline.com",
    ],
)
async def test_a_secret_names_an_https_host_at_most(
    cloud: FakeCloud, make: Make, authority: str
) -> None:
    with pytest.raises(InvalidIdentity, match="authority host"):
        await make().azure_secret(replace(SECRET, authority_host=authority))

    assert cloud.asked == []


async def test_and_none_that_is_denied(make: Make) -> None:
    logins = make()
    logins.http = CloudHttp(Dialer(AddressPolicy.build()))
    logins._azure._http = logins.http
    with pytest.raises(LoginUnreachable, match="not allowed"):
        await logins.azure_secret(replace(SECRET, authority_host="https://169.254.169.254"))


@pytest.mark.parametrize("tenant", ["../common", "a/b", "", "a?b"])
async def test_a_tenant_is_only_a_name(cloud: FakeCloud, make: Make, tenant: str) -> None:
    with pytest.raises(InvalidIdentity):
        await make().azure_secret(replace(SECRET, tenant_id=tenant))

    assert cloud.asked == []


@pytest.mark.parametrize(
    ("certificate", "text"),
    [
        (b"", "client secret or a client certificate"),
        (b"nonsense", "cannot be used"),
        (b"-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n", "private key"),
        (b"x" * 100_000, "too large"),
    ],
)
async def test_what_is_no_certificate_is_said(make: Make, certificate: bytes, text: str) -> None:
    with pytest.raises(InvalidIdentity, match=text):
        await make().azure_secret(AzureSecret(CLIENT, TENANT, certificate=certificate))


async def test_a_certificate_of_another_key(make: Make, certificate: bytes) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    mixed = other + certificate[certificate.index(b"-----BEGIN CERTIFICATE") :]
    with pytest.raises(InvalidIdentity, match="does not belong"):
        await make().azure_secret(AzureSecret(CLIENT, TENANT, certificate=mixed))


async def test_a_refusal_says_its_code(cloud: FakeCloud, make: Make) -> None:
    """https://learn.microsoft.com/entra/identity-platform/reference-error-codes"""
    text = "AADSTS7000215: Invalid client secret provided. app-secret Trace ID: 0a1b Timestamp: 1"
    cloud.on(LOGIN, PATH, json_reply({"error": "invalid_client", "error_description": text}, 401))
    with pytest.raises(LoginRefused) as caught:
        await make().azure_secret(SECRET)

    assert "invalid_client: AADSTS7000215" in str(caught.value)
    assert str(caught.value).endswith("provided. ***"), "nothing that differs each time"


async def test_a_token_file_that_is_empty(cloud: FakeCloud, make: Make, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n")
    environ = {**ENVIRON, "AZURE_FEDERATED_TOKEN_FILE": str(tmp_path / "token")}
    with pytest.raises(NoIdentity, match="no token"):
        await make(environ).azure(CONTROLLER)
    environ["AZURE_FEDERATED_TOKEN_FILE"] = str(tmp_path / "missing")
    with pytest.raises(NoIdentity, match="cannot be read"):
        await make(environ).azure(CONTROLLER)

    assert cloud.asked == []


# --- what is documented ---------------------------------------------------------------------------


async def test_a_client_secret(entra: FakeCloud, make: Make, clock: TwoClocks) -> None:
    environ = {**ENVIRON, "AZURE_CLIENT_SECRET": "own-secret"}
    token = await make(environ).azure(CONTROLLER, scope="https://graph.microsoft.com/.default")
    asked = entra.asked[0]

    assert token.token == "eyJ0eXAi.access"
    assert token.expires_at == clock.now() + timedelta(seconds=3599)
    assert (asked.method, asked.path) == ("POST", PATH)
    assert asked.form == {
        "client_id": CLIENT,
        "scope": "https://graph.microsoft.com/.default",
        "client_secret": "own-secret",
        "grant_type": "client_credentials",
    }


async def test_a_federated_workload(entra: FakeCloud, make: Make, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("cluster-token\n")
    environ = {**ENVIRON, "AZURE_FEDERATED_TOKEN_FILE": str(tmp_path / "token")}
    await make(environ).azure(CONTROLLER)
    form = entra.asked[0].form

    assert form["client_assertion"] == "cluster-token"
    assert form["client_assertion_type"].endswith(":client-assertion-type:jwt-bearer")


@pytest.mark.parametrize("packed", ["pem", "pkcs12", "environment"])
async def test_a_client_certificate(
    entra: FakeCloud, make: Make, certificate: bytes, packed: str, tmp_path: Path
) -> None:
    """The assertion is read by a library that is not ours."""
    key = load_pem_private_key(certificate, None)
    found = x509.load_pem_x509_certificate(certificate)
    assert isinstance(key, rsa.RSAPrivateKey)
    secret = AzureSecret(CLIENT, TENANT, certificate=certificate, send_chain=True)
    if packed == "pkcs12":
        data = pkcs12.serialize_key_and_certificates(
            b"app", key, found, None, serialization.BestAvailableEncryption(b"pass")
        )
        secret = replace(secret, certificate=data, certificate_password="pass")
    if packed == "environment":
        (tmp_path / "pem").write_bytes(certificate)
        environ = {**ENVIRON, "AZURE_CLIENT_CERTIFICATE_PATH": str(tmp_path / "pem")}
        await make(environ).azure(CONTROLLER)
    else:
        await make().azure_secret(secret)
    assertion = entra.asked[0].form["client_assertion"]
    head = jwt.get_unverified_header(assertion)
    pem = certificate[: certificate.index(b"-----BEGIN CERTIFICATE")].decode()
    endpoint = f"https://{LOGIN}{PATH}"
    claims = verified_claims(assertion, pem, algorithm="PS256", audience=endpoint)
    digest = base64.urlsafe_b64encode(
        hashlib.sha256(found.public_bytes(serialization.Encoding.DER)).digest()
    )

    assert head["x5t#S256"] == digest.rstrip(b"=").decode()
    assert ("x5c" in head) == (packed != "environment")
    assert claims["iss"] == claims["sub"] == CLIENT
    assert claims["exp"] - claims["nbf"] == 600


async def test_another_cloud_of_azure(cloud: FakeCloud, make: Make) -> None:
    cloud.on("login.microsoftonline.us", PATH, json_reply({"access_token": "t", "expires_in": 9}))
    secret = replace(SECRET, authority_host="https://login.microsoftonline.us/")
    await make().azure_secret(secret)

    assert cloud.asked[0].host == "login.microsoftonline.us"


async def test_a_default_account_keeps_the_machines_identities_from_objects(make: Make) -> None:
    with pytest.raises(InvalidIdentity, match="--default-service-account"):
        await make(default_account="default").azure_secret(AzureSecret(CLIENT))


async def test_a_client_id_alone_is_a_managed_identity(
    make: Make, tmp_path: Path, cloud: FakeCloud
) -> None:
    async with FakeMetadata.start(tmp_path) as machine:
        with pytest.raises(LoginRefused, match="managed identity"):
            await make(metadata=machine.metadata).azure_secret(AzureSecret(CLIENT))

    assert machine.asked[0][2].endswith(f"&client_id={CLIENT}")
    assert cloud.asked == []


@pytest.mark.parametrize(
    "other",
    [
        replace(SECRET, client_secret="other"),
        replace(SECRET, tenant_id="other"),
        replace(SECRET, client_id="other"),
        replace(SECRET, certificate_password="other"),
    ],
    ids=["secret", "tenant", "client", "password"],
)
async def test_another_secret_is_another_login(
    entra: FakeCloud, make: Make, other: AzureSecret
) -> None:
    answer = json_reply({"access_token": "o", "expires_in": 9})
    entra.on(LOGIN, PATH.replace(TENANT, "other"), answer)
    logins = make()
    for secret in (SECRET, SECRET, other):
        await logins.azure_secret(secret)

    assert len(entra.asked) == 2


# --- the registry ---------------------------------------------------------------------------------


def _refresh_token(until: datetime) -> str:
    return jwt.encode({"exp": until}, "k" * 32, algorithm="HS256")


async def test_a_registry(entra: FakeCloud, make: Make, clock: TwoClocks) -> None:
    refresh = _refresh_token(clock.now() + timedelta(hours=3))
    entra.on("team.azurecr.io", "/oauth2/exchange", json_reply({"refresh_token": refresh}))
    environ = {**ENVIRON, "AZURE_CLIENT_SECRET": "own-secret"}
    logins = make(environ)
    login = await registry_login(logins, "azure", host="team.azurecr.io", identity=CONTROLLER)
    await registry_login(logins, "azure", host="team.azurecr.io", identity=CONTROLLER)

    assert login.username == "00000000-0000-0000-0000-000000000000"
    assert (login.refresh_token, login.password) == (refresh, "")
    assert login.expires_at == clock.now() + timedelta(hours=3)
    assert [asked.form.get("scope") for asked in entra.asked] == [
        "https://management.azure.com/.default",
        None,
    ]
    assert entra.asked[1].form == {
        "grant_type": "access_token",
        "service": "team.azurecr.io",
        "access_token": "eyJ0eXAi.access",
    }


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "a.e30.c"])
async def test_a_refresh_token_that_says_no_end_ends_soon(
    entra: FakeCloud, make: Make, clock: TwoClocks, token: str
) -> None:
    entra.on("team.azurecr.io", "/oauth2/exchange", json_reply({"refresh_token": token}))
    logins = make({**ENVIRON, "AZURE_CLIENT_SECRET": "own-secret"})
    login = await registry_login(logins, "azure", host="team.azurecr.io", identity=CONTROLLER)

    assert login.expires_at == clock.now() + timedelta(minutes=10)


async def test_a_missing_right_on_the_registry_is_said(entra: FakeCloud, make: Make) -> None:
    def echo(asked: Asked) -> Reply:
        return Reply(asked.body, 401)

    entra.on("team.azurecr.io", "/oauth2/exchange", echo)
    logins = make({**ENVIRON, "AZURE_CLIENT_SECRET": "own-secret"})
    with pytest.raises(LoginRefused, match="AcrPull") as caught:
        await registry_login(logins, "azure", host="team.azurecr.io", identity=CONTROLLER)

    assert "eyJ0eXAi" not in str(caught.value)
