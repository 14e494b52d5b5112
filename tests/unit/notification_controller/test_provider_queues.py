"""Queues, traces and dispatches, by what each service documents; first what is not sent."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, quote_plus

import orjson
import pytest

from harness.talks import Talk, about
from notification_controller.provider.hooks import event_json
from notification_controller.provider.message import Message
from notification_controller.provider.outgoing import Outgoing, Reply, SendFailed
from notification_controller.provider.settings import Settings
from notification_controller.provider.types import TYPES

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
CONNECTION = (
    "Endpoint=sb://your-namespace.servicebus.windows.net/;SharedAccessKeyName=RootManage+Key;"
    "SharedAccessKey=c2VjcmV0+k/Q=;EntityPath=your-event-hub"
)
DSN = "https://e12d836b15bb49d7bbf99e64295d995b@sentry.example.com/42"
ADDRESSES = {
    "azureeventhub": CONNECTION,
    "googlepubsub": "my-project",
    "githubdispatch": "https://github.com/octocat/Hello-World",
    "otel": "https://otel.example.com",
    "sentry": DSN,
}


def sent(type_: str, what: Message | None = None, **fields: Any) -> list[Outgoing]:
    given: dict[str, Any] = {
        "address": ADDRESSES[type_],
        "channel": "topic",
        "token": "s3cr3t",
        "now": NOW,
    }
    given |= fields
    return list(TYPES[type_](what or about(), Settings(type=type_, **given)))


# --- what is not sent ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "fields", "said"),
    [
        ("googlepubsub", {"token": ""}, "needs token"),
        ("googlepubsub", {"channel": ""}, "needs channel"),
        ("googlepubsub", {"address": ""}, "needs an address"),
        ("googlepubsub", {"address": "../secret"}, "id of a project"),
        ("googlepubsub", {"address": "my-project/secret"}, "id of a project"),
        ("googlepubsub", {"channel": "a/secret"}, "name of a topic"),
        ("azureeventhub", {"address": ""}, "needs an address"),
        ("azureeventhub", {"address": "hub", "channel": ""}, "needs channel"),
        ("azureeventhub", {"address": "hub", "token": ""}, "needs token"),
        ("azureeventhub", {"address": "hub/secret"}, "name of a hub"),
        ("azureeventhub", {"address": "hub", "channel": "evil.example/secret"}, "its namespace"),
        ("azureeventhub", {"address": "hub", "channel": "evil.example:1"}, "its namespace"),
        (
            "azureeventhub",
            {"address": "SharedAccessKey=secret"},
            "no Endpoint and no SharedAccessKeyName and no EntityPath",
        ),
        (
            "azureeventhub",
            {"address": CONNECTION.replace("sb://", "https://")},
            "Endpoint=sb://<host>/",
        ),
        (
            "azureeventhub",
            {"address": CONNECTION.replace("/;", "/secret;")},
            "Endpoint=sb://<host>/",
        ),
        ("azureeventhub", {"address": CONNECTION.replace("your-event", "a/secret")}, "EntityPath"),
        ("githubdispatch", {"token": ""}, "needs token"),
        ("githubdispatch", {"address": "https://github.com/secret"}, "must be a repository"),
        ("sentry", {"address": "https://sentry.example.com/42"}, "must be a DSN"),
        ("sentry", {"address": "https://secret@sentry.example.com/"}, "must be a DSN"),
        ("sentry", {"address": "https://secret@sentry.example.com/a%2Fb"}, "must be a DSN"),
        ("sentry", {"address": "https://se%0D%0Acret@sentry.example.com/1"}, "key"),
    ],
)
def test_what_is_missing_or_none(type_: str, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SendFailed, match=said) as caught:
        sent(type_, **fields)
    assert "secret" not in str(caught.value)
    assert "k/Q=" not in str(caught.value)
    assert not caught.value.again


def test_keys_in_addresses_are_secrets() -> None:
    found = Settings(type="x", address=CONNECTION, hidden=("more",)).secrets
    key = Settings(type="sentry", address=DSN).secrets

    assert {"c2VjcmV0+k/Q=", "more"} <= set(found)
    assert "e12d836b15bb49d7bbf99e64295d995b" in key


def test_helm_repositories_have_no_spans() -> None:
    what = about()
    obj = what.event.involved_object
    other = type(what.event)(
        **{name: getattr(what.event, name) for name in what.event.__struct_fields__}
        | {"involved_object": type(obj)(kind="HelmRepository", name="x", namespace="y")}
    )

    assert sent("otel", Message(other)) == []


# --- what is ------------------------------------------------------------------------------------------


def test_pubsub() -> None:
    """https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.topics/publish"""
    (request,) = sent("googlepubsub", headers={"team": "shop"})
    (one,) = orjson.loads(request.body)["messages"]

    assert request.method == "POST"
    assert str(request.url) == (
        "https://pubsub.googleapis.com/v1/projects/my-project/topics/topic:publish"
    )
    assert request.headers["Authorization"] == "Bearer s3cr3t"
    assert one["attributes"] == {"team": "shop"}
    assert base64.b64decode(one["data"]) == event_json(about().event)


def test_event_hubs_by_a_key() -> None:
    """https://learn.microsoft.com/rest/api/eventhub/generate-sas-token"""
    (request,) = sent("azureeventhub")
    scheme, _, parameters = request.headers["Authorization"].partition(" ")
    found = {name: values[0] for name, values in parse_qs(parameters).items()}
    resource = "https://your-namespace.servicebus.windows.net/your-event-hub"
    expiry = str(int(NOW.timestamp()) + 3600)
    signed = f"{quote_plus(resource)}\n{expiry}".encode()
    mac = hmac.new(b"c2VjcmV0+k/Q=", signed, hashlib.sha256).digest()

    assert (request.method, str(request.url)) == ("POST", f"{resource}/messages")
    assert request.headers["Content-Type"] == "application/atom+xml;type=entry;charset=utf-8"
    assert scheme == "SharedAccessSignature"
    assert found == {
        "sr": resource,
        "sig": base64.b64encode(mac).decode(),
        "se": expiry,
        "skn": "RootManage+Key",
    }
    assert request.body == event_json(about().event)


@pytest.mark.parametrize("namespace", ["shop", "shop.servicebus.windows.net"])
def test_event_hubs_by_a_token(namespace: str) -> None:
    (request,) = sent("azureeventhub", address="hub", channel=namespace)

    assert str(request.url) == "https://shop.servicebus.windows.net/hub/messages"
    assert request.headers["Authorization"] == "Bearer s3cr3t"


async def test_a_dispatch() -> None:
    """https://docs.github.com/rest/repos/repos#create-a-repository-dispatch-event"""
    url = "https://api.github.com/repos/octocat/Hello-World/dispatches"
    talk = Talk({f"POST {url}": 204})
    requests = await talk.tell(about(), "githubdispatch", address=ADDRESSES["githubdispatch"])

    assert requests == [
        (
            "POST",
            url,
            {
                "event_type": "Kustomization/Shop.team",
                "client_payload": orjson.loads(event_json(about().event)),
            },
        )
    ]
    assert len(requests[0][2]["client_payload"]) <= 10, "GitHub's bound"


def envelope(request: Outgoing) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Read as https://develop.sentry.dev/sdk/foundations/transport/envelopes/ says."""
    head, rest = request.body.split(b"\n", 1)
    item, rest = rest.split(b"\n", 1)
    header = orjson.loads(item)
    payload, end = rest[: header["length"]], rest[header["length"] :]
    assert end == b"\n"
    return orjson.loads(head), header, orjson.loads(payload)


def test_sentry_s_errors() -> None:
    (request,) = sent("sentry", about("HealthCheckFailed", error=True), channel="production")
    head, item, event = envelope(request)

    assert str(request.url) == "https://sentry.example.com/api/42/envelope/"
    assert "sentry_key=e12d836b15bb49d7bbf99e64295d995b" in request.headers["X-Sentry-Auth"]
    assert head == {"event_id": event["event_id"], "dsn": DSN}
    assert item["type"] == "event"
    assert (event["level"], event["environment"]) == ("error", "production")
    assert event["logentry"]["formatted"].startswith("kustomization/Shop.team: Applied")
    assert set(event["contexts"]["metadata"]) == {"revision"}
    assert len(event["event_id"]) == 32


def test_sentry_s_transactions() -> None:
    address = DSN.replace("95b@", "95b:private@").replace("/42", "/prefix/42")
    (request,) = sent("sentry", address=address, channel="")
    head, item, event = envelope(request)
    (span,) = event["spans"]

    assert str(request.url) == "https://sentry.example.com/prefix/api/42/envelope/"
    assert item["type"] == event["type"] == "transaction"
    assert span["parent_span_id"] == event["contexts"]["trace"]["span_id"] != span["span_id"]
    assert span["trace_id"] == event["contexts"]["trace"]["trace_id"]
    assert "environment" not in event
    assert "private" not in head["dsn"]


def test_sentry_gets_one_event_however_often_it_is_sent() -> None:
    first, again, other = (
        envelope(sent("sentry", about(reason))[0])[0]["event_id"] for reason in ("A", "A", "B")
    )

    assert first == again != other


def test_a_span() -> None:
    """https://github.com/open-telemetry/opentelemetry-proto/blob/main/examples/trace.json"""
    what = about("HealthCheckFailed", error=True)
    (request,) = sent("otel", Message(what.event, "a1", what.provider, "team/all"))
    (resource,) = orjson.loads(request.body)["resourceSpans"]
    (scope,) = resource["scopeSpans"]
    (span,) = scope["spans"]
    trace = hashlib.sha256(f"a1:{what.event.metadata['revision']}".encode()).digest()[:16].hex()

    assert str(request.url) == "https://otel.example.com/v1/traces"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Authorization"] == "Bearer s3cr3t"
    assert resource["resource"]["attributes"] == [
        {"key": "service.name", "value": {"stringValue": "team/all"}}
    ]
    assert (span["traceId"], len(span["spanId"])) == (trace, 16)
    assert span["startTimeUnixNano"] == span["endTimeUnixNano"] == "1795428000000000000"
    assert span["status"]["code"] == 2
    assert {"key": "object.name", "value": {"stringValue": "Shop"}} in span["attributes"]


@pytest.mark.parametrize(
    ("facts", "revision"),
    [
        ({"app-version": "1.0", "oci-digest": "sha256:a"}, "1.0@sha256:a"),
        ({"commit": ""}, "unknown"),
    ],
)
def test_what_makes_a_trace(facts: dict[str, Any], revision: str) -> None:
    (request,) = sent("otel", about(**facts), address="https://otel.example.com/otlp/v1/traces")
    document = orjson.loads(request.body)
    span = document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]

    assert span["traceId"] == hashlib.sha256(f"a1:{revision}".encode()).hexdigest()[:32]
    assert str(request.url) == "https://otel.example.com/otlp/v1/traces"


def test_a_collector_that_takes_a_part() -> None:
    """https://opentelemetry.io/docs/specs/otlp/#partial-success-1"""
    (request,) = sent("otel", headers={"X-Scope-OrgID": "shop"})
    partial = b'{"partialSuccess":{"rejectedSpans":"1","errorMessage":"too old"}}'

    assert request.headers["X-Scope-OrgID"] == "shop"
    assert request.problem(Reply(200, b"{}")) == ""
    assert request.problem(Reply(200, b'{"partialSuccess":{}}')) == ""
    assert request.problem(Reply(200, partial)) == "the collector rejected the span: too old"
