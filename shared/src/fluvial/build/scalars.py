"""What a scalar means: YAML 1.1 as Kubernetes reads it.

The rules are those of the Go library behind every Kubernetes tool, told by a table of recorded
answers rather than by the YAML standard: ``y`` and ``on`` are booleans, ``0o17`` and ``017`` are
15, ``08`` is 8, ``1_000`` is 1000, ``1:30`` and dates are strings.
"""

from __future__ import annotations

import functools
import math
import re
import struct
from typing import Final, Literal

__all__ = ["RESOLVABLE_FIRST", "UnrepresentableNumber", "float_text", "key_text", "plain"]

RESOLVABLE_FIRST: Final = frozenset("0123456789+-.~yYnNtTfFoO")
"""First characters of plain scalars that may mean something other than themselves."""

_WORDS: Final[dict[str, bool | None]] = {
    "": None,
    **dict.fromkeys(("~", "null", "Null", "NULL"), None),
    **dict.fromkeys(
        ["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"], True
    ),
    **dict.fromkeys(
        ["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"], False
    ),
}
_NOT_JSON: Final = frozenset(
    sign + word
    for sign, words in (
        ("", (".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN")),
        ("+", (".inf", ".Inf", ".INF")),
        ("-", (".inf", ".Inf", ".INF")),
    )
    for word in words
)
_INTEGER: Final = re.compile(
    r"[-+]?(?:0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0[bB][01]+|[1-9][0-9]*|0)", re.ASCII
)
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_MAX_UINT64: Final = 2**64 - 1
_MIN_INT64: Final = -(2**63)
_MAX_NUMBER_LENGTH: Final = 400


class UnrepresentableNumber(ValueError):
    """Infinity or not-a-number, which JSON does not have."""


@functools.lru_cache(maxsize=4096)
def plain(text: str) -> str | int | float | bool | None:
    """The value of a plain scalar.

    Raises:
        UnrepresentableNumber: the text means infinity or not-a-number.

    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in RESOLVABLE_FIRST:
        return text
    if text in _NOT_JSON:
        raise UnrepresentableNumber(f"{text} is not a number that JSON has")
    if text[0] not in "+-.0123456789" or len(text) > _MAX_NUMBER_LENGTH:
        return text
    number = _number(text if text[0] == "." else text.replace("_", ""))
    return text if number is None else number


def _number(text: str) -> int | float | None:
    if _INTEGER.fullmatch(text):
        value = _integer(text)
        if _MIN_INT64 <= value <= _MAX_UINT64:
            return value
    if _FLOAT.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else None
    return None


def _integer(text: str) -> int:
    sign = -1 if text[0] == "-" else 1
    digits = text.lstrip("+-")
    if digits[:2].lower() in {"0x", "0o", "0b"}:
        return sign * int(digits, 0)
    return sign * int(digits, 8 if digits[0] == "0" else 10)


def key_text(value: str | float | bool) -> str:  # noqa: FBT001 - the value itself
    """A mapping key as JSON has it: booleans and numbers become their text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return float_text(value, bits=32)


def float_text(value: float, *, bits: Literal[32, 64]) -> str:
    """The shortest text that is this number with so many bits, in the form of C's ``%g``."""
    mantissa, _, exponent_text = _shortest(value, bits).partition("e")
    exponent = int(exponent_text)
    if exponent < -4 or exponent >= 6:
        return f"{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"
    decimals = len(mantissa.lstrip("-").replace(".", "")) - 1 - exponent
    return f"{float(f'{mantissa}e{exponent}'):.{max(decimals, 0)}f}"


def _shortest(value: float, bits: Literal[32, 64]) -> str:
    """Scientific notation with as few digits as tell the number apart."""
    code = "f" if bits == 32 else "d"
    try:
        wanted = struct.pack(code, value)
        for digits in range(17):
            text = f"{value:.{digits}e}"
            if struct.pack(code, float(text)) == wanted:
                return text
    except OverflowError:
        pass
    return f"{value:.16e}"
