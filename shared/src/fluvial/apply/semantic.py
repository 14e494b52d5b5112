"""When two JSON values mean the same to Kubernetes."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Any

__all__ = ["equal", "parse_quantity"]

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?\d+)?")
_SUFFIX = {
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
}
# Elsewhere "1" and "1000m" are just two texts: an environment variable, an argument.
_QUANTITY_PARENTS = frozenset(
    {"limits", "requests", "capacity", "allocatable", "hard", "used", "overhead",
     "min", "max", "default", "defaultRequest", "maxLimitRequestRatio"}
)  # fmt: skip


def parse_quantity(text: str) -> Decimal | None:
    """The number that a quantity such as ``100m``, ``1Gi`` or ``2e3`` means, or ``None``."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    number, suffix = match.groups()
    try:
        if suffix and suffix[0] in "eE" and len(suffix) > 1 and suffix not in _SUFFIX:
            return Decimal(number + suffix)
        return Decimal(number) * _SUFFIX.get(suffix or "", Decimal(1))
    except InvalidOperation:
        return None


def equal(left: Any, right: Any, *, parent: str = "") -> bool:
    """Whether two values are the same: 1 and 1.0 are, null, absent, {} and [] may be.

    Null is the same as absence and as an empty map or list. Absent and empty are not the same:
    ``emptyDir: {}`` says something. Quantities are compared as numbers under the names that hold
    resource lists.
    """
    if left is None or right is None:
        return (right if left is None else left) in (None, {}, [])
    if isinstance(left, dict) and isinstance(right, dict):
        return _equal_maps(left, right, parent=parent)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal, left, right))
    return _equal_scalars(left, right, parent=parent)


def _equal_scalars(left: Any, right: Any, *, parent: str) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if parent in _QUANTITY_PARENTS and _same_quantity(left, right):
        return True
    if isinstance(left, int | float) and isinstance(right, int | float):
        return left == right
    return type(left) is type(right) and bool(left == right)


def _equal_maps(left: dict[str, Any], right: dict[str, Any], *, parent: str) -> bool:
    for key in left.keys() | right.keys():
        if key not in left or key not in right:
            if (right if key not in left else left)[key] is not None:
                return False
            continue
        inner = parent if parent in _QUANTITY_PARENTS else key
        if isinstance(left[key], dict):
            inner = key
        if not equal(left[key], right[key], parent=inner):
            return False
    return True


def _same_quantity(left: Any, right: Any) -> bool:
    if not isinstance(left, str | int | float) or not isinstance(right, str | int | float):
        return False
    first = parse_quantity(str(left))
    return first is not None and first == parse_quantity(str(right))
