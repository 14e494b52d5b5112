"""Sets of an object's fields, and objects without the fields of a set."""

from __future__ import annotations

from typing import Any

from devcluster.fields.fieldset import LEAF, PathSet, is_member
from devcluster.fields.schema import Node
from devcluster.fields.typed import ABSENT, element_of

__all__ = ["field_set", "remove_items", "with_named_fields"]


def field_set(value: Any, node: Node) -> PathSet:
    """What an applied object claims: its leaves, its list items and its free map keys.

    Declared objects on the way to a leaf are not claimed, so that managers can share them.
    """
    return _claims(value, node) or LEAF


def _claims(value: Any, node: Node) -> PathSet | None:
    if isinstance(value, dict) and node.is_map:
        return LEAF if node.map_atomic else _map_claims(value, node)
    if isinstance(value, list) and node.is_list:
        return _list_claims(value, node) if node.associative else LEAF
    if value is None and not node.scalar:
        if node.is_map:
            return LEAF if node.map_atomic else None
        return None if node.associative else LEAF
    return LEAF


def _map_claims(value: dict[str, Any], node: Node) -> PathSet | None:
    fields, element = node.fields, node.element
    out: PathSet = {}
    for key, item in value.items():
        child = fields.get(key)
        claim = child is None or item is None or item == {}
        child = child or element
        if child is None:
            continue
        below = _claims(item, child)
        if claim:
            out["f:" + key] = _claimed(below)
        elif below is not None:
            out["f:" + key] = below
    return out or None


def _list_claims(value: list[Any], node: Node) -> PathSet | None:
    out: PathSet = {}
    twice: set[str] = set()
    child = node.items
    if child is None:
        return None
    for item in value:
        element = element_of(item, node)
        if element in out:
            twice.add(element)
        out[element] = _claimed(_claims(item, child))
    for element in twice:
        out[element] = LEAF
    return out or None


def _claimed(below: PathSet | None) -> PathSet:
    if not below or "." in below:
        return below or LEAF
    return {".": LEAF, **below}


def with_named_fields(fields: PathSet, node: Node | None) -> PathSet:
    """The set with every declared object on the way to a member made a member too."""
    out: PathSet = {}
    for key, below in fields.items():
        if key == "." or not below:
            out[key] = below
            continue
        child = _child(key, node)
        deeper = with_named_fields(below, child)
        named = node is not None and key[0] == "f" and key[2:] in node.fields
        out[key] = {".": LEAF, **deeper} if named and "." not in deeper else deeper
    return out


def _child(key: str, node: Node | None) -> Node | None:
    if node is None:
        return None
    if key[0] == "f":
        return node.fields.get(key[2:]) or node.element
    return node.items


def remove_items(value: Any, fields: PathSet, node: Node) -> Any:
    """The value without the fields and items of the set; ABSENT if nothing is left.

    Atomic lists and maps that have anything removed below them go as a whole.
    """
    if isinstance(value, dict) and node.is_map:
        return _remove_fields(value, fields, node)
    if isinstance(value, list) and node.is_list:
        return _remove_from_list(value, fields, node)
    return value


def _remove_fields(value: dict[str, Any], fields: PathSet, node: Node) -> Any:
    if not value or node.map_atomic:
        return ABSENT
    out: dict[str, Any] = {}
    for key, item in value.items():
        below = fields.get("f:" + key)
        if below is None:
            out[key] = item
            continue
        if is_member(below):
            continue
        child = node.fields.get(key) or node.element
        rest = remove_items(item, below, child) if child is not None else item
        out[key] = None if rest is ABSENT else rest
    return out or ABSENT


def _remove_from_list(value: list[Any], fields: PathSet, node: Node) -> Any:
    if not value or not node.associative:
        return ABSENT
    out: list[Any] = []
    for item in value:
        below = fields.get(element_of(item, node))
        if below is None:
            out.append(item)
        elif not is_member(below) and node.items is not None:
            rest = remove_items(item, below, node.items)
            out.append(None if rest is ABSENT else rest)
    return out or ABSENT
