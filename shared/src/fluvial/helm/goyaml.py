"""Values as the YAML whose digest is published, byte for byte as Go's ``yaml.v2`` writes it.

Its emitter descends from the library that emits here, its choice of style is its own: a string is
quoted if it would be read as something else, and what is read as something else includes dates
that exist (``2020-01-01``), not dates that do not (``2020-13-45``).

Known to differ, since nobody has such values: strings that begin with a byte order mark, and
single lines that contain a Unicode line separator.
"""

from __future__ import annotations

import calendar
import io
import re
from typing import Any, Final, Literal

import yaml as pyyaml
from yaml import _yaml

from fluvial.build import scalars

__all__ = ["dumps"]

_INT64: Final = (-(2**63), 2**63 - 1)
_UINT64: Final = 2**64
_EXACT: Final = 2**53

_SEXAGESIMAL: Final = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?", re.ASCII)
_DATE: Final = re.compile(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
    r"(?:([Tt ])([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:[.,][0-9]+)?"
    r"(Z|[-+]([0-9]{2}):([0-9]{2}))?)?",
    re.ASCII,
)
_ODD_NUMBER: Final = re.compile(r"\.[0-9]+(?:_[0-9]+)+(?:[eE][-+]?[0-9]+)?|0b[-+][01_]+", re.ASCII)
_START = pyyaml.DocumentStartEvent(explicit=False)
_END = pyyaml.DocumentEndEvent(explicit=False)


def dumps(values: dict[str, Any]) -> bytes:
    """A map of values, keys sorted at every level.

    Args:
        values: not empty; dicts with string keys, lists, strings, numbers, booleans, ``None``.

    """
    stream = io.BytesIO()
    emitter = _yaml.CEmitter(stream, encoding="utf-8", allow_unicode=True, width=80)
    emitter.emit(pyyaml.StreamStartEvent(encoding="utf-8"))
    emitter.emit(_START)
    _emit(emitter, values)
    emitter.emit(_END)
    # Not the end of the stream: Go does not end it either, and so writes no marker there.
    return stream.getvalue()


def _emit(emitter: _yaml.CEmitter, value: Any) -> None:
    if isinstance(value, dict):
        emitter.emit(pyyaml.MappingStartEvent(None, None, implicit=True, flow_style=False))
        for key in sorted(value):
            emitter.emit(_scalar(key, _style(key)))
            _emit(emitter, value[key])
        emitter.emit(pyyaml.MappingEndEvent())
    elif isinstance(value, list | tuple):
        emitter.emit(pyyaml.SequenceStartEvent(None, None, implicit=True, flow_style=False))
        for item in value:
            _emit(emitter, item)
        emitter.emit(pyyaml.SequenceEndEvent())
    elif isinstance(value, str):
        emitter.emit(_scalar(value, _style(value)))
    else:
        emitter.emit(_scalar(_literal(value), ""))


def _scalar(text: str, style: Literal["", '"', "|"]) -> pyyaml.ScalarEvent:
    return pyyaml.ScalarEvent(None, None, (True, True), text, style=style)


def _style(text: str) -> Literal["", '"', "|"]:
    if "\n" in text:
        return "|"
    if not text:
        return '"'
    if text[0] not in scalars.RESOLVABLE_FIRST:
        return ""
    return "" if _means_itself(text) else '"'


def _means_itself(text: str) -> bool:
    """Whether a plain scalar is read as this very string by old and new readers."""
    if _SEXAGESIMAL.fullmatch(text) or _ODD_NUMBER.fullmatch(text) or _is_time(text):
        return False
    try:
        return scalars.plain(text) == text
    except scalars.UnrepresentableNumber:
        return False


def _is_time(text: str) -> bool:
    """Whether Go reads a time: with a zone after a T, without one after a space, or a date."""
    found = _DATE.fullmatch(text)
    if found is None:
        return False
    year, month, day = int(found[1]), int(found[2]), int(found[3])
    if not 1 <= month <= 12 or not 1 <= day <= calendar.monthrange(year, month)[1]:
        return False
    if found[4] is None:
        return True
    if (found[4] == " ") == (found[8] is not None):
        return False
    if found[9] is not None and (int(found[9]) > 24 or int(found[10]) >= 60):
        return False
    return int(found[5]) < 24 and int(found[6]) < 60 and int(found[7]) < 60


def _literal(value: float | bool | None) -> str:  # noqa: FBT001 - the value itself
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    number = _number(value)
    return str(number) if isinstance(number, int) else scalars.float_text(number, bits=64)


def _number(value: float) -> int | float:
    """A number that Go has read is a float64, an integer if one of 64 bits is equal to it."""
    if isinstance(value, int) and abs(value) <= _EXACT:
        return value
    number = float(value)
    if number.is_integer() and _INT64[0] <= number < _UINT64:
        return int(number)
    return number
