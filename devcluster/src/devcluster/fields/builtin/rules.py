"""Which validators look at which built-in kind."""

from __future__ import annotations

from collections.abc import Callable

from devcluster.fields.builtin.checker import Checker
from devcluster.fields.schema import JsonObject, TypeSchema

__all__ = ["check_create", "check_update"]

Create = Callable[[Checker, JsonObject], None]
Update = Callable[[Checker, JsonObject, JsonObject], None]


def check_create(checker: Checker, obj: JsonObject, schema: TypeSchema) -> None:
    """What the kind demands of a new object."""
    validate = _CREATE.get((schema.group, schema.kind))
    if validate is not None:
        validate(checker, obj)


def check_update(checker: Checker, new: JsonObject, old: JsonObject, schema: TypeSchema) -> None:
    """What the kind demands of a changed object."""
    validate = _UPDATE.get((schema.group, schema.kind))
    if validate is not None:
        validate(checker, new, old)


_CREATE: dict[tuple[str, str], Create] = {}
_UPDATE: dict[tuple[str, str], Update] = {}
