"""What every active namespace gets: its default service account and the cluster's CA bundle."""

from __future__ import annotations

from devcluster.engine import Engine
from devcluster.store import Change, Table

__all__ = ["Accounts"]

_BUNDLE = "kube-root-ca.crt"
_NOTE = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal"
    " endpoints such as the internal service IP or kubernetes.default.svc. No other usage is"
    " guaranteed across distributions of Kubernetes clusters."
)


class Accounts:
    """Keeps ``default`` and ``kube-root-ca.crt`` in each namespace."""

    def __init__(self, engine: Engine, *, ca_pem: bytes) -> None:
        self._engine = engine
        self._ca = ca_pem.decode()
        self._namespaces = engine.kind("", "Namespace")
        self._accounts = engine.kind("", "ServiceAccount")
        self._maps = engine.kind("", "ConfigMap")

    def keys(self, table: Table, change: Change) -> list[str]:
        """The namespaces that a change concerns."""
        row = change.row
        if table.name == ("", "namespaces"):
            return [] if change.type == "DELETED" else [row.name]
        if (table.name, row.name) == (("", "serviceaccounts"), "default"):
            return [row.namespace] if change.type == "DELETED" else []
        if (table.name, row.name) == (("", "configmaps"), _BUNDLE):
            return [] if change.type == "ADDED" else [row.namespace]
        return []

    def handle(self, namespace: str) -> float | None:
        """Make what is missing, correct what was altered."""
        engine = self._engine
        found = engine.read(self._namespaces, namespace)
        if found is None or found["metadata"].get("deletionTimestamp"):
            return None
        meta = {"name": "default", "namespace": namespace}
        if engine.read(self._accounts, "default", namespace=namespace) is None:
            engine.create(self._accounts, {"metadata": meta}, manager="kube-controller-manager")
        self._bundle(namespace)
        return None

    def _bundle(self, namespace: str) -> None:
        engine = self._engine
        data = {"ca.crt": self._ca}
        live = engine.read(self._maps, _BUNDLE, namespace=namespace)
        if live is None:
            meta = {
                "name": _BUNDLE,
                "namespace": namespace,
                "annotations": {"kubernetes.io/description": _NOTE},
            }
            bundle = {"metadata": meta, "data": data}
            engine.create(self._maps, bundle, manager="kube-controller-manager")
        elif live.get("data") != data:
            live["data"] = data
            engine.update(self._maps, live, manager="kube-controller-manager")
