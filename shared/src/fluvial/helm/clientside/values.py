"""When two JSON values are the same, and how items of lists are sorted and made unique.

The rules are those of Go's values, in which patches are made by Helm: an integer is no float, and
what cannot be compared is compared by its text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["alike", "identity_of", "same", "sorted_scalars", "text_of", "unique"]


def same(left: Any, right: Any) -> bool:
    """Whether values are equal, types and all: ``1`` is neither ``1.0`` nor ``true``."""
    return bool(left == right) and _of_one_type(left, right)


def _of_one_type(left: Any, right: Any) -> bool:
    """Whether equal values have the same types."""
    if isinstance(left, dict):
        return all(_of_one_type(item, right[key]) for key, item in left.items())
    if isinstance(left, list):
        return all(map(_of_one_type, left, right))
    return type(left) is type(right)


def alike(left: Any, right: Any) -> bool:
    """Whether values are equal where there is only one type of number: ``1`` is ``1.0``."""
    if _is_number(left) and _is_number(right):
        return bool(left == right)
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(alike(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(alike, left, right))
    return bool(left == right)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def text_of(value: Any) -> str:
    """A scalar's text, by which it is sorted and found again."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def sorted_scalars(items: Iterable[Any]) -> list[Any]:
    """Scalars in the order of their texts."""
    return sorted(items, key=text_of)


def identity_of(value: Any) -> tuple[type, str]:
    """What only the same scalars have in common, as a key of mappings."""
    return (type(value), text_of(value))


def unique(items: Iterable[Any]) -> list[Any]:
    """Scalars without repetitions, each where it was first."""
    return list({identity_of(item): item for item in items}.values())
