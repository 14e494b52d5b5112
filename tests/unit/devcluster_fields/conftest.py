"""Schemas and shorthands for the tests of field ownership."""

from __future__ import annotations

from typing import Any

import pytest

from devcluster.fields.apply import apply_patch
from devcluster.fields.managed import track_update
from devcluster.fields.schema import SchemaSet, TypeSchema

Json = dict[str, Any]
NOW = "2026-01-01T00:00:00Z"
LATER = "2026-01-01T00:00:05Z"


class Kind:
    """One kind, and the two ways of writing it."""

    def __init__(self, schema: TypeSchema) -> None:
        self.schema = schema

    def apply(
        self,
        live: Json | None,
        config: Json,
        *,
        by: str = "m",
        force: bool = False,
        subresource: str = "",
        now: str = NOW,
    ) -> Json:
        return apply_patch(
            live,
            config,
            schema=self.schema,
            manager=by,
            force=force,
            api_version=self.schema.api_version,
            subresource=subresource,
            now=now,
        )

    def update(
        self, live: Json | None, new: Json, *, by: str = "m", subresource: str = "", now: str = NOW
    ) -> Json:
        return track_update(
            live,
            new,
            schema=self.schema,
            manager=by,
            api_version=self.schema.api_version,
            subresource=subresource,
            now=now,
        )

    def make(self, **fields: Any) -> Json:
        return {
            "apiVersion": self.schema.api_version,
            "kind": self.schema.kind,
            "metadata": {"name": "it", **fields.pop("metadata", {})},
            **fields,
        }


def _kind(group: str, kind: str) -> Kind:
    schema = SchemaSet.builtin().for_kind(group, "v1", kind)
    assert schema is not None
    return Kind(schema)


@pytest.fixture(scope="session")
def deployments() -> Kind:
    return _kind("apps", "Deployment")


@pytest.fixture(scope="session")
def config_maps() -> Kind:
    return _kind("", "ConfigMap")


@pytest.fixture(scope="session")
def services() -> Kind:
    return _kind("", "Service")


THINGS: Json = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.ex.io"},
    "spec": {
        "group": "ex.io",
        "scope": "Namespaced",
        "names": {"plural": "things", "kind": "Thing"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "required": ["spec"],
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["must"],
                                "x-kubernetes-validations": [
                                    {
                                        "rule": "!has(self.a) || !has(self.b) || self.a < self.b",
                                        "messageExpression": "'a must be < b'",
                                        "fieldPath": ".a",
                                        "reason": "FieldValueForbidden",
                                    },
                                    {"rule": "!has(self.must) || self.must != 'zz'"},
                                ],
                                "properties": {
                                    "must": {
                                        "type": "string",
                                        "minLength": 2,
                                        "maxLength": 5,
                                        "pattern": "^[a-z]+$",
                                    },
                                    "n": {
                                        "type": "integer",
                                        "format": "int32",
                                        "minimum": 1,
                                        "maximum": 10,
                                    },
                                    "en": {"type": "string", "enum": ["A", "B"]},
                                    "def": {"type": "string", "default": "dd"},
                                    "obj": {
                                        "type": "object",
                                        "default": {},
                                        "properties": {
                                            "in": {"type": "integer", "default": 3},
                                            "x": {"type": "string"},
                                        },
                                    },
                                    "nuld": {"type": "string", "nullable": True, "default": "q"},
                                    "ios": {"x-kubernetes-int-or-string": True},
                                    "any": {
                                        "type": "object",
                                        "x-kubernetes-preserve-unknown-fields": True,
                                    },
                                    "emb": {
                                        "type": "object",
                                        "x-kubernetes-embedded-resource": True,
                                        "x-kubernetes-preserve-unknown-fields": True,
                                    },
                                    "set": {
                                        "type": "array",
                                        "x-kubernetes-list-type": "set",
                                        "items": {"type": "string"},
                                        "maxItems": 3,
                                    },
                                    "lm": {
                                        "type": "array",
                                        "x-kubernetes-list-type": "map",
                                        "x-kubernetes-list-map-keys": ["k"],
                                        "items": {
                                            "type": "object",
                                            "required": ["k"],
                                            "properties": {
                                                "k": {"type": "string"},
                                                "v": {"type": "integer"},
                                            },
                                        },
                                    },
                                    "am": {
                                        "type": "object",
                                        "x-kubernetes-map-type": "atomic",
                                        "additionalProperties": {"type": "string"},
                                    },
                                    "dt": {"type": "string", "format": "date-time"},
                                    "imm": {
                                        "type": "string",
                                        "maxLength": 10,
                                        "x-kubernetes-validations": [
                                            {"rule": "self == oldSelf", "message": "immutable!"}
                                        ],
                                    },
                                    "a": {"type": "integer"},
                                    "b": {"type": "integer"},
                                    "one": {
                                        "type": "object",
                                        "properties": {
                                            "x": {"type": "string"},
                                            "y": {"type": "string"},
                                        },
                                        "oneOf": [{"required": ["x"]}, {"required": ["y"]}],
                                    },
                                },
                            },
                            "status": {
                                "type": "object",
                                "properties": {"s": {"type": "string"}},
                            },
                        },
                    }
                },
            }
        ],
    },
}


@pytest.fixture(scope="session")
def things() -> Kind:
    return Kind(TypeSchema.from_crd_version(THINGS, "v1"))
