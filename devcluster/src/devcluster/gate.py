"""The door to the fields half: schemas, patches, managedFields, defaults and validation.

The rest of the server knows these calls only; a kind without a schema passes through untouched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from devcluster.kinds import Kind

__all__ = ["Gate", "Strictness", "Written"]

Strictness = Literal["Strict", "Warn", "Ignore"]
JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Written:
    """Who writes: the field manager, the subresource and the time, for managedFields."""

    manager: str
    subresource: str = ""
    now: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


class Gate:
    """Schema lookups and the per-object checks."""

    def __init__(self) -> None:
        self._schemas: dict[tuple[str, str, str], Any] = {}

    def learn_definition(self, crd: JsonObject, kinds: list[Kind]) -> None:
        """Take in the schemas of a definition."""
        del crd, kinds

    def learn(self, kind: Kind, schema: Any) -> None:
        """Use ``schema`` for a custom resource."""
        self._schemas[kind.group, kind.version, kind.kind] = schema

    def check(
        self, kind: Kind, obj: JsonObject, *, mode: Strictness, raw: bytes
    ) -> tuple[JsonObject, list[str]]:
        """Structure against the schema; unknown fields are dropped, warned of or refused."""
        del kind, mode, raw
        return obj, []

    def default(self, kind: Kind, obj: JsonObject) -> JsonObject:
        """The object with the kind's defaults."""
        del kind
        return obj

    def validate(self, kind: Kind, new: JsonObject, old: JsonObject | None) -> None:
        """Raises the 422 of the kind."""

    def track(
        self, kind: Kind, live: JsonObject | None, new: JsonObject, *, by: Written
    ) -> JsonObject:
        """``new`` with managedFields after a create, update or patch."""
        del kind, live, by
        return new

    def apply(
        self, kind: Kind, live: JsonObject | None, applied: JsonObject, *, by: Written, force: bool
    ) -> JsonObject:
        """Server-side apply."""
        del kind, by, force
        return _merge(live or {}, applied)

    def json_patch(self, obj: JsonObject, ops: list[JsonObject]) -> JsonObject:
        """RFC 6902."""
        raise NotImplementedError

    def merge_patch(self, obj: JsonObject, patch: JsonObject) -> JsonObject:
        """RFC 7386."""
        return _merge(obj, patch)

    def strategic(self, kind: Kind, obj: JsonObject, patch: JsonObject) -> JsonObject:
        """Strategic merge."""
        del kind
        return _merge(obj, patch)


def _merge(obj: JsonObject, patch: JsonObject) -> JsonObject:
    result = dict(obj)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = _merge(result[key] if isinstance(result.get(key), dict) else {}, value)
        else:
            result[key] = value
    return result
