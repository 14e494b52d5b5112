"""What each type of Provider sends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from notification_controller.provider import chat, hooks, incidents, queues, traces
from notification_controller.provider.comments import COMMENT_TYPES
from notification_controller.provider.commits import COMMIT_TYPES
from notification_controller.provider.dispatch import githubdispatch
from notification_controller.provider.message import Message
from notification_controller.provider.outgoing import Exchange, Outgoing
from notification_controller.provider.settings import Settings

__all__ = ["ALL_TYPES", "NATS", "TALKS", "TYPES", "Compose", "Talk", "tell"]

Compose = Callable[[Message, Settings], Sequence[Outgoing]]
"""Raises SendFailed where the Provider lacks something."""

Talk = Callable[[Message, Settings, Exchange], Awaitable[None]]
"""For services that have to be asked before they are told. Raises SendFailed as well."""

TYPES: Mapping[str, Compose] = {
    "alertmanager": incidents.alertmanager,
    "azureeventhub": queues.azureeventhub,
    "datadog": incidents.datadog,
    "discord": chat.discord,
    "generic": hooks.generic,
    "generic-hmac": hooks.generic_hmac,
    "githubdispatch": githubdispatch,
    "googlechat": chat.googlechat,
    "googlepubsub": queues.googlepubsub,
    "grafana": incidents.grafana,
    "lark": chat.lark,
    "matrix": chat.matrix,
    "msteams": chat.msteams,
    "opsgenie": incidents.opsgenie,
    "otel": traces.otel,
    "pagerduty": incidents.pagerduty,
    "rocket": chat.rocket,
    "sentry": traces.sentry,
    "slack": chat.slack,
    "telegram": chat.telegram,
    "webex": chat.webex,
    "zulip": chat.zulip,
}
"""The types whose requests depend on nothing else."""

TALKS: Mapping[str, Talk] = {**COMMIT_TYPES, **COMMENT_TYPES}
"""The types that look before they write."""

NATS = "nats"
"""The type that is told by a connection of its own, see ``nats``."""

ALL_TYPES = TYPES.keys() | TALKS.keys() | {NATS}
"""The types of this version; the others of the API are refused by name."""


async def tell(message: Message, to: Settings, exchange: Exchange) -> None:
    """Tell a message by the type of a Provider, which is one of ``TYPES`` or ``TALKS``.

    Raises:
        SendFailed: the Provider lacks something, or the service does not take it.

    """
    talk = TALKS.get(to.type)
    if talk is not None:
        await talk(message, to, exchange)
        return
    for request in TYPES[to.type](message, to):
        await exchange(request)
