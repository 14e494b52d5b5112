"""Every example of the Providers' page says all that its type needs, from the Secret to a request."""

from __future__ import annotations

import asyncio
import base64
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
import yaml

from clouds.clocks import TwoClocks
from fluvial.api.codec import decode
from fluvial.api.notification import Provider
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.model import AccessToken, Identity, ServiceAccount
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey
from harness.talks import about
from notification_controller.provider.loading import load
from notification_controller.provider.nats import nats
from notification_controller.provider.outgoing import Outgoing, Reply, SendFailed
from notification_controller.provider.types import ALL_TYPES, NATS, tell

_PAGE = Path(__file__).resolve().parents[3] / "docs/spec/provider.md"
_SECTION = "## An example of each type\n"
_TOKEN = "a-cloud-token"
_HOSTS = {
    "alertmanager": "alertmanager.example.com",
    "azuredevops": "dev.azure.com",
    "azureeventhub": "team-a.servicebus.windows.net",
    "bitbucket": "api.bitbucket.org",
    "bitbucketserver": "bitbucket.example.com",
    "datadog": "api.datadoghq.eu",
    "discord": "discord.com",
    "generic": "listener.example.com",
    "generic-hmac": "listener.example.com",
    "gitea": "gitea.example.com",
    "giteapullrequestcomment": "gitea.example.com",
    "github": "api.github.com",
    "githubdispatch": "api.github.com",
    "githubpullrequestcomment": "api.github.com",
    "gitlab": "gitlab.com",
    "gitlabmergerequestcomment": "gitlab.com",
    "googlechat": "chat.googleapis.com",
    "googlepubsub": "pubsub.googleapis.com",
    "grafana": "grafana.example.com",
    "lark": "open.larksuite.com",
    "matrix": "matrix.example.com",
    "msteams": "prod-01.westeurope.logic.azure.com",
    "nats": "nats.example.com",
    "opsgenie": "api.opsgenie.com",
    "otel": "otel.example.com",
    "pagerduty": "events.pagerduty.com",
    "rocket": "chat.example.com",
    "sentry": "o1.ingest.sentry.io",
    "slack": "slack.com",
    "telegram": "api.telegram.org",
    "webex": "webexapis.com",
    "zulip": "example.zulipchat.com",
}


def _documents(text: str) -> list[JsonObject]:
    blocks = re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [one for block in blocks for one in yaml.safe_load_all(block)]


def _section() -> str:
    return _PAGE.read_text().partition(_SECTION)[2]


@pytest.fixture(scope="module")
def objects() -> list[JsonObject]:
    return _documents(_section())


@dataclass(frozen=True, slots=True)
class _Secrets:
    """The Secrets of the page, and nothing else."""

    objects: list[JsonObject]

    async def get(self, resource: Resource, key: ObjectKey, **_: Any) -> JsonObject:
        assert resource == kinds.SECRET
        (found,) = (
            one
            for one in self.objects
            if (one["kind"], one["metadata"]["name"]) == ("Secret", key.name)
        )
        data = {
            name: base64.b64encode(text.encode()).decode()
            for name, text in found["stringData"].items()
        }
        return {**found, "data": data}


@dataclass(frozen=True, slots=True)
class _Identities:
    """Clouds that know everybody."""

    clock: TwoClocks

    def identity_of(self, namespace: str, name: str) -> Identity:
        return ServiceAccount(namespace, name or "default")

    async def gcp(self, _identity: Identity, **_: Any) -> AccessToken:
        return AccessToken(_TOKEN)


def _answer(request: Outgoing) -> Reply:
    """As a service does where nothing is there yet."""
    if request.method != "GET":
        return Reply(200, b'{"ok": true}')
    if request.absent:
        return Reply(404, b"")
    path = request.url.path
    if path.endswith("/user"):
        return Reply(200, orjson.dumps({"id": 1, "login": "robot", "username": "robot"}))
    return Reply(200, b'{"value": []}' if "/_apis/" in path else b"[]")


def test_each_type_has_one(objects: list[JsonObject]) -> None:
    types = [one["spec"]["type"] for one in objects if one["kind"] == "Provider"]
    titles = re.findall(r"^### (.+)$", _section(), re.MULTILINE)

    assert sorted(types) == sorted(ALL_TYPES) == sorted(_HOSTS)
    assert titles == types


@pytest.mark.parametrize("type_", sorted(ALL_TYPES))
async def test_it_is_all_that_is_needed(objects: list[JsonObject], type_: str) -> None:
    (obj,) = (one for one in objects if one["kind"] == "Provider" and one["spec"]["type"] == type_)
    loaded = await load(
        cast("KubeClient", _Secrets(objects)),
        decode(obj, Provider),
        cast("CloudIdentities", _Identities(TwoClocks())),
    )
    message = about("ReconciliationSucceeded", change_request="7")
    reached: list[str] = []

    async def exchange(request: Outgoing) -> Reply:
        reached.append(request.url.host or "")
        reply = _answer(request)
        assert request.problem(reply) == ""
        return reply

    async def connect(host: str, _port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reached.append(host)
        raise SendFailed("connected", again=True)

    if type_ == NATS:
        with pytest.raises(SendFailed, match="connected"):
            await nats(message, loaded.settings, connect, tls=None)
    else:
        await tell(message, loaded.settings, exchange)

    assert set(reached) == {_HOSTS[type_]}
