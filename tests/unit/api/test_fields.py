"""The models have exactly the fields, types, bounds and defaults that Flux 2.9 has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fluvial.api import crd

_FACTS = json.loads(Path(__file__).with_name("flux-fields.json").read_text())["kinds"]
_KEYWORDS = ("default", "maxLength", "minLength", "minimum", "pattern")


def _type_of(schema: dict[str, Any]) -> str:
    if schema.get("type") == "array":
        return f"list of {_type_of(schema['items'])}"
    if "additionalProperties" in schema:
        return f"map of {_type_of(schema['additionalProperties'])}"
    return str(schema.get("type", "any"))


def _facts(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema in the form of the facts file."""
    facts: dict[str, Any] = {}
    for name, field in schema["properties"].items():
        element = field.get("items", field)
        element = element.get("additionalProperties", element)
        fact: dict[str, Any] = {"type": _type_of(field)}
        fact |= {key: element[key] for key in _KEYWORDS if key in element}
        if "enum" in element:
            fact["enum"] = sorted(element["enum"])
        if "properties" in element:
            fact["fields"] = _facts(element)
        if name in schema.get("required", ()):
            fact["required"] = True
        facts[name] = fact
    return facts


@pytest.mark.parametrize("kind", crd.KINDS, ids=lambda kind: kind.model.__name__)
def test_fields_are_those_of_flux(kind: crd.CrdKind) -> None:
    schema = crd.crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    ours = _facts(schema)
    for name in ("apiVersion", "kind", "metadata"):
        del ours[name]
    # An object-level default, which the facts file does not have.
    if kind.has_status:
        default = {"observedGeneration": -1} if kind.default_status else None
        assert ours["status"].pop("default", None) == default

    assert ours == _FACTS[kind.model.__name__]
