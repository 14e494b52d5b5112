"""OCIRepositories in a world of sources."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import orjson

from fluvial.kube import kinds
from fluvial.objects import JsonObject, ObjectKey
from harness.source import NAMESPACE, SourceWorld

__all__ = ["OciWorld"]

_MANAGER = "test"


class OciWorld(SourceWorld):
    """A ``SourceWorld`` whose names are about OCIRepositories."""

    resource = kinds.OCI_REPOSITORY

    async def oci(
        self, name: str = "app", *, namespace: str = NAMESPACE, **spec: Any
    ) -> JsonObject:
        """An OCIRepository; ``None`` leaves a field out."""
        fields = {"interval": "1h"} | spec
        obj = {
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "OCIRepository",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {key: value for key, value in fields.items() if value is not None},
        }
        return await self.client.apply(
            self.resource, ObjectKey(namespace, name), obj, field_manager=_MANAGER
        )

    async def pull_secret(
        self, name: str, registry: str, username: str, password: str, *, namespace: str = NAMESPACE
    ) -> None:
        """A Secret as ``kubectl create secret docker-registry`` makes it."""
        auth = base64.b64encode(f"{username}:{password}".encode()).decode()
        raw = orjson.dumps({"auths": {registry: {"auth": auth}}})
        await self.typed_secret(
            name,
            "kubernetes.io/dockerconfigjson",
            {".dockerconfigjson": raw},
            namespace=namespace,
        )

    async def typed_secret(
        self, name: str, kind: str, values: Mapping[str, bytes], *, namespace: str = NAMESPACE
    ) -> None:
        """Create or replace a Secret of a type."""
        obj = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "type": kind,
            "data": {key: base64.b64encode(value).decode() for key, value in values.items()},
        }
        key = ObjectKey(namespace, name)
        await self.client.apply(kinds.SECRET, key, obj, field_manager=_MANAGER)

    async def service_account(self, name: str, *pull_secrets: str) -> None:
        """A ServiceAccount with pull secrets."""
        obj = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "imagePullSecrets": [{"name": secret} for secret in pull_secrets],
        }
        key = ObjectKey(NAMESPACE, name)
        await self.client.apply(kinds.SERVICE_ACCOUNT, key, obj, field_manager=_MANAGER)
