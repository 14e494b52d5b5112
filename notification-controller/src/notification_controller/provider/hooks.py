"""Events as they are, to whoever takes them."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

import msgspec

from notification_controller.event.model import Event
from notification_controller.provider.message import Message
from notification_controller.provider.outgoing import Outgoing
from notification_controller.provider.settings import Settings

__all__ = ["event_json", "generic", "generic_hmac"]


def event_json(event: Event) -> bytes:
    """An event in the form of the event API."""
    return msgspec.json.encode(event)


def generic(message: Message, to: Settings) -> Sequence[Outgoing]:
    """The event, with the headers of the Secret."""
    return [Outgoing("POST", to.url, event_json(message.event), _headers(message, to))]


def generic_hmac(message: Message, to: Settings) -> Sequence[Outgoing]:
    """The same with a signature: ``X-Signature: sha256=<HMAC of the body>``."""
    body = event_json(message.event)
    signature = hmac.new(to.need("token").encode(), body, "sha256").hexdigest()
    headers = {**_headers(message, to), "X-Signature": f"sha256={signature}"}
    return [Outgoing("POST", to.url, body, headers)]


def _headers(message: Message, to: Settings) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "Gotk-Component": message.event.reporting_controller,
        **to.headers,
    }
