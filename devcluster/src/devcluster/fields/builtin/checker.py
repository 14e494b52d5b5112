"""Collects the causes of a 422 in the server's words.

Paths are strings such as ``spec.ports[0].port``. The methods return nothing: a validator goes on
and finds everything that is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from devcluster.fields.errors import Cause

__all__ = ["Checker", "shown"]


def shown(value: Any) -> str:
    """A value as the server quotes it; its internal structs (capitals) keep their order."""
    first = value[0] if isinstance(value, list) and value else value
    internal = isinstance(first, dict) and any(key[:1].isupper() for key in first)
    return orjson.dumps(value, option=0 if internal else orjson.OPT_SORT_KEYS).decode()


class Checker:
    """The causes found so far."""

    def __init__(self) -> None:
        self.causes: list[Cause] = []

    def _add(self, path: str, message: str, reason: str) -> None:
        self.causes.append(Cause(field=path, message=message, reason=reason))

    def required(self, path: str, detail: str = "") -> None:
        """The field must be there."""
        text = f"Required value: {detail}" if detail else "Required value"
        self._add(path, text, "FieldValueRequired")

    def invalid(self, path: str, value: Any, detail: str) -> None:
        """The value is not acceptable."""
        self._add(path, f"Invalid value: {shown(value)}: {detail}", "FieldValueInvalid")

    def listed(self, path: str, value: Any, detail: str) -> None:
        """The value is not acceptable, and its keys are in the server's order already."""
        text = orjson.dumps(value).decode()
        self._add(path, f"Invalid value: {text}: {detail}", "FieldValueInvalid")

    def unsupported(self, path: str, value: Any, choices: Iterable[str]) -> None:
        """The value is none of the choices."""
        listed = ", ".join(f'"{choice}"' for choice in choices)
        text = f"Unsupported value: {shown(value)}: supported values: {listed}"
        self._add(path, text, "FieldValueNotSupported")

    def duplicate(self, path: str, value: Any) -> None:
        """The value is there twice."""
        self._add(path, f"Duplicate value: {shown(value)}", "FieldValueDuplicate")

    def forbidden(self, path: str, detail: str) -> None:
        """The field may not be set, or not be changed."""
        self._add(path, f"Forbidden: {detail}", "FieldValueForbidden")

    def not_found(self, path: str, value: Any) -> None:
        """The value names something that is not there."""
        self._add(path, f"Not found: {shown(value)}", "FieldValueNotFound")

    def too_long(self, path: str, limit: int) -> None:
        """The text is too long."""
        text = f"Too long: may not be more than {limit} bytes"
        self._add(path, text, "FieldValueTooLong")

    def choice(self, path: str, value: Any, choices: Iterable[str], *, needed: bool = True) -> None:
        """One of the choices; an absent value is a missing one if ``needed``."""
        if value in (None, ""):
            if needed:
                self.required(path)
        elif value not in (allowed := tuple(choices)):
            self.unsupported(path, value, allowed)

    def unchanged(self, path: str, new: Any, old: Any) -> None:
        """The field cannot be changed."""
        if new != old:
            self.invalid(path, new, "field is immutable")

    def problems(self, path: str, value: Any, details: Iterable[str]) -> None:
        """One cause per detail."""
        for detail in details:
            self.invalid(path, value, detail)

    def not_negative(self, path: str, value: Any) -> None:
        """Zero or more, if it is set."""
        if isinstance(value, int) and value < 0:
            self.invalid(path, value, "must be greater than or equal to 0")
