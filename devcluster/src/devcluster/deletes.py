"""Deletion: preconditions, finalizers, propagation policies, and when an object may go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from devcluster import clock, errors
from devcluster.conversion import from_stored
from devcluster.store import Row, Store
from devcluster.writes import Target

__all__ = ["DeleteOptions", "Deleted", "Deleter"]

JsonObject = dict[str, Any]
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
        """From the request's body, else from its query; 422 on an unknown policy."""
        preconditions = body.get("preconditions") or {}
        policy = body.get("propagationPolicy") or query.get("propagationPolicy", "")
        orphan = body.get("orphanDependents", query.get("orphanDependents"))
        if not policy and orphan is not None:
            policy = "Orphan" if orphan in {True, "true"} else "Background"
        if policy and policy not in _POLICIES:
            raise errors.invalid(
                group="meta.k8s.io",
                kind="DeleteOptions",
                name="",
                causes=[
                    {
                        "reason": "FieldValueInvalid",
                        "message": f'Invalid value: "{policy}": must be one of Foreground,'
                        " Background, Orphan or nil",
                        "field": "propagationPolicy",
                    }
                ],
            )
        grace = body.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
        dry = body.get("dryRun") or ([query["dryRun"]] if "dryRun" in query else [])
        return cls(
            propagation=policy,
            uid=preconditions.get("uid", ""),
            resource_version=preconditions.get("resourceVersion", ""),
            grace_seconds=None if grace is None else int(grace),
            dry_run="All" in dry,
        )


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
        self._check(target, row, options)
        obj = row.decode()
        changed = self._mark(target, obj, options)
        if not self.may_go(target, obj):
            if changed and not options.dry_run:
                self._store.put(table, obj)
            return Deleted(from_stored(kind, obj), gone=False)
        if not options.dry_run:
            self._store.delete(table, obj)
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
        for label, wanted, found in (
            ("UID", options.uid, row.uid),
            ("ResourceVersion", options.resource_version, str(row.revision)),
        ):
            if wanted and wanted != found:
                raise errors.conflict(
                    group=kind.group,
                    plural=kind.plural,
                    name=target.name,
                    why=f"Precondition failed: {label} in precondition: {wanted},"
                    f" {label} in object meta: {found}",
                )

    @staticmethod
    def _mark(target: Target, obj: JsonObject, options: DeleteOptions) -> bool:
        """Set deletionTimestamp, finalizers and phase; whether anything changed."""
        meta = obj["metadata"]
        held = meta.get("finalizers") or []
        finalizers = [
            name
            for name in held
            if not options.propagation or name not in {"foregroundDeletion", "orphan"}
        ]
        wanted = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(options.propagation)
        if wanted:
            finalizers.append(wanted)
        if target.kind.plural == "customresourcedefinitions" and not meta.get("deletionTimestamp"):
            finalizers.append("customresourcecleanup.apiextensions.k8s.io")
        changed = finalizers != held
        if finalizers:
            meta["finalizers"] = finalizers
        else:
            meta.pop("finalizers", None)
        if not meta.get("deletionTimestamp"):
            meta["deletionTimestamp"] = clock.stamp()
            meta["deletionGracePeriodSeconds"] = 0
            if isinstance(meta.get("generation"), int):
                meta["generation"] += 1
            changed = True
        if target.kind.table == ("", "namespaces"):
            meta.pop("deletionGracePeriodSeconds", None)
            status = obj.setdefault("status", {})
            changed = changed or status.get("phase") != "Terminating"
            status["phase"] = "Terminating"
        return changed
