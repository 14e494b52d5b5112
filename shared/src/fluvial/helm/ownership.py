"""Whose an object is: the label and annotations by which Helm knows its own objects."""

from __future__ import annotations

from typing import Any, Final

from fluvial.objects import JsonObject, annotations_of, labels_of

__all__ = [
    "MANAGED_BY",
    "RELEASE_NAME",
    "RELEASE_NAMESPACE",
    "RESOURCE_POLICY",
    "is_anothers",
    "is_kept",
    "marked",
    "not_owned",
    "sparing_finalizers",
    "survives_uninstall",
]

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
RELEASE_NAME: Final = "meta.helm.sh/release-name"
RELEASE_NAMESPACE: Final = "meta.helm.sh/release-namespace"
RESOURCE_POLICY: Final = "helm.sh/resource-policy"
_HELM: Final = "Helm"
_KEEP: Final = "keep"


def marked(obj: JsonObject, *, name: str, namespace: str) -> JsonObject:
    """The object with the marks of a release; what is shared with the original is not changed."""
    metadata: dict[str, Any] = {**(obj.get("metadata") or {})}
    metadata["labels"] = {**(metadata.get("labels") or {}), MANAGED_BY: _HELM}
    metadata["annotations"] = {
        **(metadata.get("annotations") or {}),
        RELEASE_NAME: name,
        RELEASE_NAMESPACE: namespace,
    }
    return {**obj, "metadata": metadata}


def not_owned(live: JsonObject, *, name: str, namespace: str) -> str:
    """Why a live object is not that of a release, or ``""`` if it is."""
    labels, annotations = labels_of(live), annotations_of(live)
    problems = [
        _differs("label", labels.get(MANAGED_BY), MANAGED_BY, _HELM),
        _differs("annotation", annotations.get(RELEASE_NAME), RELEASE_NAME, name),
        _differs("annotation", annotations.get(RELEASE_NAMESPACE), RELEASE_NAMESPACE, namespace),
    ]
    return "; ".join(filter(None, problems))


def _differs(what: str, actual: str | None, key: str, wanted: str) -> str:
    if actual == wanted:
        return ""
    if actual is None:
        return f"{what} {key} is missing, it must be {wanted}"
    return f"{what} {key} is {actual[:100]}, it must be {wanted}"


def is_anothers(live: JsonObject, *, name: str, namespace: str) -> bool:
    """Whether a live object has the marks of another release."""
    annotations = annotations_of(live)
    marks = annotations.get(RELEASE_NAME), annotations.get(RELEASE_NAMESPACE)
    return marks not in {(None, None), (name, namespace)}


def _policy(obj: JsonObject) -> str | None:
    value = annotations_of(obj).get(RESOURCE_POLICY)
    return None if value is None else str(value).strip().lower()


def is_kept(obj: JsonObject) -> bool:
    """Whether ``helm.sh/resource-policy: keep`` is set: such an object is never deleted."""
    return _policy(obj) == _KEEP


def survives_uninstall(manifest: JsonObject) -> bool:
    """Whether an uninstall leaves the object; any other policy than ``keep`` does so, too (Helm)."""
    return _policy(manifest) is not None


def sparing_finalizers(managed: list[JsonObject]) -> list[JsonObject]:
    """Managed fields from which nobody takes over finalizers that were set by an update.

    This controller sets one on each HelmRelease under the same name as objects are applied under:
    who then applied a HelmRelease without it would take it off.
    """
    spared = [_without_finalizers(one) for one in managed]
    return [one for one in spared if one.get("fieldsV1") != {}]


def _without_finalizers(entry: JsonObject) -> JsonObject:
    fields = entry.get("fieldsV1") or {}
    metadata = fields.get("f:metadata") or {}
    if entry.get("operation") != "Update" or "f:finalizers" not in metadata:
        return entry
    kept = {name: part for name, part in metadata.items() if name != "f:finalizers"}
    others = {name: part for name, part in fields.items() if name != "f:metadata"}
    # An empty part would say that all of the metadata is its manager's.
    return {**entry, "fieldsV1": {**others, "f:metadata": kept} if kept else others}
