"""One namespace of a ``ReleaseWorld``: its charts, its HelmReleases, and what has come of them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from fluvial.helm.release import Release
from fluvial.helm.storage import ReleaseStorage
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey

__all__ = [
    "BINDINGS",
    "CLUSTER_BINDINGS",
    "DEPLOYMENTS",
    "JOBS",
    "MANAGER",
    "Team",
    "condition",
    "named",
    "newest",
]

_RBAC = "rbac.authorization.k8s.io"
BINDINGS = Resource(_RBAC, "v1", "rolebindings", "RoleBinding", namespaced=True)
CLUSTER_BINDINGS = Resource(
    _RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False
)
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)
JOBS = Resource("batch", "v1", "jobs", "Job", namespaced=True)
MANAGER = "test"
_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
_SPECS: dict[str, JsonObject] = {
    "OCIRepository": {
        "url": "oci://registry.example.com/charts/app",
        "layerSelector": {"mediaType": _LAYER, "operation": "copy"},
    },
    "HelmChart": {"chart": "app", "sourceRef": {"kind": "HelmRepository", "name": "charts"}},
    "ExternalArtifact": {},
}
Done = Callable[[JsonObject], Any]


def named(api_version: str, kind: str, name: str, namespace: str = "") -> JsonObject:
    """The beginning of an object."""
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def condition(obj: JsonObject, kind: str = "Ready") -> dict[str, Any]:
    """A condition, or an empty dict."""
    found = (obj.get("status") or {}).get("conditions") or []
    return next((c for c in found if c["type"] == kind), {})


def newest(obj: JsonObject) -> dict[str, Any]:
    """The newest snapshot, or an empty dict."""
    history = (obj.get("status") or {}).get("history") or [{}]
    first: dict[str, Any] = history[0]
    return first


@dataclass(slots=True)
class Team:
    """One namespace.

    Attributes:
        client: the admin's.
        namespace: its own.
        storage: folder of what the server of artifacts serves.
        address: of that server.
        tenants_only: whether every release of it is made as a service account.
        patience: seconds until what must come has come.

    """

    client: KubeClient
    namespace: str
    storage: Path
    address: str
    tenants_only: bool = True
    patience: float = 30.0
    seen: list[Release] = field(default_factory=list)

    @property
    def records(self) -> ReleaseStorage:
        """Helm's records, as the admin."""
        return ReleaseStorage(self.client, self.namespace, observe=self.seen.append)

    # --- making things ---------------------------------------------------------------------------

    async def apply(self, resource: Resource, obj: JsonObject) -> JsonObject:
        """Server-side apply of an object of this namespace as the admin."""
        key = ObjectKey(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        return await self.client.apply(resource, key, obj, field_manager=MANAGER)

    async def data(self, resource: Resource, name: str, **data: str) -> None:
        """A ConfigMap or Secret."""
        obj = named("v1", resource.kind, name, self.namespace)
        field_name = "stringData" if resource.kind == "Secret" else "data"
        await self.apply(resource, obj | {field_name: data})

    async def chart(
        self,
        archive: bytes,
        version: str = "1.0.0",
        *,
        resource: Resource = kinds.OCI_REPOSITORY,
        name: str = "chart",
    ) -> str:
        """Hand out a chart: a source of the given kind with this archive; its revision."""
        digest = hashlib.sha256(archive).hexdigest()
        path = f"{resource.kind.lower()}/{self.namespace}/{name}/{digest}.tar.gz"
        stored = self.storage / path
        stored.parent.mkdir(parents=True, exist_ok=True)
        stored.write_bytes(archive)
        revision = version if resource is kinds.HELM_CHART else f"{version}@sha256:{digest}"
        artifact = {
            "path": path,
            "url": f"{self.address}/{path}",
            "revision": revision,
            "digest": f"sha256:{digest}",
            "lastUpdateTime": "2026-01-01T00:00:00Z",
            "size": len(archive),
        }
        await self.announce(artifact, resource=resource, name=name)
        return revision

    async def announce(
        self, artifact: JsonObject | None, *, resource: Resource, name: str = "chart"
    ) -> None:
        """Write an artifact into a source's status, as source-controller does."""
        obj = named(resource.api_version, resource.kind, name, self.namespace)
        spec = _SPECS[resource.kind]
        made = await self.apply(
            resource, obj | {"spec": {**spec, "interval": "1h"}} if spec else obj
        )
        ready = {
            "type": "Ready",
            "status": "True" if artifact else "False",
            "reason": "Succeeded" if artifact else "Failed",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        status = {
            "observedGeneration": made["metadata"].get("generation", 1),
            "artifact": artifact,
            "conditions": [ready],
        }
        if resource is kinds.EXTERNAL_ARTIFACT:
            del status["observedGeneration"]
        await self.client.patch(
            resource,
            ObjectKey(self.namespace, name),
            {"status": status},
            patch_type="merge",
            field_manager=MANAGER,
            subresource="status",
        )

    async def release(self, name: str = "app", **spec: Any) -> JsonObject:
        """A HelmRelease with sensible defaults; ``None`` leaves a field out."""
        defaults: dict[str, Any] = {
            "interval": "1h",
            "timeout": "20s",
            "serviceAccountName": "deployer",
            "chartRef": {"kind": "OCIRepository", "name": "chart"},
        }
        merged = {key: value for key, value in (defaults | spec).items() if value is not None}
        if "serviceAccountName" not in merged:
            self.tenants_only = False
        obj = named("helm.toolkit.fluxcd.io/v2", "HelmRelease", name, self.namespace)
        return await self.apply(kinds.HELM_RELEASE, obj | {"spec": merged})

    async def annotate(self, name: str = "app", **annotations: str | None) -> None:
        """Set annotations ``reconcile.fluxcd.io/<key>`` of a HelmRelease."""
        notes = {f"reconcile.fluxcd.io/{key}": text for key, text in annotations.items()}
        await self.patch(name, {"metadata": {"annotations": notes}})

    async def patch(
        self, name: str, body: JsonObject, *, resource: Resource = kinds.HELM_RELEASE, **more: Any
    ) -> None:
        """Merge something into an object."""
        key = ObjectKey(self.namespace if resource.namespaced else "", name)
        await self.client.patch(
            resource, key, body, patch_type="merge", field_manager=MANAGER, **more
        )

    async def delete(self, name: str = "app", resource: Resource = kinds.HELM_RELEASE) -> None:
        """Ask for the deletion of an object."""
        await self.client.delete(resource, ObjectKey(self.namespace, name))

    async def delete_all(self) -> None:
        """Remove the HelmReleases without uninstalling them."""
        for obj in (await self.client.list_all(kinds.HELM_RELEASE, namespace=self.namespace)).items:
            name = obj["metadata"]["name"]
            with contextlib.suppress(NotFound):
                await self.patch(name, {"spec": {"suspend": True}})
                await self.delete(name)

    # --- looking ---------------------------------------------------------------------------------

    async def get(self, resource: Resource, name: str, namespace: str = "") -> JsonObject:
        """One object, of this namespace by default."""
        where = (namespace or self.namespace) if resource.namespaced else ""
        return await self.client.get(resource, ObjectKey(where, name))

    async def exists(self, resource: Resource, name: str, namespace: str = "") -> bool:
        """Whether an object is there."""
        try:
            await self.get(resource, name, namespace)
        except NotFound:
            return False
        return True

    async def names(self, resource: Resource) -> set[str]:
        """Objects of a kind but for those that the server makes."""
        page = await self.client.list_all(resource, namespace=self.namespace)
        return {obj["metadata"]["name"] for obj in page.items} - {"kube-root-ca.crt"}

    async def until(
        self, done: Done, name: str = "app", *, resource: Resource = kinds.HELM_RELEASE
    ) -> JsonObject:
        """The object once ``done`` holds."""
        last: JsonObject = {}
        selector = f"metadata.name={name}"
        try:
            async with asyncio.timeout(self.patience):
                while True:
                    async with self.client.watch(
                        resource, namespace=self.namespace, field_selector=selector
                    ) as stream:
                        async for event in stream:
                            last = event.object
                            if event.type in {"ADDED", "MODIFIED"} and done(last):
                                return last
        except TimeoutError:
            status = orjson.dumps(last.get("status"), option=orjson.OPT_INDENT_2).decode()
            raise AssertionError(f"{resource.kind}/{name} did not get there: {status}") from None

    async def ready(self, name: str = "app", *, version: int = 0) -> JsonObject:
        """The HelmRelease once it is Ready at its generation, and at a revision if one is given."""
        return await self.until(
            lambda obj: (
                condition(obj).get("status") == "True"
                and condition(obj).get("observedGeneration") == obj["metadata"]["generation"]
                and not condition(obj, "Reconciling")
                and obj["status"].get("observedGeneration") == obj["metadata"]["generation"]
                and (not version or newest(obj).get("version") == version)
            ),
            name,
        )

    async def failed(self, reason: str, name: str = "app", *, text: str = "") -> JsonObject:
        """The HelmRelease once Ready is False at its generation for a reason."""
        return await self.until(
            lambda obj: (
                condition(obj).get("status") == "False"
                and condition(obj).get("reason") == reason
                and text in condition(obj).get("message", "")
                and condition(obj).get("observedGeneration") == obj["metadata"]["generation"]
            ),
            name,
        )

    async def stalled(self, reason: str, name: str = "app") -> JsonObject:
        """The HelmRelease once it is Stalled for a reason."""
        return await self.until(
            lambda obj: (
                condition(obj, "Stalled").get("reason") == reason
                and obj["status"].get("observedGeneration") == obj["metadata"]["generation"]
            ),
            name,
        )

    async def asked(self, token: str, name: str = "app") -> JsonObject:
        """Ask for a reconcile, and wait until the request is answered."""
        await self.annotate(name, requestedAt=token)
        return await self.until(
            lambda obj: (
                obj["status"].get("lastHandledReconcileAt") == token
                and not condition(obj, "Reconciling")
            ),
            name,
        )

    async def gone(self, name: str = "app", resource: Resource = kinds.HELM_RELEASE) -> None:
        """Wait until an object is not there."""
        async with asyncio.timeout(self.patience):
            while await self.exists(resource, name):
                await asyncio.sleep(0.02)

    async def statuses(self, name: str = "app") -> dict[int, str]:
        """What Helm's records say, by revision."""
        return {one.version: one.status.value for one in await self.records.revisions(name)}

    async def event(self, reason: str, *, text: str = "", name: str = "app") -> JsonObject:
        """The core Event about a HelmRelease with a reason and a text, once it is there."""
        async with asyncio.timeout(self.patience):
            while True:
                page = await self.client.list_all(kinds.EVENT, namespace=self.namespace)
                for event in page.items:
                    about = event["involvedObject"]["name"] == name
                    if about and event["reason"] == reason and text in event["message"]:
                        return event
                await asyncio.sleep(0.02)
