"""Stored ownership after a schema changed lists or maps from granular to atomic."""

from __future__ import annotations

from devcluster.fields.fieldset import LEAF, PathSet
from devcluster.fields.schema import ANY, Node

__all__ = ["reconciled"]


def reconciled(fields: PathSet, node: Node) -> PathSet:
    """The set as it would be under this schema; itself if nothing is to be changed.

    Whoever owned something inside a list or map that has become atomic owns the whole of it.
    """
    if not fields or (node.element is ANY and not node.fields):
        return fields
    if node.map_atomic or (node.is_list and not node.associative and not node.is_map):
        return LEAF
    out: PathSet | None = None
    for key, below in fields.items():
        if not below:
            continue
        child = (node.fields.get(key[2:]) or node.element) if key[0] == "f" else node.items
        if child is None:
            continue
        new = reconciled(below, child)
        if new is not below:
            out = dict(fields) if out is None else out
            out[key] = new
    return fields if out is None else out
