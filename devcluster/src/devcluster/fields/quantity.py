"""Kubernetes quantities: parsing and the canonical form in which the server writes them back."""

from __future__ import annotations

import functools
import re
from decimal import ROUND_CEILING, Decimal

__all__ = ["canonical", "in_thousandths", "parse", "valid"]

_PATTERN = re.compile(
    r"^([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([KMGTPE]i)|([numkMGTPE])|([eE][+-]?[0-9]+))?$"
)
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()} | {0: ""}
_NANO = Decimal("1e-9")
_MILLI = Decimal("1e-3")
_MOST = Decimal(2**63 - 1)


def valid(text: str) -> bool:
    """Whether the text is a quantity."""
    return _PATTERN.match(text) is not None


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> Decimal:
    """The value, rounded up to a billionth as the server does.

    Raises:
        ValueError: the text is no quantity.

    """
    return _parts(text)[0]


@functools.lru_cache(maxsize=4096)
def canonical(text: str) -> str:
    """``1000m`` as ``1``, ``1024Mi`` as ``1Gi``, ``0.5`` as ``500m``.

    Raises:
        ValueError: the text is no quantity.

    """
    made = _canonical(*_parts(text))
    return text if _plain(text) == made else made


@functools.lru_cache(maxsize=4096)
def in_thousandths(text: str) -> str:
    """``canonical``, rounded up to a thousandth, as amounts of resources are.

    Raises:
        ValueError: the text is no quantity.

    """
    value, form = _parts(text)
    rounded = value.quantize(_MILLI, rounding=ROUND_CEILING)
    return canonical(text) if rounded == value else _canonical(rounded, form)


def _plain(text: str) -> str:
    """Without what is no part of the number: a plus sign, zeros in front, a point at the end."""
    match = _PATTERN.match(text)
    number = match[1].removeprefix("+").lstrip("0").removesuffix(".") if match else ""
    return (number + text[len(match[1]) :]).replace("E", "e", 1) if match and number else text


def _canonical(value: Decimal, form: str) -> str:
    if value == 0:
        return "0"
    if form == "binary" and (abs(value) < 1024 or value != value.to_integral_value()):
        form = "decimal"
    if form == "binary":
        return _binary(int(value))
    digits, exponent = _scaled(value)
    if form == "exponent":
        return f"{digits}e{exponent}" if exponent else str(digits)
    return f"{digits}{_SUFFIX[exponent]}"


def _parts(text: str) -> tuple[Decimal, str]:
    match = _PATTERN.match(text)
    if match is None:
        raise ValueError(
            "quantities must match the regular expression"
            " '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        )
    number, binary, decimal, exponent = match.groups()
    value = Decimal(number)
    form = "decimal"
    if binary:
        value *= Decimal(1024) ** _BINARY[binary]
        form = "binary"
    elif decimal:
        value = value.scaleb(_DECIMAL[decimal])
    elif exponent:
        value = value.scaleb(int(exponent[1:]))
        form = "exponent"
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -9:
        value = value.quantize(_NANO, rounding=ROUND_CEILING)
    return max(-_MOST, min(_MOST, value)) if binary else value, form


def _binary(value: int) -> str:
    power = 0
    while power < 6 and value % 1024 == 0:
        value //= 1024
        power += 1
    suffix = next((name for name, at in _BINARY.items() if at == power), "")
    return f"{value}{suffix}"


def _scaled(value: Decimal) -> tuple[int, int]:
    """The integer digits and the exponent, a multiple of three, that are the shortest."""
    exponent = 18
    while exponent > -9:
        scaled = value.scaleb(-exponent)
        if scaled == scaled.to_integral_value():
            return int(scaled), exponent
        exponent -= 3
    return int(value.scaleb(9)), -9
