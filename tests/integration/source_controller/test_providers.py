"""Credentials of clouds and GitHub Apps, in GitRepositories and OCIRepositories.

Services are at their own names and answer as documented; Git servers and registries behind them
are the ones of the other tests. The service accounts' tokens are real ones of the cluster.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from clouds.fake import Asked, FakeCloud, Reply, json_reply
from clouds.metadata import no_metadata
from fluvial.clock import format_time
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.settings import CloudSettings
from fluvial.kube import kinds
from fluvial.log import setup_logging
from fluvial.objects import JsonObject, ObjectKey
from gitservers.http import GitHttpServer
from gitservers.repos import Repo
from harness.oci import OciWorld
from harness.source import NAMESPACE, condition, fast_settings
from registries.fake import FakeRegistry
from registries.images import image_of
from source_controller.assemble import Parts

STS = "sts.eu-west-1.amazonaws.com"
ENTRA = "login.microsoftonline.com"
GOOGLE = "sts.googleapis.com"
ECR_API = "api.ecr.eu-west-1.amazonaws.com"
ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
ACR = "team.azurecr.io"
GAR = "europe-docker.pkg.dev"
CODECOMMIT = "git-codecommit.eu-west-1.amazonaws.com"
GITHUB_API = "api.github.com"
GITHUB = "github.com"
DEVOPS = "dev.azure.com"
TENANT = "11111111-2222-3333-4444-555555555555"
ROLE = "arn:aws:iam::123456789012:role/git"
POOL = "projects/1/locations/global/workloadIdentityPools/p/providers/q"
ANNOTATIONS = {
    "eks.amazonaws.com/role-arn": ROLE,
    "azure.workload.identity/tenant-id": TENANT,
    "azure.workload.identity/client-id": TENANT,
    "gcp.auth.fluxcd.io/workload-identity-provider": POOL,
}
OWN_SECRET = "own-secret-key"
OWN = {
    "AWS_ACCESS_KEY_ID": "AKIAOWN",
    "AWS_SECRET_ACCESS_KEY": OWN_SECRET,
    "AZURE_TENANT_ID": TENANT,
    "AZURE_CLIENT_ID": TENANT,
    "AZURE_CLIENT_SECRET": OWN_SECRET,
}


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[FakeCloud]:
    async with await FakeCloud(STS, ENTRA, GOOGLE, ECR_API, ACR, GITHUB_API).start(
        tmp_path
    ) as found:
        yield found


@pytest.fixture
async def git(tmp_path: Path, cloud: FakeCloud) -> AsyncIterator[GitHttpServer]:
    """A Git server that is CodeCommit, Azure DevOps and GitHub."""
    names = (CODECOMMIT, DEVOPS, GITHUB)
    folder = tmp_path / "git"
    folder.mkdir()
    context = cloud.ca.server_context(folder, names=names)
    async with GitHttpServer(tmp_path / "repos", tls=context) as server:
        port = int(server.url.rpartition(":")[2])
        cloud.dialer.leads.update(dict.fromkeys(names, port))
        yield server


@pytest.fixture
async def registry(tmp_path: Path, cloud: FakeCloud) -> AsyncIterator[FakeRegistry]:
    """A registry that is ECR and Artifact Registry."""
    folder = tmp_path / "registry"
    folder.mkdir()
    async with FakeRegistry(tls=cloud.ca.server_context(folder, names=(ECR, GAR))) as found:
        port = int(found.host.rpartition(":")[2])
        cloud.dialer.leads.update({ECR: port, GAR: port})
        yield found


class CloudWorld(OciWorld):
    """A controller with identities of its own, and tenants with theirs."""

    async def account(self, name: str = "puller", **annotations: str) -> None:
        obj = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "annotations": annotations or ANNOTATIONS,
            },
        }
        key = ObjectKey(NAMESPACE, name)
        await self.client.apply(kinds.SERVICE_ACCOUNT, key, obj, field_manager="test")

    async def git(self, url: str, **spec: Any) -> None:
        await self.repository(url=url, **spec)


def world_of(cloud: FakeCloud, *, gate: bool) -> Any:
    def adapt(parts: Parts) -> Parts:
        logins = CloudIdentities(
            cloud.http(),
            parts.client,
            clock=parts.clock,
            settings=CloudSettings.read(OWN),
            object_level=gate,
            metadata=no_metadata(),
        )
        return replace(parts, dialer=cloud.dialer, identities=logins)

    return adapt


@pytest.fixture
async def world(tmp_path: Path, cloud: FakeCloud) -> AsyncIterator[CloudWorld]:
    folder = tmp_path / "world"
    folder.mkdir()
    adapt = world_of(cloud, gate=True)
    async with CloudWorld.start(folder, settings=fast_settings(), adapt=adapt) as found:
        assert isinstance(found, CloudWorld)
        found.resource = kinds.GIT_REPOSITORY
        await found.account()
        await found.secret("trust", {"ca.crt": cloud.ca.pem})
        yield found


@pytest.fixture
async def closed(tmp_path: Path, cloud: FakeCloud) -> AsyncIterator[CloudWorld]:
    """The gate is off."""
    folder = tmp_path / "closed"
    folder.mkdir()
    adapt = world_of(cloud, gate=False)
    async with CloudWorld.start(folder, settings=fast_settings(), adapt=adapt) as found:
        assert isinstance(found, CloudWorld)
        await found.account()
        yield found


def subject(token: str) -> tuple[str, list[str]]:
    """Whose service account token it is, and for whom, as the cluster wrote it."""
    middle = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    return claims["sub"], claims["aud"]


def told(obj: JsonObject) -> str:
    return json.dumps(obj["status"])


def roles(asked: Asked) -> Reply:
    """https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html"""
    until = format_time(datetime.now(UTC) + timedelta(hours=1))
    return Reply(
        f"""<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
        <AssumeRoleWithWebIdentityResult><Credentials>
        <AccessKeyId>ASIA{asked.form["RoleArn"][-3:]}</AccessKeyId>
        <SecretAccessKey>role-key</SecretAccessKey><SessionToken>role-token</SessionToken>
        <Expiration>{until}</Expiration></Credentials></AssumeRoleWithWebIdentityResult>
        </AssumeRoleWithWebIdentityResponse>""".encode()
    )


def entra(token: str) -> Reply:
    """https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow"""
    return json_reply({"token_type": "Bearer", "expires_in": 3599, "access_token": token})


# --- the wrong host -------------------------------------------------------------------------------


@pytest.mark.shows(
    "GitRepository/FetchFailed/InvalidProviderConfiguration",
    "GitRepository/Stalled/InvalidProviderConfiguration",
)
@pytest.mark.parametrize(
    ("provider", "url"),
    [
        ("aws", "https://git-codecommit.eu-west-1.amazonaws.com.evil.example/v1/repos/app"),
        ("azure", "https://user@dev.azure.com/o/p/_git/r"),
    ],
)
async def test_git_credentials_are_made_for_no_other_host(
    world: CloudWorld, cloud: FakeCloud, git: GitHttpServer, provider: str, url: str
) -> None:
    await world.git(url, provider=provider, serviceAccountName="puller")
    obj = await world.until_failed("InvalidProviderConfiguration")

    assert condition(obj, "Stalled")["reason"] == "InvalidProviderConfiguration"
    assert cloud.asked == []
    assert git.requests == []


@pytest.mark.parametrize(
    ("provider", "registry_host"),
    [
        ("aws", "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example"),
        ("gcp", "evilgcr.io"),
    ],
)
async def test_registry_credentials_are_made_for_no_other_host(
    world: CloudWorld, cloud: FakeCloud, provider: str, registry_host: str
) -> None:
    world.resource = kinds.OCI_REPOSITORY
    await world.oci(
        url=f"oci://{registry_host}/app", provider=provider, serviceAccountName="puller"
    )
    obj = await world.until_failed("AuthenticationFailed")

    assert "logs in to" in condition(obj, "FetchFailed")["message"]
    assert cloud.asked == []


# --- the gate and the controller's own identity ---------------------------------------------------


@pytest.mark.shows(
    "GitRepository/FetchFailed/FeatureGateDisabled", "GitRepository/Stalled/FeatureGateDisabled"
)
async def test_git_with_the_gate_off(closed: CloudWorld, cloud: FakeCloud) -> None:
    closed.resource = kinds.GIT_REPOSITORY
    await closed.git(
        f"https://{CODECOMMIT}/v1/repos/app", provider="aws", serviceAccountName="puller"
    )
    obj = await closed.until_failed("FeatureGateDisabled")

    assert condition(obj, "Stalled")["reason"] == "FeatureGateDisabled"
    assert condition(obj, "FetchFailed")["reason"] == "FeatureGateDisabled"
    assert cloud.asked == []


@pytest.mark.shows(
    "OCIRepository/Stalled/FeatureGateDisabled", "OCIRepository/Ready/FeatureGateDisabled"
)
async def test_oci_with_the_gate_off(closed: CloudWorld, cloud: FakeCloud) -> None:
    await closed.oci(url=f"oci://{ECR}/app", provider="aws", serviceAccountName="puller")
    obj = await closed.until_failed("FeatureGateDisabled")

    assert condition(obj, "Stalled")["reason"] == "FeatureGateDisabled"
    assert not condition(obj, "FetchFailed")
    assert cloud.asked == []


async def test_git_never_shows_the_controllers_identity_to_a_tenants_ca(
    world: CloudWorld, cloud: FakeCloud, git: GitHttpServer
) -> None:
    """Whoever brings the CA may be the server."""
    await world.git(
        f"https://{CODECOMMIT}/v1/repos/app", provider="aws", secretRef={"name": "trust"}
    )
    obj = await world.until_failed("AuthenticationFailed")

    assert "exclude each other" in condition(obj, "FetchFailed")["message"]
    assert (cloud.asked, git.requests) == ([], [])


@pytest.mark.parametrize(
    "more", [{"certSecretRef": {"name": "trust"}}, {"insecure": True}], ids=["CA", "insecure"]
)
async def test_nor_does_oci(
    world: CloudWorld, cloud: FakeCloud, registry: FakeRegistry, more: dict[str, Any]
) -> None:
    world.resource = kinds.OCI_REPOSITORY
    await world.oci(url=f"oci://{ECR}/app", provider="aws", **more)
    obj = await world.until_failed("AuthenticationFailed")

    assert "exclude each" in condition(obj, "FetchFailed")["message"]
    assert (cloud.asked, registry.seen) == ([], [])


# --- GitHub Apps ----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def app_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()


def installed(cloud: FakeCloud, given: str = "ghs_16C7e42F292c6912E7710c838347Ae178B4a") -> str:
    """https://docs.github.com/rest/apps/apps#create-an-installation-access-token-for-an-app"""
    until = format_time(datetime.now(UTC) + timedelta(hours=1))
    cloud.on(
        GITHUB_API,
        "/app/installations/42/access_tokens",
        json_reply({"token": given, "expires_at": until}, 201),
    )
    return given


async def test_an_app_without_a_secret_stalls(world: CloudWorld) -> None:
    await world.git(f"https://{GITHUB}/org/app.git", provider="github")
    obj = await world.until_failed("InvalidProviderConfiguration")

    assert condition(obj, "Stalled")["reason"] == "InvalidProviderConfiguration"


@pytest.mark.parametrize(
    ("provider", "values"),
    [("github", {"username": "u", "password": "p"}), (None, {"githubAppID": "1"})],
    ids=["no app", "no provider"],
)
async def test_app_and_provider_go_together(
    world: CloudWorld, cloud: FakeCloud, provider: str | None, values: dict[str, str]
) -> None:
    await world.secret("app", values)
    await world.git(f"https://{GITHUB}/org/app.git", provider=provider, secretRef={"name": "app"})
    obj = await world.until_failed("InvalidProviderConfiguration")

    assert not condition(obj, "Stalled"), "a Secret can be mended"
    assert cloud.asked == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"githubAppPrivateKey": "nonsense"}, "not a private key"),
        ({"githubAppBaseURL": "https://169.254.169.254/api/v3"}, "not allowed"),
        ({"githubAppInstallationID": "43"}, "knows no installation 43"),
    ],
)
async def test_what_is_wrong_with_an_app_is_said(
    world: CloudWorld, app_key: str, change: dict[str, str], text: str
) -> None:
    app = {"githubAppID": "1", "githubAppInstallationID": "42", "githubAppPrivateKey": app_key}
    await world.secret("app", app | change)
    url = f"https://{GITHUB}/org/app.git"
    await world.git(url, provider="github", secretRef={"name": "app"})
    obj = await world.until_failed("AuthenticationFailed")

    assert text in condition(obj, "FetchFailed")["message"]
    assert "PRIVATE" not in told(obj)


@pytest.mark.usefixtures("renewed_once")
@pytest.mark.shows("field:GitRepository/spec.provider")
async def test_a_github_app(
    world: CloudWorld, cloud: FakeCloud, git: GitHttpServer, repo: Repo, app_key: str
) -> None:
    token = installed(cloud)
    git.basic = ("x-access-token", token)
    cloud.on(GITHUB_API, "/users/org/installation", json_reply({"id": 42}))
    await world.secret(
        "app",
        {
            "githubAppID": "1",
            "githubAppInstallationOwner": "org",
            "githubAppPrivateKey": app_key,
            "ca.crt": cloud.ca.pem,
        },
    )
    url = f"https://{GITHUB}/app.git"
    await world.git(url, provider="github", secretRef={"name": "app"})
    assert (await world.files(await world.until_ready()))["app.yaml"] == "v1\n"
    await world.request("again")
    await world.until_handled("again")
    assert [asked.path for asked in cloud.asked] == [
        "/orgs/org/installation",
        "/users/org/installation",
        "/app/installations/42/access_tokens",
    ], "the token is kept"

    # It was revoked: another one is fetched at once, and no other one for the next refusal.
    git.basic = (git.basic[0], installed(cloud, "ghs_another"))
    await world.request("revoked")
    await world.until_handled("revoked")
    await world.until_ready()
    git.basic = ("x-access-token", "no token at all")
    await world.request("refused")
    obj = await world.until_failed("GitOperationFailed")
    assert [asked.method for asked in cloud.asked].count("POST") == 2
    assert "ghs_" not in told(obj)


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.BytesIO]:
    """What the controller writes at its most talkative."""
    before, written = structlog.get_config(), io.BytesIO()
    stream = io.TextIOWrapper(written)
    with monkeypatch.context() as patched:
        patched.setattr("sys.stderr", stream)
        setup_logging(level="trace")
    yield written
    stream.detach()
    structlog.configure(**before)


async def test_what_fails_and_succeeds_tells_no_secret(
    logged: io.BytesIO,
    world: CloudWorld,
    cloud: FakeCloud,
    git: GitHttpServer,
    repo: Repo,
) -> None:
    """The server repeats what it was sent; the first login is refused, the second is not."""
    secret = "devops-token-in-clear"
    sent: list[str] = []

    def refuse(asked: Asked) -> Reply:
        sent.append(asked.form["client_assertion"])
        return json_reply({"error": "e", "error_description": asked.body.decode()}, 400)

    path = f"/{TENANT}/oauth2/v2.0/token"
    cloud.on(ENTRA, path, refuse)
    spec = {
        "provider": "azure",
        "serviceAccountName": "puller",
        "secretRef": {"name": "trust"},
    }
    await world.git(f"https://{DEVOPS}/app.git", **spec)
    await world.until_failed("AuthenticationFailed")
    await world.until_event("AuthenticationFailed")
    cloud.on(ENTRA, path, entra(secret))
    git.bearer = "another"
    await world.request("refused")
    await world.until_failed("GitOperationFailed")
    git.bearer = secret
    await world.request("fine")
    obj = await world.until_ready()
    events = (await world.client.list_all(kinds.EVENT)).items
    shown = logged.getvalue().decode() + json.dumps([obj, events])

    assert '"level":"error"' in shown
    assert "AuthenticationFailed" in shown
    assert sent
    assert not any(text in shown for text in (secret, *sent, OWN_SECRET))


# --- CodeCommit and Azure DevOps ------------------------------------------------------------------


@pytest.mark.shows("field:GitRepository/spec.serviceAccountName")
async def test_codecommit_as_a_service_account(
    world: CloudWorld, cloud: FakeCloud, git: GitHttpServer, repo: Repo
) -> None:
    cloud.on(STS, "/", roles)
    await world.git(
        f"https://{CODECOMMIT}/app.git",
        provider="aws",
        serviceAccountName="puller",
        secretRef={"name": "trust"},
    )
    obj = await world.until_ready()
    form = cloud.asked[0].form
    pair = base64.b64decode(git.authorizations[-1].removeprefix("Basic ")).decode()

    assert subject(form["WebIdentityToken"]) == (
        f"system:serviceaccount:{NAMESPACE}:puller",
        ["sts.amazonaws.com"],
    )
    assert (form["RoleArn"], form["RoleSessionName"]) == (
        ROLE,
        f"puller.{NAMESPACE}.eu-west-1.fluxcd.io",
    )
    assert pair.startswith("ASIAgit%role-token:20")
    assert len(pair.rpartition("Z")[2]) == 64
    assert "role-token" not in told(obj)


async def test_azure_devops_as_a_service_account(
    world: CloudWorld, cloud: FakeCloud, git: GitHttpServer, repo: Repo
) -> None:
    git.bearer = "devops-token"
    cloud.on(ENTRA, f"/{TENANT}/oauth2/v2.0/token", entra("devops-token"))
    await world.git(
        f"https://{DEVOPS}/app.git",
        provider="azure",
        serviceAccountName="puller",
        secretRef={"name": "trust"},
    )
    obj = await world.until_ready()
    form = cloud.asked[0].form

    assert form["scope"] == "499b84ac-1321-427f-aa17-267ca6975798/.default"
    assert subject(form["client_assertion"])[1] == ["api://AzureADTokenExchange"]
    assert "devops-token" not in told(obj)


@pytest.mark.shows("GitRepository/FetchFailed/AuthenticationFailed")
async def test_a_refused_role_is_said(world: CloudWorld, cloud: FakeCloud) -> None:
    """https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html"""
    cloud.on(
        STS,
        "/",
        Reply(
            b'<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>'
            b"<Type>Sender</Type><Code>AccessDenied</Code><Message>Not authorized to perform"
            b" sts:AssumeRoleWithWebIdentity</Message></Error></ErrorResponse>",
            403,
        ),
    )
    await world.git(f"https://{CODECOMMIT}/app.git", provider="aws", serviceAccountName="puller")
    obj = await world.until_failed("AuthenticationFailed")

    assert "AccessDenied: Not authorized" in condition(obj, "FetchFailed")["message"]


# --- registries -----------------------------------------------------------------------------------


def ecr_login(cloud: FakeCloud) -> None:
    """https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html"""
    packed = base64.b64encode(b"AWS:ecr-password").decode()
    data = {
        "authorizationToken": packed,
        "expiresAt": (datetime.now(UTC) + timedelta(hours=12)).timestamp(),
        "proxyEndpoint": f"https://{ECR}",
    }
    cloud.on(ECR_API, "/", json_reply({"authorizationData": [data]}))


@pytest.mark.shows(
    "field:OCIRepository/spec.provider", "field:OCIRepository/spec.serviceAccountName"
)
async def test_ecr_as_a_service_account(
    world: CloudWorld, cloud: FakeCloud, registry: FakeRegistry
) -> None:
    world.resource = kinds.OCI_REPOSITORY
    cloud.on(STS, "/", roles)
    ecr_login(cloud)
    registry.basic = ("AWS", "ecr-password")
    registry.put("app", "latest", image_of({"app.yaml": "x"}))
    await world.oci(
        url=f"oci://{ECR}/app",
        provider="aws",
        serviceAccountName="puller",
        certSecretRef={"name": "trust"},
    )
    obj = await world.until_ready()
    signed = cloud.asked[1].headers

    assert signed["X-Amz-Target"].endswith("_V20150921.GetAuthorizationToken")
    assert "/eu-west-1/ecr/aws4_request" in signed["Authorization"]
    assert signed["X-Amz-Security-Token"] == "role-token"
    assert "ecr-password" not in told(obj)


async def test_artifact_registry_as_a_service_account(
    world: CloudWorld, cloud: FakeCloud, registry: FakeRegistry
) -> None:
    """https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token"""
    world.resource = kinds.OCI_REPOSITORY
    cloud.on(GOOGLE, "/v1/token", entra("google-token"))
    registry.basic = ("oauth2accesstoken", "google-token")
    registry.put("team/app", "latest", image_of({"app.yaml": "x"}))
    await world.oci(
        url=f"oci://{GAR}/team/app",
        provider="gcp",
        serviceAccountName="puller",
        certSecretRef={"name": "trust"},
    )
    await world.until_ready()
    form = cloud.asked[0].form

    assert form["audience"] == f"//iam.googleapis.com/{POOL}"
    assert subject(form["subject_token"])[1] == [f"//iam.googleapis.com/{POOL}"]


async def test_a_pull_secret_comes_first(
    world: CloudWorld, cloud: FakeCloud, registry: FakeRegistry
) -> None:
    world.resource = kinds.OCI_REPOSITORY
    registry.basic = ("user", "password")
    registry.put("app", "latest", image_of({"app.yaml": "x"}))
    await world.pull_secret("pull", ECR, "user", "password")
    await world.oci(
        url=f"oci://{ECR}/app",
        provider="aws",
        secretRef={"name": "pull"},
        certSecretRef={"name": "trust"},
    )
    await world.until_ready()

    assert cloud.asked == []
