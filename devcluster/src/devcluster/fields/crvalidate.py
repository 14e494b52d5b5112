"""Structural validation of custom resources, with the server's texts and cause reasons.

Types, enums, patterns, bounds, formats, required fields, ``allOf``/``anyOf``/``oneOf``/``not``, and
the uniqueness that list types promise. CEL rules are in ``celrules``; they are skipped, and said to
be, when an error makes them pointless (``blocking``).
"""

from __future__ import annotations

import functools
import re
from typing import Any

import orjson
import re2

from devcluster.fields.crformats import FORMATS
from devcluster.fields.errors import Cause
from devcluster.fields.gotext import go_quote
from devcluster.fields.schema import JsonObject
from devcluster.fields.typed import ABSENT, equal

__all__ = ["BLOCKING", "NOT_CHECKED", "list_causes", "schema_causes"]

BLOCKING = frozenset(
    {
        "FieldValueRequired",
        "FieldValueTypeInvalid",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueNotSupported",
    }
)
NOT_CHECKED = Cause(
    field="<nil>",
    message="Invalid value: null: some validation rules were not checked because the object was"
    " invalid; correct the existing errors to complete validation",
    reason="FieldValueInvalid",
)
_INVALID = "FieldValueInvalid"
_TYPE = "FieldValueTypeInvalid"
_WIDE = 1 << 63


def schema_causes(value: Any, schema: JsonObject, path: str = "", old: Any = ABSENT) -> list[Cause]:
    """What is wrong with the value.

    Args:
        value: the value.
        schema: its schema.
        path: that of its field, empty for the object itself.
        old: the stored value that corresponds; what has not changed since is not looked at
            (KEP-4008).

    """
    if old is not ABSENT and equal(value, old):
        return []
    if value is None and schema.get("nullable"):
        return []
    wrong = _type_cause(value, schema, path)
    if wrong is not None:
        return [wrong, *_fraction_cause(value, schema, path)]
    out = _combined(value, schema, path)
    if isinstance(value, str):
        out += _text_causes(value, schema, path)
    elif isinstance(value, bool):
        pass
    elif isinstance(value, int | float):
        out += _number_causes(value, schema, path)
    elif isinstance(value, list):
        out += _list_item_causes(value, schema, path, old)
    if "enum" in schema and not any(equal(value, item) for item in schema["enum"]):
        shown = ", ".join(
            _json(item if isinstance(item, str) else _json(item)) for item in schema["enum"]
        )
        out.append(
            Cause(
                field=path or "<nil>",
                message=f"Unsupported value: {_json(value)}: supported values: {shown}",
                reason="FieldValueNotSupported",
            )
        )
    if isinstance(value, dict):
        out += _object_causes(value, schema, path, old)
    return out


def _invalid(path: str, shown: str, why: str) -> Cause:
    return Cause(
        field=path or "<nil>",
        message=f"Invalid value: {shown}: {path or '<nil>'} in body {why}",
        reason=_INVALID,
    )


def _bare(message: str) -> Cause:
    return Cause(field="<nil>", message=f'Invalid value: "": {message}', reason=_INVALID)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _type_of(value: Any) -> str:
    if isinstance(value, int) and not -_WIDE <= value < _WIDE:
        return "number"  # it is read as a floating-point number
    return _NAMES.get(type(value), "null")


_NAMES: dict[type, str] = {
    bool: "boolean",
    str: "string",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
}


def _type_cause(value: Any, schema: JsonObject, path: str) -> Cause | None:
    wanted = schema.get("type")
    actual = _type_of(value)
    if schema.get("x-kubernetes-int-or-string"):
        return (
            None if actual in {"integer", "string"} else _wrong_type(path, "integer,string", actual)
        )
    if not wanted or actual == wanted or (wanted == "number" and actual == "integer"):
        return None
    if wanted == "integer" and isinstance(value, float):
        wanted = schema.get("format") or "integer"
        actual = "float64" if schema.get("format") else "number"
    return _wrong_type(path, wanted, actual)


def _fraction_cause(value: Any, schema: JsonObject, path: str) -> list[Cause]:
    """A number with a fraction is refused twice where whole ones are wanted."""
    if schema.get("type") != "integer" or not isinstance(value, float):
        return []
    form = schema.get("format")
    kind = f"with format {form}" if form else "(default format)"
    return [_bare(f"Checked value must be of type integer {kind} in {path}")]


def _wrong_type(path: str, wanted: str, shown: str) -> Cause:
    return Cause(
        field=path or "<nil>",
        message=f'Invalid value: "{shown}": {path} in body must be of type {wanted}: "{shown}"',
        reason=_TYPE,
    )


# --- scalars -------------------------------------------------------------------------------------


_TEXT_RULES = frozenset({"maxLength", "minLength", "pattern", "format"})


def _text_causes(value: str, schema: JsonObject, path: str) -> list[Cause]:
    if not _TEXT_RULES & schema.keys():
        return []
    out: list[Cause] = []
    shown = go_quote(value)
    limit = schema.get("maxLength")
    if limit is not None and len(value) > limit:
        text = f"Too long: may not be more than {limit} bytes"
        out.append(Cause(field=path, message=text, reason="FieldValueTooLong"))
    least = schema.get("minLength")
    if least is not None and len(value) < least:
        out.append(_invalid(path, shown, f"should be at least {least} chars long"))
    pattern = schema.get("pattern")
    if pattern and not _matches(pattern, value):
        out.append(_invalid(path, shown, f"should match '{pattern}'"))
    name = schema.get("format", "")
    check = FORMATS.get(name)
    if check is not None and not check(value):
        text = f"Invalid value: {shown}: {path} in body must be of type {name}: {shown}"
        out.append(Cause(field=path, message=text, reason=_TYPE))
    return out


@functools.lru_cache(maxsize=8192)
def _matches(pattern: str, value: str) -> bool:
    """Whether the pattern is found; the same few intervals and addresses come again and again."""
    return bool(_compiled(pattern).search(value))


@functools.lru_cache(maxsize=512)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error:
        return re.compile("")


def _number_causes(value: float, schema: JsonObject, path: str) -> list[Cause]:
    out: list[Cause] = []
    shown = _json(value)
    bits = {"int32": 31, "int64": 63}.get(schema.get("format", ""))
    if bits and schema.get("type") == "integer" and not -(1 << bits) <= value < 1 << bits:
        kind = schema["format"]
        out.append(_bare(f"Checked value must be of type integer with format {kind} in {path}"))
    factor = schema.get("multipleOf")
    if factor and not float(value / factor).is_integer():
        out.append(_invalid(path, shown, f"should be a multiple of {_json(factor)}"))
    most, least = schema.get("maximum"), schema.get("minimum")
    if most is not None and schema.get("exclusiveMaximum") and value >= most:
        out.append(_invalid(path, shown, f"should be less than {_json(most)}"))
    elif most is not None and value > most:
        out.append(_invalid(path, shown, f"should be less than or equal to {_json(most)}"))
    if least is not None and schema.get("exclusiveMinimum") and value <= least:
        out.append(_invalid(path, shown, f"should be greater than {_json(least)}"))
    elif least is not None and value < least:
        out.append(_invalid(path, shown, f"should be greater than or equal to {_json(least)}"))
    return out


# --- lists and objects ---------------------------------------------------------------------------


def _too_many(path: str, count: int, limit: int) -> Cause:
    text = f"Too many: {count}: must have at most {limit} items"
    return Cause(field=path, message=text, reason="FieldValueTooMany")


def _list_item_causes(value: list[Any], schema: JsonObject, path: str, old: Any) -> list[Cause]:
    out: list[Cause] = []
    items = schema.get("items")
    if isinstance(items, dict):
        before = _by_identity(old, schema)
        for at, item in enumerate(value):
            same = before.get(_identity(item, schema), ABSENT) if before else ABSENT
            out += schema_causes(item, items, f"{path}[{at}]", same)
    least, most = schema.get("minItems"), schema.get("maxItems")
    if least is not None and len(value) < least:
        out.append(_invalid(path, str(len(value)), f"should have at least {least} items"))
    if most is not None and len(value) > most:
        out.append(_too_many(path, len(value), most))
    if schema.get("uniqueItems") and any(
        equal(item, other) for at, item in enumerate(value) for other in value[:at]
    ):
        out.append(_invalid(path, _json(value), "shouldn't contain duplicates"))
    return out


def _by_identity(old: Any, schema: JsonObject) -> JsonObject:
    """The old items by their keys; none for a list whose items cannot be told apart."""
    if not isinstance(old, list) or schema.get("x-kubernetes-list-type") != "map":
        return {}
    return {_identity(item, schema): item for item in old}


def _identity(item: Any, schema: JsonObject) -> str:
    if not isinstance(item, dict):
        return ""
    keys = sorted(schema.get("x-kubernetes-list-map-keys") or ())
    return _json({key: item[key] for key in keys if key in item})


def _object_causes(value: JsonObject, schema: JsonObject, path: str, old: Any) -> list[Cause]:
    out: list[Cause] = []
    least, most = schema.get("minProperties"), schema.get("maxProperties")
    if least is not None and len(value) < least:
        out.append(_invalid(path, str(len(value)), f"should have at least {least} properties"))
    if most is not None and len(value) > most:
        out.append(_too_many(path, len(value), most))
    prefix = f"{path}." if path else ""
    required = list(schema.get("required") or ())
    if schema.get("x-kubernetes-embedded-resource"):
        required += ["apiVersion", "kind"]
    for key in required:
        if value.get(key) in (None, "") and (
            key not in value or value[key] is None or key in _TYPED
        ):
            reason = "FieldValueRequired"
            out.append(Cause(field=prefix + key, message="Required value", reason=reason))
    properties = schema.get("properties") or {}
    extra = schema.get("additionalProperties")
    before: JsonObject = old if isinstance(old, dict) else {}
    for key, item in value.items():
        below = properties.get(key, extra)
        if isinstance(below, dict) and not (item is None and key in required):
            out += schema_causes(item, below, prefix + key, before.get(key, ABSENT))
    return out


_TYPED = frozenset({"apiVersion", "kind"})


def _combined(value: Any, schema: JsonObject, path: str) -> list[Cause]:
    out: list[Cause] = []
    all_of = [schema_causes(value, part, path) for part in schema.get("allOf") or ()]
    for causes in all_of:
        out += causes
    if out:
        out.append(_bare(f'"{path}" must validate all the schemas (allOf)'))
    any_of = schema.get("anyOf") or ()
    if any_of and not schema.get("x-kubernetes-int-or-string"):
        results = [schema_causes(value, part, path) for part in any_of]
        if all(results):
            out.append(_bare(f'"{path}" must validate at least one schema (anyOf)'))
            out += _shortest(results)
    one_of = schema.get("oneOf") or ()
    if one_of:
        results = [schema_causes(value, part, path) for part in one_of]
        valid = sum(1 for result in results if not result)
        text = f'"{path}" must validate one and only one schema (oneOf).'
        if valid == 0:
            out.append(_bare(f"{text} Found none valid"))
            out += results[0]
        elif valid > 1:
            out.append(_bare(f"{text} Found {valid} valid alternatives"))
    if "not" in schema and not schema_causes(value, schema["not"], path):
        out.append(_bare(f'"{path}" must not validate the schema (not)'))
    return out


def _shortest(results: list[list[Cause]]) -> list[Cause]:
    return next(part for part in results if len(part) == min(map(len, results)))


def list_causes(value: Any, schema: JsonObject, path: str = "", old: Any = ABSENT) -> list[Cause]:
    """Duplicates in lists that are sets or maps; ``old`` as in ``schema_causes``."""
    out: list[Cause] = []
    if old is not ABSENT and equal(value, old):
        return out
    if isinstance(value, list):
        items = schema.get("items") or {}
        out += _duplicates(value, schema, path)
        for at, item in enumerate(value):
            out += list_causes(item, items, f"{path}[{at}]")
    elif isinstance(value, dict):
        properties = schema.get("properties") or {}
        extra = schema.get("additionalProperties")
        for key, item in value.items():
            below = properties.get(key, extra)
            if isinstance(below, dict):
                before = old.get(key, ABSENT) if isinstance(old, dict) else ABSENT
                out += list_causes(item, below, f"{path}.{key}" if path else key, before)
    return out


def _duplicates(value: list[Any], schema: JsonObject, path: str) -> list[Cause]:
    kind = schema.get("x-kubernetes-list-type")
    if kind not in {"set", "map"}:
        return []
    keys = sorted(schema.get("x-kubernetes-list-map-keys") or ())
    out: list[Cause] = []
    seen: set[str] = set()
    told: set[str] = set()
    for at, item in enumerate(value):
        identity = item
        if kind == "map":
            if not isinstance(item, dict):
                continue
            identity = {key: item[key] for key in keys if key in item}
        text = _json(identity)
        if text in seen and text not in told:
            told.add(text)
            message = f"Duplicate value: {text}"
            out.append(Cause(field=f"{path}[{at}]", message=message, reason="FieldValueDuplicate"))
        seen.add(text)
    return out
