"""Custom resource definitions: names accepted, established, served, and cleaned up.

A definition is served from the moment its Established condition is written. When it is deleted,
its objects go first; the kind is served (without create) until the last one is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from devcluster import clock
from devcluster.controllers.names import claim
from devcluster.deletes import CLEANUP
from devcluster.engine import Engine
from devcluster.kinds import Kind, Subresource, version_priority
from devcluster.store import Change, Table

__all__ = ["Definitions", "kinds_of"]

JsonObject = dict[str, Any]
_MANAGER = "kube-apiserver"
_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
_AGE = ({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},)
_SUB_VERBS = ("get", "patch", "update")
# Reasons and messages of conditions.
_NO_CONFLICTS = ("NoConflicts", "no conflicts found")
_ACCEPTED = ("InitialNamesAccepted", "the initial names have been accepted")
_NOT_ACCEPTED = ("NotAccepted", "not all names are accepted")


def kinds_of(crd: Mapping[str, Any]) -> list[Kind]:
    """The kinds that a definition serves, one for each served version."""
    spec = crd["spec"]
    names = crd.get("status", {}).get("acceptedNames") or spec["names"]
    stored = next((v["name"] for v in spec["versions"] if v.get("storage")), "")
    return [
        Kind(
            group=spec["group"],
            version=version["name"],
            kind=names["kind"],
            plural=names["plural"],
            singular=names.get("singular") or names["kind"].lower(),
            namespaced=spec["scope"] == "Namespaced",
            verbs=_VERBS,
            short_names=tuple(names.get("shortNames") or ()),
            categories=tuple(names.get("categories") or ()),
            subresources=_subresources(version, names["kind"]),
            list_kind=names.get("listKind") or names["kind"] + "List",
            table=(spec["group"], names["plural"]),
            stored_version=stored,
            crd=crd["metadata"]["name"],
            columns=tuple(version.get("additionalPrinterColumns") or _AGE),
            scale=(version.get("subresources") or {}).get("scale") or {},
            deprecation=_deprecation(version, spec),
            selectable=tuple(f["jsonPath"] for f in version.get("selectableFields") or ()),
        )
        for version in spec["versions"]
        if version.get("served")
    ]


def _deprecation(version: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
    """The warning for clients of a deprecated version."""
    if not version.get("deprecated"):
        return ""
    given: str = version.get("deprecationWarning") or ""
    if given:
        return given
    group, kind = spec["group"], spec["names"]["kind"]
    served = [v["name"] for v in spec["versions"] if v.get("served") and not v.get("deprecated")]
    better = [v for v in served if version_priority(v) < version_priority(version["name"])]
    text = f"{group}/{version['name']} {kind} is deprecated"
    if not better:
        return text
    return f"{text}; use {group}/{min(better, key=version_priority)} {kind}"


def _subresources(version: Mapping[str, Any], kind: str) -> dict[str, Subresource]:
    declared = version.get("subresources") or {}
    found: dict[str, Subresource] = {}
    if "status" in declared:
        found["status"] = Subresource("status", kind, _SUB_VERBS)
    if "scale" in declared:
        found["scale"] = Subresource("scale", "Scale", _SUB_VERBS, "autoscaling", "v1")
    return found


class Definitions:
    """The controller of CRDs.

    Args:
        engine: the cluster.
        serve: told (definition, kinds) whenever what is served changes, before it does.

    """

    def __init__(self, engine: Engine, *, serve: Callable[[JsonObject, list[Kind]], None]) -> None:
        self._engine = engine
        self._kind = engine.kind("apiextensions.k8s.io", "CustomResourceDefinition")
        self._serve = serve
        self._refused: set[str] = set()

    def keys(self, table: Table, change: Change) -> list[str]:
        """The definitions that a change concerns."""
        if table.name == self._kind.table:
            # What one lets go of, others may have waited for.
            return [change.row.name, *self._refused]
        if change.type == "DELETED":
            kind = self._engine.kinds.preferred(*table.name)
            if kind is not None and kind.crd:
                return [kind.crd]
        return []

    def handle(self, name: str) -> float | None:
        """Bring one definition's status and what is served in line with its spec."""
        engine = self._engine
        crd = engine.read(self._kind, name)
        if crd is None:
            self._refused.discard(name)
            engine.kinds.replace_crd(name, [])
            return None
        if crd["metadata"].get("deletionTimestamp"):
            self._clean_up(crd)
            return None
        self._accept(crd)
        if _established(crd):
            kinds = kinds_of(crd)
            self._serve(crd, kinds)
            engine.kinds.replace_crd(name, kinds)
        return None

    def _accept(self, crd: JsonObject) -> None:
        spec = crd["spec"]
        status = crd.setdefault("status", {})
        stored = status.get("storedVersions") or []
        for version in spec["versions"]:
            if version.get("storage") and version["name"] not in stored:
                stored = [*stored, version["name"]]
        name = crd["metadata"]["name"]
        claimed = claim(spec["names"], status.get("acceptedNames") or {}, self._others(crd))
        status["acceptedNames"] = {"plural": "", "kind": "", **claimed.names}
        conditions = list(status.get("conditions") or [])
        if claimed.reason:
            self._refused.add(name)
            _set_condition(conditions, "NamesAccepted", "False", claimed.reason, claimed.message)
            if not _established(crd):
                _set_condition(conditions, "Established", "False", *_NOT_ACCEPTED)
        else:
            self._refused.discard(name)
            _set_condition(conditions, "NamesAccepted", "True", *_NO_CONFLICTS)
            _set_condition(conditions, "Established", "True", *_ACCEPTED)
        status |= {"storedVersions": stored, "conditions": conditions}
        self._engine.update(self._kind, crd, manager=_MANAGER, subresource="status")

    def _others(self, crd: JsonObject) -> list[JsonObject]:
        """The names that the other definitions of the group have."""
        group, own = crd["spec"]["group"], crd["metadata"]["name"]
        rows = self._engine.store.table(self._kind.table).by_key.values()
        objects = (row.decode() for row in rows if row.name != own and row.name.endswith(group))
        return [
            (obj.get("status") or {}).get("acceptedNames") or {}
            for obj in objects
            if obj["spec"]["group"] == group
        ]

    def _clean_up(self, crd: JsonObject) -> None:
        engine, name = self._engine, crd["metadata"]["name"]
        if CLEANUP not in (crd["metadata"].get("finalizers") or ()):
            return
        left = self._delete_instances(crd)
        conditions = crd["status"].setdefault("conditions", [])
        if left:
            _set_condition(
                conditions,
                "Terminating",
                "True",
                "InstanceDeletionInProgress",
                "CustomResource deletion is in progress",
            )
            engine.update(self._kind, crd, manager=_MANAGER, subresource="status")
            return
        engine.kinds.replace_crd(name, [])
        _table(engine, crd).close_watches()
        crd["metadata"]["finalizers"].remove(CLEANUP)
        engine.update(self._kind, crd, manager=_MANAGER)

    def _delete_instances(self, crd: JsonObject) -> int:
        engine = self._engine
        table = _table(engine, crd)
        kinds = kinds_of(crd)
        if not kinds:
            return len(table)
        for row in list(table.rows()):
            engine.delete(kinds[0], row.name, namespace=row.namespace)
        return len(table)


def _table(engine: Engine, crd: Mapping[str, Any]) -> Table:
    spec = crd["spec"]
    return engine.store.table((spec["group"], spec["names"]["plural"]))


def _established(crd: Mapping[str, Any]) -> bool:
    conditions = crd.get("status", {}).get("conditions") or ()
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)


def _set_condition(
    conditions: list[JsonObject], kind: str, status: str, reason: str, message: str
) -> None:
    fresh = {
        "type": kind,
        "status": status,
        "lastTransitionTime": clock.stamp(),
        "reason": reason,
        "message": message,
    }
    for at, old in enumerate(conditions):
        if old["type"] == kind:
            if old["status"] == status:
                fresh["lastTransitionTime"] = old["lastTransitionTime"]
            conditions[at] = fresh
            return
    conditions.append(fresh)
