"""What a fresh cluster contains."""

from __future__ import annotations

from typing import Any

from devcluster.kinds import Kinds
from devcluster.writes import Target, WriteOptions, Writer

__all__ = ["NAMESPACES", "create_namespaces"]

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


def create_namespaces(writer: Writer, kinds: Kinds) -> None:
    """The four namespaces that every cluster has."""
    kind = kinds.for_kind("", "Namespace")
    if kind is None:
        raise LookupError("Namespace is not served")
    options = WriteOptions(manager="kube-apiserver", strictness="Ignore")
    for name in NAMESPACES:
        obj: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name},
        }
        writer.create(Target(kind, name=name), obj, options)
