"""Providers that speak by a cloud identity: a service account's of their namespace, or nobody's."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from clouds.clocks import TwoClocks
from clouds.fake import Asked, FakeCloud, Reply, json_reply
from clouds.kube import FakeAccounts
from clouds.metadata import FakeMetadata, no_metadata
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.metadata import Metadata
from fluvial.cloud.model import CONTROLLER, DIRECT, Identity, ServiceAccount, Way
from fluvial.cloud.settings import CloudSettings
from fluvial.kube import kinds
from fluvial.kube.resource import Resource
from fluvial.objects import ObjectKey
from fluvial.runtime.identities import IdentityRules
from harness.receivers import ReceiverWorld
from harness.talks import COMMIT, about
from notification_controller.alert.lanes import LaneTimes
from notification_controller.assemble import Settings as Flags
from notification_controller.provider.lending import Lending, whose
from notification_controller.provider.login import logged_in
from notification_controller.provider.outgoing import Exchange, Outgoing, SendFailed
from notification_controller.provider.outgoing import Reply as Answer
from notification_controller.provider.settings import Settings
from notification_controller.provider.types import tell

TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT = "66666666-7777-8888-9999-000000000000"
ENTRA, ENTRA_PATH = "login.microsoftonline.com", f"/{TENANT}/oauth2/v2.0/token"
POOL = "projects/1234567890/locations/global/workloadIdentityPools/pool/providers/cluster"
ANNOTATIONS = {
    "azure.workload.identity/tenant-id": TENANT,
    "azure.workload.identity/client-id": CLIENT,
    "gcp.auth.fluxcd.io/workload-identity-provider": POOL,
}
ACCOUNT = ServiceAccount("team", "teller")
CLUSTER_ROLE = Resource(
    "rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced=False
)
CLUSTER_ROLE_BINDING = Resource(
    "rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False
)
DEVOPS = Settings(type="azuredevops", address="https://dev.azure.com/org/project/_git/app")
HUBS = Settings(type="azureeventhub", address="hub", channel="shop")
PUBSUB = Settings(type="googlepubsub", address="my-project", channel="topic")
CONNECTION = (
    "Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=n;SharedAccessKey=a2V5;"
    "EntityPath=hub"
)


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[FakeCloud]:
    async with await FakeCloud(ENTRA, "sts.googleapis.com", "dev.azure.com").start(
        tmp_path
    ) as found:
        token = {"token_type": "Bearer", "expires_in": 3599, "access_token": "a-cloud-token"}
        found.on(ENTRA, ENTRA_PATH, json_reply(token))
        issued = {"issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}
        found.on("sts.googleapis.com", "/v1/token", json_reply(token | issued))
        yield found


@pytest.fixture
def accounts() -> FakeAccounts:
    found = FakeAccounts()
    found.annotate("team", "teller", ANNOTATIONS)
    return found


async def log_in(
    cloud: FakeCloud,
    accounts: FakeAccounts,
    settings: Settings,
    *,
    identity: Identity = ACCOUNT,
    way: Way = DIRECT,
    environ: dict[str, str] | None = None,
    metadata: Metadata | None = None,
) -> Settings:
    identities = CloudIdentities(
        cloud.http(),
        accounts.client,
        clock=TwoClocks(),
        settings=CloudSettings.read(environ or {}),
        metadata=metadata or no_metadata(),
        object_level=True,
    )
    name = identity.name if isinstance(identity, ServiceAccount) else ""
    lending = Lending(identities, identity, way)
    return await logged_in(settings, {}, lending=lending, service_account=name, timeout=10.0)


# --- who gets no token ----------------------------------------------------------------------------


def _identities(cloud: FakeCloud, **more: Any) -> CloudIdentities:
    return CloudIdentities(cloud.http(), FakeAccounts().client, clock=TwoClocks(), **more)


def test_without_the_gate_no_account_is_used(cloud: FakeCloud) -> None:
    with pytest.raises(SendFailed, match="feature gate ObjectLevelWorkloadIdentity") as caught:
        whose(_identities(cloud), "team", "teller")
    assert not caught.value.again
    assert whose(_identities(cloud), "team", "") == CONTROLLER


def test_an_account_is_one_of_the_namespace(cloud: FakeCloud) -> None:
    """A name is all that a Provider can say, and names with a namespace in them are refused."""
    identities = _identities(cloud, object_level=True, default_account="default")

    assert whose(identities, "team", "teller") == ACCOUNT
    assert whose(identities, "team", "") == ServiceAccount("team", "default")
    assert whose(identities, "team", "other/teller") == ServiceAccount("team", "other/teller")


@pytest.mark.parametrize("settings", [DEVOPS, HUBS, PUBSUB], ids=lambda one: one.type)
async def test_an_account_that_there_is_not(
    cloud: FakeCloud, accounts: FakeAccounts, settings: Settings
) -> None:
    """It may be there in a moment; that of another namespace does not help."""
    accounts.annotate("other", "nobody", ANNOTATIONS)
    with pytest.raises(SendFailed, match="service account 'team/nobody' not found") as caught:
        await log_in(cloud, accounts, settings, identity=ServiceAccount("team", "nobody"))
    assert caught.value.again
    assert (cloud.asked, accounts.requests) == ([], [])


@pytest.mark.parametrize("settings", [DEVOPS, HUBS, PUBSUB], ids=lambda one: one.type)
async def test_an_account_that_stands_for_nobody(
    cloud: FakeCloud, accounts: FakeAccounts, settings: Settings
) -> None:
    accounts.annotate("team", "teller", dict.fromkeys(ANNOTATIONS, "../x"))
    with pytest.raises(SendFailed, match=r"cannot log in: the annotation") as caught:
        await log_in(cloud, accounts, settings)
    assert not caught.value.again
    assert cloud.asked == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Settings(type="azureeventhub", address=CONNECTION), "a connection string exclude"),
        (Settings(type="azureeventhub", address="hub", channel="x", token="t"), "a token exclude"),
    ],
)
async def test_two_ways_to_log_in(
    cloud: FakeCloud, accounts: FakeAccounts, settings: Settings, said: str
) -> None:
    with pytest.raises(SendFailed, match=said) as caught:
        await log_in(cloud, accounts, settings)
    assert not caught.value.again


@pytest.mark.parametrize(
    "settings",
    [
        Settings(type="azuredevops", address="https://evil.example/org/project/_git/app"),
        Settings(type="azuredevops", address="https://dev.azure.com.evil.example/o/p/_git/app"),
        Settings(type="azuredevops", address="http://dev.azure.com/org/project/_git/app"),
        Settings(type="azuredevops", address="https://dev.azure.com:8443/org/project/_git/app"),
        Settings(type="azureeventhub", address="hub", channel="evil.example"),
        Settings(type="azureeventhub", address="hub", channel="x.servicebus.windows.net.evil.com"),
        Settings(type="azureeventhub", address="hub", channel="servicebus.windows.net"),
    ],
    ids=lambda one: one.channel or one.address,
)
async def test_a_token_is_for_hosts_of_the_cloud(
    cloud: FakeCloud, accounts: FakeAccounts, settings: Settings
) -> None:
    """Nobody is asked for it before."""
    with pytest.raises(SendFailed, match=r"cannot log in: .* only") as caught:
        await log_in(cloud, accounts, settings)
    assert not caught.value.again
    assert (cloud.asked, accounts.requests) == ([], [])


@pytest.mark.parametrize("settings", [DEVOPS, HUBS, PUBSUB], ids=lambda one: one.type)
async def test_the_controller_s_own_is_shown_to_nobody_that_a_tenant_trusts(
    cloud: FakeCloud, accounts: FakeAccounts, settings: Settings
) -> None:
    with pytest.raises(SendFailed, match="exclude each other"):
        await log_in(cloud, accounts, settings, identity=CONTROLLER, way=Way(ca=cloud.ca.pem))
    assert cloud.asked == []


@pytest.mark.parametrize("settings", [DEVOPS, HUBS, PUBSUB], ids=lambda one: one.type)
async def test_no_token_and_no_cloud(
    cloud: FakeCloud, accounts: FakeAccounts, settings: Settings, tmp_path: Path
) -> None:
    """It is said at once: most likely the token was forgotten."""
    async with FakeMetadata.start(tmp_path) as machine:
        metadata = machine.metadata
    with pytest.raises(SendFailed, match="the Secret has no token, and the controller") as caught:
        await log_in(cloud, accounts, settings, identity=CONTROLLER, metadata=metadata)
    assert not caught.value.again


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_cloud_that_is_away_is_asked_again(
    cloud: FakeCloud, accounts: FakeAccounts, status: int
) -> None:
    cloud.on(ENTRA, ENTRA_PATH, json_reply({"error": "temporarily_unavailable"}, status))
    with pytest.raises(SendFailed, match="cannot log in") as caught:
        await log_in(cloud, accounts, HUBS)
    assert caught.value.again


# --- who gets one ---------------------------------------------------------------------------------


async def _request(settings: Settings) -> Outgoing:
    """The last request that is sent with the settings."""
    sent: list[Outgoing] = []

    async def exchange(request: Outgoing) -> Answer:
        sent.append(request)
        return Answer(200, b"{}")

    talk: Exchange = exchange
    await tell(about(), settings, talk)
    return sent[-1]


@pytest.mark.parametrize(
    ("settings", "audience"),
    [
        (DEVOPS, "api://AzureADTokenExchange"),
        (HUBS, "api://AzureADTokenExchange"),
        (PUBSUB, f"//iam.googleapis.com/{POOL}"),
    ],
    ids=lambda one: getattr(one, "type", ""),
)
async def test_a_token_of_the_account(
    cloud: FakeCloud, accounts: FakeAccounts, settings: Settings, audience: str
) -> None:
    found = await log_in(cloud, accounts, settings)
    request = await _request(found)
    ((path, body),) = accounts.requests

    assert path == "/api/v1/namespaces/team/serviceaccounts/teller/token"
    assert body["spec"]["audiences"] == [audience]
    assert request.headers["Authorization"] == "Bearer a-cloud-token"
    assert "a-cloud-token" in found.secrets
    assert "a-cloud-token" not in repr(found)


async def test_the_scope_is_the_service_s(cloud: FakeCloud, accounts: FakeAccounts) -> None:
    """https://learn.microsoft.com/azure/event-hubs/authorize-access-azure-active-directory"""
    for settings in (HUBS, DEVOPS):
        await log_in(cloud, accounts, settings)

    assert [asked.form["scope"] for asked in cloud.asked] == [
        "https://eventhubs.azure.net/.default",
        "499b84ac-1321-427f-aa17-267ca6975798/.default",
    ]


async def test_the_controller_s_own(cloud: FakeCloud, accounts: FakeAccounts) -> None:
    environ = {"AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": CLIENT, "AZURE_CLIENT_SECRET": "own"}
    found = await log_in(cloud, accounts, DEVOPS, identity=CONTROLLER, environ=environ)

    assert found.bearer == "a-cloud-token"
    assert cloud.asked[0].form["client_secret"] == "own"
    assert accounts.requests == []


@pytest.mark.parametrize("settings", [DEVOPS, PUBSUB], ids=lambda one: one.type)
async def test_what_the_secret_has_comes_first(
    cloud: FakeCloud, accounts: FakeAccounts, settings: Settings
) -> None:
    """As in Flux, where these two types do not mind both."""
    given = {name: getattr(settings, name) for name in ("type", "address", "channel")}
    with_token = Settings(**given, token="t")
    if settings is PUBSUB:
        with pytest.raises(SendFailed, match="cannot log in: the"):  # "t" is no key of Google
            await log_in(cloud, accounts, with_token)
    else:
        assert await log_in(cloud, accounts, with_token) == with_token
    assert (cloud.asked, accounts.requests) == ([], [])


# --- by the controller, with a cluster ------------------------------------------------------------


@asynccontextmanager
async def _world(cloud: FakeCloud, folder: Path, **flags: Any) -> AsyncIterator[ReceiverWorld]:
    settings = Flags(lanes=LaneTimes(patience=0.0), **flags)
    async with ReceiverWorld.start(
        folder, settings=settings, http=cloud.http(), dialer=cloud.dialer
    ) as world:
        account = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "teller", "namespace": "team", "annotations": ANNOTATIONS},
        }
        await world.client.apply(kinds.SERVICE_ACCOUNT, ACCOUNT.key, account, field_manager="test")
        yield world


async def _alert(world: ReceiverWorld, **spec: Any) -> None:
    await world.apply(kinds.PROVIDER, "team", "cloud", spec=spec)
    sources = [{"kind": "GitRepository", "name": "*"}]
    fields = {"providerRef": {"name": "cloud"}, "eventSources": sources}
    await world.apply(kinds.ALERT, "team", "cloud", spec=fields)
    await world.controller.wait_followed()


async def _warning(world: ReceiverWorld) -> str:
    async with asyncio.timeout(20):
        while not (found := await world.warnings("cloud")):
            await asyncio.sleep(0.01)
    return str(found[0]["message"])


async def test_without_the_gate_and_without_the_right(cloud: FakeCloud, tmp_path: Path) -> None:
    """As in Flux, the name alone is refused, whatever the type; then what RBAC does not allow.

    The chart gives the right with the gate; until then it is said what is missing.
    """
    async with _world(cloud, tmp_path) as world:
        await _alert(world, type="slack", address=DEVOPS.address, serviceAccountName="teller")
        await world.report(1, severity="error")
        assert "needs the feature gate ObjectLevelWorkloadIdentity" in await _warning(world)

        rules = [{"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get"]}]
        await world.apply(CLUSTER_ROLE, "", "reader", rules=rules)
        await world.apply(
            CLUSTER_ROLE_BINDING,
            "",
            "reader",
            roleRef={"apiGroup": CLUSTER_ROLE.group, "kind": "ClusterRole", "name": "reader"},
            subjects=[{"kind": "User", "name": "reader", "apiGroup": CLUSTER_ROLE.group}],
        )
        limited = world.client.impersonate("reader")
        identities = CloudIdentities(cloud.http(), limited, clock=TwoClocks(), object_level=True)
        lending = Lending(identities, ACCOUNT, DIRECT)
        with pytest.raises(SendFailed, match="failed to get a token for the service acc") as caught:
            await logged_in(HUBS, {}, lending=lending, service_account="teller", timeout=10.0)
        assert "serviceaccounts/token" in str(caught.value)
        assert caught.value.again, "rights may come a moment later"
        assert cloud.asked == []


@pytest.mark.shows("field:Provider/spec.serviceAccountName")
async def test_from_an_event_to_a_status_by_a_service_account(
    cloud: FakeCloud, tmp_path: Path
) -> None:
    """First no other namespace's; then the cluster's token is shown to Entra ID, and its to DevOps."""
    path = f"/org/project/_apis/git/repositories/app/commits/{COMMIT}/statuses"

    def statuses(asked: Asked) -> Reply:
        document = {"count": 0, "value": []} if asked.method == "GET" else asked.document
        return json_reply(document, 200 if asked.method == "GET" else 201)

    cloud.on("dev.azure.com", path, statuses)
    authority = {"ca.crt": base64.b64encode(cloud.ca.pem.encode()).decode()}
    async with _world(cloud, tmp_path, identities=IdentityRules(object_level=True)) as world:
        elsewhere = "../../other/serviceaccounts/default"
        await _alert(
            world, type="azuredevops", address=DEVOPS.address, serviceAccountName=elsewhere
        )
        await world.report(0, severity="error")
        assert "cannot log in: failed to get the service account" in await _warning(world)
        assert cloud.asked == [], "that of another namespace is out of reach"

        await world.apply(kinds.SECRET, "team", "authority", data=authority)
        await _alert(
            world,
            type="azuredevops",
            address=DEVOPS.address,
            serviceAccountName="teller",
            certSecretRef={"name": "authority"},
        )
        revision = {"source.toolkit.fluxcd.io/revision": f"main@sha1:{COMMIT}"}
        for number in (1, 2):
            await world.report(number, severity="error", metadata=revision)
        async with asyncio.timeout(20):
            while len(cloud.asked) < 5:
                await asyncio.sleep(0.01)
        login, *others = cloud.asked
        claims = login.form["client_assertion"].split(".")[1]
        token = orjson.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        sample = world.metrics.registry.get_sample_value
        asker = {"kind": "Provider", "namespace": "team", "name": "cloud", "operation": "post"}
        name = "gotk_token_cache_events_total"

        assert login.host == ENTRA
        assert token["sub"] == "system:serviceaccount:team:teller"
        assert token["aud"] == ["api://AzureADTokenExchange"]
        assert {asked.headers["Authorization"] for asked in others} == {"Bearer a-cloud-token"}
        assert [asked.method for asked in others] == ["GET", "POST"] * 2
        assert sample(name, {"event_type": "cache_miss", **asker}) == 1
        assert sample(name, {"event_type": "cache_hit", **asker}) == 1

        await world.client.delete(kinds.PROVIDER, ObjectKey("team", "cloud"))
        await world.controller.wait_followed()
        assert sample(name, {"event_type": "cache_hit", **asker}) is None
