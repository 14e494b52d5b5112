"""Tokens that are had for what a Secret holds: GitHub Apps and keys of Google."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from clouds.clocks import TwoClocks
from clouds.fake import FakeCloud, json_reply
from clouds.kube import FakeAccounts
from fluvial.clock import RealClock, format_time
from fluvial.cloud import model as cloud_model
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.model import CONTROLLER, DIRECT
from fluvial.net.tls import Tls, tls_context
from githosts.github import FakeGitHub
from notification_controller.provider import hosts
from notification_controller.provider.lending import Lending
from notification_controller.provider.loading import Loaded, send_with_fresh_token
from notification_controller.provider.login import logged_in
from notification_controller.provider.outgoing import Exchange, Outgoing, SendFailed
from notification_controller.provider.sender import Sender, Way
from notification_controller.provider.settings import Settings

TOKENS = "/app/installations/42/access_tokens"
TOKEN = "ghs_16C7e42F292c6912E7710c838347Ae178B4a"
COMMIT = "6dcb09b5b57875f334f61aebed695e2e4193db5e"
GITHUB = Settings(type="github", address="https://github.com/org/app")
PUBSUB = Settings(type="googlepubsub", address="my-project", channel="topic")


@pytest.fixture(scope="module")
def pem() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@pytest.fixture
def texts(pem: str) -> dict[str, str]:
    return {"githubAppID": "7", "githubAppInstallationID": "42", "githubAppPrivateKey": pem}


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[FakeCloud]:
    hosts = ("api.github.com", "github.corp.example", "oauth2.googleapis.com")
    async with await FakeCloud(*hosts).start(tmp_path) as found:
        until = format_time(TwoClocks().now() + timedelta(hours=1))
        answer = json_reply({"token": TOKEN, "expires_at": until}, 201)
        found.on("api.github.com", TOKENS, answer)
        found.on("github.corp.example", f"/api/v3{TOKENS}", answer)
        google = {"access_token": "ya29.token", "expires_in": 3599, "token_type": "Bearer"}
        found.on("oauth2.googleapis.com", "/token", json_reply(google))
        yield found


async def log_in(cloud: FakeCloud, settings: Settings, texts: dict[str, str]) -> Settings:
    identities = CloudIdentities(cloud.http(), FakeAccounts().client, clock=TwoClocks())
    lending = Lending(identities, CONTROLLER, DIRECT)
    return await logged_in(settings, texts, lending=lending, timeout=10.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"githubAppPrivateKey": ""}, "githubAppPrivateKey"),
        ({"githubAppPrivateKey": "s3cr3t"}, "githubAppPrivateKey"),
        ({"githubAppInstallationID": ""}, "exactly one of"),
        ({"githubAppInstallationID": "43"}, "knows no installation 43"),
        ({"githubAppBaseURL": "https://evil.example"}, "not the API of the address's host"),
        ({"githubAppBaseURL": "http://api.github.com"}, "https"),
    ],
)
async def test_an_app_that_is_none(
    cloud: FakeCloud, texts: dict[str, str], change: dict[str, str], said: str
) -> None:
    with pytest.raises(SendFailed, match=said) as caught:
        await log_in(cloud, GITHUB, texts | change)
    assert not caught.value.again
    assert "s3cr3t" not in str(caught.value)


async def test_an_app_s_token_goes_to_no_other_host(
    cloud: FakeCloud, texts: dict[str, str]
) -> None:
    settings = replace(GITHUB, address="https://evil.example/org/app")
    given = texts | {"githubAppBaseURL": "https://api.github.com"}
    with pytest.raises(SendFailed, match="not the API of the address's host"):
        await log_in(cloud, settings, given)
    assert cloud.asked == []


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_host_that_is_away_is_asked_again(
    cloud: FakeCloud, texts: dict[str, str], status: int
) -> None:
    cloud.on("api.github.com", TOKENS, json_reply({"message": "no"}, status))
    with pytest.raises(SendFailed) as caught:
        await log_in(cloud, GITHUB, texts)
    assert caught.value.again


@pytest.mark.parametrize("token", ["s3cr3t", "[]", '{"type": "external_account"}'])
async def test_a_key_that_is_none(cloud: FakeCloud, token: str) -> None:
    with pytest.raises(SendFailed, match="cannot log in") as caught:
        await log_in(cloud, replace(PUBSUB, token=token), {})
    assert "s3cr3t" not in str(caught.value)
    assert not caught.value.again


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://github.com/org/app", "api.github.com"),
        ("https://github.corp.example/org/app", "github.corp.example"),
    ],
)
@pytest.mark.parametrize("type_", ["github", "githubdispatch", "githubpullrequestcomment"])
async def test_an_app(
    cloud: FakeCloud, texts: dict[str, str], type_: str, address: str, host: str
) -> None:
    """https://docs.github.com/rest/apps/apps#create-an-installation-access-token-for-an-app"""
    found = await log_in(cloud, Settings(type=type_, address=address, password="old"), texts)

    assert (found.token, found.app) == (TOKEN, "7")
    assert {TOKEN, texts["githubAppPrivateKey"]} <= set(found.secrets)
    assert [asked.host for asked in cloud.asked] == [host]


@pytest.mark.parametrize("revoked", [True, False])
async def test_a_token_that_is_refused_is_forgotten_once(
    cloud: FakeCloud,
    texts: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    revoked: bool,
) -> None:
    """It was revoked, or else no token is good: then there is no other one for each answer."""
    monkeypatch.setattr("fluvial.cloud.tokens._RENEWED_SECONDS", 3600.0)
    host = "github.corp.example"
    names = tmp_path / "names"
    names.mkdir()
    tls = cloud.ca.server_context(names, names=(host,))
    key = texts["githubAppPrivateKey"]
    settings = Settings(type="github", address=f"https://{host}/org/app")
    identities = CloudIdentities(cloud.http(), FakeAccounts().client, clock=RealClock())
    sender = Sender(cloud.dialer)
    way = Way(tls=tls_context(Tls(ca=cloud.ca.pem)))
    async with FakeGitHub("", {COMMIT}.__contains__, app_key=key, tls=tls) as github:
        cloud.dialer.leads[host] = int(github.url.rpartition(":")[2])
        lending = Lending(identities, CONTROLLER, cloud_model.Way(ca=cloud.ca.pem))

        async def load(refused: str = "") -> Loaded:
            found = await logged_in(settings, texts, lending=lending, timeout=10.0, refused=refused)
            return Loaded(found, way, 10.0, found.secrets)

        async def send(loaded: Loaded) -> None:
            to = hosts.github(loaded.settings)
            url = to.repository / "commits" / COMMIT / "statuses"

            async def talk(exchange: Exchange) -> None:
                await exchange(Outgoing("GET", url, b"", to.headers))

            await sender.send(talk, way, timeout=10.0, secrets=loaded.secrets)

        await send_with_fresh_token(send, await load(), load)
        github.revoke()
        if revoked:
            await send_with_fresh_token(send, await load(), load)
            assert (len(github.given), github.listed) == (2, 2)
            github.revoke()
        else:
            github.revokes = True
        for _ in range(3):
            with pytest.raises(SendFailed, match="401"):
                await send_with_fresh_token(send, await load(), load)

    assert len(github.given) == 2
    assert {one for one in github.refused if "access_tokens" in one} == set()


async def test_a_key_of_google(cloud: FakeCloud, pem: str) -> None:
    """https://developers.google.com/identity/protocols/oauth2/service-account#httprest"""
    key: dict[str, Any] = {
        "type": "service_account",
        "client_email": "robot@my-project.iam.gserviceaccount.com",
        "private_key": pem,
        "private_key_id": "1",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    token = orjson.dumps(key).decode()
    found = await log_in(cloud, replace(PUBSUB, token=token), {})

    assert found.token == "ya29.token"
    assert {"ya29.token", token} <= set(found.secrets)


async def test_others_are_left_as_they_are(cloud: FakeCloud, texts: dict[str, str]) -> None:
    for type_ in ("gitlab", "slack"):
        settings = Settings(type=type_, address="https://github.com/org/app", token="t")
        assert await log_in(cloud, settings, texts) == settings
    assert cloud.asked == []
