"""Merge strategies out of the types that Kubernetes publishes, in either form of OpenAPI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fluvial.helm.clientside.strategies import PLAIN, Rule

__all__ = ["published_rules"]


def published_rules(types: Mapping[str, Any], name: str, *, top: bool = False) -> Rule:
    """What is published of one type.

    Args:
        types: the published types by their names.
        name: of the type.
        top: whether it is a kind, whose status nobody but the server writes.

    """
    fields = {
        field: rule
        for field, schema in (types[name].get("properties") or {}).items()
        if not (top and field == "status")
        if (rule := _rule(types, schema)) != PLAIN
    }
    return Rule(fields=fields)


def _rule(types: Mapping[str, Any], schema: Mapping[str, Any]) -> Rule:
    strategies = set(schema.get("x-kubernetes-patch-strategy", "").split(","))
    merge, replace = "merge" in strategies, "replace" in strategies
    is_list = "array" in schema.get("type", "")
    of = schema["items"] if is_list else schema
    below = "" if replace or (is_list and not merge) else _reference(of)
    return Rule(
        merge=merge,
        key=schema.get("x-kubernetes-patch-merge-key", ""),
        retain="retainKeys" in strategies,
        replace=replace,
        fields=published_rules(types, below).fields if below and not _in_itself(below) else {},
    )


def _reference(schema: Mapping[str, Any]) -> str:
    for part in (schema, *schema.get("allOf", ())):
        if "$ref" in part:
            return str(part["$ref"]).rpartition("/")[2]
    return ""


def _in_itself(name: str) -> bool:
    """Whether a type has itself among its fields; such have no strategies."""
    return name.endswith(".JSONSchemaProps")
