"""The values of Secrets."""

from __future__ import annotations

import base64
import binascii

from fluvial.objects import JsonObject

__all__ = ["secret_data"]


def secret_data(secret: JsonObject) -> dict[str, bytes]:
    """The decoded values of a Secret.

    Raises:
        ValueError: a value is not base64.

    """
    data = secret.get("data") or {}
    try:
        return {key: base64.b64decode(value, validate=True) for key, value in data.items()}
    except (binascii.Error, ValueError) as error:
        raise ValueError("the Secret has a value that is not base64") from error
