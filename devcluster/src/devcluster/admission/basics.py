"""Admission of namespaces and what is in them, of secrets and of definitions."""

from __future__ import annotations

import base64
from typing import Any

from devcluster import clock, errors
from devcluster.kinds import Target
from devcluster.store import Store
from devcluster.writes import WriteOptions

__all__ = [
    "FINALIZERS",
    "DefinitionLifecycle",
    "NamespaceLifecycle",
    "definition_fields",
    "lease_fields",
    "namespace_fields",
    "secret_fields",
    "volume_fields",
]

JsonObject = dict[str, Any]

FINALIZERS = {
    ("", "persistentvolumeclaims"): "kubernetes.io/pvc-protection",
    ("", "persistentvolumes"): "kubernetes.io/pv-protection",
}
"""What protects a claim or volume in use, by table."""


class NamespaceLifecycle:
    """Creating in a namespace needs one that exists and is not going away."""

    def __init__(self, store: Store) -> None:
        self._namespaces = store.table(("", "namespaces"))

    def __call__(
        self, target: Target, new: JsonObject, old: JsonObject | None, options: WriteOptions
    ) -> None:
        del new, options
        if old is not None or not target.kind.namespaced:
            return
        row = self._namespaces.by_key.get(target.namespace)
        if row is None:
            raise errors.not_found(group="", plural="namespaces", name=target.namespace)
        meta = row.decode()["metadata"]
        if meta.get("deletionTimestamp"):
            kind = target.kind
            raise errors.terminating(
                group=kind.group, plural=kind.plural, name=target.name, namespace=target.namespace
            )


class DefinitionLifecycle:
    """Nothing is created of a custom kind whose definition is going away."""

    def __init__(self, store: Store) -> None:
        self._definitions = store.table(("apiextensions.k8s.io", "customresourcedefinitions"))

    def __call__(
        self, target: Target, new: JsonObject, old: JsonObject | None, options: WriteOptions
    ) -> None:
        del new, options
        kind = target.kind
        if old is not None or not kind.crd:
            return
        row = self._definitions.by_key.get(kind.crd)
        if row is not None and b'"deletionTimestamp"' in row.metadata:
            why = "create not allowed while custom resource definition is terminating"
            raise errors.forbidden(group=kind.group, plural=kind.plural, name=target.name, why=why)


def namespace_fields(
    target: Target, new: JsonObject, old: JsonObject | None, options: WriteOptions
) -> None:
    del options
    if target.kind.table != ("", "namespaces"):
        return
    labels = new["metadata"].setdefault("labels", {})
    labels["kubernetes.io/metadata.name"] = target.name
    if old is None:
        given = (new.get("spec") or {}).get("finalizers") or ()
        new["spec"] = {"finalizers": list(dict.fromkeys([*given, "kubernetes"]))}
        new["status"] = {"phase": "Active"}
    elif target.subresource == "status":
        _check_phase(target, new)


def _check_phase(target: Target, new: JsonObject) -> None:
    """A namespace is Terminating when it is, and not otherwise."""
    phase = (new.get("status") or {}).get("phase") or ""
    going = bool(new["metadata"].get("deletionTimestamp"))
    right, when = ("Terminating", "not empty") if going else ("Active", "empty")
    if phase and phase != right:
        cause = {
            "reason": "FieldValueInvalid",
            "message": f"Invalid value: \"{phase}\": may only be '{right}' if `deletionTimestamp` is"
            f" {when}",
            "field": "status.Phase",
        }
        raise errors.invalid(group="", kind="Namespace", name=target.name, causes=[cause])


def secret_fields(
    target: Target, new: JsonObject, old: JsonObject | None, options: WriteOptions
) -> None:
    del old, options
    if target.kind.table != ("", "secrets"):
        return
    plain = new.pop("stringData", None)
    if plain:
        data = new.setdefault("data", {})
        for key, value in plain.items():
            data[key] = base64.b64encode(value.encode()).decode()
    new.setdefault("type", "Opaque")


def volume_fields(
    target: Target, new: JsonObject, old: JsonObject | None, options: WriteOptions
) -> None:
    """New claims and volumes are protected from going while they are used."""
    del options
    finalizer = FINALIZERS.get(target.kind.table)
    if finalizer is None or old is not None:
        return
    meta = new["metadata"]
    meta["finalizers"] = list(dict.fromkeys([*(meta.get("finalizers") or ()), finalizer]))
    if target.kind.table == ("", "persistentvolumes"):
        status = new.setdefault("status", {})
        status["lastPhaseTransitionTime"] = clock.stamp()


def lease_fields(
    target: Target, new: JsonObject, old: JsonObject | None, options: WriteOptions
) -> None:
    """A lease without the fields of coordinated election, which is switched off."""
    del old, options
    if target.kind.table == ("coordination.k8s.io", "leases"):
        spec = new.get("spec") or {}
        if "strategy" in spec or "preferredHolder" in spec:
            off = {"strategy", "preferredHolder"}
            new["spec"] = {name: value for name, value in spec.items() if name not in off}


def definition_fields(
    target: Target, new: JsonObject, old: JsonObject | None, options: WriteOptions
) -> None:
    """A definition's derived names, and the status that a new one starts with."""
    del options
    if target.kind.plural != "customresourcedefinitions":
        return
    spec = new["spec"]
    names = spec["names"]
    if names.get("kind"):
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", names["kind"] + "List")
    spec.setdefault("conversion", {"strategy": "None"})
    stored = [v["name"] for v in spec.get("versions") or () if v.get("storage")][:1]
    status = new.get("status") or {}
    kept = status.get("storedVersions") or []
    if old is not None and not target.subresource and not set(stored) <= set(kept):
        new["status"] = {**status, "storedVersions": list(dict.fromkeys([*kept, *stored]))}
    if old is None:
        new["status"] = {
            "conditions": None,
            "acceptedNames": {"plural": "", "kind": ""},
            "storedVersions": stored,
        }
