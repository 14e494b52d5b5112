"""``x-kubernetes-validations``: CEL rules of custom resources (KEP-2876).

``self`` is the value, ``oldSelf`` the stored one; a rule that names ``oldSelf`` runs on updates
only (unless ``optionalOldSelf``). Values are untyped here: rules that need Kubernetes' own CEL
libraries beyond strings, or typed dates, do not compile and are left out with one log line.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings

from devcluster.fields.errors import Cause
from devcluster.fields.gotext import go_quote
from devcluster.fields.schema import JsonObject
from devcluster.fields.typed import ABSENT, element_of
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


def rule_causes(value: Any, schema: JsonObject, old: Any = ABSENT, path: str = "") -> list[Cause]:
    """The rules that do not hold.

    Args:
        value: the value, defaulted and structurally valid.
        schema: its schema.
        old: the stored value; ABSENT if there is none that corresponds.
        path: the field's path; empty for the object.

    """
    if value is None:
        return []
    out: list[Cause] = []
    for rule in schema.get(_RULES) or ():
        cause = _check(rule, value, old, path)
        if cause is not None:
            out.append(cause)
    if isinstance(value, dict):
        out += _below_map(value, schema, old, path)
    elif isinstance(value, list) and _has_rules_known(schema.get("items")):
        out += _below_list(value, schema, old, path)
    return out


def _below_map(value: JsonObject, schema: JsonObject, old: Any, path: str) -> list[Cause]:
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
            out += rule_causes(item, below, before.get(key, ABSENT), inner)
    return out


def _below_list(value: list[Any], schema: JsonObject, old: Any, path: str) -> list[Cause]:
    """Items have a predecessor in map lists only."""
    out: list[Cause] = []
    before: dict[str, Any] = {}
    keyed = schema.get("x-kubernetes-list-type") == "map"
    node = _key_node(tuple(sorted(schema.get("x-kubernetes-list-map-keys") or ())))
    if keyed and isinstance(old, list):
        before = {element_of(item, node): item for item in old}
    for at, item in enumerate(value):
        same = before.get(element_of(item, node), ABSENT) if keyed else ABSENT
        out += rule_causes(item, schema["items"], same, f"{path}[{at}]")
    return out


@functools.lru_cache(maxsize=256)
def _key_node(keys: tuple[str, ...]) -> Any:
    from devcluster.fields.schema import Node  # noqa: PLC0415  only the keys of a node are needed

    return Node(is_list=True, associative=True, keys=keys)


def _check(rule: JsonObject, value: Any, old: Any, path: str) -> Cause | None:
    text = rule["rule"]
    data = {"self": value}
    if _OLD.search(text):
        if old is ABSENT:
            if not rule.get("optionalOldSelf"):
                return None
            return None
        data["oldSelf"] = old
    verdict = _evaluate(text, data)
    if verdict is True or verdict is ABSENT:
        return None
    reason = rule.get("reason") or "FieldValueInvalid"
    return Cause(
        field=(path + rule.get("fieldPath", "")).removeprefix(".") or "<nil>",
        message=_message(rule, value, data, reason),
        reason=reason,
    )


def _message(rule: JsonObject, value: Any, data: JsonObject, reason: str) -> str:
    said = rule.get("message", "").strip()
    if rule.get("messageExpression"):
        computed = _evaluate(rule["messageExpression"], data)
        if isinstance(computed, str) and computed.strip():
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
        return compiled.eval(data=data).plain_value()
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
        variables["oldSelf"] = cel.Type.DYN
    return cel.NewEnv(
        variables=variables, extensions=[ext_strings.ExtStrings(), ext_optional.ExtOptional()]
    )
