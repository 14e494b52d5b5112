"""Whether an applied object fits its schema, in the words of structured-merge-diff."""

from __future__ import annotations

from typing import Any

from devcluster.fields.fieldset import path_text
from devcluster.fields.gotext import go_source, go_value
from devcluster.fields.schema import Node
from devcluster.fields.typed import element_of

__all__ = ["check"]


def check(value: Any, node: Node) -> list[str]:
    """The violations, each as ``.path: reason``; empty if the value fits."""
    found: list[str] = []
    _value(value, node, "", found)
    return found


def _value(value: Any, node: Node, path: str, found: list[str]) -> None:
    if isinstance(value, dict) and node.is_map:
        _map(value, node, path, found)
    elif isinstance(value, list) and node.is_list:
        _list(value, node, path, found)
    elif value is None or (node.scalar == "untyped" and not isinstance(value, dict | list)):
        return
    elif node.is_map:
        found.append(_say(path, f"expected map, got &{{{go_value(value)}}}"))
    elif node.scalar:
        _scalar(value, node.scalar, path, found)
    elif node.is_list:
        found.append(_say(path, f"expected list, got &{{{go_value(value)}}}"))


def _map(value: dict[str, Any], node: Node, path: str, found: list[str]) -> None:
    fields, element = node.fields, node.element
    for key, item in value.items():
        child = fields.get(key) or element
        if child is None:
            found.append(_say(f"{path}.{key}", "field not declared in schema"))
            return
        if child.scalar and child.form == "string" and isinstance(item, str):
            continue
        _value(item, child, f"{path}.{key}", found)


def _list(value: list[Any], node: Node, path: str, found: list[str]) -> None:
    child = node.items
    if child is None:
        return
    seen: set[str] = set()
    for index, item in enumerate(value):
        if not node.associative:
            _value(item, child, f"{path}[{index}]", found)
            continue
        try:
            element = element_of(item, node)
        except ValueError as problem:
            found.append(_say(path, f"element {index}: {problem}"))
            return
        text = path_text((element,))
        if element in seen:
            found.append(_say(path, f"duplicate entries for key {text}"))
        seen.add(element)
        _value(item, child, path + text, found)


def _scalar(value: Any, kind: str, path: str, found: list[str]) -> None:
    if isinstance(value, dict | list):
        fits = False
    elif kind == "numeric":
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    elif kind == "string":
        fits = isinstance(value, str)
    elif kind == "boolean":
        fits = isinstance(value, bool)
    else:
        fits = True
    if fits:
        return
    wanted = {
        "numeric": f"expected numeric (int or float), got {_go_type(value)}",
        "string": f"expected string, got &value.valueUnstructured{{Value:{go_source(value)}}}",
        "boolean": f"expected boolean, got &{{{go_value(value)}}}",
        "untyped": f"expected any scalar, got &{{{go_value(value)}}}",
    }
    found.append(_say(path, wanted[kind]))


def _say(path: str, reason: str) -> str:
    return f"{path}: {reason}" if path else reason


def _go_type(value: Any) -> str:
    names: list[tuple[type, str]] = [
        (bool, "bool"),
        (str, "string"),
        (int, "int64"),
        (float, "float64"),
        (dict, "map[string]interface {}"),
    ]
    return next((name for kind, name in names if isinstance(value, kind)), "[]interface {}")
