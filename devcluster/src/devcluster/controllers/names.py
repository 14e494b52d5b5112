"""Which names of a definition are taken by another definition of its group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Claim", "claim"]

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Claim:
    """The names that a definition has now; ``reason`` is empty when it has all it wants."""

    names: JsonObject
    reason: str = ""
    message: str = ""


def claim(wanted: Mapping[str, Any], had: Mapping[str, Any], others: Iterable[JsonObject]) -> Claim:
    """Give each name that is free; a definition keeps what it had of those that are not.

    Args:
        wanted: ``spec.names``.
        had: ``status.acceptedNames``.
        others: the accepted names of all other definitions of the group.

    """
    resources: set[str] = set()
    kinds: set[str] = set()
    for names in others:
        resources |= {names.get("plural", ""), names.get("singular", "")}
        resources.update(names.get("shortNames") or ())
        kinds |= {names.get("kind", ""), names.get("listKind", "")}
    got = dict(had)
    reason = message = ""
    for name, used, why in (
        ("plural", resources, "PluralConflict"),
        ("singular", resources, "SingularConflict"),
        ("shortNames", resources, "ShortNamesConflict"),
        ("kind", kinds, "KindConflict"),
        ("listKind", kinds, "ListKindConflict"),
    ):
        taken = _taken(wanted.get(name), had.get(name), used)
        if taken:
            reason = why
            message = taken[0] if len(taken) == 1 else f"[{', '.join(taken)}]"
        elif name in wanted:
            got[name] = wanted[name]
        else:
            got.pop(name, None)
    got.pop("categories", None)
    if wanted.get("categories"):
        got["categories"] = wanted["categories"]
    return Claim(got, reason, message)


def _taken(wanted: Any, had: Any, used: set[str]) -> list[str]:
    if wanted == had:
        return []
    listed = wanted if isinstance(wanted, list) else [wanted]
    kept = had if isinstance(had, list) else [had]
    return [f'"{name}" is already in use' for name in listed if name in used and name not in kept]
