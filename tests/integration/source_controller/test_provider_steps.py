"""What the steps show to a server: the controller's own identity, a default one, ACR's exchange."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from clouds.clocks import TwoClocks
from clouds.fake import Asked, FakeCloud, Reply, json_reply
from clouds.kube import FakeAccounts
from clouds.metadata import no_metadata
from fluvial.api.codec import decode
from fluvial.api.source import GitRepository, GitRepositorySpec, HelmRepositorySpec
from fluvial.api.source_oci import OCIRepository, OCIRepositorySpec
from fluvial.clock import RealClock
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.settings import CloudSettings
from fluvial.net.proxy import ProxyServer
from registries.fake import FakeRegistry
from registries.images import image_of
from registries.proxies import ConnectProxy
from source_controller.gitrepository.auth import SCHEMES
from source_controller.gitrepository.providers import Asked as GitAsked
from source_controller.gitrepository.providers import Providers
from source_controller.helmchart.access import RegistryAccesses
from source_controller.oci.access import Access
from source_controller.oci.reference import Repository
from source_controller.oci.registries import Registries, trust_domain
from source_controller.ocirepository.access import AccessStep
from source_controller.source.address import parse_address
from source_controller.source.run import StepFailed

TENANT = "11111111-2222-3333-4444-555555555555"
ENTRA = "login.microsoftonline.com"
ECR_API = "api.ecr.eu-west-1.amazonaws.com"
ACR = "team.azurecr.io"
ENVIRON = {
    "AWS_ACCESS_KEY_ID": "AKIAOWN",
    "AWS_SECRET_ACCESS_KEY": "own-key",
    "AZURE_TENANT_ID": TENANT,
    "AZURE_CLIENT_ID": TENANT,
    "AZURE_CLIENT_SECRET": "own-secret",
}


@pytest.fixture
async def cloud(tmp_path: Path) -> Any:
    async with await FakeCloud(ENTRA, ECR_API).start(tmp_path) as found:
        token = {"token_type": "Bearer", "expires_in": 3599, "access_token": "entra-token"}
        found.on(ENTRA, f"/{TENANT}/oauth2/v2.0/token", json_reply(token))
        yield found


@pytest.fixture
def accounts() -> FakeAccounts:
    return FakeAccounts()


def logins(cloud: FakeCloud, accounts: FakeAccounts, **more: Any) -> CloudIdentities:
    return CloudIdentities(
        cloud.http(),
        accounts.client,
        clock=TwoClocks(),
        settings=CloudSettings.read(ENVIRON),
        metadata=no_metadata(),
        **more,
    )


def git_spec(url: str, **spec: Any) -> GitRepositorySpec:
    live = {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {"name": "a", "namespace": "n", "uid": "u", "generation": 1},
        "spec": {"url": url, "interval": "1h", **spec},
    }
    return decode(live, GitRepository).spec


def oci_spec(url: str, **spec: Any) -> OCIRepositorySpec:
    live = {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "OCIRepository",
        "metadata": {"name": "a", "namespace": "n", "uid": "u", "generation": 1},
        "spec": {"url": url, "interval": "1h", **spec},
    }
    return decode(live, OCIRepository).spec


async def git_auth(identities: CloudIdentities, url: str, provider: str) -> Any:
    spec = git_spec(url, provider=provider)
    address = parse_address(url, schemes=SCHEMES)
    return await Providers(identities).auth(GitAsked("team-a", spec, address, {}))


async def oci_access(identities: CloudIdentities, accounts: FakeAccounts, url: str) -> Access:
    provider = "azure" if "azurecr" in url else "aws"
    spec = oci_spec(url, provider=provider)
    step = AccessStep(accounts.client, identities)
    return await step.read("team-a", spec, Repository.parse_url(url))


async def test_codecommit_as_the_controller(cloud: FakeCloud, accounts: FakeAccounts) -> None:
    url = "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/app"
    auth = await git_auth(logins(cloud, accounts), url, "aws")

    assert auth.username == "AKIAOWN"
    assert auth.password.startswith("20260102T030405Z")
    assert auth.password in auth.secrets(), "so that no text repeats it"
    assert cloud.asked == []


async def test_azure_devops_as_the_controller(cloud: FakeCloud, accounts: FakeAccounts) -> None:
    auth = await git_auth(logins(cloud, accounts), "https://dev.azure.com/o/p/_git/r", "azure")

    assert (auth.bearer, auth.username, auth.password) == ("entra-token", "", "")
    assert cloud.asked[0].form["client_secret"] == "own-secret"


async def test_the_provider_is_asked_by_the_objects_proxy(
    cloud: FakeCloud, accounts: FakeAccounts
) -> None:
    url = "https://dev.azure.com/o/p/_git/r"
    address = parse_address(url, schemes=SCHEMES)
    async with ConnectProxy() as proxy:
        proxy.detour = ("127.0.0.1", cloud.port)
        server = ProxyServer.parse(proxy.url)
        asked = GitAsked("team-a", git_spec(url, provider="azure"), address, {}, server)
        await Providers(logins(cloud, accounts)).auth(asked)

    assert proxy.targets == [f"{ENTRA}:443"]


async def test_a_default_account_comes_before_the_controller(
    cloud: FakeCloud, accounts: FakeAccounts
) -> None:
    identities = logins(cloud, accounts, object_level=True, default_account="default")
    with pytest.raises(StepFailed, match="'team-a/default' not found"):
        await git_auth(identities, "https://dev.azure.com/o/p/_git/r", "azure")
    with pytest.raises(StepFailed, match="'team-a/default' not found"):
        await oci_access(identities, accounts, f"oci://{ACR}/app")
    charts = RegistryAccesses(accounts.client, identities)
    spec = HelmRepositorySpec(url=f"oci://{ACR}/charts", provider="azure")
    with pytest.raises(StepFailed, match="'team-a/default' not found"):
        await charts.read("team-a", spec, Repository(ACR, "charts/app"))

    assert cloud.asked == []


async def test_ecr_as_the_controller(cloud: FakeCloud, accounts: FakeAccounts) -> None:
    def reply(asked: Asked) -> Reply:
        data = {
            "authorizationToken": base64.b64encode(b"AWS:ecr-password").decode(),
            "expiresAt": datetime(2026, 1, 2, 15, tzinfo=UTC).timestamp(),
        }
        mine = "Credential=AKIAOWN/" in asked.headers["Authorization"]
        return json_reply({"authorizationData": [data]}, 200 if mine else 400)

    cloud.on(ECR_API, "/", reply)
    identities = logins(cloud, accounts)
    url = "oci://123456789012.dkr.ecr.eu-west-1.amazonaws.com/app"
    access = await oci_access(identities, accounts, url)
    again = await oci_access(identities, accounts, url)

    assert (access.credentials.username, access.credentials.password) == ("AWS", "ecr-password")
    assert trust_domain(access, "team-a") == trust_domain(again, "team-b"), "equal sources share"
    assert len(cloud.asked) == 1
    assert "ecr-password" not in repr(access)


async def test_the_refresh_token_of_acr_opens_it(
    cloud: FakeCloud, accounts: FakeAccounts, tmp_path: Path
) -> None:
    """https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md: both forms, on the registry."""
    forms: list[dict[str, str]] = []

    async def exchange(request: web.Request) -> web.StreamResponse | None:
        if request.path != "/oauth2/exchange":
            return None
        forms.append({name: str(value) for name, value in (await request.post()).items()})
        return web.json_response({"refresh_token": "acr-refresh"})

    folder = tmp_path / "acr"
    folder.mkdir()
    async with FakeRegistry(tls=cloud.ca.server_context(folder, names=(ACR,))) as registry:
        registry.bearer, registry.refresh_token, registry.hook = True, "acr-refresh", exchange
        registry.realm = f"https://{ACR}/token"
        image = registry.put("app", "v1", image_of({"app.yaml": "x"}))
        cloud.dialer.leads[ACR] = int(registry.host.rpartition(":")[2])
        access = await oci_access(logins(cloud, accounts), accounts, f"oci://{ACR}/app")
        trusting = Access(access.credentials, ca=cloud.ca.pem)
        repository = Repository.parse_url(f"oci://{ACR}/app")
        async with (
            Registries(cloud.dialer, clock=RealClock()) as registries,
            registries.client(repository, trusting, namespace="team-a") as client,
        ):
            digest = await client.resolve("v1")

    assert str(digest) == image.digest
    assert forms == [{"grant_type": "access_token", "service": ACR, "access_token": "entra-token"}]
