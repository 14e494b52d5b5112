"""GitHub Apps, as GitHub documents them.

https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
https://docs.github.com/rest/apps/apps
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from clouds.assertions import verified_claims
from clouds.clocks import TwoClocks
from clouds.fake import FakeCloud, Reply, json_reply
from clouds.kube import FakeAccounts
from fluvial.clock import format_time
from fluvial.cloud.errors import LoginRefused, LoginUnreachable
from fluvial.cloud.github import GitHubApp, installation_token
from fluvial.cloud.http import CloudHttp
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.model import DIRECT, Way
from fluvial.net.proxy import ProxyServer
from registries.proxies import ConnectProxy

Make = Callable[..., CloudIdentities]
API = "api.github.com"
TOKENS = "/app/installations/42/access_tokens"
TOKEN = "ghs_16C7e42F292c6912E7710c838347Ae178B4a"


@pytest.fixture
def app(rsa_pem: str) -> GitHubApp:
    return GitHubApp("7", rsa_pem, installation_id="42")


@pytest.fixture
def github(cloud: FakeCloud, clock: TwoClocks) -> FakeCloud:
    until = format_time(clock.now() + timedelta(hours=1))
    for host, path in ((API, TOKENS), ("github.corp.example", f"/api/v3{TOKENS}")):
        cloud.on(host, path, json_reply({"token": TOKEN, "expires_at": until}, 201))
    return cloud


# --- what must fail -------------------------------------------------------------------------------


async def test_a_key_of_another_app(github: FakeCloud, make: Make, app: GitHubApp) -> None:
    message = "A JSON web token could not be decoded"
    github.on(API, TOKENS, json_reply({"message": message}, 401))
    with pytest.raises(LoginRefused, match="belong to one app"):
        await installation_token(make(), app)


async def test_an_installation_that_there_is_not(make: Make, app: GitHubApp) -> None:
    with pytest.raises(LoginRefused, match="knows no installation 43"):
        await installation_token(make(), replace(app, installation_id="43"))


async def test_an_owner_without_the_app(github: FakeCloud, make: Make, app: GitHubApp) -> None:
    with pytest.raises(LoginRefused, match="is not installed for 'team'"):
        await installation_token(make(), replace(app, installation_id="", owner="team"))

    paths = [asked.path for asked in github.asked]
    assert paths == ["/orgs/team/installation", "/users/team/installation"]


async def test_a_suspended_installation(github: FakeCloud, make: Make, app: GitHubApp) -> None:
    message = "This installation has been suspended"
    github.on(API, TOKENS, json_reply({"message": message}, 403))
    with pytest.raises(LoginRefused, match="has been suspended"):
        await installation_token(make(), app)


@pytest.mark.parametrize(
    "reply",
    [
        json_reply({"token": "", "expires_at": "2030-01-01T00:00:00Z"}, 201),
        json_reply({"token": TOKEN}, 201),
        json_reply({"token": TOKEN, "expires_at": "2020-01-01T00:00:00Z"}, 201),
        Reply(b"", 307, {"Location": "https://evil.example/"}),
    ],
    ids=["empty", "no end", "expired", "redirect"],
)
async def test_a_token_that_is_none(
    github: FakeCloud, make: Make, app: GitHubApp, reply: Reply
) -> None:
    github.on(API, TOKENS, reply)
    with pytest.raises(LoginUnreachable):
        await installation_token(make(), app)


async def test_a_server_of_a_company_needs_its_ca(
    github: FakeCloud, clock: TwoClocks, accounts: FakeAccounts, app: GitHubApp
) -> None:
    logins = CloudIdentities(CloudHttp(github.dialer), accounts.client, clock=clock)
    corporate = replace(app, base_url="https://github.corp.example/api/v3")
    with pytest.raises(LoginUnreachable, match="certificate"):
        await installation_token(logins, corporate)

    found = await installation_token(logins, corporate, way=Way(ca=github.ca.pem))
    assert found.token == TOKEN


# --- what is documented ---------------------------------------------------------------------------


async def test_a_token_of_an_installation(
    github: FakeCloud, make: Make, app: GitHubApp, clock: TwoClocks
) -> None:
    """The assertion is read by a library that is not ours."""
    logins = make()
    found = await installation_token(logins, app)
    asked = github.asked[0]
    assertion = asked.headers["Authorization"].removeprefix("Bearer ")
    claims = verified_claims(assertion, app.private_key)
    now = int(clock.now().timestamp())

    assert found.token == TOKEN
    assert found.expires_at == clock.now() + timedelta(hours=1)
    assert claims == {"iss": "7", "iat": now - 30, "exp": now + 90}
    assert (asked.method, asked.body) == ("POST", b"")
    assert asked.headers["Accept"] == "application/vnd.github+json"


async def test_it_is_kept_for_four_fifths_of_its_life(
    github: FakeCloud, make: Make, app: GitHubApp, clock: TwoClocks
) -> None:
    logins = make()
    await installation_token(logins, app)
    clock.step(2879)
    await installation_token(logins, app)
    assert len(github.asked) == 1
    clock.step(1)
    await installation_token(logins, app)

    assert len(github.asked) == 2


async def test_every_part_of_an_app_counts(
    github: FakeCloud, make: Make, app: GitHubApp, clock: TwoClocks
) -> None:
    logins = make()
    async with ConnectProxy() as proxy:
        proxy.detour = ("127.0.0.1", github.port)
        ways = [DIRECT, Way(ca=github.ca.pem), Way(ProxyServer.parse(proxy.url))]
        for way in (*ways, *ways):
            await installation_token(logins, app, way=way)
        await installation_token(logins, replace(app, app_id="8"))
        await installation_token(logins, replace(app, private_key=f"{app.private_key}\n"))

    assert len(github.asked) == 5
    assert proxy.targets == [f"{API}:443"]
