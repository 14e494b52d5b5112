"""JSON pointers (RFC 6901) and patches (RFC 6902) between a live object and a wanted one."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any, Final

from fluvial.apply.semantic import equal
from fluvial.objects import JsonObject

__all__ = ["patch_between", "with_values_of"]

_ABSENT: Final[Any] = object()
_NOT_COMPARED: Final = frozenset({"apiVersion", "kind", "metadata", "status"})


def with_values_of(wanted: JsonObject, live: JsonObject, paths: Iterable[str]) -> JsonObject:
    """The wanted object with what is live at some paths, present or not; neither is changed.

    Args:
        wanted: what the server would make of it.
        live: as it is.
        paths: JSON pointers; one that leads nowhere does nothing.

    """
    result = copy.deepcopy(wanted)
    for path in paths:
        steps = _steps(path)
        if steps:
            _put(result, steps, _get(live, steps))
    return result


def patch_between(live: JsonObject, wanted: JsonObject) -> list[JsonObject]:
    """The JSON patch that makes a live object the wanted one.

    Labels and annotations are added or changed, never removed; other metadata and the status are
    left alone. Lists are replaced as a whole.
    """
    patch: list[JsonObject] = []
    for name in ("labels", "annotations"):
        before = (live.get("metadata") or {}).get(name)
        after = (wanted.get("metadata") or {}).get(name) or {}
        missing = {key: text for key, text in after.items() if (before or {}).get(key) != text}
        if missing and not before:
            patch.append({"op": "add", "path": f"/metadata/{name}", "value": missing})
            continue
        patch += [
            {
                "op": "replace" if key in (before or {}) else "add",
                "path": f"/metadata/{name}/{_escape(key)}",
                "value": text,
            }
            for key, text in missing.items()
        ]
    old = {key: value for key, value in live.items() if key not in _NOT_COMPARED}
    new = {key: value for key, value in wanted.items() if key not in _NOT_COMPARED}
    return [*patch, *_between(old, new, path="", parent="")]


def _between(before: Any, after: Any, *, path: str, parent: str) -> Iterator[JsonObject]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            place = f"{path}/{_escape(key)}"
            if key not in after:
                yield {"op": "remove", "path": place}
            elif key not in before:
                yield {"op": "add", "path": place, "value": after[key]}
            else:
                inner = key if isinstance(after[key], dict) else parent or key
                yield from _between(before[key], after[key], path=place, parent=inner)
    elif not equal(before, after, parent=parent):
        yield {"op": "replace", "path": path, "value": after}


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _steps(path: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]


def _get(value: Any, steps: list[str]) -> Any:
    for step in steps:
        value = _child(value, step)
    return value


def _child(value: Any, step: str) -> Any:
    if isinstance(value, dict):
        return value.get(step, _ABSENT)
    if isinstance(value, list) and step.isdigit() and int(step) < len(value):
        return value[int(step)]
    return _ABSENT


def _put(root: Any, steps: list[str], value: Any) -> None:
    """Set or remove what is at a path, if what it is in is there; make maps that live has."""
    *parents, last = steps
    place = root
    for step in parents:
        inner = _child(place, step)
        if inner is _ABSENT:
            if value is _ABSENT or not isinstance(place, dict):
                return
            inner = place[step] = {}
        place = inner
    if isinstance(place, dict):
        if value is _ABSENT:
            place.pop(last, None)
        else:
            place[last] = copy.deepcopy(value)
    elif isinstance(place, list) and last.isdigit() and int(last) < len(place):
        if value is _ABSENT:
            del place[int(last)]
        else:
            place[int(last)] = copy.deepcopy(value)
