"""What is wrong with the question of an access review."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

__all__ = ["invalid_cause", "question_causes", "unread_selectors"]

JsonObject = dict[str, Any]
Cause = dict[str, str]
_OPERATORS = frozenset({"In", "NotIn", "Exists", "DoesNotExist"})
_SELECTORS = ("fieldSelector", "labelSelector")


def invalid_cause(field: str, message: str) -> Cause:
    """A cause of reason FieldValueInvalid."""
    return {"reason": "FieldValueInvalid", "message": message, "field": field}


def question_causes(obj: Mapping[str, Any], spec: Mapping[str, Any], *, local: bool) -> list[Cause]:
    """The causes of a 422 about metadata and attributes; ``local``: within one namespace."""
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    causes: list[Cause] = []
    if (resource is None) == (path is None):
        shown = _shown(path)
        text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        causes.append(invalid_cause("spec", f"Invalid value: {shown}: {text}"))
    if local and path is not None:
        text = f"Invalid value: {_shown(path)}: disallowed on this kind of request"
        causes.append(invalid_cause("spec.nonResourceAttributes", text))
    for name in _SELECTORS:
        causes += _selector_causes(name, (resource or {}).get(name))
    meta = {k: v for k, v in (obj.get("metadata") or {}).items() if k != "namespace" or not local}
    if meta:
        shown = orjson.dumps(meta).decode()
        causes.append(invalid_cause("metadata", f"Invalid value: {shown}: must be empty"))
    return causes


def unread_selectors(resource: Mapping[str, Any]) -> str:
    """What of the attributes cannot be evaluated, and is passed over."""
    for name in _SELECTORS:
        terms = (resource.get(name) or {}).get("requirements") or ()
        if any(term.get("operator") not in _OPERATORS for term in terms):
            return f"spec.resourceAttributes.{name} ignored due to parse error"
    return ""


def _shown(path: Mapping[str, Any] | None) -> str:
    if path is None:
        return "null"
    return orjson.dumps({"Path": path.get("path", ""), "Verb": path.get("verb", "")}).decode()


def _selector_causes(name: str, selector: Mapping[str, Any] | None) -> list[Cause]:
    if selector is None:
        return []
    where = f"spec.resourceAttributes.{name}"
    raw, terms = selector.get("rawSelector") or "", selector.get("requirements")
    if raw and terms:
        text = f'Invalid value: "{raw}": may not specified at the same time as requirements'
        return [invalid_cause(f"{where}.rawSelector", text)]
    if raw or terms:
        return []
    text = f"Required value: when {where} is specified, requirements or rawSelector is required"
    return [{"reason": "FieldValueRequired", "message": text, "field": f"{where}.requirements"}]
