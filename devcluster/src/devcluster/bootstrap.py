"""What a fresh cluster contains."""

from __future__ import annotations

from importlib import resources

import orjson

from devcluster.engine import Engine

__all__ = ["NAMESPACES", "fill"]

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


def fill(engine: Engine) -> None:
    """Namespaces, and the roles and bindings that kube-apiserver and its controllers need."""
    _create_namespaces(engine)
    raw = resources.files("devcluster").joinpath("data/rbac.json").read_bytes()
    for name, objects in orjson.loads(raw).items():
        kind = engine.kind("rbac.authorization.k8s.io", name)
        for obj in objects:
            engine.create(kind, obj, manager="kube-apiserver")


def _create_namespaces(engine: Engine) -> None:
    kind = engine.kind("", "Namespace")
    for name in NAMESPACES:
        engine.create(kind, {"metadata": {"name": name}}, manager="kube-apiserver")
