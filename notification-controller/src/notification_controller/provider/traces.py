"""Systems that collect errors and traces.

Sentry: https://develop.sentry.dev/sdk/foundations/transport/envelopes/, OpenTelemetry:
https://opentelemetry.io/docs/specs/otlp/#otlphttp (JSON).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from yarl import URL

from notification_controller.provider.hooks import event_json
from notification_controller.provider.message import Message
from notification_controller.provider.outgoing import (
    Outgoing,
    Reply,
    SendFailed,
    json_request,
)
from notification_controller.provider.settings import Settings

__all__ = ["otel", "sentry"]

_LONGEST_TAG = 200
_NAMELESS = "unknown"
_SPAN_INTERNAL = 1
_OK, _ERROR = 1, 2
_UNTOLD = frozenset({"HelmRepository"})


def sentry(message: Message, to: Settings) -> Sequence[Outgoing]:
    """An event for an error, a transaction with one span for the rest."""
    url, key, dsn = _dsn(to)
    digest = hashlib.sha256(message.provider.encode() + event_json(message.event)).hexdigest()
    item = _error(message) if message.event.is_error else _transaction(message, digest)
    document = {
        "event_id": digest[:32],  # so that a message that is sent again is one event
        "timestamp": message.time.timestamp(),
        "platform": "other",
        "server_name": message.event.reporting_controller,
        **({"environment": to.channel} if to.channel else {}),
        **item,
    }
    payload = orjson.dumps(document)
    kind = "event" if message.event.is_error else "transaction"
    lines = [
        orjson.dumps({"event_id": document["event_id"], "dsn": dsn}),
        orjson.dumps({"type": kind, "length": len(payload)}),
        payload,
    ]
    headers = {
        "Content-Type": "application/x-sentry-envelope",
        "X-Sentry-Auth": f"Sentry sentry_version=7, sentry_client=fluvial/1.0, sentry_key={key}",
    }
    return [Outgoing("POST", url, b"\n".join(lines) + b"\n", headers)]


def otel(message: Message, to: Settings) -> Sequence[Outgoing]:
    """A span; all spans of one revision that one Alert tells are one trace."""
    event, obj = message.event, message.event.involved_object
    if obj.kind in _UNTOLD:
        return []
    url = to.url
    if url.path in {"", "/"}:
        url = url.with_path("/v1/traces", keep_query=True)
    at = str(int(message.time.timestamp()) * 10**9 + message.time.microsecond * 1000)
    facts = {
        "object.uid": obj.uid,
        "object.kind": obj.kind,
        "object.name": obj.name,
        "object.namespace": obj.namespace,
        "event.reason": event.reason,
        "event.message": event.message,
        **dict(message.facts),
    }
    span = {
        "traceId": _digest(f"{message.alert}:{_revision(event.metadata)}", 16),
        "spanId": _digest(message.provider.encode() + event_json(event), 8),
        "name": f"{obj.kind}: {event.reason}",
        "kind": _SPAN_INTERNAL,
        "startTimeUnixNano": at,
        "endTimeUnixNano": at,
        "attributes": _attributes(facts),
        "status": {"code": _ERROR, "message": event.message} if event.is_error else {"code": _OK},
    }
    service = _attributes({"service.name": message.alert_name})
    scopes = [{"scope": {"name": event.reporting_controller}, "spans": [span]}]
    document = {"resourceSpans": [{"resource": {"attributes": service}, "scopeSpans": scopes}]}
    headers = {**to.authorization(), **to.headers}
    return [json_request(url, document, headers=headers, problem=_rejected)]


def _dsn(to: Settings) -> tuple[URL, str, str]:
    """Where envelopes go, the public key, and the DSN without a secret key."""
    url = to.url
    path, _, project = url.raw_path.rstrip("/").rpartition("/")
    if not (url.user and project.isascii() and project.isalnum()):
        raise SendFailed(
            "the address of a Provider of type sentry must be a DSN:"
            " https://<key>@<host>/<project>",
            again=False,
        )
    key = url.user
    if not (key.isascii() and key.isalnum()):
        raise SendFailed("the key of the address, a DSN, is not one of Sentry", again=False)
    base = url.origin().with_path(path, encoded=True)
    return base / "api" / project / "envelope/", key, str(url.with_password(None))


def _error(message: Message) -> dict[str, Any]:
    event = message.event
    return {
        "level": "error",
        "logger": event.reporting_controller,
        "logentry": {"formatted": f"{message.subject}: {event.message}"},
        "fingerprint": [message.subject, event.reason],
        "contexts": {"metadata": dict(message.facts)},
        "tags": {"reason": event.reason, "kind": event.involved_object.kind},
    }


def _transaction(message: Message, digest: str) -> dict[str, Any]:
    event, at = message.event, message.time.timestamp()
    trace, root, child = digest[32:64], digest[:16], digest[16:32]
    tags = {"reason": event.reason, **dict(message.facts)}
    span = {
        "trace_id": trace,
        "span_id": child,
        "parent_span_id": root,
        "op": event.reason,
        "description": event.message,
        "start_timestamp": at,
        "timestamp": at,
        "status": "ok",
    }
    return {
        "type": "transaction",
        "transaction": f"{event.reason}: {message.subject}",
        "start_timestamp": at,
        "contexts": {
            "trace": {"trace_id": trace, "span_id": root, "op": event.reason, "status": "ok"}
        },
        "tags": {name: " ".join(value.split())[:_LONGEST_TAG] for name, value in tags.items()},
        "spans": [span],
    }


def _revision(metadata: Mapping[str, str]) -> str:
    version, digest = metadata.get("app-version", ""), metadata.get("oci-digest", "")
    if version and digest:
        return f"{version}@{digest}"
    return metadata.get("revision", "") or _NAMELESS


def _digest(text: str | bytes, size: int) -> str:
    data = text.encode() if isinstance(text, str) else text
    return hashlib.sha256(data).digest()[:size].hex()


def _attributes(facts: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"key": name, "value": {"stringValue": value}} for name, value in facts.items()]


def _rejected(reply: Reply) -> str:
    """A collector answers 200 to what it takes in part."""
    answer = reply.json()
    partial = answer.get("partialSuccess") if isinstance(answer, dict) else None
    if not isinstance(partial, dict) or str(partial.get("rejectedSpans", "0")) == "0":
        return ""
    return f"the collector rejected the span: {partial.get('errorMessage', '')}"
