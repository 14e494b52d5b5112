"""Field managers: taking over what other appliers left on an object.

An object that was applied by kubectl before keeps its fields under kubectl's name; fields removed
from Git would then stay for ever. Their sets are merged into ours, in one JSON patch under the
resourceVersion that was read. Sources: what Flux takes over; KEP-555 for FieldsV1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fluvial.apply.masking import LAST_APPLIED
from fluvial.objects import JsonObject, annotations_of, labels_of

__all__ = ["cleanup_patch", "take_over", "union_fields"]

_APPLY, _UPDATE = "Apply", "Update"
_BOTH = frozenset({_APPLY, _UPDATE})
_FOREIGN: tuple[tuple[str, frozenset[str]], ...] = (
    ("kubectl", _BOTH),
    ("before-first-apply", frozenset({_UPDATE})),
    ("kustomize-controller", frozenset({_UPDATE})),
)
_ANNOTATIONS = (
    LAST_APPLIED,
    "kustomize.toolkit.fluxcd.io/checksum",
    "fluxcd.io/sync-checksum",
)
_LABELS = ("fluxcd.io/sync-gc-mark",)

FieldSet = dict[str, Any]


def union_fields(left: FieldSet, right: FieldSet) -> FieldSet:
    """Union of two FieldsV1 sets; neither argument is changed.

    ``{}`` under a key says that the path itself is in the set; beside children that is ``"."``.
    """
    merged = dict(left)
    for key, child in right.items():
        merged[key] = _union(merged[key], child) if key in merged else child
    return merged


def _union(left: FieldSet, right: FieldSet) -> FieldSet:
    if not left and not right:
        return {}
    if not left or not right:
        return {".": {}, **(left or right)}
    return union_fields(left, right)


def take_over(
    managed: list[JsonObject],
    *,
    field_manager: str,
    override_managers: Iterable[str] = (),
    usual: bool = True,
) -> list[JsonObject] | None:
    """The managedFields in which other appliers' fields are ours; ``None`` if there are none.

    Args:
        managed: the object's managedFields.
        field_manager: who takes over, under operation Apply.
        override_managers: more prefixes that are taken over, besides kubectl and older Flux.
        usual: whether those two are.

    """
    foreign = (*(_FOREIGN if usual else ()), *((prefix, _BOTH) for prefix in override_managers))
    ours: JsonObject | None = None
    taken: list[JsonObject] = []
    rest: list[JsonObject] = []
    for entry in managed:
        if _is_main(entry) and _is_owner(entry, field_manager):
            ours = entry
        elif _is_main(entry) and _matches(entry, foreign):
            taken.append(entry)
        else:
            rest.append(entry)
    if not taken:
        return None
    first = {**(ours or taken[0]), "manager": field_manager, "operation": _APPLY}
    for entry in taken if ours else taken[1:]:
        fields = union_fields(first.get("fieldsV1") or {}, entry.get("fieldsV1") or {})
        first["fieldsV1"] = fields
    return [*rest, first]


def _is_main(entry: JsonObject) -> bool:
    return not entry.get("subresource")


def _is_owner(entry: JsonObject, field_manager: str) -> bool:
    return bool(entry.get("manager") == field_manager and entry.get("operation") == _APPLY)


def _matches(entry: JsonObject, foreign: Iterable[tuple[str, frozenset[str]]]) -> bool:
    manager, operation = str(entry.get("manager") or ""), entry.get("operation")
    return any(manager.startswith(prefix) and operation in ops for prefix, ops in foreign)


def cleanup_patch(
    live: JsonObject, *, field_manager: str, override_managers: Iterable[str] = ()
) -> tuple[JsonObject, ...]:
    """JSON patch that removes others' book-keeping from a live object; empty if there is none.

    The patch holds only for the version that was read: another one answers 409.
    """
    annotations, labels = annotations_of(live), labels_of(live)
    operations: list[JsonObject] = [
        {"op": "remove", "path": f"/metadata/annotations/{_escape(key)}"}
        for key in _ANNOTATIONS
        if key in annotations
    ]
    operations += [
        {"op": "remove", "path": f"/metadata/labels/{_escape(key)}"}
        for key in _LABELS
        if key in labels
    ]
    metadata = live.get("metadata") or {}
    fields = take_over(
        metadata.get("managedFields") or [],
        field_manager=field_manager,
        override_managers=override_managers,
    )
    if fields is not None:
        operations.append({"op": "replace", "path": "/metadata/managedFields", "value": fields})
    if not operations:
        return ()
    version = metadata.get("resourceVersion")
    guard = {"op": "replace", "path": "/metadata/resourceVersion", "value": version}
    return (*operations, guard)


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
