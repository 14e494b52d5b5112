"""Chat systems.

Slack: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks, Discord:
https://docs.discord.com/developers/resources/webhook#execute-slackcompatible-webhook, Teams:
https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using,
Google Chat: https://developers.google.com/workspace/chat/quickstart/webhooks, Webex:
https://developer.webex.com/docs/api/v1/messages/create-a-message, Telegram:
https://core.telegram.org/bots/api#sendmessage, Lark:
https://open.larksuite.com/document/client-docs/bot-v3/add-custom-bot, Matrix:
https://spec.matrix.org/latest/client-server-api/#sending-events-to-a-room, Zulip:
https://zulip.com/api/send-message, Rocket.Chat: its incoming webhooks take Slack's form.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from yarl import URL

from notification_controller.provider.message import Message
from notification_controller.provider.outgoing import Outgoing, Reply, SendFailed, json_request
from notification_controller.provider.settings import Settings

__all__ = [
    "discord",
    "googlechat",
    "lark",
    "matrix",
    "msteams",
    "rocket",
    "slack",
    "telegram",
    "webex",
    "zulip",
]

_ICON = "https://avatars.githubusercontent.com/u/52158677?s=96&v=4"
_TELEGRAM = URL("https://api.telegram.org")
_TELEGRAM_SPECIAL = re.compile(r"([_*\[\]()~`>#+\-=|{}.!\\])")
_TELEGRAM_BOT = re.compile(r"[0-9A-Za-z:_-]+")


def slack(message: Message, to: Settings) -> Sequence[Outgoing]:
    """An attachment; by a webhook, or by ``chat.postMessage`` with a bot's token."""
    payload = _slack(message, to, good="good", bad="danger")
    headers = {"Authorization": f"Bearer {to.token}"} if to.token else {}
    url = to.url
    problem = _slack_problem if url.path.endswith("/chat.postMessage") else _none
    return [json_request(url, payload, headers=headers, problem=problem)]


def discord(message: Message, to: Settings) -> Sequence[Outgoing]:
    """The same at the address for messages in Slack's form."""
    payload = _slack(message, to, good="good", bad="danger")
    del payload["attachments"][0]["fallback"]
    payload.pop("channel", None)
    url = to.url
    if not url.path.endswith("/slack"):
        url = url.with_path(url.path.rstrip("/") + "/slack", keep_query=True)
    return [json_request(url, payload)]


def rocket(message: Message, to: Settings) -> Sequence[Outgoing]:
    """The same in other colours."""
    return [json_request(to.url, _slack(message, to, good="#0076D7", bad="#FF0000"))]


def msteams(message: Message, to: Settings) -> Sequence[Outgoing]:
    """A MessageCard for the older webhooks, an Adaptive Card for workflows."""
    url = to.url
    if (url.host or "").endswith(".webhook.office.com"):
        return [json_request(url, _message_card(message))]
    return [json_request(url, _adaptive_card(message))]


def googlechat(message: Message, to: Settings) -> Sequence[Outgoing]:
    """A card."""
    text = message.event.message
    if message.event.is_error:
        text = f'<font color="#ff0000">{text}</font>'
    sections: list[Any] = [{"widgets": [{"textParagraph": {"text": text}}]}]
    if message.facts:
        widgets = [
            {"keyValue": {"topLabel": name, "content": value}} for name, value in message.facts
        ]
        sections.append({"widgets": widgets})
    header = {
        "title": message.subject,
        "subtitle": message.event.reporting_controller,
        "imageUrl": _ICON,
    }
    return [json_request(to.url, {"cards": [{"header": header, "sections": sections}]})]


def webex(message: Message, to: Settings) -> Sequence[Outgoing]:
    """Markdown in a room."""
    sign = "\N{BOMB}" if message.event.is_error else "\N{WHITE HEAVY CHECK MARK}"
    lines = [f"{sign} **{message.event.reason} | {message.subject}**", message.event.message]
    lines += [f">**{name}**: {value}" for name, value in message.facts]
    payload = {"roomId": to.need("channel"), "markdown": "\n\n".join(lines)}
    headers = {"Authorization": f"Bearer {to.token}"} if to.token else {}
    return [json_request(to.url, payload, headers=headers)]


def telegram(message: Message, to: Settings) -> Sequence[Outgoing]:
    """MarkdownV2 in a chat, or in a thread of it."""
    token = to.need("token")
    if not _TELEGRAM_BOT.fullmatch(token):
        raise SendFailed("the token is not one of a bot of Telegram", again=False)
    sign = "\N{POLICE CARS REVOLVING LIGHT}" if message.event.is_error else "\N{LARGE BLUE CIRCLE}"
    heading = f"*{sign} {_escaped(message.subject)}*"
    text = [heading, _escaped(message.event.message)]
    facts = [f"\\- *{_escaped(name)}*: {_escaped(value)}" for name, value in message.facts]
    chat, _, thread = to.need("channel").partition(":")
    payload: dict[str, Any] = {
        "chat_id": chat,
        "text": "\n".join(text + facts),
        "parse_mode": "MarkdownV2",
    }
    if thread:
        payload["message_thread_id"] = thread
    return [json_request(_TELEGRAM / f"bot{token}" / "sendMessage", payload)]


def lark(message: Message, to: Settings) -> Sequence[Outgoing]:
    """An interactive card."""
    sign = "\N{BOMB}" if message.event.is_error else "\N{WHITE HEAVY CHECK MARK}"
    facts = "".join(f"- {name}: {value}\n" for name, value in message.facts)
    text = f"**{message.event.reason}**\n\n{message.event.message}\n\n{facts}"
    card = {
        "config": {"wide_screen_mode": True},
        "header": {
            "title": {"tag": "plain_text", "content": f"{sign} {message.subject}"},
            "template": "red" if message.event.is_error else "turquoise",
        },
        "elements": [{"tag": "div", "text": {"tag": "lark_md", "content": text}}],
    }
    return [json_request(to.url, {"msg_type": "interactive", "card": card})]


def matrix(message: Message, to: Settings) -> Sequence[Outgoing]:
    """A text in a room; its transaction is the event's, so that it comes once."""
    sign = "\N{BOMB}" if message.event.is_error else "\N{WHITE HEAVY CHECK MARK}"
    facts = "".join(f"- {name}: {value}\n" for name, value in message.facts)
    body = f"{sign} {message.subject}\n{message.event.message}\n{facts}"
    transaction = hashlib.sha1(msgspec.json.encode(message.event), usedforsecurity=False)
    room = quote(to.need("channel"), safe="")
    path = f"/_matrix/client/r0/rooms/{room}/send/m.room.message/{transaction.hexdigest()}"
    url = URL(str(to.url.origin()) + path, encoded=True)
    headers = {"Authorization": f"Bearer {to.need('token')}"}
    payload = {"body": body, "msgtype": "m.text"}
    return [json_request(url, payload, method="PUT", headers=headers)]


def zulip(message: Message, to: Settings) -> Sequence[Outgoing]:
    """Markdown in a topic of a stream: ``stream/topic``."""
    stream, slash, topic = to.need("channel").partition("/")
    if not slash:
        raise SendFailed("the channel of a Provider of type zulip is <stream>/<topic>", again=False)
    sign = ":boom:" if message.event.is_error else ":check:"
    facts = "".join(f"- **{name}**: {value}\n" for name, value in message.facts)
    content = f"{sign} **{message.subject}**\n{message.event.message}\n\n{facts}"
    form = {"type": "stream", "to": stream, "topic": topic, "content": content}
    credentials = f"{to.need('username')}:{to.need('password')}".encode()
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Authorization": "Basic " + base64.b64encode(credentials).decode(),
    }
    url = to.url.origin() / "api/v1/messages"
    return [Outgoing("POST", url, urlencode(form).encode(), headers)]


def _slack(message: Message, to: Settings, *, good: str, bad: str) -> dict[str, Any]:
    event = message.event
    attachment = {
        "color": bad if event.is_error else good,
        "author_name": message.subject,
        "text": event.message,
        "mrkdwn_in": ["text"],
        "fallback": f"{message.subject}: {message.first_line}",
        "fields": [
            {"title": name, "value": value, "short": False} for name, value in message.facts
        ],
    }
    payload: dict[str, Any] = {
        "username": to.username or event.reporting_controller,
        "icon_url": _ICON,
        "icon_emoji": ":rocket:",
        "attachments": [attachment],
    }
    return {"channel": to.channel, **payload} if to.channel else payload


def _slack_problem(reply: Reply) -> str:
    """Slack answers 200 to what it refuses."""
    answer = reply.json()
    if isinstance(answer, dict) and answer.get("ok") is True:
        return ""
    error = answer.get("error") if isinstance(answer, dict) else None
    return (
        f"Slack refused the message: {error if isinstance(error, str) else 'no ok in its answer'}"
    )


def _none(_reply: Reply) -> str:
    return ""


def _message_card(message: Message) -> dict[str, Any]:
    facts = [{"name": name, "value": value} for name, value in message.facts]
    return {
        "@type": "MessageCard",
        "@context": "http://schema.org/extensions",
        "summary": message.subject,
        "themeColor": "FF0000" if message.event.is_error else "0076D7",
        "sections": [
            {
                "activityTitle": message.event.message,
                "activitySubtitle": message.subject,
                "facts": facts,
            }
        ],
    }


def _adaptive_card(message: Message) -> dict[str, Any]:
    title: dict[str, Any] = {
        "type": "TextBlock",
        "text": message.subject,
        "size": "large",
        "weight": "bolder",
        "wrap": True,
    }
    text: dict[str, Any] = {"type": "TextBlock", "text": message.event.message, "wrap": True}
    if message.event.is_error:
        title["color"] = text["color"] = "attention"
    items = [title, text]
    if message.facts:
        facts = [{"title": name, "value": value} for name, value in message.facts]
        items.append({"type": "FactSet", "facts": facts})
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": [{"type": "Container", "items": items}],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
    return {"type": "message", "attachments": [attachment]}


def _escaped(text: str) -> str:
    return _TELEGRAM_SPECIAL.sub(r"\\\1", text)
