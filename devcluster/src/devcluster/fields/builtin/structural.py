"""Whether the schema of a CustomResourceDefinition is structural, and its parts fit each other.

The order is the server's: what each keyword may be, then from the leaves up what makes a schema
structural, then defaults. CEL rules are checked for what can be told without compiling them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson
import re2

from devcluster.fields import crdschema
from devcluster.fields.builtin.checker import Checker
from devcluster.fields.crvalidate import schema_causes
from devcluster.fields.errors import Cause
from devcluster.fields.schema import JsonObject

__all__ = ["check_schema"]

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED = "x-kubernetes-embedded-resource"
_ANY = "x-kubernetes-int-or-string"
_LIST, _KEYS = "x-kubernetes-list-type", "x-kubernetes-list-map-keys"
_RULES = "x-kubernetes-validations"
_REASONS = (
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
)
_OLD = re.compile(r"\boldSelf\b")
_COMBINED = ("allOf", "anyOf", "oneOf")
_STRUCTURE = (
    "type",
    "default",
    "nullable",
    "additionalProperties",
    _PRESERVE,
    _EMBEDDED,
    _ANY,
)


def check_schema(checker: Checker, schema: JsonObject, path: str) -> None:
    """A version's whole schema, at ``path``."""
    before = len(checker.causes)
    if isinstance(schema.get("additionalProperties"), bool | dict):
        checker.forbidden(f"{path}.additionalProperties", "must not be used at the root")
    _check_keywords(checker, schema, path, fixed="")
    if len(checker.causes) == before:
        _check_structure(checker, schema, path, missing="must not be empty at the root")
        if schema.get("type") not in {None, "object"}:
            checker.invalid(f"{path}.type", schema["type"], "must be object at the root")
    if len(checker.causes) == before:
        _check_defaults(checker, schema, path, below_metadata=False)


def _below(schema: JsonObject, path: str) -> Iterator[tuple[str, JsonObject, str]]:
    """The schemas within: path, schema, and what is said of one without a type."""
    untyped = "must not be empty for specified object fields"
    for key, below in (schema.get("properties") or {}).items():
        yield f"{path}.properties[{key}]", below, untyped
    if isinstance(schema.get("items"), dict):
        yield f"{path}.items", schema["items"], "must not be empty for specified array items"
    if isinstance(schema.get("additionalProperties"), dict):
        yield f"{path}.additionalProperties", schema["additionalProperties"], untyped


# --- keywords ------------------------------------------------------------------------------------


def _check_keywords(checker: Checker, schema: JsonObject, path: str, *, fixed: str) -> None:
    """``fixed`` is the path of the list around whose items cannot be told apart, if there is."""
    kind = schema.get("type")
    if schema.get("$ref"):
        checker.forbidden(f"{path}.$ref", "$ref is not supported")
    if kind and kind not in _TYPES:
        checker.unsupported(f"{path}.type", kind, _TYPES)
    if schema.get("uniqueItems"):
        text = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        checker.forbidden(f"{path}.uniqueItems", text)
    if schema.get("properties") and schema.get("additionalProperties") not in (None, True):
        text = "additionalProperties and properties are mutual exclusive"
        checker.forbidden(f"{path}.additionalProperties", text)
    if schema.get(_PRESERVE) is False:
        checker.invalid(f"{path}.{_PRESERVE}", False, "must be true or undefined")
    _check_pattern(checker, schema, path)
    _check_list_type(checker, schema, path)
    _check_map_type(checker, schema, path)
    _check_rules(checker, schema, path, fixed=fixed)
    apart = kind != "array" or schema.get(_LIST) == "map"
    for inner, below, _ in _below(schema, path):
        _check_keywords(checker, below, inner, fixed=fixed if apart else fixed or path)


def _check_pattern(checker: Checker, schema: JsonObject, path: str) -> None:
    pattern = schema.get("pattern")
    if not pattern:
        return
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error as problem:
        detail = problem.args[0] if problem.args else ""
        text = detail.decode() if isinstance(detail, bytes) else str(detail)
        text = text.replace("missing ]", "missing closing ]")
        text = text.replace(": ", ": `", 1) + "`" if ": " in text else text
        checker.invalid(
            f"{path}.pattern",
            pattern,
            f"must be a valid regular expression, but isn't: error parsing regexp: {text}",
        )


def _check_list_type(checker: Checker, schema: JsonObject, path: str) -> None:
    kind, keys = schema.get(_LIST), schema.get(_KEYS) or []
    if kind is None:
        if keys:
            text = "must be map if x-kubernetes-list-map-keys is non-empty"
            checker.required(f"{path}.{_LIST}", text)
        return
    items = schema.get("items") or {}
    if kind not in {"atomic", "set", "map"}:
        checker.unsupported(f"{path}.{_LIST}", kind, ("atomic", "set", "map"))
    elif schema.get("type") != "array":
        text = "must be array if x-kubernetes-list-type is specified"
        checker.invalid(f"{path}.type", schema.get("type", ""), text)
    elif kind == "set":
        _check_set(checker, items, f"{path}.items")
    elif kind == "map" and not keys:
        checker.required(f"{path}.{_KEYS}", "must not be empty if x-kubernetes-list-type is map")
    elif kind == "map":
        _check_map_list(checker, items, keys, path)


def _check_set(checker: Checker, items: JsonObject, path: str) -> None:
    if items.get("nullable"):
        checker.forbidden(
            f"{path}.nullable", "cannot be nullable when x-kubernetes-list-type is set"
        )
    text = "must be atomic as item of a list with x-kubernetes-list-type=set"
    if items.get("type") == "object" and items.get("x-kubernetes-map-type") != "atomic":
        checker.invalid(f"{path}.x-kubernetes-map-type", items.get("x-kubernetes-map-type"), text)
    if items.get("type") == "array" and items.get(_LIST) not in {None, "atomic"}:
        checker.invalid(f"{path}.{_LIST}", items[_LIST], text)


def _check_map_list(checker: Checker, items: JsonObject, keys: list[str], path: str) -> None:
    if items.get("nullable"):
        text = "cannot be nullable when x-kubernetes-list-type is map"
        checker.forbidden(f"{path}.items.nullable", text)
    if items.get("type") != "object":
        text = "must be object if parent array's x-kubernetes-list-type is map"
        checker.invalid(f"{path}.items.type", items.get("type", ""), text)
        return
    properties = items.get("properties") or {}
    if any(key not in properties for key in keys):
        checker.invalid(f"{path}.{_KEYS}", keys, "entries must all be names of item properties")
        return
    if len(set(keys)) < len(keys):
        checker.invalid(f"{path}.{_KEYS}", keys, "must not contain duplicate entries")
    for key in dict.fromkeys(keys):
        if key not in (items.get("required") or ()) and "default" not in properties[key]:
            text = (
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a"
                " required property"
            )
            checker.required(f"{path}.items.properties[{key}].default", text)


def _check_map_type(checker: Checker, schema: JsonObject, path: str) -> None:
    kind = schema.get("x-kubernetes-map-type")
    if kind is None:
        return
    if kind not in {"atomic", "granular"}:
        checker.unsupported(f"{path}.x-kubernetes-map-type", kind, ("atomic", "granular"))
    elif schema.get("type") != "object":
        text = "must be object if x-kubernetes-map-type is specified"
        checker.invalid(f"{path}.type", schema.get("type", ""), text)


def _check_rules(checker: Checker, schema: JsonObject, path: str, *, fixed: str) -> None:
    for at, rule in enumerate(schema.get(_RULES) or ()):
        inner, text = f"{path}.{_RULES}[{at}]", rule.get("rule", "")
        if not text.strip():
            checker.required(f"{inner}.rule", "rule is not specified")
            continue
        reason, place = rule.get("reason"), rule.get("fieldPath", "")
        if reason and reason not in _REASONS:
            checker.unsupported(f"{inner}.reason", reason, _REASONS)
        if place and not _leads_somewhere(place, schema):
            checker.invalid(f"{inner}.fieldPath", place, "must be a valid path")
        old = _OLD.search(text) is not None
        if old and fixed:
            why = "oldSelf cannot be used on the uncorrelatable portion of the schema within"
            checker.invalid(f"{inner}.rule", text, f"{why} {fixed}")
        if rule.get("optionalOldSelf") is not None and not old:
            why = "may not be set if oldSelf is not used in rule"
            checker.invalid(f"{inner}.optionalOldSelf", rule["optionalOldSelf"], why)


_STEP = re.compile(r"\.([^.\[]+)|\['([^']+)'\]")


def _leads_somewhere(place: str, schema: JsonObject) -> bool:
    here: Any = schema
    steps = _STEP.findall(place)
    if "".join(f".{a}" if a else f"['{b}']" for a, b in steps) != place:
        return False
    for name, quoted in steps:
        properties = here.get("properties") or {}
        here = properties.get(name or quoted, here.get("additionalProperties"))
        if not isinstance(here, dict):
            return False
    return True


# --- structure -----------------------------------------------------------------------------------


def _check_structure(checker: Checker, schema: JsonObject, path: str, *, missing: str) -> None:
    for inner, below, text in _below(schema, path):
        _check_structure(checker, below, inner, missing=text)
    for name in _COMBINED:
        for at, part in enumerate(schema.get(name) or ()):
            _check_combined(checker, part, f"{path}.{name}[{at}]", schema)
    if isinstance(schema.get("not"), dict):
        _check_combined(checker, schema["not"], f"{path}.not", schema)
    if schema.get("type") == "array" and schema.get("items") is None:
        checker.required(f"{path}.items", "must be specified")
    root = "root" in missing
    if (root or schema.get(_EMBEDDED)) and "metadata" in (schema.get("properties") or {}):
        _check_metadata(checker, schema["properties"]["metadata"], f"{path}.properties[metadata]")
    if schema.get(_EMBEDDED) and not schema.get(_PRESERVE) and not schema.get("properties"):
        text = f"must not be empty if {_EMBEDDED} is true without {_PRESERVE}"
        checker.required(f"{path}.properties", text)
    free = not root and (schema.get(_ANY) or schema.get(_PRESERVE))
    if not schema.get("type") and not free:
        checker.required(f"{path}.type", missing)
    if schema.get(_EMBEDDED) and schema.get("type") not in {None, "object"}:
        text = f"must be object if {_EMBEDDED} is true"
        checker.invalid(f"{path}.type", schema["type"], text)


def _check_combined(checker: Checker, part: JsonObject, path: str, around: JsonObject) -> None:
    """A part of a combination only restricts: it says nothing of the structure."""
    for inner, below, _ in _below(part, path):
        _check_combined(checker, below, inner, {})
    for name in _COMBINED:
        for at, inner_part in enumerate(part.get(name) or ()):
            _check_combined(checker, inner_part, f"{path}.{name}[{at}]", {})
    allowed = around.get(_ANY)
    for keyword in _STRUCTURE:
        value = part.get(keyword)
        if keyword not in part or (isinstance(value, dict) and keyword != "default"):
            continue
        if keyword == "type":
            if not allowed:
                checker.forbidden(f"{path}.type", "must be empty to be structural")
        elif keyword == "default" or value:
            must = (
                "must be undefined"
                if keyword in {"default", "additionalProperties"}
                else "must be false"
            )
            checker.forbidden(f"{path}.{keyword}", f"{must} to be structural")


def _check_metadata(checker: Checker, schema: JsonObject, path: str) -> None:
    if schema.get("type") not in {None, "object"}:
        checker.invalid(f"{path}.type", schema["type"], "must be object")
    names = set(schema.get("properties") or ())
    if names - {"name", "generateName"} or schema.get("additionalProperties"):
        text = (
            "must not specify anything other than name and generateName, but metadata is"
            " implicitly specified"
        )
        checker.forbidden(path, text)


# --- defaults ------------------------------------------------------------------------------------


def _check_defaults(
    checker: Checker, schema: JsonObject, path: str, *, below_metadata: bool
) -> None:
    default = schema.get("default")
    if default is not None and below_metadata:
        checker.forbidden(f"{path}.default", "must not be set in top-level metadata")
    elif default is not None:
        _check_default(checker, default, schema, f"{path}.default")
    for inner, below, _ in _below(schema, path):
        within = below_metadata or inner.endswith("openAPIV3Schema.properties[metadata]")
        _check_defaults(checker, below, inner, below_metadata=within)


def _check_default(checker: Checker, default: Any, schema: JsonObject, path: str) -> None:
    dropped: list[str] = []
    crdschema.prune(default, schema, dropped)
    if dropped:
        checker.invalid(path, default, "must not have unknown fields")
        return
    filled = orjson.loads(orjson.dumps(default))
    crdschema.fill_defaults(filled, schema)
    for cause in schema_causes(filled, schema):
        inner = "" if cause.field == "<nil>" else f".{cause.field}"
        text = cause.message.replace("<nil> in body", " in body")
        checker.causes.append(Cause(field=path + inner, message=text, reason=cause.reason))
