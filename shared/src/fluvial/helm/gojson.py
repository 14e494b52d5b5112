"""JSON exactly as Go's ``encoding/json`` writes it.

Helm writes releases with it, and snapshots are told apart by a digest of its very bytes, so they
must not differ by a single one: keys of maps are sorted, ``<``, ``>``, ``&`` and the two Unicode
line separators are escaped everywhere, and a number that was read is a float64, written with as
few digits as tell it apart, and with an exponent only below 1e-6 and from 1e21 on.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import orjson

__all__ = ["as_read", "dumps", "float_text"]

_ESCAPES = (
    (b"&", b"\\u0026"),
    (b"<", b"\\u003c"),
    (b">", b"\\u003e"),
    ("\u2028".encode(), b"\\u2028"),
    ("\u2029".encode(), b"\\u2029"),
)
_EXACT = 2**53


def dumps(value: Any) -> bytes:
    """A value whose dicts have the order in which they are to be written.

    Args:
        value: dicts with string keys, lists, strings, numbers, booleans, ``None``; maps that a
            user gave went through ``as_read``. ``orjson.Fragment`` is written as it is.

    Raises:
        ValueError: it is not JSON: a number that is not finite, a lone surrogate.

    """
    try:
        data = orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise ValueError(str(error)) from None
    # These characters occur nowhere in JSON but within strings.
    for character, escape in _ESCAPES:
        if character in data:
            data = data.replace(character, escape)
    return data


def as_read(value: Any) -> Any:
    """What Go has after it read the value: keys sorted, every number a float64."""
    if isinstance(value, dict):
        return {key: as_read(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [as_read(item) for item in value]
    if isinstance(value, float) or (
        isinstance(value, int) and not isinstance(value, bool) and abs(value) > _EXACT
    ):
        return orjson.Fragment(float_text(_float(value)).encode())
    return value


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ValueError("a number is larger than JSON's readers take") from None


def float_text(value: float) -> str:
    """A float64 as Go's JSON has it.

    Raises:
        ValueError: infinity or not-a-number.

    """
    if not math.isfinite(value):
        raise ValueError("JSON has no infinity and no not-a-number")
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    number = Decimal(repr(value)).normalize()
    if 1e-6 <= abs(value) < 1e21:
        return f"{number:f}"
    sign, digits, _ = number.as_tuple()
    mantissa = "".join(map(str, digits))
    fraction = f".{mantissa[1:]}" if len(mantissa) > 1 else ""
    return f"{'-' * sign}{mantissa[0]}{fraction}e{number.adjusted():+d}"
