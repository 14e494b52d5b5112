"""What each type of Provider sends, request by request; first what it does not send."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any, get_args
from urllib.parse import parse_qs

import orjson
import pytest

from fluvial.api.notification import ProviderType
from notification_controller.event.model import Event, InvolvedObject
from notification_controller.provider.message import Message
from notification_controller.provider.outgoing import Outgoing, Reply, SendFailed
from notification_controller.provider.sender import masked
from notification_controller.provider.settings import Settings
from notification_controller.provider.types import ALL_TYPES, TYPES

ADDRESS = "https://hooks.example.com/services/T0/B0/secret"


def message(
    severity: str = "info",
    text: str = "Applied revision: main@sha1:abc\nConfigMap/team/app configured",
    reason: str = "ReconciliationSucceeded",
    metadata: Mapping[str, str] | None = None,
) -> Message:
    facts = {"revision": "main@sha1:abc", "summary": "shop"} if metadata is None else metadata
    event = Event(
        involved_object=InvolvedObject(
            api_version="kustomize.toolkit.fluxcd.io/v1",
            kind="Kustomization",
            name="app",
            namespace="team",
            uid="7d0cdc51",
        ),
        severity=severity,
        timestamp="2026-11-23T10:00:00Z",
        message=text,
        reason=reason,
        metadata=dict(facts),
        reporting_controller="kustomize-controller",
    )
    return Message(event)


def settings(type_: str, **fields: Any) -> Settings:
    given = {
        "address": ADDRESS,
        "channel": "room",
        "token": "12:tok",
        "username": "robot",
        "password": "pass",
    } | fields
    return Settings(type=type_, **given)


def sent(type_: str, what: Message | None = None, **fields: Any) -> list[Outgoing]:
    return list(TYPES[type_](what or message(), settings(type_, **fields)))


def document(request: Outgoing) -> Any:
    assert request.headers["Content-Type"] == "application/json"
    return orjson.loads(request.body)


# --- what is not sent ---------------------------------------------------------------------------------

NEEDS = {
    "generic-hmac": ["token"],
    "matrix": ["channel", "token"],
    "telegram": ["channel", "token"],
    "webex": ["channel"],
    "opsgenie": ["token"],
    "pagerduty": ["channel"],
    "datadog": ["token"],
    "zulip": ["username", "password"],
}


@pytest.mark.parametrize(
    ("type_", "missing"), [(type_, name) for type_, names in NEEDS.items() for name in names]
)
def test_what_a_type_cannot_do_without(type_: str, missing: str) -> None:
    fields: dict[str, Any] = {missing: ""}
    if type_ == "zulip":
        fields["channel"] = "stream/topic"
    with pytest.raises(SendFailed, match=f"needs {missing}") as caught:
        sent(type_, **fields)
    assert not caught.value.again


@pytest.mark.parametrize("type_", sorted(TYPES.keys() - {"telegram"}))
@pytest.mark.parametrize(
    "address",
    ["", "hooks.example.com/secret", "ftp://example.com/secret", "https:///secret", "//["],
)
def test_an_address_that_is_none_is_not_repeated(type_: str, address: str) -> None:
    with pytest.raises(SendFailed, match="address") as caught:
        sent(type_, address=address, channel="a/b")
    assert "secret" not in str(caught.value)


def test_a_token_cannot_lead_elsewhere() -> None:
    with pytest.raises(SendFailed, match="bot"):
        sent("telegram", token="x/../../y")


def test_a_stream_without_a_topic() -> None:
    with pytest.raises(SendFailed, match="<stream>/<topic>"):
        sent("zulip", channel="stream")


def test_what_services_say_is_cut_and_masked() -> None:
    said = "no such hook: " + ADDRESS + "\n\x1b[31m" + "x" * 500
    shown = masked(said, [ADDRESS])

    assert shown.startswith("no such hook: *** [31mxxx")
    assert len(shown) == 200


def test_every_type_of_the_api_is_there() -> None:
    assert set(get_args(ProviderType)) == ALL_TYPES


# --- what is ------------------------------------------------------------------------------------------


def test_generic_is_the_event_itself() -> None:
    (request,) = sent("generic", headers={"X-Team": "shop"})

    assert (request.method, str(request.url)) == ("POST", ADDRESS)
    assert document(request) == {
        "involvedObject": {
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
            "kind": "Kustomization",
            "name": "app",
            "namespace": "team",
            "uid": "7d0cdc51",
        },
        "severity": "info",
        "timestamp": "2026-11-23T10:00:00Z",
        "message": "Applied revision: main@sha1:abc\nConfigMap/team/app configured",
        "reason": "ReconciliationSucceeded",
        "metadata": {"revision": "main@sha1:abc", "summary": "shop"},
        "reportingController": "kustomize-controller",
        "reportingInstance": "",
    }
    assert request.headers["Gotk-Component"] == "kustomize-controller"
    assert request.headers["X-Team"] == "shop"


def test_generic_hmac_signs_it() -> None:
    (request,) = sent("generic-hmac")
    digest = hmac.new(b"12:tok", request.body, "sha256").hexdigest()

    assert request.headers["X-Signature"] == f"sha256={digest}"


def test_slack() -> None:
    (request,) = sent("slack")

    assert document(request) == {
        "channel": "room",
        "username": "robot",
        "icon_url": document(request)["icon_url"],
        "icon_emoji": ":rocket:",
        "attachments": [
            {
                "color": "good",
                "author_name": "kustomization/app.team",
                "text": "Applied revision: main@sha1:abc\nConfigMap/team/app configured",
                "mrkdwn_in": ["text"],
                "fallback": "kustomization/app.team: Applied revision: main@sha1:abc",
                "fields": [
                    {"title": "summary", "value": "shop", "short": False},
                    {"title": "revision", "value": "main@sha1:abc", "short": False},
                ],
            }
        ],
    }
    assert request.headers["Authorization"] == "Bearer 12:tok"
    assert request.problem(Reply(200, b"ok")) == "", "a webhook answers by a word"


def test_slack_refuses_with_200() -> None:
    """https://docs.slack.dev/reference/methods/chat.postMessage#examples"""
    (request,) = sent("slack", address="https://slack.com/api/chat.postMessage")

    assert request.problem(Reply(200, b'{"ok":true,"channel":"C123456"}')) == ""
    refused = Reply(200, b'{"ok":false,"error":"too_many_attachments"}')
    assert request.problem(refused) == "Slack refused the message: too_many_attachments"
    assert request.problem(Reply(200, b"<html>"))


def test_errors_have_another_colour_and_no_one_s_name_is_the_controllers() -> None:
    (request,) = sent("slack", message("error"), username="", channel="", token="")
    found = document(request)

    assert found["attachments"][0]["color"] == "danger"
    assert found["username"] == "kustomize-controller"
    assert "channel" not in found
    assert "Authorization" not in request.headers


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("https://discord.com/api/webhooks/1/x", "https://discord.com/api/webhooks/1/x/slack"),
        (
            "https://discord.com/api/webhooks/1/x/slack",
            "https://discord.com/api/webhooks/1/x/slack",
        ),
        ("https://discord.com/w/1/x?thread_id=7", "https://discord.com/w/1/x/slack?thread_id=7"),
    ],
)
def test_discord_takes_slack_s_form_at_another_path(address: str, url: str) -> None:
    (request,) = sent("discord", address=address)

    assert str(request.url) == url
    assert "channel" not in document(request)
    assert "fallback" not in document(request)["attachments"][0]


def test_rocket_has_its_own_colours() -> None:
    colours = [
        document(sent("rocket", message(severity))[0])["attachments"][0]["color"]
        for severity in ("info", "error")
    ]

    assert colours == ["#0076D7", "#FF0000"]


def test_teams_by_an_older_webhook() -> None:
    (request,) = sent(
        "msteams", message("error"), address="https://x.webhook.office.com/webhookb2/1"
    )
    card = document(request)

    assert (card["@type"], card["themeColor"]) == ("MessageCard", "FF0000")
    assert card["sections"][0]["activitySubtitle"] == "kustomization/app.team"
    assert card["sections"][0]["facts"][0] == {"name": "summary", "value": "shop"}


def test_teams_by_a_workflow() -> None:
    (request,) = sent("msteams", message("error"))
    (attachment,) = document(request)["attachments"]
    title, text, facts = attachment["content"]["body"][0]["items"]

    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert (title["text"], title["color"]) == ("kustomization/app.team", "attention")
    assert (text["wrap"], text["color"]) == (True, "attention")
    assert facts["facts"][1] == {"title": "revision", "value": "main@sha1:abc"}


def test_google_chat() -> None:
    (request,) = sent("googlechat", message("error", "it failed"))
    (card,) = document(request)["cards"]
    text, facts = card["sections"]

    assert card["header"]["title"] == "kustomization/app.team"
    assert text["widgets"][0]["textParagraph"]["text"] == '<font color="#ff0000">it failed</font>'
    assert facts["widgets"][0]["keyValue"] == {"topLabel": "summary", "content": "shop"}


def test_webex() -> None:
    (request,) = sent("webex", message("error"))
    found = document(request)

    assert found["roomId"] == "room"
    assert found["markdown"].startswith(
        "\N{BOMB} **ReconciliationSucceeded | kustomization/app.team**"
    )
    assert found["markdown"].endswith(">**summary**: shop\n\n>**revision**: main@sha1:abc")


def test_telegram_escapes_what_its_markdown_would_read() -> None:
    (request,) = sent("telegram", message(text="a_b (c).", metadata={"v": "1-2"}), channel="-100:7")
    found = document(request)

    assert str(request.url) == "https://api.telegram.org/bot12:tok/sendMessage"
    assert (found["chat_id"], found["message_thread_id"]) == ("-100", "7")
    assert found["parse_mode"] == "MarkdownV2"
    assert found["text"].splitlines()[1:] == [r"a\_b \(c\)\.", r"\- *v*: 1\-2"]


def test_lark() -> None:
    (request,) = sent("lark", message("error"))
    found = document(request)

    assert found["msg_type"] == "interactive"
    assert found["card"]["header"]["template"] == "red"
    assert "**ReconciliationSucceeded**" in found["card"]["elements"][0]["text"]["content"]


def test_matrix_sends_an_event_once() -> None:
    requests = [sent("matrix", channel="!room:example.com")[0] for _ in range(2)]
    other = sent("matrix", message("error"), channel="!room:example.com")[0]
    path = str(requests[0].url).removeprefix("https://hooks.example.com")

    assert requests[0].method == "PUT"
    assert path.startswith("/_matrix/client/r0/rooms/%21room%3Aexample.com/send/m.room.message/")
    assert requests[0].url == requests[1].url != other.url
    assert document(requests[0])["msgtype"] == "m.text"
    assert requests[0].headers["Authorization"] == "Bearer 12:tok"


def test_zulip() -> None:
    (request,) = sent("zulip", channel="ops/deploys/shop")
    form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}

    assert str(request.url) == "https://hooks.example.com/api/v1/messages"
    assert (form["type"], form["to"], form["topic"]) == ("stream", "ops", "deploys/shop")
    assert "- **summary**: shop" in form["content"]
    assert request.headers["Authorization"] == "Basic cm9ib3Q6cGFzcw=="


def test_opsgenie() -> None:
    (request,) = sent("opsgenie", message("error"))

    assert request.headers["Authorization"] == "GenieKey 12:tok"
    assert document(request) == {
        "message": "Kustomization/app",
        "description": "Applied revision: main@sha1:abc\nConfigMap/team/app configured",
        "details": {"summary": "shop", "revision": "main@sha1:abc", "severity": "error"},
    }


def test_alertmanager() -> None:
    (request,) = sent("alertmanager", message("error", reason="HealthCheckFailed"))
    (found,) = document(request)

    assert found["labels"] == {
        "revision": "main@sha1:abc",
        "alertname": "FluxKustomizationHealthcheckfailed",
        "severity": "error",
        "reason": "HealthCheckFailed",
        "kind": "Kustomization",
        "name": "app",
        "namespace": "team",
        "reportingcontroller": "kustomize-controller",
    }
    assert found["annotations"]["summary"] == "shop"
    assert (found["status"], found["startsAt"]) == ("firing", "2026-11-23T10:00:00Z")
    assert request.headers["Authorization"].startswith("Basic "), "user and password win"
    bearer = sent("alertmanager", username="", password="")[0]
    assert bearer.headers["Authorization"] == "Bearer 12:tok"


def test_labels_of_alertmanager_have_names_that_it_takes() -> None:
    """https://prometheus.io/docs/concepts/data_model/#metric-names-and-labels"""
    facts = {"app-version": "1.0", "9lives": "cat", "a/b": "c", "name": "theirs"}
    (request,) = sent("alertmanager", message(metadata=facts))
    labels = document(request)[0]["labels"]

    assert (labels["app_version"], labels["_9lives"], labels["a_b"]) == ("1.0", "cat", "c")
    assert labels["name"] == "app"


def test_grafana() -> None:
    (request,) = sent("grafana")
    found = document(request)

    assert (found["when"], found["text"]) == (1795428000, "kustomization/app.team")
    assert found["tags"] == [
        "flux",
        "kustomize-controller",
        "summary| shop",
        "revision| main@sha1|abc",
        "kind| Kustomization",
        "name| app",
        "namespace| team",
    ]
    assert request.headers["Authorization"] == "Bearer 12:tok"


def test_pagerduty_begins_and_ends_an_incident() -> None:
    address = "https://events.pagerduty.com/whatever"
    (failed,) = sent("pagerduty", message("error"), address=address)
    well, change = sent("pagerduty", message(), address=address)
    one, other = document(failed), document(well)

    assert str(failed.url) == "https://events.pagerduty.com/v2/enqueue"
    assert str(change.url) == "https://events.pagerduty.com/v2/change/enqueue"
    assert (one["event_action"], other["event_action"]) == ("trigger", "resolve")
    assert one["dedup_key"] == other["dedup_key"] == "7d0cdc51"
    assert one["routing_key"] == "room"
    assert one["payload"]["severity"] == "error"
    assert sent("pagerduty", message(reason="Progressing"), address=address) == []


def test_datadog() -> None:
    (request,) = sent("datadog", message("error"), address="https://api.datadoghq.com")
    found = document(request)

    assert str(request.url) == "https://api.datadoghq.com/api/v1/events"
    assert request.headers["DD-API-KEY"] == "12:tok"
    assert (found["alert_type"], found["source_type_name"]) == ("error", "fluxcd")
    assert "revision:main@sha1:abc" in found["tags"]
    assert all(tag == tag.lower() for tag in found["tags"])


def test_user_and_password_are_masked_as_they_are_sent() -> None:
    shown = masked("no such user cm9ib3Q6cGFzcw== here", settings("grafana").secrets)

    assert shown == "no such user *** here"
