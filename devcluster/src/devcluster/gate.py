"""The door to the fields half: schemas, patches, managedFields, defaults and validation.

The rest of the server knows these calls only, and gets ApiFailure from them. What comes out may
share parts with what went in, so nothing downstream changes an object in place but its top level
and its metadata, which ``fresh`` copies.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from devcluster.errors import ApiFailure
from devcluster.fields import apply, managed, patches
from devcluster.fields.errors import FieldsError
from devcluster.fields.schema import SchemaSet, TypeSchema
from devcluster.kinds import Kind

__all__ = ["Gate", "Strictness", "Written"]

Strictness = Literal["Strict", "Warn", "Ignore"]
JsonObject = dict[str, Any]

try:
    _admit: Any = importlib.import_module("devcluster.fields.admit")
except ImportError:
    _admit = None


@dataclass(frozen=True, slots=True)
class Written:
    """Who writes: the field manager, the subresource and the time, for managedFields."""

    manager: str
    subresource: str = ""
    now: str = ""


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except FieldsError as error:
        details: JsonObject | None = dict(error.details) or None
        if error.status == 422 and not error.causes:
            details = {}
        if error.causes:
            details = {**error.details, "causes": [cause.as_json() for cause in error.causes]}
        raise ApiFailure(error.status, error.reason, error.message, details=details) from error


class Gate:
    """Schema lookups and the per-object calls."""

    def __init__(self) -> None:
        self._builtin = SchemaSet.builtin()
        self._custom: dict[str, dict[tuple[str, str, str], TypeSchema]] = {}
        self._schemas: dict[tuple[str, str, str], TypeSchema] = {}

    def learn(self, crd: JsonObject, kinds: list[Kind]) -> None:
        """Take in the schemas of a definition, replacing what was known of it."""
        self.forget(crd["metadata"]["name"])
        learnt = {
            (kind.group, kind.version, kind.kind): TypeSchema.from_crd_version(crd, kind.version)
            for kind in kinds
        }
        self._custom[crd["metadata"]["name"]] = learnt
        self._schemas |= learnt

    def forget(self, crd_name: str) -> None:
        """Drop the schemas of a definition."""
        for key in self._custom.pop(crd_name, {}):
            self._schemas.pop(key, None)

    def known(self, kind: Kind) -> JsonObject | None:
        """The OpenAPI schema of a custom kind, if it has been learnt."""
        found = self._schemas.get((kind.group, kind.version, kind.kind))
        return None if found is None else found.openapi

    def as_read(self, kind: Kind, obj: JsonObject) -> JsonObject:
        """A stored custom resource, pruned and defaulted; itself if that changes nothing."""
        schema = self.schema(kind)
        shown: JsonObject = _admit.default(_admit.pruned(obj, schema), schema)
        return obj if shown == obj else shown

    def schema(self, kind: Kind) -> TypeSchema:
        """The schema of a kind that is served."""
        key = (kind.group, kind.version, kind.kind)
        found = self._schemas.get(key) or self._builtin.for_kind(*key)
        if found is None:
            raise LookupError(f"no schema of {kind.kind} in {kind.api_version}")
        return found

    def check(
        self,
        kind: Kind,
        obj: JsonObject,
        *,
        mode: Strictness,
        raw: bytes,
        patch: Any = None,
        patched: bool = False,
    ) -> tuple[JsonObject, list[str]]:
        """Structure against the schema; unknown fields are dropped, warned of or refused.

        ``patch`` (a strategic one) and ``patched`` (by another) choose the words of a refusal.
        """
        if _admit is None:
            return obj, []
        with _translated():
            checked: tuple[JsonObject, list[str]] = _admit.decode_checks(
                obj, self.schema(kind), mode, raw, patch=patch, patched=patched
            )
        return checked

    def default(self, kind: Kind, obj: JsonObject) -> JsonObject:
        """The object with the kind's defaults."""
        if _admit is None:
            return obj
        filled: JsonObject = _admit.default(obj, self.schema(kind))
        return filled

    def validate(self, kind: Kind, new: JsonObject, old: JsonObject | None) -> list[str]:
        """What to warn of; raises the 422 of the kind."""
        said: list[str] = []
        if _admit is None:
            return said
        with _translated():
            if old is None:
                _admit.validate_create(new, self.schema(kind))
            else:
                said = _admit.validate_update(new, old, self.schema(kind))
        return said

    def track(
        self, kind: Kind, live: JsonObject | None, new: JsonObject, *, by: Written
    ) -> JsonObject:
        """``new`` with managedFields after a create, update or patch."""
        with _translated():
            return managed.track_update(
                live,
                new,
                schema=self.schema(kind),
                manager=by.manager,
                api_version=kind.api_version,
                subresource=by.subresource,
                now=by.now,
            )

    def apply(
        self, kind: Kind, live: JsonObject | None, applied: JsonObject, *, by: Written, force: bool
    ) -> JsonObject:
        """Server-side apply; ``live`` itself when nothing changes."""
        with _translated():
            schema = self.schema(kind)
            made = apply.apply_patch(
                live,
                applied,
                schema=schema,
                manager=by.manager,
                force=force,
                api_version=kind.api_version,
                subresource=by.subresource,
                now=by.now,
            )
            if made is live or not kind.crd:
                return made
            kept: JsonObject = _admit.pruned(made, schema)
            return kept

    def json_patch(self, obj: JsonObject, ops: Any) -> JsonObject:
        """RFC 6902."""
        with _translated():
            return patches.json_patch(obj, ops)

    def merge_patch(self, obj: JsonObject, patch: Any) -> JsonObject:
        """RFC 7386."""
        with _translated():
            return patches.merge_patch(obj, patch)

    def strategic(self, kind: Kind, obj: JsonObject, patch: Any) -> JsonObject:
        """Strategic merge."""
        with _translated():
            return patches.strategic_merge(obj, patch, self.schema(kind))
