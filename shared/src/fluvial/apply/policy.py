"""What a person has said about one object by annotation or label.

Keys have the owner's group as prefix and are matched exactly; values are matched without regard
to case, on annotations and on labels alike, as in Flux.
"""

from __future__ import annotations

from fluvial.apply.model import Owner
from fluvial.objects import JsonObject, annotations_of, gvk_of, labels_of

__all__ = [
    "forces",
    "has_ttl",
    "ignored",
    "is_disabled",
    "only_if_absent",
    "prune_protection",
    "recreation_needs_consent",
    "skips_cleanup",
]

_PRECIOUS = frozenset(
    {("apiextensions.k8s.io", "CustomResourceDefinition"), ("", "Namespace")},
)


def _says(obj: JsonObject | None, key: str, value: str) -> bool:
    if obj is None:
        return False
    return any(
        str(place.get(key) or "").casefold() == value
        for place in (annotations_of(obj), labels_of(obj))
    )


def is_disabled(obj: JsonObject, owner: Owner, *, name: str) -> bool:
    """Whether ``<group>/<name>: disabled`` is set on the object."""
    return _says(obj, f"{owner.group}/{name}", "disabled")


def ignored(owner: Owner, *objects: JsonObject | None) -> str:
    """Why the object is to be left alone (desired or live says so), or ``""``."""
    for obj in objects:
        if _says(obj, f"{owner.group}/ssa", "ignore"):
            return f"{owner.group}/ssa: Ignore"
        if _says(obj, f"{owner.group}/reconcile", "disabled"):
            return f"{owner.group}/reconcile: disabled"
    return ""


def only_if_absent(owner: Owner, desired: JsonObject) -> bool:
    """``ssa: IfNotPresent`` on the desired object: it is created and then left alone."""
    return _says(desired, f"{owner.group}/ssa", "ifnotpresent")


def skips_cleanup(owner: Owner, *objects: JsonObject | None) -> bool:
    """``ssa: Merge`` on desired or live: other managers keep their fields."""
    return any(_says(obj, f"{owner.group}/ssa", "merge") for obj in objects)


def forces(owner: Owner, *objects: JsonObject | None) -> bool:
    """``force: enabled`` on desired or live: recreate where a change is refused as immutable."""
    return any(_says(obj, f"{owner.group}/force", "enabled") for obj in objects)


def recreation_needs_consent(obj: JsonObject) -> bool:
    """Whether deleting the object deletes others too, so that ``spec.force`` is not enough.

    A namespace takes its content with it and a definition all its objects: such a one is
    recreated only where the object itself says ``force: enabled``.
    """
    gvk = gvk_of(obj)
    return (gvk.group, gvk.kind) in _PRECIOUS


def prune_protection(owner: Owner, live: JsonObject) -> str:
    """Why a live object must not be deleted, or ``""``."""
    if _says(live, f"{owner.group}/prune", "disabled"):
        return f"{owner.group}/prune: disabled"
    return ignored(owner, live)


def has_ttl(obj: JsonObject) -> bool:
    """Whether it is a Job that deletes itself some time after it has finished."""
    gvk = gvk_of(obj)
    if (gvk.group, gvk.kind) != ("batch", "Job"):
        return False
    spec = obj.get("spec")
    return isinstance(spec, dict) and spec.get("ttlSecondsAfterFinished") is not None
