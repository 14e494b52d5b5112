"""Resources within resources: ``x-kubernetes-embedded-resource``."""

from __future__ import annotations

from typing import Any

from devcluster.fields.builtin import names
from devcluster.fields.builtin.checker import Checker
from devcluster.fields.builtin.meta import check_labels
from devcluster.fields.errors import Cause
from devcluster.fields.schema import JsonObject

__all__ = ["embedded_causes"]

_EMBEDDED = "x-kubernetes-embedded-resource"
_known: dict[int, tuple[JsonObject, bool]] = {}


def embedded_causes(value: Any, schema: JsonObject) -> list[Cause]:
    """What is wrong with the heads of embedded resources anywhere in the value."""
    known = _known.get(id(schema))
    if known is None or known[0] is not schema:
        known = _known[id(schema)] = (schema, _has_any(schema))
    if not known[1]:
        return []
    checker = Checker()
    _walk(checker, value, schema, "")
    return checker.causes


def _has_any(schema: Any) -> bool:
    if not isinstance(schema, dict):
        return False
    if schema.get(_EMBEDDED):
        return True
    below = [*(schema.get("properties") or {}).values()]
    return any(map(_has_any, [*below, schema.get("items"), schema.get("additionalProperties")]))


def _walk(checker: Checker, value: Any, schema: JsonObject, path: str) -> None:
    if isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, dict):
            for at, item in enumerate(value):
                _walk(checker, item, items, f"{path}[{at}]")
        return
    if not isinstance(value, dict):
        return
    if schema.get(_EMBEDDED):
        _check_head(checker, value, path)
    properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
    for key, item in value.items():
        below = properties.get(key, extra)
        if isinstance(below, dict):
            _walk(checker, item, below, f"{path}.{key}" if path else key)


def _check_head(checker: Checker, value: JsonObject, path: str) -> None:
    kind = value.get("kind")
    if isinstance(kind, str) and kind:
        details = [f"{names.MIXED_CASE}{text}" for text in names.dns_1035_label(kind.lower())]
        checker.problems(f"{path}.kind", kind, details)
    meta = value.get("metadata")
    if not isinstance(meta, dict):
        return
    check_labels(checker, meta.get("labels"), f"{path}.metadata.labels")
    for key in meta.get("annotations") or {}:
        details = names.label_key(key.lower())
        checker.problems(f"{path}.metadata.annotations", key, details)
    name = meta.get("name")
    if name:
        checker.problems(f"{path}.metadata.name", name, names.dns_subdomain(name))
