"""Message queues of clouds.

Pub/Sub: https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.topics/publish, Event Hubs:
https://learn.microsoft.com/rest/api/eventhub/send-event and
https://learn.microsoft.com/rest/api/eventhub/generate-sas-token.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote, quote_plus

from yarl import URL

from notification_controller.provider.hooks import event_json
from notification_controller.provider.message import Message
from notification_controller.provider.outgoing import Outgoing, SendFailed, json_request
from notification_controller.provider.settings import Settings

__all__ = ["azureeventhub", "googlepubsub", "hub_of", "is_connection"]

_PUBSUB = URL("https://pubsub.googleapis.com/v1")
_PROJECT = re.compile(r"(?:[a-z0-9.-]{1,63}:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_TOPIC = re.compile(r"[A-Za-z][A-Za-z0-9._~+%-]{2,254}")
_NAMESPACE = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9-]{1,63}){0,8}"
)
_HUB = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,254}[A-Za-z0-9])?")
_SUFFIX = ".servicebus.windows.net"
_SAS_SECONDS = 3600
_PARTS = ("Endpoint", "SharedAccessKeyName", "SharedAccessKey", "EntityPath")


def googlepubsub(message: Message, to: Settings) -> Sequence[Outgoing]:
    """A message of a topic, with the headers as attributes; the token is one of Google's by now."""
    _need_address(to)
    if not _PROJECT.fullmatch(to.address):
        raise SendFailed(
            "the address of a Provider of type googlepubsub must be the id of a project",
            again=False,
        )
    topic = to.need("channel")
    if not _TOPIC.fullmatch(topic):
        raise SendFailed("the channel is not a name of a topic of Pub/Sub", again=False)
    one = {
        "data": base64.b64encode(event_json(message.event)).decode(),
        "attributes": dict(to.headers),
    }
    url = URL(
        f"{_PUBSUB}/projects/{to.address}/topics/{quote(topic, safe='')}:publish", encoded=True
    )
    headers = {"Authorization": f"Bearer {to.bearer or to.need('token')}"}
    return [json_request(url, {"messages": [one]}, headers=headers)]


def azureeventhub(message: Message, to: Settings) -> Sequence[Outgoing]:
    """An event of a hub, by the key of a connection string or by a token."""
    if is_connection(to.address):
        url, authorization = _by_key(to)
    else:
        url, authorization = hub_of(to), f"Bearer {to.bearer or to.need('token')}"
    headers = {
        "Authorization": authorization,
        "Content-Type": "application/atom+xml;type=entry;charset=utf-8",
    }
    return [Outgoing("POST", url / "messages", event_json(message.event), headers)]


def is_connection(address: str) -> bool:
    """Whether an address is a connection string, with its key."""
    return "SharedAccessKey" in address


def _need_address(to: Settings) -> None:
    if not to.address:
        raise SendFailed(
            f"a Provider of type {to.type} needs an address, in spec or Secret", again=False
        )


def hub_of(to: Settings) -> URL:
    """Where a hub is that is named by channel and address.

    Raises:
        SendFailed: they are no names.

    """
    _need_address(to)
    namespace = to.need("channel")
    if not (_HUB.fullmatch(to.address) and _NAMESPACE.fullmatch(namespace)):
        raise SendFailed(
            "the address of a Provider of type azureeventhub must be the name of a hub, and the"
            " channel that of its namespace; or the address is a connection string",
            again=False,
        )
    host = namespace if "." in namespace else namespace + _SUFFIX
    return URL.build(scheme="https", host=host) / to.address


def _by_key(to: Settings) -> tuple[URL, str]:
    found = _connection(to.address)
    host = found["Endpoint"].removeprefix("sb://").rstrip("/")
    has_form = found["Endpoint"].startswith("sb://") and _NAMESPACE.fullmatch(host)
    if not (has_form and _HUB.fullmatch(found["EntityPath"])):
        raise SendFailed(
            "the address, a connection string, needs Endpoint=sb://<host>/ and the EntityPath of a"
            " hub",
            again=False,
        )
    url = URL.build(scheme="https", host=host) / found["EntityPath"]
    resource = quote_plus(str(url))
    expiry = int(to.now.timestamp()) + _SAS_SECONDS
    key = found["SharedAccessKey"].encode()
    mac = hmac.new(key, f"{resource}\n{expiry}".encode(), "sha256").digest()
    signature = quote_plus(base64.b64encode(mac).decode())
    name = quote_plus(found["SharedAccessKeyName"])
    return url, f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn={name}"


def _connection(text: str) -> Mapping[str, str]:
    found = {}
    for part in text.split(";"):
        name, _, value = part.strip().partition("=")
        found[name] = value
    missing = [name for name in _PARTS if not found.get(name)]
    if missing:
        raise SendFailed(
            f"the address, a connection string, has no {' and no '.join(missing)}", again=False
        )
    return found
