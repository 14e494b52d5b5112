"""The ConfigMaps and Secrets that a Kustomization names in its own namespace.

They are read live, under the controller's identity, at every reconcile; nothing of them is kept
but a digest of their identities and versions, by which a change is noticed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from fluvial.api.kustomize import Kustomization, SubstituteReference
from fluvial.build.errors import SubstitutionError
from fluvial.build.postbuild import Variables, VariableSource, collect_variables
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import ApiError, NotFound
from fluvial.kube.resource import Resource
from fluvial.kube.urls import UnsafeName
from fluvial.objects import JsonObject, ObjectKey, key_of
from fluvial.runtime.outcome import Failed
from fluvial.runtime.remotes import configs_of_cluster
from fluvial.runtime.wiring import config_id
from kustomize_controller.kustomization import reasons

__all__ = ["Config", "configs_of", "read_config"]

_RESOURCES: dict[str, Resource] = {"ConfigMap": kinds.CONFIG_MAP, "Secret": kinds.SECRET}


@dataclass(frozen=True, slots=True)
class Config:
    """What was read.

    Attributes:
        variables: for substitution; knows which of them come from Secrets.
        digest: changes when anything read may have changed; not a digest of values.

    """

    variables: Variables
    digest: str


async def read_config(client: KubeClient, kustomization: Kustomization) -> Config:
    """Read the variables of ``postBuild``.

    Raises:
        Failed: BuildFailed; a reference does not exist, cannot be read or is not text.

    """
    post_build = kustomization.spec.post_build
    if post_build is None:
        return Config(Variables(), "")
    sources: list[VariableSource] = []
    versions = hashlib.sha256()
    for reference in post_build.substitute_from:
        obj = await _read(client, kustomization.metadata.namespace, reference)
        if obj is None:
            versions.update(f"{reference.kind}/{reference.name}@absent\n".encode())
            continue
        metadata = obj["metadata"]
        versions.update(f"{metadata['uid']}@{metadata['resourceVersion']}\n".encode())
        try:
            sources.append(VariableSource.from_object({**obj, "kind": reference.kind}))
        except SubstitutionError as error:
            raise Failed(reasons.BUILD_FAILED, f"postBuild.substituteFrom: {error}") from error
    return Config(collect_variables(sources, post_build.substitute), versions.hexdigest())


def configs_of(obj: JsonObject) -> Iterable[str]:
    """Index function: every ConfigMap and Secret that a Kustomization names."""
    namespace = key_of(obj).namespace
    spec = obj.get("spec") or {}
    for reference in (spec.get("postBuild") or {}).get("substituteFrom") or ():
        yield config_id(
            str(reference.get("kind", "")), ObjectKey(namespace, str(reference.get("name", "")))
        )
    yield from configs_of_cluster(namespace, spec.get("kubeConfig"))


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
