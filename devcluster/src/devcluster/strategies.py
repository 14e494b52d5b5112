"""What each built-in kind does to an object before it is stored, beyond schema and defaults.

Which part of an object a write may touch (spec or status), when its generation grows, and the
few values that only the server can fill in (a namespace's phase, a service's address).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devcluster.kinds import Kind

__all__ = [
    "first_generation",
    "has_status",
    "is_unconditional",
    "may_create_on_update",
    "merge_for",
    "next_generation",
    "returns_deleted",
]

JsonObject = dict[str, Any]

# Kinds of the core that count generations; custom resources and the workload groups all do.
_GENERATION = frozenset(
    {
        ("apps", "deployments"),
        ("apps", "daemonsets"),
        ("apps", "replicasets"),
        ("apps", "statefulsets"),
        ("batch", "jobs"),
        ("batch", "cronjobs"),
        ("networking.k8s.io", "ingresses"),
        ("networking.k8s.io", "ingressclasses"),
        ("networking.k8s.io", "networkpolicies"),
        ("policy", "poddisruptionbudgets"),
        ("autoscaling", "horizontalpodautoscalers"),
        ("apiextensions.k8s.io", "customresourcedefinitions"),
        ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
        ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
        ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
        ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"),
        ("admissionregistration.k8s.io", "mutatingadmissionpolicies"),
        ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings"),
        ("discovery.k8s.io", "endpointslices"),
        ("", "replicationcontrollers"),
        ("", "pods"),
        ("scheduling.k8s.io", "priorityclasses"),
    }
)

# Kinds whose generation stays what it was at the start, and those that count metadata too.
_FIXED_GENERATION = frozenset({("scheduling.k8s.io", "priorityclasses")})
_GROWS_WITH = {
    ("apps", "deployments"): "annotations",
    ("discovery.k8s.io", "endpointslices"): "labels",
}

_CREATE_ON_UPDATE = frozenset(
    {
        ("", "services"),
        ("", "endpoints"),
        ("", "events"),
        ("", "limitranges"),
        ("coordination.k8s.io", "leases"),
        ("node.k8s.io", "runtimeclasses"),
        ("rbac.authorization.k8s.io", "roles"),
        ("rbac.authorization.k8s.io", "rolebindings"),
        ("rbac.authorization.k8s.io", "clusterroles"),
        ("rbac.authorization.k8s.io", "clusterrolebindings"),
    }
)

# Groups and kinds of which an update must name the version that it replaces.
_CONDITIONAL = frozenset(
    {
        ("apiextensions.k8s.io", "customresourcedefinitions"),
        ("coordination.k8s.io", "leases"),
        ("node.k8s.io", "runtimeclasses"),
        ("policy", "poddisruptionbudgets"),
    }
)

# A delete answers with the object itself instead of a Status.
_RETURNED = frozenset(
    {
        ("", "namespaces"),
        ("", "persistentvolumeclaims"),
        ("", "persistentvolumes"),
        ("", "pods"),
        ("", "resourcequotas"),
        ("", "serviceaccounts"),
        ("", "services"),
        ("storage.k8s.io", "storageclasses"),
    }
)


def has_status(kind: Kind) -> bool:
    """Whether status is written through its subresource only."""
    return "status" in kind.subresources


def is_unconditional(kind: Kind) -> bool:
    """Whether an update without resourceVersion is allowed."""
    if kind.crd or kind.group == "admissionregistration.k8s.io":
        return False
    return kind.table not in _CONDITIONAL


def returns_deleted(kind: Kind) -> bool:
    """Whether a delete answers with the object that is gone."""
    return kind.table in _RETURNED


def may_create_on_update(kind: Kind) -> bool:
    """Whether PUT makes an object that is not there."""
    return kind.table in _CREATE_ON_UPDATE


def merge_for(kind: Kind, new: JsonObject, old: JsonObject, subresource: str) -> JsonObject:
    """The object that results when ``new`` is written through ``subresource`` ("" = main)."""
    if subresource == "status":
        return _status_write(kind, new, old)
    if subresource == "finalize":
        return {**old, "spec": new.get("spec", {}), "metadata": {**old["metadata"]}}
    if kind.table == ("", "namespaces") and "spec" in old:
        new = {**new, "spec": old["spec"]}
    if has_status(kind):
        result = {k: v for k, v in new.items() if k != "status"}
        if "status" in old:
            result["status"] = old["status"]
        return result
    return new


def _status_write(kind: Kind, new: JsonObject, old: JsonObject) -> JsonObject:
    result = {k: v for k, v in old.items() if k != "status"}
    if "status" in new:
        result["status"] = new["status"]
    if kind.crd:
        meta = dict(old["metadata"])
        _copy("managedFields", new["metadata"], meta)
        _copy("resourceVersion", new["metadata"], meta)
    else:
        meta = dict(new["metadata"])
        if kind.group == "apps":
            _copy("labels", old["metadata"], meta)
    result["metadata"] = meta
    return result


def _copy(name: str, source: Mapping[str, Any], target: JsonObject) -> None:
    if name in source:
        target[name] = source[name]
    else:
        target.pop(name, None)


def first_generation(kind: Kind) -> int | None:
    """1 for kinds that count generations."""
    return 1 if kind.crd or kind.table in _GENERATION else None


def next_generation(kind: Kind, new: JsonObject, old: JsonObject, subresource: str) -> int | None:
    """The generation after the write: it grows when more than metadata and status changed."""
    before: int | None = old["metadata"].get("generation")
    if kind.table in _FIXED_GENERATION or not (kind.crd or kind.table in _GENERATION):
        return before
    watched = _GROWS_WITH.get(kind.table, "")
    if watched and not subresource and new["metadata"].get(watched) != old["metadata"].get(watched):
        return (before or 0) + 1
    outside = {"metadata", "apiVersion", "kind"}
    if has_status(kind) or not kind.crd:
        outside.add("status")
    left = {k: v for k, v in new.items() if k not in outside}
    right = {k: v for k, v in old.items() if k not in outside}
    return (before or 0) + 1 if left != right else before
