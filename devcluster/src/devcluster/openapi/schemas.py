"""JSON schemas of the kinds: from the facts for built-in ones, from the definition for others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devcluster import facts
from devcluster.kinds import Kind

__all__ = ["Schemas", "schema_name"]

JsonObject = dict[str, Any]
_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_LIST_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"
_SIMPLE: dict[str, JsonObject] = {
    "string": {"type": "string"},
    "bytes": {"type": "string", "format": "byte"},
    "time": {"type": "string", "format": "date-time"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "number": {"type": "number", "format": "double"},
    "boolean": {"type": "boolean"},
    "object": {"type": "object"},
    "any": {},
}
_SPECIAL: dict[str, JsonObject] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {
        "oneOf": [{"type": "string"}, {"type": "number"}]
    },
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {
        "format": "int-or-string",
        "oneOf": [{"type": "integer"}, {"type": "string"}],
    },
}
_SPECIAL_V2: dict[str, JsonObject] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": "string"},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {
        "type": "string",
        "format": "int-or-string",
    },
}

_LIST_META_SCHEMA: JsonObject = {
    "type": "object",
    "properties": {
        "continue": {"type": "string"},
        "remainingItemCount": {"type": "integer", "format": "int64"},
        "resourceVersion": {"type": "string"},
        "selfLink": {"type": "string"},
    },
}


def schema_name(kind: Kind) -> str:
    """The name of a kind's schema: a published one, or ``com.example.v1.Widget``."""
    if kind.crd:
        reversed_group = ".".join(reversed(kind.group.split(".")))
        return f"{reversed_group}.{kind.version}.{kind.kind}"
    found = facts.load().kinds.get(kind.api_version + "/" + kind.kind, "")
    return found or f"io.k8s.api.{kind.group or 'core'}.{kind.version}.{kind.kind}"


class Schemas:
    """Collects the schemas that a document needs.

    Args:
        prefix: of references: ``#/components/schemas/`` or ``#/definitions/``.
        definitions: CRD name to the definition.

    """

    def __init__(self, prefix: str, definitions: Mapping[str, JsonObject]) -> None:
        self._prefix = prefix
        self._definitions = definitions
        self._types = facts.load().types
        self._special = _SPECIAL_V2 if "definitions" in prefix else _SPECIAL
        self.found: JsonObject = {}

    def add(self, kind: Kind) -> str:
        """Take in a kind, its list and all they refer to; the kind's schema name."""
        name = schema_name(kind)
        gvk = {"group": kind.group, "kind": kind.kind, "version": kind.version}
        if kind.crd:
            self.found[name] = self._custom(kind)
        else:
            self._named(name)
        self.found[name] = {
            **self.found.get(name, {"type": "object"}),
            "x-kubernetes-group-version-kind": [gvk],
        }
        if kind.stored:
            self._add_list(kind, name)
        return name

    def _add_list(self, kind: Kind, name: str) -> None:
        list_gvk = {"group": kind.group, "kind": kind.list_kind, "version": kind.version}
        self.found[_LIST_META] = _LIST_META_SCHEMA
        self.found[f"{name}List"] = {
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string"},
                "items": {"type": "array", "items": self._reference(name)},
                "kind": {"type": "string"},
                "metadata": self._reference(_LIST_META),
            },
            "x-kubernetes-group-version-kind": [list_gvk],
        }

    def _reference(self, name: str) -> JsonObject:
        return {"$ref": self._prefix + name}

    def _named(self, name: str) -> JsonObject:
        """A reference to a published type, which is taken in."""
        if name not in self.found and name in self._types:
            self.found[name] = {}  # types refer to themselves
            self.found[name] = self._described(name)
        return self._reference(name)

    def _described(self, name: str) -> JsonObject:
        special = self._special.get(name)
        if special is not None:
            return dict(special)
        described = self._types[name]
        if not (isinstance(described, dict) and "f" in described):
            return self._form(described)
        schema: JsonObject = {"type": "object"}
        if described.get("r"):
            schema["required"] = described["r"]
        schema["properties"] = {field: self._form(form) for field, form in described["f"].items()}
        if described.get("m"):
            schema["x-kubernetes-map-type"] = described["m"]
        return schema

    def _form(self, form: Any) -> JsonObject:
        if isinstance(form, str):
            if not form.startswith("@"):
                return dict(_SIMPLE[form])
            reference = self._named(form[1:])
            return {"allOf": [reference]} if self._prefix.startswith("#/comp") else reference
        base = form["t"]
        if base == "list":
            schema: JsonObject = {"type": "array", "items": self._form(form["of"])}
        elif base == "map":
            schema = {"type": "object", "additionalProperties": self._form(form["of"])}
        else:
            schema = self._form(base)
        names = (
            ("l", "x-kubernetes-list-type"),
            ("k", "x-kubernetes-list-map-keys"),
            ("m", "x-kubernetes-map-type"),
            ("p", "x-kubernetes-patch-merge-key"),
            ("s", "x-kubernetes-patch-strategy"),
        )
        return schema | {extension: form[key] for key, extension in names if key in form}

    def _custom(self, kind: Kind) -> JsonObject:
        versions = self._definitions[kind.crd]["spec"]["versions"]
        version = next(v for v in versions if v["name"] == kind.version)
        schema = dict((version.get("schema") or {}).get("openAPIV3Schema") or {"type": "object"})
        if schema.get("x-kubernetes-preserve-unknown-fields") and "properties" not in schema:
            schema.setdefault("type", "object")
        schema["properties"] = {
            **(schema.get("properties") or {}),
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": self._form("@" + _META),
        }
        return schema
