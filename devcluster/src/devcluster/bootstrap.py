"""What a fresh cluster contains."""

from __future__ import annotations

from importlib import resources
from typing import Any

import orjson

from devcluster.engine import Engine
from devcluster.kinds import Kind

__all__ = ["NAMESPACES", "fill"]

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


def fill(engine: Engine) -> None:
    """Namespaces, and the roles and bindings that kube-apiserver and its controllers need.

    What is there already, because the cluster has run before, stays as it is.
    """
    _create_namespaces(engine)
    _create_service(engine)
    _create_priority_classes(engine)
    raw = resources.files("devcluster").joinpath("data/rbac.json").read_bytes()
    for name, objects in orjson.loads(raw).items():
        kind = engine.kind("rbac.authorization.k8s.io", name)
        for obj in objects:
            _create(engine, kind, obj)


def _create(engine: Engine, kind: Kind, obj: dict[str, Any]) -> None:
    meta = obj["metadata"]
    if engine.read(kind, meta["name"], namespace=meta.get("namespace", "")) is None:
        engine.create(kind, obj, manager="kube-apiserver")


def _create_namespaces(engine: Engine) -> None:
    kind = engine.kind("", "Namespace")
    for name in NAMESPACES:
        _create(engine, kind, {"metadata": {"name": name}})


def _create_service(engine: Engine) -> None:
    """``kubernetes`` in the default namespace, at the first address of the range."""
    service = {
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "clusterIP": "10.96.0.1",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
        },
    }
    _create(engine, engine.kind("", "Service"), service)


def _create_priority_classes(engine: Engine) -> None:
    """The two that are there before anybody asks."""
    kind = engine.kind("scheduling.k8s.io", "PriorityClass")
    for name, value, who in (
        (
            "system-cluster-critical",
            2_000_000_000,
            "system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
        (
            "system-node-critical",
            2_000_001_000,
            "system critical pods that must not be moved from their current node.",
        ),
    ):
        obj = {
            "metadata": {"name": name},
            "value": value,
            "description": f"Used for {who}",
            "preemptionPolicy": "PreemptLowerPriority",
        }
        _create(engine, kind, obj)
