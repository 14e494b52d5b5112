"""Events that start workflows of a repository.

https://docs.github.com/rest/repos/repos#create-a-repository-dispatch-event.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from notification_controller.provider import hosts
from notification_controller.provider.hooks import event_json
from notification_controller.provider.message import Message
from notification_controller.provider.outgoing import Outgoing, json_request
from notification_controller.provider.settings import Settings

__all__ = ["githubdispatch"]


def githubdispatch(message: Message, to: Settings) -> Sequence[Outgoing]:
    """An event ``<Kind>/<name>.<namespace>`` whose payload is the event."""
    host = hosts.github(to)
    document = {
        "event_type": message.title,
        "client_payload": orjson.loads(event_json(message.event)),
    }
    return [json_request(host.repository / "dispatches", document, headers=host.headers)]
