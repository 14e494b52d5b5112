"""From the spec and its Secrets to an address, and what may be shown to its host."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

import yarl

from fluvial.api.source import HelmRepositorySpec
from fluvial.kube.client import KubeClient
from fluvial.net.tls import InvalidTls, Tls, tls_from_secret
from fluvial.objects import ObjectKey
from source_controller.source.address import Address, parse_address
from source_controller.source.secrets import auth_failed, read_secret
from source_controller.web.access import Access

__all__ = ["index_url", "read_access"]

_SCHEMES = ("http", "https")
_INDEX = "index.yaml"


def index_url(url: str) -> tuple[yarl.URL, Address]:
    """Where the index is, without user information, and the address taken apart.

    Raises:
        StepFailed: ``URLInvalid``, stalled.

    """
    address = parse_address(url, schemes=_SCHEMES)
    base = yarl.URL(address.url)
    path = posixpath.normpath(f"/{base.raw_path}/{_INDEX}").replace("//", "/")
    return base.with_path(path, encoded=True, keep_query=True), address


async def read_access(
    client: KubeClient, namespace: str, spec: HelmRepositorySpec, address: Address
) -> Access:
    """What may be shown to the repository's host.

    Args:
        client: reads the Secrets, live.
        namespace: the object's own.
        spec: names them.
        address: its user information counts where the Secret has none.

    Raises:
        StepFailed: ``AuthenticationFailed``: a Secret is missing, or is not what it should be.

    """
    tls, secret = Tls(), dict[str, bytes]()
    if spec.cert_secret_ref is not None:
        field = "spec.certSecretRef"
        key = ObjectKey(namespace, spec.cert_secret_ref.name)
        tls = _tls(await read_secret(client, key, field=field), field)
    if spec.secret_ref is not None:
        key = ObjectKey(namespace, spec.secret_ref.name)
        secret = await read_secret(client, key)
        if spec.cert_secret_ref is None:
            tls = _tls(secret, "spec.secretRef")
    username, password = _basic(secret) or (address.user, address.password)
    return Access(
        yarl.URL(address.url),
        username=username,
        password=password,
        tls=tls,
        everywhere=spec.pass_credentials,
    )


def _tls(values: Mapping[str, bytes], field: str) -> Tls:
    try:
        return tls_from_secret(values)
    except InvalidTls as error:
        raise auth_failed(f"the Secret of {field} cannot be used for TLS: {error}") from error


def _basic(values: Mapping[str, bytes]) -> tuple[str, str] | None:
    if not values.keys() & {"username", "password"}:
        return None
    found = []
    for key in ("username", "password"):
        try:
            text = values.get(key, b"").decode()
        except UnicodeDecodeError:
            raise auth_failed(f"{key!r} in the Secret of spec.secretRef is not text") from None
        if not text:
            raise auth_failed(f"the Secret of spec.secretRef has no {key!r}: both are needed")
        found.append(text)
    return found[0], found[1]
