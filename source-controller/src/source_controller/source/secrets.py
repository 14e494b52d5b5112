"""Secrets that an object names in its own namespace: read live, never cached."""

from __future__ import annotations

from fluvial.errors import FluvialError
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.kinds import SECRET
from fluvial.kube.secrets import secret_data
from fluvial.objects import ObjectKey
from source_controller.source import reasons
from source_controller.source.run import StepFailed

__all__ = ["auth_failed", "read_secret"]


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


def auth_failed(message: str) -> StepFailed:
    """``FetchFailed`` with the reason ``AuthenticationFailed``."""
    return StepFailed(reasons.FETCH_FAILED, reasons.AUTHENTICATION_FAILED, message)
