"""Systems that watch and wake people.

Opsgenie: https://docs.opsgenie.com/docs/alert-api#create-alert, Alertmanager:
https://prometheus.io/docs/alerting/latest/clients/, PagerDuty:
https://developer.pagerduty.com/docs/send-alert-event, Grafana:
https://grafana.com/docs/grafana/latest/developers/http_api/annotations/, Datadog:
https://docs.datadoghq.com/api/latest/events/#post-an-event.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from notification_controller.provider.message import Message
from notification_controller.provider.outgoing import Outgoing, json_request
from notification_controller.provider.settings import Settings

__all__ = ["alertmanager", "datadog", "grafana", "opsgenie", "pagerduty"]

_LONGEST_SUMMARY = 1024
_SKIPPED = "Progressing"
_NO_LABEL = re.compile(r"[^a-zA-Z0-9_]")


def opsgenie(message: Message, to: Settings) -> Sequence[Outgoing]:
    """An alert."""
    event = message.event
    obj = event.involved_object
    payload = {
        "message": f"{obj.kind}/{obj.name}",
        "description": event.message,
        "details": {**dict(message.facts), "severity": event.severity},
    }
    headers = {"Authorization": f"GenieKey {to.need('token')}"}
    return [json_request(to.url, payload, headers=headers)]


def alertmanager(message: Message, to: Settings) -> Sequence[Outgoing]:
    """An alert that fires; it resolves by Alertmanager's own time."""
    event = message.event
    obj = event.involved_object
    facts = dict(message.facts)
    summary = facts.pop("summary", "")
    labels = {
        **{_label(name): value for name, value in facts.items()},
        "alertname": f"Flux{obj.kind}{event.reason.title()}",
        "severity": event.severity,
        "reason": event.reason,
        "kind": obj.kind,
        "name": obj.name,
        "namespace": obj.namespace,
        "reportingcontroller": event.reporting_controller,
    }
    annotations = {"message": event.message} | ({"summary": summary} if summary else {})
    alert = {
        "status": "firing",
        "startsAt": event.timestamp,
        "labels": labels,
        "annotations": annotations,
    }
    return [json_request(to.url, [alert], headers=to.authorization())]


def _label(name: str) -> str:
    """A name that Alertmanager takes; one that it does not would lose the whole alert."""
    plain = _NO_LABEL.sub("_", name)
    return f"_{plain}" if plain[:1].isdigit() else plain


def pagerduty(message: Message, to: Settings) -> Sequence[Outgoing]:
    """An incident for an error; whatever else is said about the object resolves it."""
    event = message.event
    if event.reason == _SKIPPED:
        return []
    key, obj = to.need("channel"), event.involved_object
    base = to.url.origin()
    summary = f"{event.severity}: {message.subject}: {event.message}"[:_LONGEST_SUMMARY]
    payload: dict[str, Any] = {
        "summary": summary,
        "source": f"Flux {event.reporting_controller}",
        "severity": event.severity,
        "timestamp": event.timestamp,
        "component": obj.name,
        "group": obj.kind,
        "class": event.reason,
        "custom_details": {"message": event.message, "metadata": dict(message.facts)},
    }
    incident = {
        "routing_key": key,
        "dedup_key": obj.uid,
        "event_action": "trigger" if event.is_error else "resolve",
        "payload": payload,
    }
    requests = [json_request(base / "v2/enqueue", incident)]
    if not event.is_error:
        change = {
            "summary": summary,
            "source": payload["source"],
            "timestamp": event.timestamp,
            "custom_details": payload["custom_details"],
        }
        document = {"routing_key": key, "payload": change}
        requests.append(json_request(base / "v2/change/enqueue", document))
    return requests


def grafana(message: Message, to: Settings) -> Sequence[Outgoing]:
    """An annotation of graphs."""
    event = message.event
    obj = event.involved_object
    tags = ["flux", event.reporting_controller]
    tags += [f"{name}: {value}".replace(":", "|") for name, value in message.facts]
    tags += [f"kind: {obj.kind}", f"name: {obj.name}", f"namespace: {obj.namespace}"]
    payload = {
        "when": int(message.time.timestamp()),
        "text": message.subject,
        "tags": [tag if at < 2 else tag.replace(":", "|") for at, tag in enumerate(tags)],
    }
    headers: dict[str, str] = {"Authorization": f"Bearer {to.token}"} if to.token else {}
    return [json_request(to.url, payload, headers=headers or to.authorization())]


def datadog(message: Message, to: Settings) -> Sequence[Outgoing]:
    """An event of the first API."""
    event = message.event
    obj = event.involved_object
    tags = [f"{name}:{value}" for name, value in message.facts]
    tags += [
        f"flux_reporting_controller:{event.reporting_controller}",
        f"flux_reason:{event.reason}",
        f"kube_kind:{obj.kind}",
        f"kube_name:{obj.name}",
        f"kube_namespace:{obj.namespace}",
    ]
    payload = {
        "title": f"{obj.kind}/{obj.name}.{obj.namespace}",
        "text": event.message,
        "tags": [tag.lower() for tag in tags],
        "source_type_name": "fluxcd",
        "alert_type": "error" if event.is_error else "info",
        "date_happened": int(message.time.timestamp()),
    }
    headers = {"DD-API-KEY": to.need("token")}
    return [json_request(to.url.origin() / "api/v1/events", payload, headers=headers)]
