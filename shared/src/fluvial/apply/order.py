"""In which order kinds are applied, and which must be usable before the next are tried.

The order is that of Flux. Kinds are ranked by name, whatever their group.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fluvial.objects import JsonObject, ObjectRef, gvk_of, ref_of

__all__ = ["Stage", "rank", "ref_sort_key", "sort_key", "stages"]

_FIRST = (
    "CustomResourceDefinition",
    "Namespace",
    "ClusterRole",
    "ClusterClass",
    "RuntimeClass",
    "PriorityClass",
    "StorageClass",
    "VolumeSnapshotClass",
    "IngressClass",
    "GatewayClass",
    "ClusterRoleBinding",
    "ResourceQuota",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "Secret",
    "Service",
    "LimitRange",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
)
_LAST = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_RANK = {kind: index for index, kind in enumerate(_FIRST)}
_OTHERS = len(_FIRST)
_RANK |= {kind: _OTHERS + 1 + index for index, kind in enumerate(_LAST)}

SortKey = tuple[int, str, str, str, str]


@dataclass(frozen=True, slots=True)
class Stage:
    """Objects that are checked and written together, in apply order.

    ``wait`` says that all of them must be usable before the next stage is checked.
    """

    name: str
    objects: tuple[JsonObject, ...]
    wait: bool


def rank(kind: str) -> int:
    """Position of a kind in the order of apply; equal ranks have no order between them."""
    return _RANK.get(kind, _OTHERS)


def ref_sort_key(ref: ObjectRef) -> SortKey:
    """Key for sorting references in the order of apply; reversed it is the order of deletion."""
    return (rank(ref.kind), ref.group, ref.kind, ref.namespace, ref.name)


def sort_key(obj: JsonObject) -> SortKey:
    """Key for sorting objects in the order of apply."""
    return ref_sort_key(ref_of(obj))


def stages(objects: Iterable[JsonObject], *, custom_kinds: Sequence[str] = ()) -> tuple[Stage, ...]:
    """Split a set into its stages, without the empty ones.

    Args:
        objects: the desired objects, in any order.
        custom_kinds: ``group/Kind`` of Flux's ``--custom-apply-stage-kinds``.

    """
    custom = frozenset(custom_kinds)
    parts: dict[str, list[JsonObject]] = {"definitions": [], "classes": [], "custom": [], "": []}
    for obj in sorted(objects, key=sort_key):
        parts[_stage_of(obj, custom)].append(obj)
    return tuple(
        Stage(name or "workloads", tuple(part), wait=name in {"definitions", "classes"})
        for name, part in parts.items()
        if part
    )


def _stage_of(obj: JsonObject, custom: frozenset[str]) -> str:
    gvk = gvk_of(obj)
    if gvk.kind in {"CustomResourceDefinition", "ClusterRole"} or (
        gvk.kind == "Namespace" and not gvk.group
    ):
        return "definitions"
    if gvk.kind.endswith("Class"):
        return "classes"
    return "custom" if f"{gvk.group}/{gvk.kind}" in custom else ""
