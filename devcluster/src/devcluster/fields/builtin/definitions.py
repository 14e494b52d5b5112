"""CustomResourceDefinitions: names, versions, and that their schemas are structural."""

from __future__ import annotations

from typing import Any

import re2

from devcluster.fields.builtin import names
from devcluster.fields.builtin.checker import Checker
from devcluster.fields.crvalidate import schema_causes
from devcluster.fields.schema import JsonObject

__all__ = ["definition", "update_definition"]

_APPROVAL = "api-approved.kubernetes.io"
_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_SCHEMA = "spec.validation.openAPIV3Schema"


def definition(checker: Checker, obj: JsonObject) -> None:
    """A new definition."""
    spec = obj["spec"]
    given = spec.get("names") or {}
    name = obj["metadata"].get("name", "")
    if name != f"{given.get('plural', '')}.{spec.get('group', '')}":
        checker.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    _check_approval(checker, obj)
    _check_spec(checker, obj)


def update_definition(checker: Checker, new: JsonObject, old: JsonObject) -> None:
    """Scope, group and names stay once objects may exist."""
    _check_spec(checker, new)
    conditions = (old.get("status") or {}).get("conditions") or ()
    if not any(c.get("type") == "Established" and c.get("status") == "True" for c in conditions):
        return
    for field in ("group", "scope"):
        left, right = new["spec"].get(field), old["spec"].get(field)
        checker.unchanged(f"spec.{field}", left, right)
    for field in ("kind", "plural"):
        left, right = new["spec"]["names"].get(field), old["spec"]["names"].get(field)
        checker.unchanged(f"spec.names.{field}", left, right)


def _check_approval(checker: Checker, obj: JsonObject) -> None:
    group = obj["spec"].get("group", "")
    if not group.endswith((".k8s.io", ".kubernetes.io")):
        return
    annotations = obj["metadata"].get("annotations") or {}
    if not annotations.get(_APPROVAL):
        text = (
            f'protected groups must have approval annotation "{_APPROVAL}",'
            " see https://github.com/kubernetes/enhancements/pull/1111"
        )
        checker.required(f"metadata.annotations[{_APPROVAL}]", text)


def _check_spec(checker: Checker, obj: JsonObject) -> None:
    spec = obj["spec"]
    group = spec.get("group", "")
    if not group:
        checker.required("spec.group")
    else:
        checker.problems("spec.group", group, names.dns_subdomain(group))
        if "." not in group:
            text = "should be a domain with at least one dot"
            checker.invalid("spec.group", group, text)
    checker.choice("spec.scope", spec.get("scope"), ("Cluster", "Namespaced"))
    if spec.get("preserveUnknownFields"):
        text = (
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in"
            " spec.versions[*].schema instead"
        )
        checker.invalid("spec.preserveUnknownFields", True, text)
    _check_versions(checker, obj)
    _check_conversion(checker, spec.get("conversion") or {})
    _check_names(checker, spec.get("names") or {})


def _check_names(checker: Checker, given: JsonObject) -> None:
    for field in ("plural", "singular", "kind", "listKind"):
        value = given.get(field, "")
        path = f"spec.names.{field}"
        if not value:
            checker.required(path)
        else:
            checker.problems(path, value, names.dns_1035_label(value.lower()))
    for at, short in enumerate(given.get("shortNames") or ()):
        checker.problems(f"spec.names.shortNames[{at}]", short, names.dns_1035_label(short))
    if given.get("listKind") and given.get("kind") == given.get("listKind"):
        text = "kind and listKind may not be the same"
        checker.invalid("spec.names.listKind", given["listKind"], text)


def _check_conversion(checker: Checker, conversion: JsonObject) -> None:
    strategy = conversion.get("strategy")
    if strategy == "Webhook":
        webhook = conversion.get("webhook") or {}
        if not webhook.get("clientConfig"):
            text = "required when strategy is set to Webhook"
            checker.required("spec.conversion.webhookClientConfig", text)
        if not webhook.get("conversionReviewVersions"):
            checker.required("spec.conversion.conversionReviewVersions")
    elif strategy != "None":
        checker.choice("spec.conversion.strategy", strategy, ("None", "Webhook"))


def _check_versions(checker: Checker, obj: JsonObject) -> None:
    versions = obj["spec"].get("versions")
    stored = [version for version in versions or () if version.get("storage")]
    known = [version.get("name", "") for version in versions or ()]
    if len(set(known)) != len(known):
        text = "must contain unique version names"
        checker.invalid("spec.versions", _internal(versions), text)
    single = len(versions or ()) == 1
    for at, version in enumerate(versions or ()):
        path = f"spec.versions[{at}]"
        name = version.get("name", "")
        checker.problems(f"{path}.name", name, names.dns_1035_label(name))
        _check_version(checker, version, path, single=single)
    if len(stored) != 1:
        text = "must have exactly one version marked as storage version"
        checker.invalid("spec.versions", _internal(versions), text)
    kept = (obj.get("status") or {}).get("storedVersions")
    if not kept:
        checker.invalid("status.storedVersions", None, "must have at least one stored version")
    for at, name in enumerate(kept or ()):
        if name not in known:
            text = (
                f"missing from spec.versions; {name} was previously a storage version, and must"
                " remain in spec.versions until a storage migration ensures no data remains"
                f" persisted in {name} and removes {name} from status.storedVersions"
            )
            checker.invalid(f"status.storedVersions[{at}]", name, text)


def _internal(versions: Any) -> Any:
    """The versions as the server's internal type prints them."""
    if versions is None:
        return None
    empty = {
        "Deprecated": False,
        "DeprecationWarning": None,
        "Schema": None,
        "Subresources": None,
        "AdditionalPrinterColumns": None,
        "SelectableFields": None,
    }
    return [
        {
            "Name": version.get("name", ""),
            "Served": version.get("served", False),
            "Storage": version.get("storage", False),
            **empty,
        }
        for version in versions
    ]


def _check_version(checker: Checker, version: JsonObject, path: str, *, single: bool) -> None:
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    if schema is None:
        checker.required(f"{path}.schema.openAPIV3Schema")
    else:
        base = _SCHEMA if single else f"{path}.schema.openAPIV3Schema"
        _check_root(checker, schema, base)
    outer = "spec" if single else path
    _check_subresources(checker, version.get("subresources") or {}, f"{outer}.subresources")
    for at, column in enumerate(version.get("additionalPrinterColumns") or ()):
        _check_column(checker, column, f"{outer}.additionalPrinterColumns[{at}]")


def _check_subresources(checker: Checker, subresources: JsonObject, path: str) -> None:
    scale = subresources.get("scale")
    if scale is None:
        return
    for field, prefix in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
        value = scale.get(field, "")
        if not value:
            checker.required(f"{path}.scale.{field}")
        elif not value.startswith(prefix):
            text = f"should be a json path under {prefix[:-1]}"
            checker.invalid(f"{path}.scale.{field}", value, text)


def _check_column(checker: Checker, column: JsonObject, path: str) -> None:
    if not column.get("name"):
        checker.required(f"{path}.name")
    kind = column.get("type", "")
    if not kind:
        checker.required(f"{path}.type", f"must be one of {','.join(_COLUMN_TYPES)}")
    elif kind not in _COLUMN_TYPES:
        checker.invalid(f"{path}.type", kind, f"must be one of {','.join(_COLUMN_TYPES)}")
    place = column.get("jsonPath", "")
    if not place:
        checker.required(f"{path}.JSONPath")
    elif not place.startswith("."):
        checker.invalid(f"{path}.JSONPath", place, "must be a simple json path starting with .")


# --- structural schemas --------------------------------------------------------------------------


def _check_root(checker: Checker, schema: JsonObject, path: str) -> None:
    kind = schema.get("type")
    if not kind:
        checker.required(f"{path}.type", "must not be empty at the root")
    elif kind != "object":
        checker.invalid(f"{path}.type", kind, "must be object at the root")
        return
    _check_schema(checker, schema, path)


def _check_schema(checker: Checker, schema: JsonObject, path: str) -> None:
    kind = schema.get("type")
    if kind and kind not in _TYPES:
        checker.unsupported(f"{path}.type", kind, _TYPES)
    if kind == "array" and schema.get("items") is None:
        checker.required(f"{path}.items", "must be specified")
    if schema.get("x-kubernetes-list-type") == "map" and not schema.get(
        "x-kubernetes-list-map-keys"
    ):
        text = "must not be empty if x-kubernetes-list-type is map"
        checker.required(f"{path}.x-kubernetes-list-map-keys", text)
    _check_pattern(checker, schema, path)
    if "default" in schema and kind in _TYPES:
        for cause in schema_causes(schema["default"], schema):
            checker.causes.append(_at(cause, f"{path}.default"))
    for at, rule in enumerate(schema.get("x-kubernetes-validations") or ()):
        if not rule.get("rule", "").strip():
            field = f"{path}.x-kubernetes-validations[{at}].rule"
            checker.required(field, "rule is not specified")
    _check_below(checker, schema, path)


def _at(cause: Any, path: str) -> Any:
    return type(cause)(field=path, message=cause.message, reason=cause.reason)


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


def _check_below(checker: Checker, schema: JsonObject, path: str) -> None:
    untyped = "must not be empty for specified object fields"
    parts = [
        (f"{path}.properties[{key}]", below, untyped)
        for key, below in (schema.get("properties") or {}).items()
    ]
    if isinstance(schema.get("items"), dict):
        text = "must not be empty for specified array items"
        parts.append((f"{path}.items", schema["items"], text))
    if isinstance(schema.get("additionalProperties"), dict):
        parts.append((f"{path}.additionalProperties", schema["additionalProperties"], untyped))
    for inner, below, text in parts:
        free = below.get("x-kubernetes-int-or-string") or below.get(
            "x-kubernetes-preserve-unknown-fields"
        )
        if not below.get("type") and not free:
            checker.required(f"{inner}.type", text)
        _check_schema(checker, below, inner)
