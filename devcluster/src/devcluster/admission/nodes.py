"""Admission of nodes."""

from __future__ import annotations

from typing import Any

from devcluster.kinds import Target
from devcluster.writes import WriteOptions

__all__ = ["node_taints"]

JsonObject = dict[str, Any]
_NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


def node_taints(
    target: Target, new: JsonObject, old: JsonObject | None, options: WriteOptions
) -> None:
    """A new node is not ready, and says so before any controller has looked at it."""
    del options
    if old is not None or target.kind.table != ("", "nodes"):
        return
    spec = new.setdefault("spec", {})
    taints = spec.get("taints") or []
    if not any(taint.get("key") == _NOT_READY["key"] for taint in taints):
        spec["taints"] = [*taints, dict(_NOT_READY)]
