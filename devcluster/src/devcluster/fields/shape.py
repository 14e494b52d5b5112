"""What of an object its conformance and its fields depend on: everything but plain texts.

Two applied configurations with the same shape claim the same fields and fit or do not fit their
schema alike, because a text where the schema has a string is always right, whatever it says, and
claims the same path. What a path is made of stays: keys of maps, key fields of list items, items
of sets. So a thousand objects from one template, or one object with ever new images, are checked
once.
"""

from __future__ import annotations

from typing import Any

import orjson

from devcluster.fields.schema import Node

__all__ = ["shape_of"]


def shape_of(config: dict[str, Any], root: Node) -> bytes:
    """The shape of an applied configuration, as a key for what has been found out about it.

    Raises:
        TypeError: a value that JSON text cannot carry here.

    """
    return orjson.dumps(_map(config, root))


def _map(value: dict[str, Any], node: Node) -> dict[str, Any]:
    fields, element = node.fields, node.element
    out: dict[str, Any] = {}
    for key, item in value.items():
        kind = type(item)
        if kind is str:
            child = fields.get(key) or element
            out[key] = "" if child is not None and child.form == "string" else item
        elif kind is dict or kind is list:
            child = fields.get(key) or element
            if child is None:
                out[key] = item
            else:
                out[key] = _map(item, child) if kind is dict else _list(item, child)
        else:
            out[key] = item
    return out


def _list(value: list[Any], node: Node) -> list[Any]:
    child, keys = node.items, node.keys
    if child is None or (node.associative and not keys):
        return value
    out: list[Any] = []
    for item in value:
        if type(item) is dict:
            shape = _map(item, child)
            for key in keys:
                if key in item:
                    shape[key] = item[key]
            out.append(shape)
        else:
            out.append(_list(item, child) if type(item) is list else item)
    return out
