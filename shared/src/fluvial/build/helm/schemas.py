"""JSON schemas that refer to nothing but themselves.

The engine would fetch what ``$ref`` and ``$schema`` name, from the network or from files. A
reference stays if it leads into the same document, by a fragment or by an address that a part of
the document gives itself, or to the drafts of JSON Schema, which the engine has built in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urldefrag, urljoin

from fluvial.build.helm.errors import ChartInvalid

__all__ = ["localise"]

_MAX_DEPTH: Final = 200
_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_NO_SCHEMAS: Final = frozenset({"const", "enum", "default", "examples"})
_KEPT: Final = ("$schema", "$id", "id", "definitions", "$defs")
_DRAFTS: Final = ("http://json-schema.org/", "https://json-schema.org/")
_SIBLINGS_IGNORED: Final = re.compile(r"draft-0[3467]")
_BASE: Final = "file:///values.schema.json"


def localise(schema: Any) -> tuple[Any, list[str]]:
    """A schema without references to elsewhere, and where they led.

    Args:
        schema: decoded JSON.

    Raises:
        ChartInvalid: it is nested too deeply.

    """
    elsewhere: list[str] = []
    return _Localiser(schema, elsewhere).walk(schema, _BASE), elsewhere


class _Localiser:
    """Takes references to other documents out of a JSON schema."""

    def __init__(self, schema: Any, elsewhere: list[str]) -> None:
        self._ids = {_BASE}
        self._elsewhere = elsewhere
        dialect = schema.get("$schema") if isinstance(schema, dict) else None
        self._alone = bool(_SIBLINGS_IGNORED.search(dialect)) if isinstance(dialect, str) else False
        self._collect(schema, _BASE, 0)

    def _collect(self, value: Any, base: str, depth: int) -> None:
        """Every address that a part of the schema gives itself."""
        if depth > _MAX_DEPTH:
            raise ChartInvalid("values.schema.json is nested too deeply")
        if isinstance(value, dict):
            base = self._base(value, base)
            self._ids.add(base)
            for each in value.values():
                self._collect(each, base, depth + 1)
        elif isinstance(value, list):
            for each in value:
                self._collect(each, base, depth + 1)

    def walk(self, value: Any, base: str) -> Any:
        """The value without references to elsewhere."""
        if isinstance(value, list):
            return [self.walk(each, base) for each in value]
        if not isinstance(value, dict):
            return value
        base = self._base(value, base)
        kept = {name: each for name, each in value.items() if not self._leads_out(name, each, base)}
        if len(kept) < len(value) and self._alone:
            kept = {name: each for name, each in kept.items() if name in _KEPT}
        return {
            name: each if name in _NO_SCHEMAS else self.walk(each, base)
            for name, each in kept.items()
        }

    def _leads_out(self, name: str, value: Any, base: str) -> bool:
        if not isinstance(value, str) or value.startswith("#"):
            return False
        if name == "$schema":
            target = value
        elif name in _REFERENCES:
            target = urldefrag(_joined(base, value)).url
            if target in self._ids:
                return False
        else:
            return False
        if target.startswith(_DRAFTS):
            return False
        self._elsewhere.append(target[:200])
        return True

    def _base(self, value: Mapping[str, Any], base: str) -> str:
        own = value.get("$id", value.get("id"))
        return urldefrag(_joined(base, own)).url if isinstance(own, str) else base


def _joined(base: str, reference: str) -> str:
    try:
        return urljoin(base, reference)
    except ValueError:
        return reference
