"""Custom resources: the schema of a CRD version as nodes, and what it prunes and defaults.

The rules are those of structural schemas (KEP-575, KEP-1111): unknown fields go unless preserved,
nulls go where the schema does not allow them, defaults fill in what is missing, recursively.
"""

from __future__ import annotations

from typing import Any

from devcluster.fields.schema import ANY, JsonObject, Node, TypeSchema, object_meta

__all__ = ["fill_defaults", "prune", "type_schema"]

_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED = "x-kubernetes-embedded-resource"
_INT_OR_STRING = "x-kubernetes-int-or-string"
_SCALARS = {"integer": "numeric", "number": "numeric", "boolean": "boolean"}
_HEAD = ("apiVersion", "kind", "metadata")


def type_schema(crd: JsonObject, version_name: str) -> TypeSchema:
    """The schema of one version; KeyError if the definition has no such version."""
    spec = crd["spec"]
    version = next((v for v in spec["versions"] if v["name"] == version_name), None)
    if version is None:
        raise KeyError(version_name)
    openapi = (version.get("schema") or {}).get("openAPIV3Schema") or {_PRESERVE: True}
    root = _node(openapi)
    root.is_map = True
    root.fields = {**root.fields, **_head()}
    if spec.get("preserveUnknownFields"):
        root.element = ANY
    return TypeSchema(
        group=spec["group"],
        version=version_name,
        kind=spec["names"]["kind"],
        root=root,
        openapi=openapi,
        has_status="status" in (version.get("subresources") or {}),
    )


def _head() -> dict[str, Node]:
    text = Node(form="string", scalar="string")
    return {"apiVersion": text, "kind": text, "metadata": object_meta()}


def _node(schema: JsonObject, *, inside: bool = False) -> Node:  # noqa: PLR0911  one per type
    """The node of a schema; ``inside`` something that preserves unknown fields.

    Who owns what is told from a schema in which all that is below such a field may have unknown
    fields, too. What a more exact schema prunes is owned then, though it is not there.
    """
    preserve = inside or bool(schema.get(_PRESERVE))
    if schema.get(_INT_OR_STRING):
        return Node(form="int-or-string", scalar="untyped")
    kind = schema.get("type")
    if kind == "object":
        return _map_node(schema, preserve=preserve)
    if kind == "array":
        return _list_node(schema, preserve=preserve)
    if kind == "string":
        plain = schema.get("format", "") in {"", "byte"}
        return Node(form="string", scalar="string" if plain else "untyped")
    if kind in _SCALARS:
        return Node(form=kind, scalar=_SCALARS[kind])
    if preserve and schema.get("properties"):
        return _map_node(schema, preserve=True)
    return ANY


def _map_node(schema: JsonObject, *, preserve: bool) -> Node:
    fields = {
        key: _node(value, inside=preserve)
        for key, value in (schema.get("properties") or {}).items()
    }
    if schema.get(_EMBEDDED):
        fields = {**fields, **_head()}
    extra = schema.get("additionalProperties")
    element: Node | None = None
    if preserve or extra is True or not (fields or extra):
        element = ANY
    elif isinstance(extra, dict):
        element = _node(extra, inside=preserve)
    return Node(
        form="map",
        is_map=True,
        fields=fields,
        element=element,
        map_atomic=schema.get("x-kubernetes-map-type") == "atomic",
    )


def _list_node(schema: JsonObject, *, preserve: bool) -> Node:
    items_schema = schema.get("items") or {}
    keys = tuple(sorted(schema.get("x-kubernetes-list-map-keys") or ()))
    properties = items_schema.get("properties") or {}
    return Node(
        form="list",
        is_list=True,
        items=_node(items_schema, inside=preserve),
        associative=schema.get("x-kubernetes-list-type") in {"set", "map"},
        keys=keys,
        key_defaults={
            key: properties[key]["default"] for key in keys if "default" in properties.get(key, {})
        },
    )


# --- pruning -------------------------------------------------------------------------------------


def prune(value: Any, schema: JsonObject, dropped: list[str], path: str = "") -> Any:
    """The value without fields that the schema does not know; itself if there are none.

    Whole numbers lose their fraction, as they do on the way through the server. Paths of dropped
    fields are added to ``dropped``. At the root, call it without ``apiVersion``, ``kind`` and
    ``metadata``.
    """
    if isinstance(value, dict):
        return _prune_map(value, schema, dropped, path)
    if isinstance(value, list):
        items = schema.get("items") or {}
        keep_all = schema.get(_PRESERVE) and not items
        out = [
            prune(item, {_PRESERVE: True} if keep_all else items, dropped, f"{path}[{at}]")
            for at, item in enumerate(value)
        ]
        return value if all(a is b for a, b in zip(out, value, strict=True)) else out
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    return value


def _prune_map(value: JsonObject, schema: JsonObject, dropped: list[str], path: str) -> JsonObject:
    properties = schema.get("properties") or {}
    extra = schema.get("additionalProperties")
    preserve = schema.get(_PRESERVE) or extra is True
    embedded = schema.get(_EMBEDDED)
    out: JsonObject = {}
    changed = False
    for key, item in value.items():
        inner = f"{path}.{key}" if path else key
        below = properties.get(key)
        if below is None and isinstance(extra, dict):
            below = extra
        if embedded and key in _HEAD:
            out[key] = item
            continue
        if below is None:
            if not preserve:
                dropped.append(inner)
                changed = True
                continue
            below = {_PRESERVE: True}
        out[key] = prune(item, below, dropped, inner)
        changed = changed or out[key] is not item
    return out if changed else value


# --- defaults ------------------------------------------------------------------------------------


def without_nulls(value: Any, schema: JsonObject) -> Any:
    """The value without nulls that may not be and have no default; itself if there are none."""
    if isinstance(value, list):
        items = schema.get("items")
        if not isinstance(items, dict):
            return value
        out = [without_nulls(item, items) for item in value]
        return value if all(a is b for a, b in zip(out, value, strict=True)) else out
    if not isinstance(value, dict):
        return value
    properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
    kept: JsonObject = {}
    changed = False
    for key, item in value.items():
        below = properties.get(key, extra)
        if not isinstance(below, dict):
            kept[key] = item
        elif item is None and not below.get("nullable") and "default" not in below:
            changed = True
        else:
            kept[key] = without_nulls(item, below)
            changed = changed or kept[key] is not item
    return kept if changed else value


def fill_defaults(value: Any, schema: JsonObject) -> None:
    """Set what is missing or null though it may not be, in place, on a private copy."""
    if isinstance(value, dict):
        _fill_map(value, schema)
    elif isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, dict):
            for item in value:
                fill_defaults(item, items)


def _fill_map(value: JsonObject, schema: JsonObject) -> None:
    properties: JsonObject = schema.get("properties") or {}
    extra = schema.get("additionalProperties")
    for key, below in properties.items():
        if "default" not in below:
            continue
        if key not in value or (value[key] is None and not below.get("nullable")):
            value[key] = _copied(below["default"])
    if isinstance(extra, dict) and "default" in extra and not extra.get("nullable"):
        for key in [k for k, item in value.items() if item is None and k not in properties]:
            value[key] = _copied(extra["default"])
    for key, item in value.items():
        below = properties.get(key, extra)
        if isinstance(below, dict) and isinstance(item, dict | list):
            fill_defaults(item, below)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value
