"""Deletion: preconditions, finalizers, propagation policies, and when an object may go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from devcluster import clock, errors
from devcluster.conversion import from_stored
from devcluster.kinds import Target
from devcluster.parameters import dry_run_causes, invalid_options
from devcluster.store import Row, Store

__all__ = ["CLEANUP", "DeleteOptions", "Deleted", "Deleter"]

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"

JsonObject = dict[str, Any]
_IMMORTAL = frozenset({"default", "kube-system", "kube-public"})
_POLICIES = frozenset({"Background", "Foreground", "Orphan"})


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """Parsed ``metav1.DeleteOptions``."""

    propagation: str = ""
    uid: str = ""
    resource_version: str = ""
    grace_seconds: int | None = None
    dry_run: bool = False

    @classmethod
    def parse(cls, body: JsonObject, query: dict[str, str]) -> DeleteOptions:
        """From the request's body, else from its query; 422 for what makes no sense."""
        preconditions = body.get("preconditions") or {}
        policy = body.get("propagationPolicy") or query.get("propagationPolicy", "")
        orphan = body.get("orphanDependents", query.get("orphanDependents"))
        causes: list[dict[str, str]] = []
        if policy and orphan is not None:
            text = (
                f'Invalid value: "{policy}": orphanDependents and deletionPropagation cannot be'
                " both set"
            )
            causes.append(_cause("Invalid", text))
        elif policy and policy not in _POLICIES:
            text = (
                f'Unsupported value: "{policy}": supported values: "Foreground", "Background",'
                ' "Orphan", "nil"'
            )
            causes.append(_cause("NotSupported", text))
        dry = body.get("dryRun") or ([query["dryRun"]] if "dryRun" in query else [])
        causes += dry_run_causes(dry)
        if causes:
            raise invalid_options("DeleteOptions", causes)
        if not policy and orphan is not None:
            policy = "Orphan" if orphan in {True, "true"} else "Background"
        grace = body.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
        return cls(
            propagation=policy,
            uid=preconditions.get("uid", ""),
            resource_version=preconditions.get("resourceVersion", ""),
            grace_seconds=None if grace is None else int(grace),
            dry_run="All" in dry,
        )


def _cause(reason: str, message: str) -> dict[str, str]:
    return {
        "reason": f"FieldValue{reason}",
        "message": message,
        "field": "propagationPolicy",
    }


@dataclass(frozen=True, slots=True)
class Deleted:
    """What a delete did: ``gone`` is False while finalizers hold the object."""

    obj: JsonObject
    gone: bool


class Deleter:
    """Deletes single objects; collections and cascades are loops over this."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def delete(self, target: Target, options: DeleteOptions) -> Deleted:
        """Raises NotFound, or Conflict when a precondition does not hold."""
        kind = target.kind
        key = f"{target.namespace}/{target.name}" if target.namespace else target.name
        table = self._store.table(kind.table)
        row = table.by_key.get(key)
        if row is None:
            raise errors.not_found(group=kind.group, plural=kind.plural, name=target.name)
        if kind.table == ("", "namespaces") and target.name in _IMMORTAL:
            why = "this namespace may not be deleted"
            raise errors.forbidden(group="", plural="namespaces", name=target.name, why=why)
        self._check(target, row, options)
        stored = row.decode()
        finalizers = self._finalizers(target, stored, options)
        if not finalizers and target.kind.table != ("", "namespaces"):
            # Gone at once: what watchers are told of is the state that was stored.
            if kind.table == ("", "pods"):
                # Pods are marked first, however short their time is.
                self._mark(target, stored, finalizers)
                if not options.dry_run:
                    self._store.put(table, stored)
            if not options.dry_run:
                self._store.delete(table, stored)
            return Deleted(from_stored(kind, stored), gone=True)
        obj = row.decode()
        changed = self._mark(target, obj, finalizers)
        if not self.may_go(target, obj):
            if changed and not options.dry_run:
                self._store.put(table, obj)
            return Deleted(from_stored(kind, obj), gone=False)
        if not options.dry_run:
            self._store.delete(table, stored)
        return Deleted(from_stored(kind, obj), gone=True)

    def may_go(self, target: Target, obj: JsonObject) -> bool:
        """Whether nothing holds an object that is being deleted."""
        meta = obj["metadata"]
        if not meta.get("deletionTimestamp"):
            return False
        if meta.get("finalizers"):
            return False
        if target.kind.table == ("", "namespaces"):
            return not obj.get("spec", {}).get("finalizers")
        return True

    @staticmethod
    def _check(target: Target, row: Row, options: DeleteOptions) -> None:
        kind = target.kind
        if kind.table == ("", "namespaces"):
            _check_namespace(target, row, options)
        why = ""
        if options.uid and options.uid != row.uid:
            why = (
                f"the UID in the precondition ({options.uid}) does not match the UID in record"
                f" ({row.uid}). The object might have been deleted and then recreated"
            )
        elif options.resource_version and options.resource_version != str(row.revision):
            why = (
                f"the ResourceVersion in the precondition ({options.resource_version}) does not"
                f" match the ResourceVersion in record ({row.revision}). The object might have"
                " been modified"
            )
        if why:
            # The real server names the kind here, not the resource.
            raise errors.conflict(group=kind.group, plural=kind.kind, name=target.name, why=why)

    @staticmethod
    def _finalizers(target: Target, obj: JsonObject, options: DeleteOptions) -> list[str]:
        """The finalizers that the object has once this deletion is asked for."""
        meta = obj["metadata"]
        held: list[str] = [
            name
            for name in meta.get("finalizers") or []
            if not options.propagation or name not in {"foregroundDeletion", "orphan"}
        ]
        wanted = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(options.propagation)
        if wanted:
            held.append(wanted)
        if target.kind.plural == "customresourcedefinitions" and not meta.get("deletionTimestamp"):
            held.append(CLEANUP)
        return held

    @staticmethod
    def _mark(target: Target, obj: JsonObject, finalizers: list[str]) -> bool:
        """Set deletionTimestamp, finalizers, phase or condition; whether anything changed."""
        meta = obj["metadata"]
        changed = finalizers != (meta.get("finalizers") or [])
        if finalizers:
            meta["finalizers"] = finalizers
        else:
            meta.pop("finalizers", None)
        if not meta.get("deletionTimestamp"):
            changed = True
            meta["deletionTimestamp"] = clock.stamp()
            meta["deletionGracePeriodSeconds"] = 0
            if meta.get("generation"):
                meta["generation"] += 1
            if target.kind.plural == "customresourcedefinitions":
                _announce_cleanup(obj)
        if target.kind.table == ("", "namespaces"):
            meta.pop("deletionGracePeriodSeconds", None)
            status = obj.setdefault("status", {})
            changed = changed or status.get("phase") != "Terminating"
            status["phase"] = "Terminating"
        return changed


def _check_namespace(target: Target, row: Row, options: DeleteOptions) -> None:
    """The preconditions of a namespace, whose refusal is worded in its own way."""
    for what, wanted, found in (
        ("UID", options.uid, row.uid),
        ("ResourceVersion", options.resource_version, str(row.revision)),
    ):
        if wanted and wanted != found:
            raise errors.conflict(
                group="",
                plural="namespaces",
                name=target.name,
                why=f"Precondition failed: {what} in precondition: {wanted}, {what} in object meta:"
                f" {found}",
            )


def _announce_cleanup(obj: JsonObject) -> None:
    conditions = obj.setdefault("status", {}).setdefault("conditions", None) or []
    conditions.append(
        {
            "type": "Terminating",
            "status": "True",
            "lastTransitionTime": clock.stamp(),
            "reason": "InstanceDeletionPending",
            "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will"
            " begin soon",
        }
    )
    obj["status"]["conditions"] = conditions
