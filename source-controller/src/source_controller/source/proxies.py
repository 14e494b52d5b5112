"""The proxy that an object names by ``spec.proxySecretRef``."""

from __future__ import annotations

from fluvial.api.meta import LocalObjectReference
from fluvial.kube.client import KubeClient
from fluvial.net.proxy import ProxyServer
from fluvial.objects import ObjectKey
from source_controller.source.secrets import auth_failed, read_secret

__all__ = ["read_proxy"]

_FIELD = "spec.proxySecretRef"


async def read_proxy(
    client: KubeClient, namespace: str, reference: LocalObjectReference | None
) -> ProxyServer | None:
    """The proxy of a Secret with ``address`` and, for authentication, ``username, password``.

    Args:
        client: under the controller's own identity.
        namespace: the object's own.
        reference: of the spec.

    Raises:
        StepFailed: ``AuthenticationFailed``: the Secret is missing or cannot be used.

    """
    if reference is None:
        return None
    data = await read_secret(client, ObjectKey(namespace, reference.name), field=_FIELD)
    try:
        address, username, password = (
            data.get(name, b"").decode() for name in ("address", "username", "password")
        )
    except UnicodeDecodeError as error:
        raise auth_failed(f"the Secret of {_FIELD} has a value that is not text") from error
    if not address.strip():
        raise auth_failed(f"the Secret of {_FIELD} needs 'address'")
    try:
        return ProxyServer.parse(address.strip(), username=username, password=password)
    except ValueError as error:
        raise auth_failed(f"the Secret of {_FIELD} cannot be used: {error}") from error
