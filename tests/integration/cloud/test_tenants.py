"""What one tenant logged in for is never another's, and nobody logs in who may not."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from clouds.clocks import TwoClocks
from clouds.fake import Asked, FakeCloud, Reply, json_reply
from clouds.kube import FakeAccounts
from fluvial.cloud.errors import (
    CloudError,
    IdentityDisabled,
    InvalidIdentity,
    LoginRefused,
    LoginUnreachable,
)
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.model import CONTROLLER, DIRECT, ServiceAccount, Way
from fluvial.cloud.tokens import TokenCache
from fluvial.net.proxy import ProxyServer
from gitservers.certs import TestCA
from registries.proxies import ConnectProxy

Make = Callable[..., CloudIdentities]
TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT = "66666666-7777-8888-9999-000000000000"
ENTRA = {"azure.workload.identity/tenant-id": TENANT, "azure.workload.identity/client-id": CLIENT}
TOKEN_PATH = f"/{TENANT}/oauth2/v2.0/token"
A, B = ServiceAccount("team-a", "git"), ServiceAccount("team-b", "git")


@pytest.fixture
def numbered(cloud: FakeCloud) -> FakeCloud:
    """Entra ID gives out token-1, token-2 and so on."""
    numbers = count(1)

    def reply(_: Asked) -> Reply:
        document = {"token_type": "Bearer", "expires_in": 3599}
        return json_reply({**document, "access_token": f"token-{next(numbers)}"})

    cloud.on("login.microsoftonline.com", TOKEN_PATH, reply)
    return cloud


@pytest.fixture(autouse=True)
def _annotated(accounts: FakeAccounts) -> None:
    for identity in (A, B):
        accounts.annotate(identity.namespace, identity.name, ENTRA)


# --- whose token it is ----------------------------------------------------------------------------


async def test_another_tenant_never_gets_a_cached_token(numbered: FakeCloud, make: Make) -> None:
    """Even where both stand for the same application of the same directory."""
    logins = make()
    tokens = [(await logins.azure(who, scope="s")).token for who in (A, B, A, B)]

    assert tokens == ["token-1", "token-2", "token-1", "token-2"]
    assertions = [asked.form["client_assertion"] for asked in numbered.asked]
    assert ["team-a" in text for text in assertions] == [True, False]


async def test_nor_does_the_controller_or_the_other_way_round(
    numbered: FakeCloud, make: Make
) -> None:
    environ = {
        "AZURE_TENANT_ID": TENANT,
        "AZURE_CLIENT_ID": CLIENT,
        "AZURE_CLIENT_SECRET": "secret",
    }
    logins = make(environ)
    tokens = [(await logins.azure(who, scope="s")).token for who in (CONTROLLER, A, CONTROLLER)]

    assert tokens == ["token-1", "token-2", "token-1"]


@pytest.mark.parametrize(
    "other",
    [
        ServiceAccount("team-a", "other"),
        ServiceAccount("team-a", "git", audiences=("x",)),
        ServiceAccount("team-a", "git", audiences=("x", "y")),
    ],
    ids=["name", "audience", "audiences"],
)
async def test_every_part_of_an_identity_counts(
    numbered: FakeCloud, make: Make, accounts: FakeAccounts, other: ServiceAccount
) -> None:
    accounts.annotate(other.namespace, other.name, ENTRA)
    logins = make()
    first = await logins.azure(A, scope="s")

    assert (await logins.azure(other, scope="s")) != first
    assert (await logins.azure(A, scope="s")) == first


async def test_so_do_scope_and_authorities(numbered: FakeCloud, make: Make) -> None:
    logins = make()
    ways = [DIRECT, Way(ca=TestCA("x").pem), DIRECT]
    tokens = [(await logins.azure(A, scope="s", way=way)).token for way in ways]
    tokens.append((await logins.azure(A, scope="t")).token)

    assert tokens == ["token-1", "token-2", "token-1", "token-3"]


async def test_so_does_the_proxy_and_its_password(numbered: FakeCloud, make: Make) -> None:
    logins = make()
    async with ConnectProxy() as proxy:
        proxy.detour = ("127.0.0.1", numbered.port)
        servers = [
            ProxyServer.parse(proxy.url),
            ProxyServer.parse(proxy.url, username="u", password="p"),
            ProxyServer.parse(proxy.url, username="u", password="q"),
        ]
        tokens = [(await logins.azure(A, scope="s", way=Way(server))).token for server in servers]

    assert tokens == ["token-1", "token-2", "token-3"]
    assert proxy.targets == ["login.microsoftonline.com:443"] * 3


async def test_a_service_account_of_the_same_name_made_later_is_another(
    numbered: FakeCloud, make: Make, accounts: FakeAccounts
) -> None:
    logins = make()
    first = await logins.azure(A, scope="s")
    accounts.uids[A.key] = "another"

    assert await logins.azure(A, scope="s") != first


async def test_what_was_taken_away_is_gone_at_once(
    numbered: FakeCloud, make: Make, accounts: FakeAccounts
) -> None:
    logins = make()
    await logins.azure(A, scope="s")
    accounts.annotate("team-a", "git", {"azure.workload.identity/tenant-id": TENANT})
    with pytest.raises(InvalidIdentity, match="client-id"):
        await logins.azure(A, scope="s")

    del accounts.annotations[A.key]
    with pytest.raises(InvalidIdentity, match="'team-a/git' not found"):
        await logins.azure(A, scope="s")


# --- who may log in -------------------------------------------------------------------------------


def test_the_gate_is_off_by_default(make: Make) -> None:
    with pytest.raises(IdentityDisabled, match="ObjectLevelWorkloadIdentity"):
        make(object_level=False).identity_of("team-a", "git")
    assert make(object_level=False).identity_of("team-a") == CONTROLLER


def test_the_identity_is_of_the_objects_own_namespace(make: Make) -> None:
    assert make().identity_of("team-a", "git") == A
    assert make().identity_of("team-a") == CONTROLLER


def test_a_default_account_is_that_of_every_object_that_names_none(make: Make) -> None:
    logins = make(default_account="default")

    assert logins.identity_of("team-a") == ServiceAccount("team-a", "default")
    assert logins.identity_of("team-a", "git") == A
    assert make(object_level=False, default_account="x").identity_of("team-a") == CONTROLLER


@pytest.mark.parametrize(
    "change",
    [
        {"azure.workload.identity/tenant-id": "../common"},
        {"azure.workload.identity/tenant-id": "a/b"},
        {"azure.workload.identity/tenant-id": "a?b"},
        {"azure.workload.identity/client-id": "client"},
    ],
)
async def test_annotations_are_only_ids(
    numbered: FakeCloud, make: Make, accounts: FakeAccounts, change: dict[str, str]
) -> None:
    accounts.annotate("team-a", "git", ENTRA | change)
    with pytest.raises(InvalidIdentity, match="is not an id"):
        await make().azure(A, scope="s")

    assert (numbered.asked, accounts.requests) == ([], [])


@pytest.mark.parametrize("provider", ["aws", "azure", "gcp"])
async def test_what_is_not_done_is_refused(
    numbered: FakeCloud, make: Make, accounts: FakeAccounts, provider: str
) -> None:
    annotation = f"{provider}.auth.fluxcd.io/impersonation"
    accounts.annotate("team-a", "git", {**ENTRA, annotation: "{}"})
    with pytest.raises(InvalidIdentity, match="not supported yet"):
        await make().azure(A, scope="s")

    assert numbered.asked == []


@pytest.mark.parametrize("name", ["../../kube-system/serviceaccounts/admin", "a/b", "a%2fb", ".."])
async def test_a_name_cannot_leave_its_namespace(make: Make, name: str) -> None:
    """A real client refuses the read before; here the token is asked for by hand."""
    logins = make()
    account = await logins._accounts.read(A)
    evil = ServiceAccount("team-a", name)
    with pytest.raises(InvalidIdentity):
        await logins._accounts.token(type(account)(evil, "uid", ENTRA), "audience")


# --- what services answer -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "error", "text"),
    [
        (json_reply({"access_token": "", "expires_in": 1}), LoginUnreachable, "without"),
        (json_reply({"expires_in": 3599}), LoginUnreachable, "without"),
        (json_reply({"access_token": "a\nb", "expires_in": 9}), LoginUnreachable, "without"),
        (json_reply({"access_token": "t", "expires_in": 0}), LoginUnreachable, "expired"),
        (json_reply({"access_token": "t", "expires_in": "x"}), LoginUnreachable, "not valid"),
        (json_reply([]), LoginUnreachable, "not valid"),
        (Reply(b"<html>"), LoginUnreachable, "not valid"),
        (Reply(b"x" * 300_000), LoginUnreachable, "more than"),
        (Reply(b"", 302, {"Location": "https://evil.example/"}), LoginUnreachable, "redirects"),
        (Reply(b"{}", 200, {"Content-Encoding": "br"}), LoginUnreachable, "encoding"),
        (Reply(b"sorry", 503), LoginRefused, "status 503"),
        (
            json_reply({"error": "invalid_client", "error_description": "AADSTS7000215: No."}, 401),
            LoginRefused,
            "status 401: invalid_client: AADSTS7000215",
        ),
    ],
    ids=lambda value: "" if isinstance(value, type) else None,
)
async def test_an_answer_without_a_token_is_none(
    cloud: FakeCloud, make: Make, reply: Reply, error: type[CloudError], text: str
) -> None:
    cloud.on("login.microsoftonline.com", TOKEN_PATH, reply)
    logins = make()
    with pytest.raises(error, match=text):
        await logins.azure(A, scope="s")

    assert len(logins.cache) == 0


async def test_no_error_repeats_a_secret(cloud: FakeCloud, make: Make) -> None:
    def echo(asked: Asked) -> Reply:
        text = f"bad assertion {asked.form['client_assertion']}"
        return json_reply({"error": "invalid", "error_description": text}, 400)

    cloud.on("login.microsoftonline.com", TOKEN_PATH, echo)
    with pytest.raises(LoginRefused) as caught:
        await make().azure(A, scope="s")

    assert "token-of-" not in str(caught.value)
    assert "bad assertion ***" in str(caught.value)


async def test_an_empty_token_of_the_cluster_is_sent_nowhere(
    numbered: FakeCloud, make: Make, accounts: FakeAccounts
) -> None:
    accounts.token = ""
    with pytest.raises(InvalidIdentity, match="empty token"):
        await make().azure(A, scope="s")

    assert numbered.asked == []


async def test_another_certificate_is_not_trusted(
    numbered: FakeCloud, make: Make, clock: TwoClocks, accounts: FakeAccounts
) -> None:
    from clouds.fake import leading_http

    http = leading_http(numbered.dialer)
    logins = CloudIdentities(http, accounts.client, clock=clock, object_level=True)
    with pytest.raises(LoginUnreachable, match="certificate"):
        await logins.azure(A, scope="s")

    assert numbered.asked == []


async def test_the_cache_is_the_one_that_is_given(
    numbered: FakeCloud, make: Make, clock: TwoClocks
) -> None:
    """An empty one counts, too: its size, its times and who watches it are the operator's."""
    cache = TokenCache(clock, size=0)
    logins = make(cache=cache)
    tokens = [(await logins.azure(A, scope="s")).token for _ in range(2)]

    assert logins.cache is cache
    assert tokens == ["token-1", "token-2"]
