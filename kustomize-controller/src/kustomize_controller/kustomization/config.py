"""The ConfigMaps and Secrets that a Kustomization names in its own namespace.

They are read live, under the controller's identity, at every reconcile; nothing of them is kept
but a digest of their identities and versions, by which a change is noticed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from fluvial.api.kustomize import Kustomization, SubstituteReference
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import ApiError, NotFound
from fluvial.kube.resource import Resource
from fluvial.kube.urls import UnsafeName
from fluvial.objects import JsonObject, ObjectKey, key_of
from fluvial.runtime.outcome import Failed
from kustomize_controller.kustomization import reasons

__all__ = ["Config", "config_id", "configs_of", "read_config"]

_RESOURCES: dict[str, Resource] = {"ConfigMap": kinds.CONFIG_MAP, "Secret": kinds.SECRET}


@dataclass(frozen=True, slots=True)
class Config:
    """What was read.

    Attributes:
        variables: name to value, later references and the inline values winning.
        secret_values: values that came from Secrets, to be masked wherever text is shown.
        digest: changes when anything read may have changed; not a digest of values.

    """

    variables: dict[str, str] = field(repr=False)
    secret_values: frozenset[str] = field(repr=False)
    digest: str


async def read_config(client: KubeClient, kustomization: Kustomization) -> Config:
    """Read the variables of ``postBuild``.

    Raises:
        Failed: BuildFailed; a reference does not exist, cannot be read or is not text.

    """
    post_build = kustomization.spec.post_build
    if post_build is None:
        return Config({}, frozenset(), "")
    variables: dict[str, str] = {}
    secrets: dict[str, str] = {}
    versions = hashlib.sha256()
    for reference in post_build.substitute_from:
        obj = await _read(client, kustomization.metadata.namespace, reference)
        if obj is None:
            versions.update(f"{reference.kind}/{reference.name}@absent\n".encode())
            continue
        metadata = obj["metadata"]
        versions.update(f"{metadata['uid']}@{metadata['resourceVersion']}\n".encode())
        data = _data_of(reference, obj)
        variables |= data
        for name in data:
            secrets.pop(name, None)
        if reference.kind == "Secret":
            secrets |= data
    for name, value in post_build.substitute.items():
        variables[name] = _one_line(value)
        secrets.pop(name, None)
    return Config(variables, frozenset(v for v in secrets.values() if v), versions.hexdigest())


def config_id(kind: str, key: ObjectKey) -> str:
    """The value under which Kustomizations are indexed by what they read."""
    return f"{kind}/{key}"


def configs_of(obj: JsonObject) -> Iterable[str]:
    """Index function: every ConfigMap and Secret that a Kustomization names."""
    namespace = key_of(obj).namespace
    spec = obj.get("spec") or {}
    for reference in (spec.get("postBuild") or {}).get("substituteFrom") or ():
        yield config_id(
            str(reference.get("kind", "")), ObjectKey(namespace, str(reference.get("name", "")))
        )
    secret = (spec.get("kubeConfig") or {}).get("secretRef") or {}
    if secret.get("name"):
        yield config_id("Secret", ObjectKey(namespace, str(secret["name"])))


async def _read(
    client: KubeClient, namespace: str, reference: SubstituteReference
) -> JsonObject | None:
    what = f"{reference.kind} '{namespace}/{reference.name}'"
    try:
        return await client.get(_RESOURCES[reference.kind], ObjectKey(namespace, reference.name))
    except NotFound as error:
        if reference.optional:
            return None
        raise Failed(
            reasons.BUILD_FAILED, f"postBuild.substituteFrom: {what} does not exist"
        ) from error
    except (ApiError, UnsafeName) as error:
        raise Failed(
            reasons.BUILD_FAILED, f"postBuild.substituteFrom: {what} cannot be read: {error}"
        ) from error


def _data_of(reference: SubstituteReference, obj: JsonObject) -> dict[str, str]:
    data: dict[str, str] = obj.get("data") or {}
    if reference.kind == "Secret":
        data = {name: _text(reference, name, value) for name, value in data.items()}
    return {name: _one_line(value) for name, value in data.items()}


def _text(reference: SubstituteReference, name: str, value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise Failed(
            reasons.BUILD_FAILED,
            f"postBuild.substituteFrom: key {name!r} of Secret '{reference.name}' is not text",
        ) from None


def _one_line(value: str) -> str:
    return value.replace("\n", "")
