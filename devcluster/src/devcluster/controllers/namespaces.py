"""Namespaces that go away: their content first, then their finalizer, then they."""

from __future__ import annotations

from typing import Any

from devcluster import clock
from devcluster.engine import Engine
from devcluster.store import Change, Table

__all__ = ["Namespaces"]

JsonObject = dict[str, Any]
_MANAGER = "kube-controller-manager"
_DONE = {
    "NamespaceDeletionDiscoveryFailure": (
        "False",
        "ResourcesDiscovered",
        "All resources successfully discovered",
    ),
    "NamespaceDeletionGroupVersionParsingFailure": (
        "False",
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    "NamespaceDeletionContentFailure": (
        "False",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    "NamespaceContentRemaining": (
        "False",
        "ContentRemoved",
        "All content successfully removed",
    ),
    "NamespaceFinalizersRemaining": (
        "False",
        "ContentHasNoFinalizers",
        "All content-preserving finalizers finished",
    ),
}


class Namespaces:
    """The controller of namespace deletion."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kind = engine.kind("", "Namespace")
        self._terminating: set[str] = set()

    def keys(self, table: Table, change: Change) -> list[str]:
        """Terminating namespaces, and those whose content changed meanwhile."""
        row = change.row
        if table.name == ("", "namespaces"):
            return [row.name]
        return [row.namespace] if row.namespace in self._terminating else []

    def handle(self, name: str) -> float | None:
        """Delete what is left; let the namespace go when nothing is."""
        namespace = self._engine.read(self._kind, name)
        if namespace is None or not namespace["metadata"].get("deletionTimestamp"):
            self._terminating.discard(name)
            return None
        self._terminating.add(name)
        remaining = self._delete_content(name)
        self._report(namespace, remaining)
        if not remaining:
            self._finalize(name)
        return None

    def _delete_content(self, name: str) -> dict[str, dict[str, int]]:
        """Delete everything; what stays, as plural -> finalizer -> count of objects."""
        engine = self._engine
        remaining: dict[str, dict[str, int]] = {}
        for kind in engine.kinds.stored_kinds():
            if not kind.namespaced:
                continue
            table = engine.store.table(kind.table)
            for row in list(table.rows(name)):
                engine.delete(kind, row.name, namespace=name, propagation="Background")
            held = remaining.setdefault(f"{kind.plural}.{kind.group}", {})
            for row in table.rows(name):
                for finalizer in row.decode()["metadata"].get("finalizers") or ("",):
                    held[finalizer] = held.get(finalizer, 0) + 1
            if not held:
                del remaining[f"{kind.plural}.{kind.group}"]
        return remaining

    def _report(self, namespace: JsonObject, remaining: dict[str, dict[str, int]]) -> None:
        wanted = dict(_DONE)
        if remaining:
            wanted |= _remaining(remaining)
        status = namespace.setdefault("status", {})
        old = {condition["type"]: condition for condition in status.get("conditions") or ()}
        conditions: list[JsonObject] = []
        for kind, (state, reason, message) in wanted.items():
            before = old.get(kind, {})
            moved = before.get("status") != state
            conditions.append(
                {
                    "type": kind,
                    "status": state,
                    "lastTransitionTime": clock.stamp() if moved else before["lastTransitionTime"],
                    "reason": reason,
                    "message": message,
                }
            )
        status["conditions"] = conditions
        self._engine.update(self._kind, namespace, manager=_MANAGER, subresource="status")

    def _finalize(self, name: str) -> None:
        namespace = self._engine.read(self._kind, name)
        if namespace is None:
            return
        finalizers = namespace.get("spec", {}).get("finalizers") or []
        namespace["spec"] = {"finalizers": [f for f in finalizers if f != "kubernetes"]}
        if not namespace["spec"]["finalizers"]:
            namespace["spec"] = {}
        self._engine.update(self._kind, namespace, manager=_MANAGER, subresource="finalize")


def _remaining(remaining: dict[str, dict[str, int]]) -> dict[str, tuple[str, str, str]]:
    counts = {kind: max(held.values()) for kind, held in remaining.items()}
    content = ", ".join(
        f"{kind} has {count} resource instances" for kind, count in sorted(counts.items())
    )
    finalizers: dict[str, int] = {}
    for held in remaining.values():
        for name, count in held.items():
            finalizers[name] = finalizers.get(name, 0) + count
    holding = ", ".join(
        f"{name} in {count} resource instances" for name, count in sorted(finalizers.items())
    )
    return {
        "NamespaceContentRemaining": (
            "True",
            "SomeResourcesRemain",
            f"Some resources are remaining: {content}",
        ),
        "NamespaceFinalizersRemaining": (
            "True",
            "SomeFinalizersRemain",
            f"Some content in the namespace has finalizers remaining: {holding}",
        ),
    }
