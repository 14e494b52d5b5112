"""What a Bucket names in its namespace, read live: credentials, trust, proxy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fluvial.api.meta import LocalObjectReference
from fluvial.api.source_bucket import BucketSpec
from fluvial.kube.client import KubeClient
from fluvial.net.proxy import ProxyServer
from fluvial.net.tls import InvalidTls, Tls, tls_from_secret
from fluvial.objects import ObjectKey
from source_controller.bucket import reasons
from source_controller.source import reasons as common
from source_controller.source.proxies import read_proxy
from source_controller.source.run import StepFailed
from source_controller.source.secrets import auth_failed, read_secret

__all__ = ["BucketAccess", "check_sts", "read_access", "text_of"]


@dataclass(frozen=True, slots=True)
class BucketAccess:
    """Everything that decides whom the storage takes us for, and whom we take for it.

    Attributes:
        secret: of ``spec.secretRef``; ``None`` if there is none.
        tls: of ``spec.certSecretRef``.
        proxy: of ``spec.proxySecretRef``, for every connection.
        sts_user: username and password of ``spec.sts.secretRef``.
        sts_tls: of ``spec.sts.certSecretRef``.

    """

    secret: Mapping[str, bytes] | None = field(default=None, repr=False)
    tls: Tls = field(default_factory=Tls)
    proxy: ProxyServer | None = None
    sts_user: tuple[str, str] = field(default=("", ""), repr=False)
    sts_tls: Tls = field(default_factory=Tls)


def check_sts(spec: BucketSpec) -> None:
    """See to it that token service and provider go together, as the CRD's rules have it.

    Raises:
        StepFailed: ``InvalidSTSConfiguration``, stalled.

    """
    sts = spec.sts
    if sts is None:
        return
    wanted = {"aws": "aws", "generic": "ldap"}.get(spec.provider)
    if wanted is None:
        problem = f"provider {spec.provider!r} has none"
    elif sts.provider != wanted:
        problem = f"for provider {spec.provider!r}, sts.provider is {wanted!r}"
    elif wanted == "aws" and (sts.secret_ref is not None or sts.cert_secret_ref is not None):
        problem = "the token service of 'aws' takes neither secretRef nor certSecretRef"
    else:
        return
    raise StepFailed(
        common.FETCH_FAILED,
        reasons.INVALID_STS_CONFIGURATION,
        f"spec.sts is not valid: {problem}",
        kind="stalled",
    )


async def read_access(client: KubeClient, namespace: str, spec: BucketSpec) -> BucketAccess:
    """Read the Secrets.

    Args:
        client: under the controller's own identity.
        namespace: the object's own.
        spec: names them.

    Raises:
        StepFailed: ``AuthenticationFailed``: one is missing, or is not what it should be.

    """
    secret = None
    if spec.secret_ref is not None:
        secret = await read_secret(client, ObjectKey(namespace, spec.secret_ref.name))
    proxy = await read_proxy(client, namespace, spec.proxy_secret_ref)
    tls = await _tls(client, namespace, spec.cert_secret_ref, "spec.certSecretRef")
    if spec.sts is None:
        return BucketAccess(secret, tls, proxy)
    sts = spec.sts
    return BucketAccess(
        secret,
        tls,
        proxy,
        await _user(client, namespace, sts.secret_ref),
        await _tls(client, namespace, sts.cert_secret_ref, "spec.sts.certSecretRef"),
    )


async def _tls(
    client: KubeClient, namespace: str, reference: LocalObjectReference | None, field_: str
) -> Tls:
    if reference is None:
        return Tls()
    values = await read_secret(client, ObjectKey(namespace, reference.name), field=field_)
    try:
        tls = tls_from_secret(values)
    except InvalidTls as error:
        raise auth_failed(f"the Secret of {field_} cannot be used for TLS: {error}") from error
    if tls == Tls():
        raise auth_failed(f"the Secret of {field_} needs 'tls.crt' and 'tls.key', or 'ca.crt'")
    return tls


async def _user(
    client: KubeClient, namespace: str, reference: LocalObjectReference | None
) -> tuple[str, str]:
    if reference is None:
        return "", ""
    field_ = "spec.sts.secretRef"
    values = await read_secret(client, ObjectKey(namespace, reference.name), field=field_)
    return text_of(values, "username", field_), text_of(values, "password", field_)


def text_of(values: Mapping[str, bytes], name: str, field_: str = "spec.secretRef") -> str:
    """A value that must be there.

    Raises:
        StepFailed: ``AuthenticationFailed``: it is missing, empty, or not one line of text.

    """
    try:
        text = values.get(name, b"").decode()
    except UnicodeDecodeError:
        text = "\0"
    if not text.strip():
        raise auth_failed(f"the Secret of {field_} needs {name!r}")
    text = text.strip()
    if not text.isprintable():
        raise auth_failed(f"{name!r} in the Secret of {field_} is not one line of text")
    return text
