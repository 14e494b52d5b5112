"""``x-kubernetes-validations``: CEL rules of custom resources (KEP-2876).

``self`` is the value, ``oldSelf`` the stored one; a rule that names ``oldSelf`` runs on updates
only (unless ``optionalOldSelf``). Values are untyped here: rules that need Kubernetes' own CEL
libraries beyond those of ``cellibrary``, or typed dates inside an object, do not compile and are
left out with one log line.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings

from devcluster.fields import cellibrary
from devcluster.fields.errors import Cause
from devcluster.fields.gotext import go_quote
from devcluster.fields.schema import JsonObject
from devcluster.fields.typed import ABSENT, element_of, equal
from fluvial.log import get_logger

__all__ = ["has_rules", "rule_causes"]

_RULES = "x-kubernetes-validations"
_OLD = re.compile(r"\boldSelf\b")
_REASONS = {
    "FieldValueInvalid": "Invalid value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueRequired": "Required value",
    "FieldValueDuplicate": "Duplicate value",
}
_LOG = get_logger("devcluster.cel")


def has_rules(schema: JsonObject) -> bool:
    """Whether any rule is anywhere in the schema."""
    if schema.get(_RULES):
        return True
    below = [*(schema.get("properties") or {}).values()]
    below += [part for part in (schema.get("items"), schema.get("additionalProperties")) if part]
    return any(isinstance(part, dict) and has_rules(part) for part in below)


def _has_rules_known(schema: Any) -> bool:
    """The same, remembered for each part of a schema that is in use."""
    if not isinstance(schema, dict):
        return False
    found = _known.get(id(schema))
    if found is None or found[0] is not schema:
        if len(_known) >= _MAX_KNOWN:
            _known.clear()
        found = _known[id(schema)] = (schema, has_rules(schema))
    return found[1]


_known: dict[int, tuple[JsonObject, bool]] = {}
_MAX_KNOWN = 20_000


def rule_causes(
    value: Any,
    schema: JsonObject,
    old: Any = ABSENT,
    path: str = "",
    *,
    inherited: list[Cause] | None = None,
) -> list[Cause]:
    """The rules that do not hold.

    Args:
        value: the value, defaulted and structurally valid.
        schema: its schema.
        old: the stored value; ABSENT if there is none that corresponds.
        path: the field's path; empty for the object.
        inherited: takes those that did not hold before, of values that have not changed: they
            are only warned of (KEP-4008).

    """
    if value is None:
        return []
    inherited = [] if inherited is None else inherited
    out: list[Cause] = []
    rules = schema.get(_RULES) or ()
    same = bool(rules) and old is not ABSENT and equal(value, old)
    for rule in rules:
        cause = _check(rule, value, old, path, schema)
        if cause is not None:
            late = same and not _OLD.search(rule["rule"])
            (inherited if late else out).append(cause)
    if isinstance(value, dict):
        out += _below_map(value, schema, old, path, inherited)
    elif isinstance(value, list) and _has_rules_known(schema.get("items")):
        out += _below_list(value, schema, old, path, inherited)
    return out


def _below_map(
    value: JsonObject, schema: JsonObject, old: Any, path: str, inherited: list[Cause]
) -> list[Cause]:
    out: list[Cause] = []
    properties = schema.get("properties") or {}
    extra = schema.get("additionalProperties")
    before: JsonObject = old if isinstance(old, dict) else {}
    for key, item in value.items():
        below = properties.get(key, extra)
        if isinstance(below, dict) and _has_rules_known(below):
            inner = f"{path}.{key}" if path else key
            if not properties.get(key):
                inner = f"{path}[{key}]"
            now = before.get(key, ABSENT)
            out += rule_causes(item, below, now, inner, inherited=inherited)
    return out


def _below_list(
    value: list[Any], schema: JsonObject, old: Any, path: str, inherited: list[Cause]
) -> list[Cause]:
    """Items have a predecessor in map lists only."""
    out: list[Cause] = []
    before: dict[str, Any] = {}
    keyed = schema.get("x-kubernetes-list-type") == "map"
    node = _key_node(tuple(sorted(schema.get("x-kubernetes-list-map-keys") or ())))
    if keyed and isinstance(old, list):
        before = {element_of(item, node): item for item in old}
    for at, item in enumerate(value):
        same = before.get(element_of(item, node), ABSENT) if keyed else ABSENT
        inner = f"{path}[{at}]"
        out += rule_causes(item, schema["items"], same, inner, inherited=inherited)
    return out


@functools.lru_cache(maxsize=256)
def _key_node(keys: tuple[str, ...]) -> Any:
    from devcluster.fields.schema import Node  # noqa: PLC0415  only the keys of a node are needed

    return Node(is_list=True, associative=True, keys=keys)


def _check(rule: JsonObject, value: Any, old: Any, path: str, schema: JsonObject) -> Cause | None:
    text, optional = rule["rule"], bool(rule.get("optionalOldSelf"))
    data: JsonObject = {"self": value}
    if _OLD.search(text):
        if old is ABSENT and not optional:
            return None
        data |= {"oldSelf": None if old is ABSENT else old, "hasOld": old is not ABSENT}
    if "__" in text:
        data |= {name: _escaped(data[name]) for name in ("self", "oldSelf") if name in data}
    verdict = _evaluate(_adapted(text, schema, optional=optional), data)
    if verdict is True or verdict is ABSENT:
        return None
    reason = rule.get("reason") or "FieldValueInvalid"
    field = (path + rule.get("fieldPath", "")).removeprefix(".") or "<nil>"
    if isinstance(verdict, _Failed):
        what = _SHOWN_TYPE.get(type(value), "object")
        why = f"{verdict.why} evaluating rule: {rule.get('message') or text.strip()}"
        message = f'Invalid value: "{what}": {why}'
        return Cause(field=field, message=message, reason="FieldValueInvalid")
    message = _message(rule, value, data, schema)
    return Cause(field=field, message=message, reason=reason)


class _Failed:
    """An expression that could not be evaluated."""

    def __init__(self, text: str) -> None:
        missing = _NO_KEY.search(text)
        self.why = f"no such key: {missing[1]}" if missing else text.partition(": ")[2] or text


_NO_KEY = re.compile(r'Key not found in map : "(.*)"')
_SHOWN_TYPE = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array"}
_SELF = re.compile(r"\bself\b")
_TYPED = {
    "duration": "duration(self)",
    "date-time": "timestamp(self)",
    "date": "timestamp(self + 'T00:00:00Z')",
}


def _adapted(text: str, schema: JsonObject, *, optional: bool) -> str:
    """The expression for untyped values: durations and times are texts, oldSelf may be optional."""
    typed = _TYPED.get(schema.get("format", "")) if schema.get("type") == "string" else None
    if typed:
        text = _SELF.sub(typed, text)
    if optional:
        text = _OLD.sub("(hasOld ? optional.of(oldSelf) : optional.none())", text)
    return cellibrary.with_optional_results(text) if "format." in text else text


_RESERVED = frozenset(
    {
        *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for"),
        *("function", "if", "import", "let", "loop", "package", "namespace", "return"),
    }
)


def _escaped(value: Any) -> Any:
    """With the names of fields as expressions write them."""
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {_escaped_name(key): _escaped(item) for key, item in value.items()}


def _escaped_name(name: str) -> str:
    if name in _RESERVED:
        return f"__{name}__"
    name = name.replace("__", "__underscores__").replace("-", "__dash__")
    return name.replace(".", "__dot__").replace("/", "__slash__")


def _message(rule: JsonObject, value: Any, data: JsonObject, schema: JsonObject) -> str:
    reason = rule.get("reason") or "FieldValueInvalid"
    if reason == "FieldValueDuplicate":
        return _REASONS[reason]
    said = rule.get("message", "").strip()
    if rule.get("messageExpression"):
        optional = bool(rule.get("optionalOldSelf"))
        computed = _evaluate(_adapted(rule["messageExpression"], schema, optional=optional), data)
        if isinstance(computed, str) and computed.strip() and "\n" not in computed:
            said = computed
    head = _REASONS.get(reason, "Invalid value")
    if not said:
        said = f"failed rule: {rule['rule'].strip()}"
    if reason == "FieldValueInvalid":
        shown = _shown(value)
        return f"{head}: {shown}: {said}" if shown else f"{head}: {said}"
    return f"{head}: {said}"


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return go_quote(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return ""


def _evaluate(text: str, data: JsonObject) -> Any:
    """The result; ABSENT for an expression that cannot be compiled here."""
    compiled = _compiled(text, "oldSelf" in data)
    if compiled is None:
        return ABSENT
    try:
        value = compiled.eval(data=data)
        plain = value.plain_value()
        return _Failed(str(plain)) if value.type() == cel.Type.ERROR else plain
    except (RuntimeError, ValueError, TypeError) as problem:
        _LOG.debug("a CEL rule failed", rule=text, error=str(problem))
        return False


@functools.lru_cache(maxsize=2048)
def _compiled(text: str, with_old: bool) -> Any:  # noqa: FBT001  part of a cache key
    try:
        return _environment(with_old).compile(text)
    except (RuntimeError, ValueError) as problem:
        _LOG.info("a CEL rule is not checked", rule=text, error=str(problem))
        return None


@functools.lru_cache(maxsize=2)
def _environment(with_old: bool) -> Any:  # noqa: FBT001  part of a cache key
    variables = {"self": cel.Type.DYN}
    if with_old:
        variables |= {"oldSelf": cel.Type.DYN, "hasOld": cel.Type.BOOL}
    return cel.NewEnv(
        variables=variables,
        extensions=[ext_strings.ExtStrings(), ext_optional.ExtOptional()],
        functions=cellibrary.declarations(),
    )
