"""The address of a Receiver."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from fluvial.objects import JsonObject, ObjectKey

__all__ = ["PREFIX", "holder_of", "webhook_path"]

PREFIX = "/hook/"


def webhook_path(token: bytes, key: ObjectKey) -> str:
    """The path that Flux derives too, so that addresses that senders know stay.

    Args:
        token: of the Secret; empty for ``generic-oidc``, whose address is no secret.
        key: of the Receiver.

    """
    text = token + key.name.encode() + key.namespace.encode()
    return PREFIX + hashlib.sha256(text).hexdigest()


def holder_of(receivers: Iterable[JsonObject]) -> JsonObject:
    """Whose path it is, of Receivers that all published it.

    Token, name and namespace are joined without a separator, so that two Receivers can have one
    path. Who publishes it first keeps it; where two did at once, or another installation did it
    for them, it is the older one's.

    Args:
        receivers: at least one, as they are in the cluster.

    """
    return min(receivers, key=_age)


def _age(obj: JsonObject) -> tuple[str, str]:
    metadata = obj["metadata"]
    return str(metadata.get("creationTimestamp", "")), str(metadata.get("uid", ""))
