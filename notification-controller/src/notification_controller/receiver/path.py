"""The address of a Receiver."""

from __future__ import annotations

import hashlib

from fluvial.objects import ObjectKey

__all__ = ["PREFIX", "webhook_path"]

PREFIX = "/hook/"


def webhook_path(token: bytes, key: ObjectKey) -> str:
    """The path that Flux derives too, so that addresses that senders know stay.

    Args:
        token: of the Secret; empty for ``generic-oidc``, whose address is no secret.
        key: of the Receiver.

    """
    text = token + key.name.encode() + key.namespace.encode()
    return PREFIX + hashlib.sha256(text).hexdigest()
