"""Names and identities of Kubernetes objects, without any client.

Objects that are applied stay plain dicts (``JsonObject``) from the parser to the request; these
helpers read them. ``ObjectKey`` names an object within one resource, ``ObjectRef`` across all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = [
    "GroupVersionKind",
    "JsonObject",
    "ObjectKey",
    "ObjectRef",
    "annotations_of",
    "gvk_of",
    "key_of",
    "labels_of",
    "ref_of",
    "split_api_version",
]

JsonObject = dict[str, Any]
"""A decoded JSON object; the shape of everything unstructured."""


class ObjectKey(NamedTuple):
    """Namespace and name within one resource; ``namespace`` is ``""`` for cluster scope."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True, order=True)
class GroupVersionKind:
    """Group, version and kind; the core group is ``""``."""

    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        """``v1`` or ``apps/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version


@dataclass(frozen=True, slots=True, order=True)
class ObjectRef:
    """Identity of an object for inventories: group, kind, namespace, name.

    The version is a hint: two versions of one object are one object.
    """

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """``Kind/namespace/name`` or ``Kind/name``, as Flux prints objects in messages."""
        return f"{self.kind}/{ObjectKey(self.namespace, self.name)}"


def split_api_version(api_version: str) -> tuple[str, str]:
    """``apps/v1`` → ``("apps", "v1")``; ``v1`` → ``("", "v1")``."""
    group, _, version = api_version.rpartition("/")
    return group, version


def gvk_of(obj: JsonObject) -> GroupVersionKind:
    """Group, version and kind of an object; parts that are missing are ``""``."""
    group, version = split_api_version(str(obj.get("apiVersion") or ""))
    return GroupVersionKind(group, version, str(obj.get("kind") or ""))


def key_of(obj: JsonObject) -> ObjectKey:
    """Namespace and name of an object; parts that are missing are ``""``."""
    metadata = obj.get("metadata") or {}
    return ObjectKey(str(metadata.get("namespace") or ""), str(metadata.get("name") or ""))


def ref_of(obj: JsonObject) -> ObjectRef:
    """Identity of an object."""
    gvk, key = gvk_of(obj), key_of(obj)
    return ObjectRef(gvk.group, gvk.kind, key.namespace, key.name)


def labels_of(obj: JsonObject) -> dict[str, str]:
    """The labels, or an empty dict that is not the object's own."""
    return (obj.get("metadata") or {}).get("labels") or {}


def annotations_of(obj: JsonObject) -> dict[str, str]:
    """The annotations, or an empty dict that is not the object's own."""
    return (obj.get("metadata") or {}).get("annotations") or {}
