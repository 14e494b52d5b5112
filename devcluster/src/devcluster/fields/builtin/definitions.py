"""CustomResourceDefinitions: names, versions, and that their schemas are structural."""

from __future__ import annotations

from typing import Any

from devcluster.fields.builtin import names
from devcluster.fields.builtin.checker import Checker
from devcluster.fields.builtin.structural import check_schema
from devcluster.fields.schema import JsonObject

__all__ = ["definition", "update_definition"]

_APPROVAL = "api-approved.kubernetes.io"
_NOT_SIMPLE = "must be a simple json path starting with ."
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
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
        problems = names.dns_subdomain(group)
        checker.problems("spec.group", group, problems)
        if not problems and "." not in group:
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
            mixed = names.MIXED_CASE if field in {"kind", "listKind"} else ""
            problems = names.dns_1035_label(value.lower() if mixed else value)
            checker.problems(path, value, [f"{mixed}{text}" for text in problems])
    for field in ("shortNames", "categories"):
        for at, name in enumerate(given.get(field) or ()):
            checker.problems(f"spec.names.{field}[{at}]", name, names.dns_1035_label(name))
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
        _check_deprecation(checker, version, path)
        _check_version(checker, version, path, single=single)
    if len(stored) != 1:
        text = "must have exactly one version marked as storage version"
        checker.invalid("spec.versions", _internal(versions), text)
    if known and names.dns_1035_label(known[0]):
        # The field that once named the only version is still filled in, and checked.
        checker.problems("spec.version", known[0], names.dns_1035_label(known[0]))
    kept = (obj.get("status") or {}).get("storedVersions")
    for version in stored:
        if kept and version.get("name") not in kept:
            text = f"must have the storage version {version.get('name')}"
            checker.invalid("status.storedVersions", kept, text)
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


def _check_deprecation(checker: Checker, version: JsonObject, path: str) -> None:
    warning = version.get("deprecationWarning")
    if warning is not None and not version.get("deprecated"):
        text = "can only be set for deprecated versions"
        checker.invalid(f"{path}.deprecationWarning", warning, text)


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
        check_schema(checker, schema, base)
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
        elif not value.startswith("."):
            checker.invalid(f"{path}.scale.{field}", value, _NOT_SIMPLE)
        elif not value.startswith(prefix):
            text = f"should be a json path under {prefix[:-1]}"
            checker.invalid(f"{path}.scale.{field}", value, text)
    selector = scale.get("labelSelectorPath")
    if selector and not selector.startswith("."):
        checker.invalid(f"{path}.scale.labelSelectorPath", selector, _NOT_SIMPLE)
    elif selector and not selector.startswith((".spec.", ".status.")):
        text = "should be a json path under either .spec or .status"
        checker.invalid(f"{path}.scale.labelSelectorPath", selector, text)


def _check_column(checker: Checker, column: JsonObject, path: str) -> None:
    if not column.get("name"):
        checker.required(f"{path}.name")
    kind = column.get("type", "")
    if not kind:
        checker.required(f"{path}.type", f"must be one of {','.join(_COLUMN_TYPES)}")
    elif kind not in _COLUMN_TYPES:
        checker.invalid(f"{path}.type", kind, f"must be one of {','.join(_COLUMN_TYPES)}")
    form = column.get("format", "")
    if form and form not in _COLUMN_FORMATS:
        checker.invalid(f"{path}.format", form, f"must be one of {','.join(_COLUMN_FORMATS)}")
    place = column.get("jsonPath", "")
    if not place:
        checker.required(f"{path}.JSONPath")
    elif not place.startswith("."):
        checker.invalid(f"{path}.JSONPath", place, _NOT_SIMPLE)
