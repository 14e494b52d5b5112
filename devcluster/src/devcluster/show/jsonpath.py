"""The part of JSONPath that printer columns and selectable fields use."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["find"]

_STEP = re.compile(
    r"""\.?(?:
        \[\?\(\s*@\.(?P<key>[\w.\\/-]+)\s*(?P<op>==|!=)\s*(?P<quote>["']?)(?P<value>[^"')]*)(?P=quote)\s*\)\]
      | \[(?P<q>["'])(?P<quoted>.*?)(?P=q)\]
      | \[(?P<index>-?\d+)\]
      | \[(?P<all>\*)\]
      | (?P<name>(?:\\.|[^.\[\]\\])+)
    )""",
    re.VERBOSE,
)


def find(path: str, obj: Any) -> list[Any]:
    """The values at ``path`` (``.spec.x``, ``.a[?(@.type=="Ready")].status``); none when absent."""
    path = path.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    found = [obj]
    at = 0
    while at < len(path) and found:
        step = _STEP.match(path, at)
        if step is None or step.end() == at:
            return []
        found = [value for item in found for value in _apply(step, item)]
        at = step.end()
    return found


def _apply(step: re.Match[str], item: Any) -> list[Any]:
    name = step["quoted"] if step["quoted"] is not None else step["name"]
    if name is not None:
        key = re.sub(r"\\(.)", r"\1", name)
        return [item[key]] if isinstance(item, dict) and key in item else []
    if step["all"]:
        return list(item.values()) if isinstance(item, dict) else _items(item)
    if step["index"] is not None:
        items, index = _items(item), int(step["index"])
        return [items[index]] if -len(items) <= index < len(items) else []
    equal = step["op"] == "=="
    return [
        element
        for element in _items(item)
        if (_text(find("." + step["key"], element)) == step["value"]) is equal
    ]


def _items(item: Any) -> list[Any]:
    return item if isinstance(item, list) else []


def _text(values: list[Any]) -> str | None:
    if not values:
        return None
    value = values[0]
    return str(value).lower() if isinstance(value, bool) else str(value)
