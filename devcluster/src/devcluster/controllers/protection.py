"""Claims and volumes that go away: their protection falls when nothing uses them.

A new claim or volume has a finalizer (``admission.basics.volume_fields``), so that what is in use
outlives its deletion. A claim is in use by every Pod that names it and has not ended, a volume by
the claim that it is bound to.
"""

from __future__ import annotations

from typing import Any

from devcluster.admission.basics import FINALIZERS
from devcluster.engine import Engine
from devcluster.store import Change, Row, Table

__all__ = ["Protection"]

JsonObject = dict[str, Any]
Key = tuple[tuple[str, str], str]
_MANAGER = "kube-controller-manager"
_CLAIMS, _VOLUMES, _PODS = (
    ("", "persistentvolumeclaims"),
    ("", "persistentvolumes"),
    ("", "pods"),
)
_KINDS = {_CLAIMS: "PersistentVolumeClaim", _VOLUMES: "PersistentVolume"}


class Protection:
    """The controller; a key is (table name, object key)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def keys(self, table: Table, change: Change) -> list[Key]:
        """What is being deleted, and what a Pod or claim that went away may have held."""
        row = change.row
        if table.name in FINALIZERS and b'"deletionTimestamp"' in row.metadata:
            return [(table.name, row.key)]
        if table.name == _PODS and change.previous is not None:
            return [(_CLAIMS, f"{row.namespace}/{name}") for name in _claims_of(row)]
        if table.name == _CLAIMS and change.type == "DELETED":
            volume = (row.decode().get("spec") or {}).get("volumeName")
            return [(_VOLUMES, volume)] if volume else []
        return []

    def handle(self, key: Key) -> float | None:
        """Take the finalizer off one object, if it may go."""
        name, object_key = key
        row = self._engine.store.table(name).by_key.get(object_key)
        if row is None or b'"deletionTimestamp"' not in row.metadata:
            return None
        if self._is_used(name, row):
            return None
        kind = self._engine.kind("", _KINDS[name])
        obj = self._engine.read(kind, row.name, namespace=row.namespace)
        if obj is None:
            return None
        meta = obj["metadata"]
        left = [f for f in meta.get("finalizers") or () if f != FINALIZERS[name]]
        if len(left) < len(meta.get("finalizers") or ()):
            obj["metadata"] = {**meta, "finalizers": left}
            self._engine.update(kind, obj, manager=_MANAGER)
        return None

    def _is_used(self, name: tuple[str, str], row: Row) -> bool:
        store = self._engine.store
        if name == _CLAIMS:
            pods = store.table(_PODS).rows(row.namespace)
            return any(row.name in _claims_of(pod) for pod in pods)
        reference = (row.decode().get("spec") or {}).get("claimRef") or {}
        claim = f"{reference.get('namespace', '')}/{reference.get('name', '')}"
        return claim in store.table(_CLAIMS).by_key


def _claims_of(pod: Row) -> list[str]:
    """The claims that a Pod uses; none once it has ended."""
    obj = pod.decode()
    if (obj.get("status") or {}).get("phase") in {"Succeeded", "Failed"}:
        return []
    volumes = (obj.get("spec") or {}).get("volumes") or ()
    named = [(volume.get("persistentVolumeClaim") or {}).get("claimName") for volume in volumes]
    return [name for name in named if name]
