"""What is left in the cluster when a case has come to rest, in a form that cases can compare."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from fluvial.apply import decode_id
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey

__all__ = ["DEPLOYMENTS", "EndState", "differences", "objects_of", "status_of", "strays"]

_SERVICES = Resource("", "v1", "services", "Service", namespaced=True)
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)
_NAMESPACED = (
    kinds.CONFIG_MAP,
    kinds.SECRET,
    kinds.SERVICE_ACCOUNT,
    _SERVICES,
    DEPLOYMENTS,
)
# What the server makes up for each object; whose names, and what depends on a clock.
_MADE_UP = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "selfLink")
_ADDRESSES = ("clusterIP", "clusterIPs")


@dataclass(frozen=True, slots=True)
class EndState:
    """What is there.

    Attributes:
        objects: normalised, by ``Kind namespace/name``.
        uids: of the objects; not compared.
        status: of the owner, ``None`` once it is gone.
        files: in the storage of source-controller.

    """

    objects: Mapping[str, JsonObject] = field(default_factory=dict)
    uids: Mapping[str, str] = field(default_factory=dict)
    status: JsonObject | None = None
    files: Mapping[str, str] = field(default_factory=dict)


async def objects_of(client: KubeClient, case: str) -> tuple[dict[str, JsonObject], dict[str, str]]:
    """All objects of a case, normalised, and their uids under the same names."""
    found: list[JsonObject] = []
    for namespace in (case, f"{case}-extra"):
        for resource in _NAMESPACED:
            found += (await client.list_all(resource, namespace=namespace)).items
        found += await _one(client, kinds.NAMESPACE, namespace)
    found += await _one(client, kinds.CRD, f"widgets.{case}.chaos.example.com")
    widgets = Resource(f"{case}.chaos.example.com", "v1", "widgets", "Widget", namespaced=True)
    with contextlib.suppress(NotFound):  # the definition may not be there
        found += (await client.list_all(widgets)).items
    named = {_name(obj, case): obj for obj in found}
    uids = {name: str(obj["metadata"]["uid"]) for name, obj in named.items()}
    return {name: _normal(obj, case) for name, obj in named.items()}, uids


def status_of(owner: JsonObject, case: str) -> JsonObject:
    """What a status says without times and counts: inventory, conditions, revision, artifact."""
    status = _renamed(owner.get("status") or {}, case)
    artifact = status.get("artifact") or {}
    return {
        "inventory": (status.get("inventory") or {}).get("entries"),
        "conditions": {
            c["type"]: f"{c['status']} {c['reason']}" for c in status.get("conditions") or []
        },
        "lastAppliedRevision": status.get("lastAppliedRevision"),
        "artifact": {k: artifact.get(k) for k in ("revision", "digest", "path", "size")},
        "finalizers": owner["metadata"].get("finalizers"),
    }


def strays(objects: Mapping[str, JsonObject], status: JsonObject | None) -> list[str]:
    """Objects that name the owner ``app`` and are in no inventory of it."""
    entries = (status or {}).get("inventory") or []
    refs = [decode_id(entry["id"]) for entry in entries]
    listed = {f"{ref.kind} {ref.namespace}/{ref.name}" for ref in refs}
    return [
        name
        for name, obj in objects.items()
        if obj["metadata"].get("labels", {}).get("kustomize.toolkit.fluxcd.io/name") == "app"
        and name not in listed
        and not name.endswith("/lookalike")
    ]


def differences(expected: EndState, actual: EndState) -> list[str]:
    """What is not as expected, a line each."""
    lines: list[str] = []
    for name in sorted(expected.objects.keys() | actual.objects.keys()):
        if name not in actual.objects:
            lines.append(f"lost: {name}")
        elif name not in expected.objects:
            lines.append(f"should not be there: {name}")
        elif expected.objects[name] != actual.objects[name]:
            lines.append(f"{name}: {actual.objects[name]} instead of {expected.objects[name]}")
    if expected.status != actual.status:
        lines.append(f"status: {actual.status} instead of {expected.status}")
    if expected.files != actual.files:
        lines.append(f"files: {actual.files} instead of {expected.files}")
    lines += [f"in no inventory: {name}" for name in strays(actual.objects, actual.status)]
    return lines


async def _one(client: KubeClient, resource: Resource, name: str) -> list[JsonObject]:
    try:
        return [await client.get(resource, ObjectKey("", name))]
    except NotFound:
        return []


def _name(obj: JsonObject, case: str) -> str:
    metadata = obj["metadata"]
    text = f"{obj['kind']} {metadata.get('namespace', '')}/{metadata['name']}"
    return text.replace(case, "CASE")


def _normal(obj: JsonObject, case: str) -> JsonObject:
    """An object without what differs from cluster to cluster; with the writers' names."""
    metadata = {k: v for k, v in obj["metadata"].items() if k not in _MADE_UP}
    managers = sorted(
        f"{entry['manager']} {entry['operation']} {entry.get('subresource', '')}"
        for entry in obj["metadata"].get("managedFields") or []
    )
    rest = {k: v for k, v in obj.items() if k not in {"metadata", "status"}}
    if obj["kind"] == "Service":
        rest["spec"] = {k: v for k, v in rest["spec"].items() if k not in _ADDRESSES}
    return {**_renamed(rest, case), "metadata": _renamed(metadata, case), "managers": managers}


def _renamed(value: Any, case: str) -> Any:
    return orjson.loads(orjson.dumps(value).replace(case.encode(), b"CASE"))
