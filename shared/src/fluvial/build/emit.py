"""Objects to YAML text, in the style of Kubernetes' own tools.

The style matters because variables are substituted in the text: whether a string is plain,
quoted or a block decides what a value may contain and what type the result has. This is the
style in which kustomize prints an object; keys keep the order that they have.
"""

from __future__ import annotations

import io
import re
from typing import Any, Final, Literal

import yaml as pyyaml
from yaml import _yaml

from fluvial.build import scalars

__all__ = ["dump"]

_SEXAGESIMAL: Final = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?", re.ASCII)
_TIMESTAMP: Final = re.compile(
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
    r"(?:[Tt ][0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(?:\.[0-9]*)?(?:Z|[+-][0-9]{2}:[0-9]{2})?)?",
    re.ASCII,
)
_Style = Literal["", '"', "|"]
_START = pyyaml.DocumentStartEvent(explicit=False)
_END = pyyaml.DocumentEndEvent(explicit=False)


def dump(value: Any) -> bytes:
    """One document, ending in a line break.

    Args:
        value: dicts with string keys, lists, strings, numbers, booleans, ``None``.

    """
    stream = io.BytesIO()
    emitter = _yaml.CEmitter(stream, encoding="utf-8", allow_unicode=True, width=80)
    emitter.emit(pyyaml.StreamStartEvent(encoding="utf-8"))
    emitter.emit(_START)
    _emit(emitter, value)
    emitter.emit(_END)
    emitter.emit(pyyaml.StreamEndEvent())
    return stream.getvalue()


def _emit(emitter: _yaml.CEmitter, value: Any) -> None:
    if isinstance(value, dict):
        emitter.emit(pyyaml.MappingStartEvent(None, None, implicit=True, flow_style=False))
        for key, item in value.items():
            emitter.emit(_string(key))
            _emit(emitter, item)
        emitter.emit(pyyaml.MappingEndEvent())
    elif isinstance(value, list | tuple):
        emitter.emit(pyyaml.SequenceStartEvent(None, None, implicit=True, flow_style=False))
        for item in value:
            _emit(emitter, item)
        emitter.emit(pyyaml.SequenceEndEvent())
    elif isinstance(value, str):
        emitter.emit(_string(value))
    else:
        emitter.emit(_scalar(_literal(value), ""))


def _string(text: str) -> pyyaml.ScalarEvent:
    return _scalar(text, _style(text))


def _scalar(text: str, style: _Style) -> pyyaml.ScalarEvent:
    return pyyaml.ScalarEvent(None, None, (True, True), text, style=style)


def _style(text: str) -> _Style:
    if "\n" in text:
        return "|"
    if not text:
        return '"'
    if text[0] not in scalars.RESOLVABLE_FIRST and text != "<<":
        return ""
    return "" if _means_itself(text) else '"'


def _means_itself(text: str) -> bool:
    """Whether a plain scalar is read as this very string by old and new readers."""
    if text == "<<" or _SEXAGESIMAL.fullmatch(text) or _TIMESTAMP.fullmatch(text):
        return False
    try:
        return scalars.plain(text) == text
    except scalars.UnrepresentableNumber:
        return False


def _literal(value: float | bool | None) -> str:  # noqa: FBT001 - the value itself
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else scalars.float_text(value, bits=64)
