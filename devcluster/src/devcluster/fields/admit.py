"""What a request's object must be: decoding, defaults, validation.

The server calls, in this order, ``decode_checks`` (not for server-side apply, whose object is
checked against the schema by ``apply_patch``), ``default``, and after admission ``validate_create``
or ``validate_update``. Between defaults and validation a new object also passes
``managed.track_update`` and ``prepare_create``.
"""

from __future__ import annotations

from typing import Any, Literal

import orjson

from devcluster.fields import crdschema, crembedded, decode
from devcluster.fields.builtin import defaults, prepare, rules
from devcluster.fields.builtin.checker import Checker
from devcluster.fields.builtin.meta import check_meta, check_meta_update
from devcluster.fields.crvalidate import BLOCKING, NOT_CHECKED, list_causes, schema_causes
from devcluster.fields.encoding import as_written
from devcluster.fields.errors import Cause, FieldsError, bad_request, invalid
from devcluster.fields.patches import patched_object_refused
from devcluster.fields.schema import JsonObject, Node, TypeSchema, object_meta
from devcluster.fields.typed import ABSENT

__all__ = [
    "Mode",
    "decode_checks",
    "default",
    "prepare_create",
    "pruned",
    "validate_create",
    "validate_update",
]

Mode = Literal["Strict", "Warn", "Ignore"]
_HEAD = ("apiVersion", "kind", "metadata")
_EMBEDDED = "x-kubernetes-embedded-resource"


def decode_checks(
    obj: JsonObject,
    schema: TypeSchema,
    mode: Mode,
    raw: bytes,
    *,
    patch: Any = None,
    patched: bool = False,
) -> tuple[JsonObject, list[str]]:
    """The object as its kind can hold it, and what is to be warned of.

    Args:
        obj: the decoded JSON.
        schema: its kind.
        mode: the request's ``fieldValidation``.
        raw: the bytes that were sent, for duplicate keys; empty if there are none to look at.
        patch: the strategic merge patch that made the object; for the words of the refusal.
        patched: whether the object came out of a JSON or merge patch; for the same.

    Raises:
        FieldsError: 400, or 422 for a patch: a value of the wrong type, or under ``Strict`` an
            unknown or repeated field.

    """
    try:
        return _decoded(obj, schema, mode, raw, by_patch=patched or patch is not None)
    except decode.Mismatch as problem:
        text = str(problem) if patch is None else problem.restored
    if patch is not None or patched:
        if patched and schema.openapi is not None:
            obj = orjson.loads(orjson.dumps(obj, option=orjson.OPT_SORT_KEYS))
        raise patched_object_refused(text, patched=obj if patched else None, patch=patch)
    kind, version = schema.kind, schema.version
    raise bad_request(f'{kind} in version "{version}" cannot be handled as a {kind}: {text}')


def _decoded(
    obj: JsonObject, schema: TypeSchema, mode: Mode, raw: bytes, *, by_patch: bool
) -> tuple[JsonObject, list[str]]:
    repeated = decode.duplicate_fields(raw) if raw and mode != "Ignore" else []
    if schema.openapi is None:
        decode.check_types(obj, schema.root, schema.kind)
        unknown = list(decode.unknown_fields(obj, schema.root)) if mode != "Ignore" else []
        obj = as_written(obj, schema.root)
    else:
        obj, unknown = _decoded_custom(obj, schema.openapi)
    if by_patch:
        unknown.sort()
    if by_patch and raw[:1] == b"[" and mode != "Ignore":
        problems = decode.operation_problems(raw, repeated)
        problems += [f'unknown field "{path}"' for path in unknown]
    else:
        in_order = not by_patch and schema.openapi is None
        problems = _problems(repeated, unknown, raw if in_order else b"")
    if problems and mode == "Strict":
        raise decode.Mismatch(f"strict decoding error: {', '.join(problems)}")
    return obj, problems if mode == "Warn" else []


def _problems(repeated: list[str], unknown: list[str], raw: bytes) -> list[str]:
    """Each once: repeated fields, then unknown ones; in the order of ``raw``, if it is given.

    Who decodes by that order skips an unknown field with all that is in it.
    """
    if raw and repeated and unknown:
        skipped = tuple(f"{path}{sign}" for path in unknown for sign in ".[")
        repeated = [p for p in repeated if p not in unknown and not p.startswith(skipped)]
    problems = {f'duplicate field "{path}"': f"{path}{decode.AGAIN}" for path in repeated}
    problems |= {f'unknown field "{path}"': path for path in unknown}
    if raw and repeated and unknown:
        order = decode.key_order(raw)
        return sorted(problems, key=lambda text: order.get(problems[text], len(order)))
    return list(problems)


def _decoded_custom(
    obj: JsonObject, openapi: JsonObject, *, nulls: bool = False
) -> tuple[JsonObject, list[str]]:
    meta_node = object_meta()
    unknown: list[str] = []
    pruned: list[str] = []
    meta = obj.get("metadata")
    body = {key: value for key, value in obj.items() if key not in _HEAD}
    root = openapi if openapi.get("type") else {**openapi, "type": "object"}
    body = crdschema.prune(body, root, pruned)
    if not nulls:
        body = crdschema.without_nulls(body, root)
    out: JsonObject = {key: obj[key] for key in ("apiVersion", "kind") if key in obj}
    if meta is not None:
        out["metadata"] = _custom_meta(meta, meta_node, "metadata", unknown)
    unknown += sorted(pruned)
    embedded = _embedded_meta(body, openapi, "", unknown)
    return {**out, **embedded}, unknown


def _custom_meta(meta: Any, node: Node, path: str, unknown: list[str]) -> Any:
    if not isinstance(meta, dict):
        kind = "array" if isinstance(meta, list) else "string"
        raise decode.Mismatch(f"json: cannot unmarshal {kind} into Go value of type v1.ObjectMeta")
    decode.check_types(meta, node, "ObjectMeta")
    unknown += decode.unknown_fields(meta, node, path)
    return as_written(meta, node)


def _embedded_meta(value: Any, schema: JsonObject, path: str, unknown: list[str]) -> Any:
    """Metadata of embedded resources is decoded as metadata is."""
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        extra = schema.get("additionalProperties")
        out = value
        for key, item in value.items():
            inner = f"{path}.{key}" if path else key
            new = item
            if key == "metadata" and schema.get(_EMBEDDED) and isinstance(item, dict):
                new = _checked_embedded(item, inner, unknown)
            elif isinstance(item, dict | list):
                below = properties.get(key, extra)
                if isinstance(below, dict):
                    new = _embedded_meta(item, below, inner, unknown)
            if new is not item:
                out = dict(out) if out is value else out
                out[key] = new
        return out
    items = schema.get("items")
    if isinstance(value, list) and isinstance(items, dict):
        out_list = [
            _embedded_meta(item, items, f"{path}[{at}]", unknown) for at, item in enumerate(value)
        ]
        same = all(new is old for new, old in zip(out_list, value, strict=True))
        return value if same else out_list
    return value


def _checked_embedded(meta: JsonObject, path: str, unknown: list[str]) -> JsonObject:
    node = object_meta()
    try:
        out: JsonObject = _custom_meta(meta, node, path, unknown)
    except decode.Mismatch as problem:
        shown = orjson.dumps(meta).decode()
        raise decode.Mismatch(f"{path}: Invalid value: {shown}: {problem}") from problem
    return out


def default(obj: JsonObject, schema: TypeSchema) -> JsonObject:
    """A private copy of the object with the defaults of its kind."""
    out, entries = _copied(obj)
    if schema.openapi is None:
        for key, zero in schema.root.always:
            if key not in out:
                out[key] = orjson.loads(orjson.dumps(zero))
        defaults.fill(out, schema)
    else:
        crdschema.fill_defaults(out, schema.openapi)
    if entries is not None:
        out["metadata"]["managedFields"] = entries
    return out


def _copied(obj: JsonObject) -> tuple[JsonObject, Any]:
    """A deep copy without the managedFields, and these: no default and no step after it writes
    into them, and they are the larger part of many objects.
    """
    meta = obj.get("metadata")
    if not isinstance(meta, dict) or not meta.get("managedFields"):
        return orjson.loads(orjson.dumps(obj)), None
    bare = {key: value for key, value in meta.items() if key != "managedFields"}
    return orjson.loads(orjson.dumps({**obj, "metadata": bare})), meta["managedFields"]


def prepare_create(obj: JsonObject, schema: TypeSchema) -> None:
    """Complete a new object in place: what the kind's strategy adds after ``track_update``."""
    if schema.builtin:
        prepare.prepare_create(obj, group=schema.group, kind=schema.kind)


# --- validation ----------------------------------------------------------------------------------


def validate_create(obj: JsonObject, schema: TypeSchema) -> None:
    """Refuse an object that may not be created.

    Raises:
        FieldsError: 422 with the causes.

    """
    checker = Checker()
    check_meta(checker, obj["metadata"], schema)
    if schema.openapi is None:
        rules.check_create(checker, obj, schema)
        causes = checker.causes
    else:
        causes = _custom_causes(checker.causes, obj, schema.openapi, ABSENT)
    _refuse(causes, obj, schema)


def validate_update(new: JsonObject, old: JsonObject, schema: TypeSchema) -> list[str]:
    """Refuse a change that may not be made.

    Returns:
        What is wrong and was so before: it is warned of.

    Raises:
        FieldsError: 422 with the causes.

    """
    checker, inherited = Checker(), list[Cause]()
    check_meta_update(checker, new["metadata"], old["metadata"], schema)
    if schema.openapi is None:
        rules.check_update(checker, new, old, schema)
        causes = checker.causes
    else:
        causes = _custom_causes(checker.causes, new, schema.openapi, old, inherited=inherited)
    _refuse(causes, new, schema)
    return [cause.text for cause in inherited]


def _custom_causes(
    causes: list[Cause],
    obj: JsonObject,
    openapi: JsonObject,
    old: Any,
    *,
    inherited: list[Cause] | None = None,
) -> list[Cause]:
    body = _checked_part(obj, openapi)
    out = [*causes, *schema_causes(body, openapi), *list_causes(body, openapi)]
    if old is not ABSENT and len(out) > len(causes):
        # Only what has changed need be right (KEP-4008).
        before = _checked_part(old, openapi)
        again = (schema_causes(body, openapi, old=before), list_causes(body, openapi, old=before))
        out = [*causes, *again[0], *again[1]]
    out += crembedded.embedded_causes(body, openapi)
    if not _rules_in(openapi):
        return out
    from devcluster.fields import celrules  # noqa: PLC0415  50 MB that few clusters need

    if any(cause.reason in BLOCKING for cause in out):
        return [*out, NOT_CHECKED]
    return [*out, *celrules.rule_causes(obj, openapi, old, inherited=inherited)]


def _checked_part(obj: JsonObject, openapi: JsonObject) -> JsonObject:
    """What a schema speaks of: all but the head, and of the metadata the names, if it does."""
    body = {key: value for key, value in obj.items() if key not in _HEAD}
    if "metadata" in (openapi.get("properties") or {}):
        meta = obj["metadata"]
        body["metadata"] = {k: meta[k] for k in ("name", "generateName") if k in meta}
    return body


def pruned(obj: JsonObject, schema: TypeSchema) -> JsonObject:
    """A custom resource without what its schema does not know; nulls stay."""
    if schema.openapi is None:
        return obj
    return _decoded_custom(obj, schema.openapi, nulls=True)[0]


def _rules_in(openapi: JsonObject) -> bool:
    key = id(openapi)
    found = _RULES_IN.get(key)
    if found is None or found[0] is not openapi:
        found = (openapi, _has_rules(openapi))
        _RULES_IN[key] = found
    return found[1]


_RULES_IN: dict[int, tuple[JsonObject, bool]] = {}


def _has_rules(schema: JsonObject) -> bool:
    if schema.get("x-kubernetes-validations"):
        return True
    below = [*(schema.get("properties") or {}).values()]
    below += [schema.get("items"), schema.get("additionalProperties")]
    return any(isinstance(part, dict) and _has_rules(part) for part in below)


def _refuse(causes: list[Cause], obj: JsonObject, schema: TypeSchema) -> None:
    if causes:
        error: FieldsError = invalid(
            group="" if schema.kind == "Event" else schema.group,  # both are the core group's
            kind=schema.kind,
            name=obj["metadata"].get("name", ""),
            causes=causes,
        )
        raise error
