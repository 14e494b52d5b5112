"""Owner references: dependents follow their owners, in the way the owner's deletion asked for.

Background: a dependent whose owners are all gone is deleted. Foreground: an owner waits (finalizer
``foregroundDeletion``) until the dependents that block it are gone. Orphan: an owner's dependents
lose the reference (finalizer ``orphan``) before it goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devcluster.engine import Engine
from devcluster.kinds import Kind
from devcluster.store import Change, Row, Table

__all__ = ["Garbage"]

JsonObject = dict[str, Any]
Key = tuple[tuple[str, str], str]
_MANAGER = "kube-controller-manager"


class Garbage:
    """The garbage collector; a key is (table name, object key)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def keys(self, table: Table, change: Change) -> list[Key]:
        """The objects that a change may doom or release."""
        row, found = change.row, []
        if change.type == "DELETED":
            found += [
                (child.name, key) for child, key in self._engine.store.by_owner.get(row.uid, ())
            ]
        elif row.owners or b'"deletionTimestamp"' in row.metadata:
            found.append((table.name, row.key))
        for uid in row.owners:
            owner = self._engine.store.by_uid.get(uid)
            if owner is not None:
                found.append((owner[0].name, owner[1]))
        return found

    def handle(self, key: Key) -> float | None:
        """Settle one object."""
        name, object_key = key
        store = self._engine.store
        row = store.table(name).by_key.get(object_key)
        kind = self._kind(name)
        if row is None or kind is None:
            return None
        meta = row.decode()["metadata"]
        if meta.get("deletionTimestamp"):
            self._settle_owner(kind, row, meta)
        elif row.owners:
            self._settle_dependent(kind, row, meta)
        return None

    def _kind(self, table: tuple[str, str]) -> Kind | None:
        for kind in self._engine.kinds.stored_kinds():
            if kind.table == table:
                return kind
        return None

    # --- owners that are going ----------------------------------------------------------------

    def _settle_owner(self, kind: Kind, row: Row, meta: JsonObject) -> None:
        finalizers = meta.get("finalizers") or ()
        if "orphan" in finalizers:
            self._orphan(row)
            self._remove_finalizer(kind, row, "orphan")
        elif "foregroundDeletion" in finalizers and not self._delete_blocking(row):
            self._remove_finalizer(kind, row, "foregroundDeletion")

    def _children(self, row: Row) -> list[tuple[Kind, Row]]:
        store = self._engine.store
        found: list[tuple[Kind, Row]] = []
        for table, key in list(store.by_owner.get(row.uid, ())):
            child, kind = table.by_key.get(key), self._kind(table.name)
            if child is not None and kind is not None:
                found.append((kind, child))
        return found

    def _orphan(self, row: Row) -> None:
        for kind, child in self._children(row):
            obj = self._engine.read(kind, child.name, namespace=child.namespace)
            if obj is None:
                continue
            references = obj["metadata"]["ownerReferences"]
            left = [ref for ref in references if ref["uid"] != row.uid]
            obj["metadata"]["ownerReferences"] = left
            if not left:
                del obj["metadata"]["ownerReferences"]
            self._engine.update(kind, obj, manager=_MANAGER)

    def _delete_blocking(self, row: Row) -> int:
        """Delete the dependents; how many of those that block the owner are left."""
        left = 0
        for kind, child in self._children(row):
            references = child.decode()["metadata"]["ownerReferences"]
            blocking = any(r["uid"] == row.uid and r.get("blockOwnerDeletion") for r in references)
            if self._others_hold(child, references, without=row.uid):
                continue
            if b'"deletionTimestamp"' not in child.metadata:
                policy = "Foreground" if self._engine.store.by_owner.get(child.uid) else ""
                self._engine.delete(
                    kind, child.name, namespace=child.namespace, propagation=policy, uid=child.uid
                )
            key = child.key
            alive = self._engine.store.table(kind.table).by_key.get(key)
            left += blocking and alive is not None and alive.uid == child.uid
        return left

    def _others_hold(
        self, child: Row, references: list[Mapping[str, Any]], *, without: str
    ) -> bool:
        return any(
            ref["uid"] != without and self._owner_alive(child, ref, solid=True)
            for ref in references
        )

    def _remove_finalizer(self, kind: Kind, row: Row, name: str) -> None:
        obj = self._engine.read(kind, row.name, namespace=row.namespace)
        if obj is None:
            return
        finalizers = obj["metadata"].get("finalizers") or []
        obj["metadata"]["finalizers"] = [f for f in finalizers if f != name]
        if not obj["metadata"]["finalizers"]:
            del obj["metadata"]["finalizers"]
        self._engine.update(kind, obj, manager=_MANAGER)

    # --- dependents ---------------------------------------------------------------------------

    def _settle_dependent(self, kind: Kind, row: Row, meta: JsonObject) -> None:
        references = meta["ownerReferences"]
        alive = [ref for ref in references if self._owner_alive(row, ref)]
        if not alive:
            self._engine.delete(
                kind, row.name, namespace=row.namespace, propagation="Background", uid=row.uid
            )
        elif len(alive) < len(references):
            obj = self._engine.read(kind, row.name, namespace=row.namespace)
            if obj is not None:
                obj["metadata"]["ownerReferences"] = alive
                self._engine.update(kind, obj, manager=_MANAGER)

    def _owner_alive(
        self, child: Row, reference: Mapping[str, Any], *, solid: bool = False
    ) -> bool:
        """Whether the owner exists with that uid; ``solid``: and does not wait for dependents."""
        group, _, _ = reference["apiVersion"].rpartition("/")
        kind = self._engine.kinds.for_kind(group, reference["kind"])
        if kind is None:
            return True  # a kind that cannot be looked up keeps its dependents
        namespace = child.namespace if kind.namespaced else ""
        key = f"{namespace}/{reference['name']}" if namespace else reference["name"]
        owner = self._engine.store.table(kind.table).by_key.get(key)
        if owner is None or owner.uid != reference["uid"]:
            return False
        return not (solid and b'"foregroundDeletion"' in owner.metadata)
