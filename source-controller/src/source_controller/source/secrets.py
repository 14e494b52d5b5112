"""Secrets that an object names in its own namespace: read live, never cached."""

from __future__ import annotations

import base64
import binascii

from fluvial.errors import FluvialError
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.kinds import SECRET
from fluvial.objects import JsonObject, ObjectKey
from source_controller.source import reasons
from source_controller.source.run import StepFailed

__all__ = ["auth_failed", "read_secret", "secret_data"]


async def read_secret(
    client: KubeClient, key: ObjectKey, *, field: str = "spec.secretRef"
) -> dict[str, bytes]:
    """The values of a Secret.

    Args:
        client: under the controller's own identity.
        key: the namespace is the object's own; the name is whatever the object says.
        field: that names it, for messages.

    Raises:
        StepFailed: ``AuthenticationFailed``: it is not there, or cannot be read.

    """
    try:
        return secret_data(await client.get(SECRET, key))
    except NotFound as error:
        raise auth_failed(f"secret {str(key)!r} not found") from error
    except (FluvialError, ValueError) as error:
        raise auth_failed(f"failed to get the Secret of {field}: {error}") from error


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


def auth_failed(message: str) -> StepFailed:
    """``FetchFailed`` with the reason ``AuthenticationFailed``."""
    return StepFailed(reasons.FETCH_FAILED, reasons.AUTHENTICATION_FAILED, message)
