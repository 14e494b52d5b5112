"""Values as Go prints them: error messages quote them."""

from __future__ import annotations

import re
from typing import Any

import orjson

__all__ = ["go_json", "go_quote", "go_source", "go_value"]


_CONTROL = re.compile(r"\\u00([01][0-9a-f]|7f)")


def go_value(value: Any) -> str:
    """``%v``: ``map[a:1 b:[x y]]``."""
    if isinstance(value, str):
        return value
    if value is None:
        return "<nil>"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{go_value(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(go_value, value))}]"
    return orjson.dumps(value).decode()


def go_source(value: Any) -> str:
    """``%#v`` of a decoded JSON value."""
    if isinstance(value, str):
        return go_quote(value)
    if value is None:
        return "interface {}(nil)"
    if isinstance(value, dict):
        inner = ", ".join(f"{go_quote(key)}:{go_source(value[key])}" for key in sorted(value))
        return f"map[string]interface {{}}{{{inner}}}"
    if isinstance(value, list):
        return f"[]interface {{}}{{{', '.join(map(go_source, value))}}}"
    return orjson.dumps(value).decode()


def go_quote(text: str) -> str:
    """``%q``."""
    quoted = orjson.dumps(text).decode()
    return quoted if text.isprintable() else _CONTROL.sub(_escaped, quoted)


def _escaped(match: re.Match[str]) -> str:
    code = int(match[1], 16)
    return {7: r"\a", 11: r"\v"}.get(code, f"\\x{code:02x}")


def go_json(value: Any) -> str:
    """JSON as a Go map is written: the keys of the upper levels in order, ``<>&`` escaped."""
    if isinstance(value, dict):
        value = {key: value[key] for key in sorted(value)}
    text = orjson.dumps(value).decode()
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text
