"""What each type of Provider sends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from notification_controller.provider import chat, hooks, incidents
from notification_controller.provider.message import Message
from notification_controller.provider.outgoing import Outgoing
from notification_controller.provider.settings import Settings

__all__ = ["TYPES", "Compose"]

Compose = Callable[[Message, Settings], Sequence[Outgoing]]
"""Raises SendFailed where the Provider lacks something."""

TYPES: Mapping[str, Compose] = {
    "alertmanager": incidents.alertmanager,
    "datadog": incidents.datadog,
    "discord": chat.discord,
    "generic": hooks.generic,
    "generic-hmac": hooks.generic_hmac,
    "googlechat": chat.googlechat,
    "grafana": incidents.grafana,
    "lark": chat.lark,
    "matrix": chat.matrix,
    "msteams": chat.msteams,
    "opsgenie": incidents.opsgenie,
    "pagerduty": incidents.pagerduty,
    "rocket": chat.rocket,
    "slack": chat.slack,
    "telegram": chat.telegram,
    "webex": chat.webex,
    "zulip": chat.zulip,
}
"""The types of this version; the others of the API are refused by name."""
