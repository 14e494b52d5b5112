"""Metadata of every kind: names, labels, annotations, owners, finalizers."""

from __future__ import annotations

from typing import Any

from devcluster.fields.builtin import names
from devcluster.fields.builtin.checker import Checker
from devcluster.fields.schema import JsonObject, TypeSchema

__all__ = ["check_labels", "check_meta", "check_meta_update", "check_selector"]

_ANNOTATIONS_LIMIT = 256 * 1024
_RBAC = "rbac.authorization.k8s.io"
_STANDARD_FINALIZERS = frozenset({"orphan", "foregroundDeletion", "kubernetes"})

_NAMES: dict[tuple[str, str], names.Syntax] = {
    ("", "Namespace"): names.dotless_label,
    ("", "Service"): names.dotless_label,
    (_RBAC, "Role"): names.path_segment,
    (_RBAC, "ClusterRole"): names.path_segment,
    (_RBAC, "RoleBinding"): names.path_segment,
    (_RBAC, "ClusterRoleBinding"): names.path_segment,
    ("apiregistration.k8s.io", "APIService"): names.path_segment,
    ("certificates.k8s.io", "CertificateSigningRequest"): names.path_segment,
    ("", "Event"): lambda _: [],
    ("events.k8s.io", "Event"): lambda _: [],
}


def check_meta(checker: Checker, meta: JsonObject, schema: TypeSchema) -> None:
    """The metadata of a new object."""
    syntax = _NAMES.get((schema.group, schema.kind), names.dns_subdomain)
    if meta.get("generateName"):
        problems = names.prefixed(syntax)(meta["generateName"])
        checker.problems("metadata.generateName", meta["generateName"], problems)
    name = meta.get("name")
    if not name:
        checker.required("metadata.name", "name or generateName is required")
    else:
        problems = [text.replace(" bytes", " characters") for text in syntax(name)]
        checker.problems("metadata.name", name, problems)
    _common(checker, meta, builtin=schema.builtin)


def _common(checker: Checker, meta: JsonObject, *, builtin: bool) -> None:
    if meta.get("generation", 0) < 0:
        checker.not_negative("metadata.generation", meta["generation"])
    check_labels(checker, meta.get("labels"), "metadata.labels")
    _check_annotations(checker, meta.get("annotations"))
    _check_owners(checker, meta.get("ownerReferences"))
    if {"orphan", "foregroundDeletion"} <= set(meta.get("finalizers") or ()):
        text = "finalizer orphan and foregroundDeletion cannot be both set"
        checker.listed("metadata.finalizers", meta["finalizers"], text)
    for at, finalizer in enumerate(meta.get("finalizers") or ()):
        checker.problems("metadata.finalizers", finalizer, names.qualified_name(finalizer))
        if builtin and "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            checker.invalid(
                f"metadata.finalizers[{at}]",
                finalizer,
                "name is neither a standard finalizer name nor is it fully qualified",
            )


def check_meta_update(
    checker: Checker, meta: JsonObject, old: JsonObject, schema: TypeSchema
) -> None:
    """The metadata of a changed object."""
    if meta is old:
        return
    watched = ("labels", "annotations", "ownerReferences", "finalizers", "generation")
    if any(meta.get(key) != old.get(key) for key in watched):
        _common(checker, meta, builtin=schema.builtin)
    if old.get("deletionTimestamp"):
        known = set(old.get("finalizers") or ())
        added = [name for name in meta.get("finalizers") or () if name not in known]
        if added:
            listed = ", ".join(f'"{name}"' for name in added)
            checker.forbidden(
                "metadata.finalizers",
                "no new finalizers can be added if the object is being deleted,"
                f" found new finalizers []string{{{listed}}}",
            )
    for field in ("name", "namespace", "uid"):
        if field in meta and field in old:
            checker.unchanged(f"metadata.{field}", meta[field], old[field])


def check_labels(checker: Checker, labels: Any, path: str) -> None:
    """Keys and values of labels."""
    for key, value in (labels or {}).items():
        checker.problems(path, key, names.label_key(key))
        checker.problems(path, value, names.label_value(value))


def _check_annotations(checker: Checker, annotations: Any) -> None:
    total = 0
    for key, value in (annotations or {}).items():
        checker.problems("metadata.annotations", key, names.label_key(key.lower()))
        total += len(key.encode()) + len(value.encode())
    if total > _ANNOTATIONS_LIMIT:
        checker.too_long("metadata.annotations", _ANNOTATIONS_LIMIT)


def _check_owners(checker: Checker, owners: Any) -> None:
    controllers: list[str] = []
    for at, owner in enumerate(owners or ()):
        path = f"metadata.ownerReferences[{at}]"
        version = owner.get("apiVersion") or ""
        if version.count("/") > 1:
            text = "must be <group>/<version> or <version>"
            checker.invalid(f"{path}.apiVersion", version, text)
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                checker.required(f"{path}.{field}", "must not be empty")
        if (version, owner.get("kind")) in _NO_OWNERS:
            group, _, number = version.rpartition("/")
            text = f"{group}/{number}, Kind={owner['kind']} is disallowed from being an owner"
            checker.listed(path, _reference(owner), text)
        if owner.get("controller"):
            controllers.append(f"{owner.get('kind', '')}/{owner.get('name', '')}")
    if len(controllers) > 1:
        text = (
            'Only one reference can have Controller set to true. Found "true" in references for'
            f" {controllers[0]} and {controllers[1]}"
        )
        checker.listed("metadata.ownerReferences", [_reference(o) for o in owners], text)


def _reference(owner: JsonObject) -> JsonObject:
    return {key: owner[key] for key in _OWNER if key in owner}


# The order in which the server writes them.
_NO_OWNERS = {("v1", "Event"), ("events.k8s.io/v1", "Event")}
_OWNER = ("apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion")
_OPERATORS = {"In", "NotIn", "Exists", "DoesNotExist"}


def check_selector(checker: Checker, selector: Any, path: str) -> None:
    """A label selector."""
    if not selector:
        return
    for key, value in (selector.get("matchLabels") or {}).items():
        checker.problems(f"{path}.matchLabels", key, names.qualified_name(key))
        checker.problems(f"{path}.matchLabels", value, names.label_value(value))
    for at, term in enumerate(selector.get("matchExpressions") or ()):
        inner = f"{path}.matchExpressions[{at}]"
        operator, values = term.get("operator"), term.get("values") or []
        if operator in {"In", "NotIn"} and not values:
            checker.required(
                f"{inner}.values", "must be specified when `operator` is 'In' or 'NotIn'"
            )
        elif operator in {"Exists", "DoesNotExist"} and values:
            checker.forbidden(
                f"{inner}.values",
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )
        elif operator not in _OPERATORS:
            checker.invalid(f"{inner}.operator", operator or "", "not a valid selector operator")
        checker.problems(
            f"{inner}.key", term.get("key", ""), names.qualified_name(term.get("key", ""))
        )
        for index, value in enumerate(values):
            checker.problems(f"{inner}.values[{index}]", value, names.label_value(value))
