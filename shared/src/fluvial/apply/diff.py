"""Differences between a live object and what the server would make of it.

Compared as in Flux: labels and annotations in full, the body without metadata and
status semantically. Finalizers and owner references are compared too, so that a change to them
alone is not lost. Everything that is kept is masked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from fluvial.apply.hashing import canonical
from fluvial.apply.masking import LAST_APPLIED, MASK, Masker, is_secret
from fluvial.apply.semantic import equal
from fluvial.objects import JsonObject

__all__ = ["Difference", "ObjectDiff", "compare"]

_METADATA = ("labels", "annotations", "finalizers", "ownerReferences")
_ABSENT: Any = object()
_CLIP = 200


@dataclass(frozen=True, slots=True)
class Difference:
    """One path (a JSON pointer) and its two values, masked; ``None`` is absent."""

    path: str
    before: Any
    after: Any

    def __str__(self) -> str:
        if self.before is None:
            return f"+ {self.path}: {_show(self.after)}"
        if self.after is None:
            return f"- {self.path}: {_show(self.before)}"
        return f"~ {self.path}: {_show(self.before)} -> {_show(self.after)}"


@dataclass(frozen=True, slots=True)
class ObjectDiff:
    """All differences of one object, by path."""

    differences: tuple[Difference, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.differences)

    def text(self) -> str:
        """A readable form, one line a difference: ``~ /spec/replicas: 1 -> 2``."""
        return "\n".join(map(str, self.differences))


def compare(live: JsonObject, result: JsonObject, *, masker: Masker) -> ObjectDiff:
    """What would change in ``live`` if it became ``result`` (the server's dry run)."""
    before, after = _comparable(live), _comparable(result)
    if canonical(before) == canonical(after):
        return ObjectDiff()
    secret = is_secret(live) or is_secret(result)
    return ObjectDiff(
        tuple(
            _mask(one, masker=masker, secret=secret)
            for one in _walk(before, after, path="", parent="")
        )
    )


def _comparable(obj: JsonObject) -> JsonObject:
    body = {
        key: value
        for key, value in obj.items()
        if key not in {"status", "metadata", "apiVersion", "kind"}
    }
    metadata = obj.get("metadata") or {}
    body["metadata"] = {key: metadata[key] for key in _METADATA if metadata.get(key)}
    return body


def _walk(before: Any, after: Any, *, path: str, parent: str) -> Iterator[Difference]:
    if before is _ABSENT or after is _ABSENT:
        value = after if before is _ABSENT else before
        if value is not None:
            yield Difference(
                path, None if before is _ABSENT else before, None if after is _ABSENT else after
            )
    elif isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            inner = key if isinstance(after.get(key, before.get(key)), dict) else parent or key
            yield from _walk(
                before.get(key, _ABSENT),
                after.get(key, _ABSENT),
                path=f"{path}/{key.replace('~', '~0').replace('/', '~1')}",
                parent=inner,
            )
    elif isinstance(before, list) and isinstance(after, list):
        for index, (old, new) in _pairs(before, after):
            yield from _walk(old, new, path=f"{path}/{index}", parent="")
    elif not equal(before, after, parent=parent):
        yield Difference(path, before, after)


def _pairs(before: list[Any], after: list[Any]) -> Iterator[tuple[int, tuple[Any, Any]]]:
    """Elements that belong together: by name where all have one, else by position.

    The index is the one in ``after``, or in ``before`` for what is gone.
    """
    old_names, new_names = _names(before), _names(after)
    if old_names is None or new_names is None or before == [] or after == []:
        for index in range(max(len(before), len(after))):
            old = before[index] if index < len(before) else _ABSENT
            new = after[index] if index < len(after) else _ABSENT
            yield index, (old, new)
        return
    common_old = [name for name in old_names if name in new_names]
    common_new = [name for name in new_names if name in old_names]
    for name, index in new_names.items():
        yield index, (before[old_names[name]] if name in old_names else _ABSENT, after[index])
    for name, index in old_names.items():
        if name not in new_names:
            yield index, (before[index], _ABSENT)
    if common_old != common_new:
        for name in (one for one, two in zip(common_old, common_new, strict=True) if one != two):
            yield new_names[name], ({"name": name, "position": old_names[name]},
                                    {"name": name, "position": new_names[name]})  # fmt: skip


def _names(items: list[Any]) -> dict[str, int] | None:
    names: dict[str, int] = {}
    for index, item in enumerate(items):
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(name, str) or name in names:
            return None
        names[name] = index
    return names


def _mask(one: Difference, *, masker: Masker, secret: bool) -> Difference:
    pointer = LAST_APPLIED.replace("/", "~1")
    hidden = secret and one.path.startswith(("/data", "/stringData"))
    if hidden or one.path.endswith(f"/{pointer}"):
        return _hide(one)
    before, after = _masked(one.before, masker), _masked(one.after, masker)
    path = _masked(one.path, masker)
    if None not in (before, after) and _stars_in(before) != _stars_in(after):
        # A Secret has changed: what it had before is as secret, and nobody knows it any more.
        return _hide(Difference(path, one.before, one.after))
    return Difference(path, before, after)


def _stars_in(masked: Any) -> int:
    return masked.count(MASK) if isinstance(masked, str) else 0


def _hide(one: Difference) -> Difference:
    if one.before is None or one.after is None:
        return Difference(
            one.path, one.before and _stars(one.before, ""), one.after and _stars(one.after, "")
        )
    return Difference(one.path, _stars(one.before, " (before)"), _stars(one.after, " (after)"))


def _stars(value: Any, note: str) -> Any:
    if isinstance(value, dict):
        return {key: _stars(item, note) for key, item in value.items()}
    return MASK + note


def _masked(value: Any, masker: Masker) -> Any:
    if isinstance(value, dict):
        return {
            masker.text(key): MASK if key == LAST_APPLIED else _masked(item, masker)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_masked(item, masker) for item in value]
    if isinstance(value, str):
        return masker.text(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        text = str(value)
        return MASK if masker.text(text) != text else value
    return value


def _show(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= _CLIP else text[: _CLIP - 3] + "..."
