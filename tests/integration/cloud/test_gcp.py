"""Google Cloud's token services, as Google documents them.

https://developers.google.com/identity/protocols/oauth2/service-account#httprest
https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token
https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web

from clouds.assertions import verified_claims
from clouds.clocks import TwoClocks
from clouds.fake import FakeCloud, json_reply
from clouds.kube import FakeAccounts
from clouds.metadata import FakeMetadata
from fluvial.cloud.errors import InvalidIdentity, LoginRefused, NoIdentity
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.model import CONTROLLER, ServiceAccount
from fluvial.cloud.registries import registry_login

Make = Callable[..., CloudIdentities]
OAUTH = "oauth2.googleapis.com"
STS = "sts.googleapis.com"
IAM = "iamcredentials.googleapis.com"
EMAIL = "puller@team.iam.gserviceaccount.com"
GENERATE = f"/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken"
POOL = "projects/1234/locations/global/workloadIdentityPools/pool/providers/cluster"
TENANT = ServiceAccount("team-a", "puller")
PROVIDER = "gcp.auth.fluxcd.io/workload-identity-provider"


@pytest.fixture
def key(rsa_pem: str) -> dict[str, Any]:
    return {
        "type": "service_account",
        "project_id": "team",
        "private_key_id": "0a1b2c",
        "private_key": rsa_pem,
        "client_email": EMAIL,
        "token_uri": f"https://{OAUTH}/token",
        "universe_domain": "googleapis.com",
    }


@pytest.fixture
def google(cloud: FakeCloud) -> FakeCloud:
    token = {"token_type": "Bearer", "expires_in": 3599}
    cloud.on(OAUTH, "/token", json_reply({**token, "access_token": "ya29.by-key"}))
    cloud.on(STS, "/v1/token", json_reply({**token, "access_token": "ya29.federated"}))
    cloud.on(
        IAM,
        GENERATE,
        json_reply({"accessToken": "ya29.impersonated", "expireTime": "2026-01-02T04:04:05Z"}),
    )
    return cloud


def packed(document: Any) -> bytes:
    return json.dumps(document).encode()


# --- what must fail -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"type": "external_account"}, "of the type service_account"),
        ({"type": "authorized_user"}, "of the type service_account"),
        ({"type": None}, "of the type service_account"),
        ({"client_email": ""}, "no 'client_email'"),
        ({"private_key": None}, "no 'private_key'"),
        ({"private_key": "nonsense"}, "not a private key"),
        ({"token_uri": "http://oauth2.googleapis.com/token"}, "not one of Google's"),
        ({"token_uri": "https://evil.example/token"}, "not one of Google's"),
        ({"token_uri": "https://169.254.169.254/token"}, "not one of Google's"),
        ({"token_uri": "https://evilgoogleapis.com/token"}, "not one of Google's"),
        ({"token_uri": "https://googleapis.com.evil.example/"}, "not one of Google's"),
        ({"token_uri": "https://oauth2.googleapis.com:444/"}, "not one of Google's"),
        ({"token_uri": "https://u@oauth2.googleapis.com/"}, "not one of Google's"),
    ],
)
async def test_a_key_that_is_none_is_refused(
    cloud: FakeCloud, make: Make, key: dict[str, Any], change: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidIdentity, match=text):
        await make().gcp_secret(packed(key | change))

    assert cloud.asked == []


async def test_a_secret_cannot_name_the_controllers_files(
    cloud: FakeCloud, make: Make, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("the controller's")
    document = _federation(tmp_path / "token")
    with pytest.raises(InvalidIdentity, match="of the type service_account"):
        await make().gcp_secret(packed(document))

    assert cloud.asked == []


@pytest.mark.parametrize("data", [b"", b"[]", b"nonsense", b"\xff"])
async def test_what_is_not_json(make: Make, data: bytes) -> None:
    with pytest.raises(InvalidIdentity, match="not a JSON object"):
        await make().gcp_secret(data)


@pytest.mark.parametrize(
    "annotations",
    [
        {PROVIDER: "projects/x/locations/global/workloadIdentityPools/p/providers/q"},
        {PROVIDER: f"https://evil.example/{POOL}"},
        {PROVIDER: f"{POOL}/more"},
        {PROVIDER: POOL, "iam.gke.io/gcp-service-account": "x@evil.example"},
        {PROVIDER: POOL, "iam.gke.io/gcp-service-account": "x/../y@a.iam.gserviceaccount.com"},
    ],
)
async def test_annotations_are_only_names(
    cloud: FakeCloud, make: Make, accounts: FakeAccounts, annotations: dict[str, str]
) -> None:
    accounts.annotate("team-a", "puller", annotations)
    with pytest.raises(InvalidIdentity, match="is malformed"):
        await make().gcp(TENANT)

    assert (cloud.asked, accounts.requests) == ([], [])


async def test_a_refusal_says_its_code(google: FakeCloud, make: Make, key: dict[str, Any]) -> None:
    answer = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
    google.on(OAUTH, "/token", json_reply(answer, 400))
    with pytest.raises(LoginRefused, match="invalid_grant: Invalid JWT Signature"):
        await make().gcp_secret(packed(key))


async def test_an_impersonation_that_is_denied(
    google: FakeCloud, make: Make, accounts: FakeAccounts
) -> None:
    """https://cloud.google.com/apis/design/errors#http_mapping"""
    error = {"code": 403, "message": "Permission denied.", "status": "PERMISSION_DENIED"}
    google.on(IAM, GENERATE, json_reply({"error": error}, 403))
    accounts.annotate("team-a", "puller", {PROVIDER: POOL, "iam.gke.io/gcp-service-account": EMAIL})
    with pytest.raises(LoginRefused, match="PERMISSION_DENIED: Permission denied"):
        await make().gcp(TENANT)


@pytest.mark.parametrize(
    "source",
    [
        {"executable": {"command": "/bin/sh"}},
        {"url": "http://169.254.169.254/"},
        {"environment_id": "aws1"},
        None,
    ],
    ids=["program", "url", "aws", "none"],
)
async def test_a_federation_reads_a_file_and_nothing_else(
    cloud: FakeCloud, make: Make, tmp_path: Path, source: Any
) -> None:
    file = tmp_path / "credentials.json"
    file.write_bytes(packed(_federation(tmp_path) | {"credential_source": source}))
    with pytest.raises(InvalidIdentity, match="only a credential_source with a file"):
        await make({"GOOGLE_APPLICATION_CREDENTIALS": str(file)}).gcp(CONTROLLER)

    assert cloud.asked == []


async def test_a_file_that_is_not_there(make: Make, tmp_path: Path) -> None:
    with pytest.raises(NoIdentity, match="cannot be read"):
        await make({"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "x")}).gcp(CONTROLLER)


# --- what is documented ---------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["secret", "environment"])
async def test_a_key_of_a_service_account(
    google: FakeCloud, make: Make, key: dict[str, Any], tmp_path: Path, source: str
) -> None:
    """The assertion is read by a library that is not ours."""
    logins = make()
    if source == "secret":
        token = await logins.gcp_secret(packed(key), scopes=("a", "b"))
    else:
        file = tmp_path / "key.json"
        file.write_bytes(packed(key))
        environ = {"GOOGLE_APPLICATION_CREDENTIALS": str(file)}
        token = await make(environ).gcp(CONTROLLER, scopes=("a", "b"))
    form = google.asked[0].form
    claims = verified_claims(form["assertion"], key["private_key"], audience=key["token_uri"])
    now = int(logins.clock.now().timestamp())

    assert token.token == "ya29.by-key"
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assert jwt.get_unverified_header(form["assertion"])["kid"] == "0a1b2c"
    assert claims == {
        "iss": EMAIL,
        "scope": "a b",
        "aud": key["token_uri"],
        "iat": now,
        "exp": now + 3600,
    }


@pytest.mark.parametrize("email", ["", EMAIL])
async def test_a_federated_service_account(
    google: FakeCloud, make: Make, accounts: FakeAccounts, email: str
) -> None:
    annotations = {PROVIDER: f"https://iam.googleapis.com/{POOL}"}
    if email:
        annotations["iam.gke.io/gcp-service-account"] = email
    accounts.annotate("team-a", "puller", annotations)
    token = await make().gcp(TENANT)
    form = google.asked[0].form
    path, body = accounts.requests[0]

    assert token.token == ("ya29.impersonated" if email else "ya29.federated")
    assert path == "/api/v1/namespaces/team-a/serviceaccounts/puller/token"
    assert body["spec"] == {
        "audiences": [f"//iam.googleapis.com/{POOL}"],
        "expirationSeconds": 3600,
    }
    assert form == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": f"//iam.googleapis.com/{POOL}",
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "subject_token": f"token-of-{path}",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    }
    if email:
        assert google.asked[1].headers["Authorization"] == "Bearer ya29.federated"
        assert google.asked[1].document["lifetime"] == "3600s"


async def test_a_service_account_of_gke(
    google: FakeCloud, make: Make, accounts: FakeAccounts, tmp_path: Path
) -> None:
    """https://cloud.google.com/kubernetes-engine/docs/concepts/workload-identity"""
    accounts.annotate("team-a", "puller", {})
    async with FakeMetadata.start(tmp_path) as machine:
        base = "/computeMetadata/v1/"
        for path, text in (
            ("project/project-id", "team"),
            ("instance/attributes/cluster-location", "europe-west1"),
            ("instance/attributes/cluster-name", "main"),
        ):
            machine.replies[base + path] = lambda _, text=text: web.Response(text=text)  # type: ignore[misc]  # a handler
        await make(metadata=machine.metadata).gcp(TENANT)
    form = google.asked[0].form

    assert accounts.requests[0][1]["spec"]["audiences"] == ["team.svc.id.goog"]
    assert form["audience"] == (
        "identitynamespace:team.svc.id.goog:https://container.googleapis.com/v1/projects/"
        "team/locations/europe-west1/clusters/main"
    )


def _federation(file: Path) -> dict[str, Any]:
    return {
        "type": "external_account",
        "audience": f"//iam.googleapis.com/{POOL}",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"https://{STS}/v1/token",
        "service_account_impersonation_url": f"https://{IAM}{GENERATE}",
        "credential_source": {"file": str(file)},
    }


@pytest.mark.parametrize("form", ["text", "json"])
async def test_a_federated_controller(
    google: FakeCloud, make: Make, tmp_path: Path, form: str
) -> None:
    """https://cloud.google.com/iam/docs/workload-identity-federation-with-kubernetes#deploy"""
    token, file = tmp_path / "token", tmp_path / "credentials.json"
    document = _federation(token)
    token.write_text("cluster-token\n" if form == "text" else '{"id": "cluster-token"}')
    if form == "json":
        names = {"type": "json", "subject_token_field_name": "id"}
        document["credential_source"]["format"] = names
    file.write_bytes(packed(document))
    found = await make({"GOOGLE_APPLICATION_CREDENTIALS": str(file)}).gcp(CONTROLLER)

    assert found.token == "ya29.impersonated"
    assert found.expires_at == datetime(2026, 1, 2, 4, 4, 5, tzinfo=UTC)
    assert google.asked[0].form["subject_token"] == "cluster-token"


async def test_a_registry(
    google: FakeCloud, make: Make, accounts: FakeAccounts, clock: TwoClocks
) -> None:
    """https://cloud.google.com/artifact-registry/docs/docker/authentication#token"""
    accounts.annotate("team-a", "puller", {PROVIDER: POOL})
    host = "europe-west1-docker.pkg.dev"
    login = await registry_login(make(), "gcp", host=host, identity=TENANT)

    assert (login.username, login.password) == ("oauth2accesstoken", "ya29.federated")
    assert login.expires_at == clock.now() + timedelta(seconds=3599)
