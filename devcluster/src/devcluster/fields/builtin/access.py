"""Roles and bindings; admission webhooks."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from devcluster.fields.builtin import names
from devcluster.fields.builtin.checker import Checker
from devcluster.fields.builtin.meta import check_selector
from devcluster.fields.schema import JsonObject

__all__ = [
    "cluster_role",
    "cluster_role_binding",
    "role",
    "role_binding",
    "update_cluster_role_binding",
    "update_role_binding",
    "webhooks",
]

_GROUP = "rbac.authorization.k8s.io"


def role(checker: Checker, obj: JsonObject) -> None:
    """A role, new or changed."""
    _check_rules(checker, obj.get("rules") or (), namespaced=True)


def cluster_role(checker: Checker, obj: JsonObject) -> None:
    """A cluster role, new or changed."""
    _check_rules(checker, obj.get("rules") or (), namespaced=False)
    aggregation = obj.get("aggregationRule")
    if aggregation is not None:
        selectors = aggregation.get("clusterRoleSelectors") or ()
        if not selectors:
            text = "at least one clusterRoleSelector required if aggregationRule is non-nil"
            checker.required("aggregationRule.clusterRoleSelectors", text)
        for at, selector in enumerate(selectors):
            check_selector(checker, selector, f"aggregationRule.clusterRoleSelectors[{at}]")


def _check_rules(checker: Checker, rules: Any, *, namespaced: bool) -> None:
    for at, rule in enumerate(rules):
        path = f"rules[{at}]"
        if not rule.get("verbs"):
            checker.required(f"{path}.verbs")
        urls = rule.get("nonResourceURLs")
        if urls:
            if namespaced:
                text = "namespaced rules cannot apply to non-resource URLs"
                checker.invalid(f"{path}.nonResourceURLs", urls, text)
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                text = "rules cannot apply to both regular resources and non-resource URLs"
                checker.invalid(f"{path}.nonResourceURLs", urls, text)
            continue
        if not rule.get("apiGroups"):
            text = "resource rules must supply at least one api group"
            checker.required(f"{path}.apiGroups", text)
        if not rule.get("resources"):
            text = "resource rules must supply at least one resource"
            checker.required(f"{path}.resources", text)


def role_binding(checker: Checker, obj: JsonObject) -> None:
    """A new binding."""
    _check_binding(checker, obj, ("Role", "ClusterRole"), namespaced=True)


def cluster_role_binding(checker: Checker, obj: JsonObject) -> None:
    """A new cluster binding."""
    _check_binding(checker, obj, ("ClusterRole",), namespaced=False)


def _check_binding(
    checker: Checker, obj: JsonObject, kinds: tuple[str, ...], *, namespaced: bool
) -> None:
    ref = obj.get("roleRef") or {}
    if ref.get("apiGroup") != _GROUP:
        checker.unsupported("roleRef.apiGroup", ref.get("apiGroup", ""), (_GROUP,))
    if ref.get("kind") not in kinds:
        checker.unsupported("roleRef.kind", ref.get("kind", ""), kinds)
    name = ref.get("name", "")
    if not name:
        checker.required("roleRef.name")
    else:
        checker.problems("roleRef.name", name, names.path_segment(name))
    for at, subject in enumerate(obj.get("subjects") or ()):
        _check_subject(checker, subject, f"subjects[{at}]", namespaced=namespaced)


def _check_subject(checker: Checker, subject: JsonObject, path: str, *, namespaced: bool) -> None:
    name, group = subject.get("name", ""), subject.get("apiGroup", "")
    if not name:
        checker.required(f"{path}.name")
    kind = subject.get("kind", "")
    if kind == "ServiceAccount":
        if name:
            checker.problems(f"{path}.name", name, names.dns_subdomain(name))
        if group:
            checker.unsupported(f"{path}.apiGroup", group, ("",))
        if not namespaced and not subject.get("namespace"):
            checker.required(f"{path}.namespace")
    elif kind in {"User", "Group"}:
        if group != _GROUP:
            checker.unsupported(f"{path}.apiGroup", group, (_GROUP,))
    else:
        checker.unsupported(f"{path}.kind", kind, ("ServiceAccount", "User", "Group"))


def _check_same_role(checker: Checker, new: JsonObject, old: JsonObject) -> None:
    if new.get("roleRef") != old.get("roleRef"):
        ref = new.get("roleRef") or {}
        shown = {key: ref.get(key, "") for key in ("apiGroup", "kind", "name")}
        text = {"APIGroup": shown["apiGroup"], "Kind": shown["kind"], "Name": shown["name"]}
        checker.invalid("roleRef", text, "field is immutable")


def update_role_binding(checker: Checker, new: JsonObject, old: JsonObject) -> None:
    """The role that is bound stays."""
    role_binding(checker, new)
    _check_same_role(checker, new, old)


def update_cluster_role_binding(checker: Checker, new: JsonObject, old: JsonObject) -> None:
    """The role that is bound stays."""
    cluster_role_binding(checker, new)
    _check_same_role(checker, new, old)


# --- webhooks ------------------------------------------------------------------------------------

_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")


def webhooks(checker: Checker, obj: JsonObject) -> None:
    """A webhook configuration, new or changed."""
    seen: set[str] = set()
    for at, hook in enumerate(obj.get("webhooks") or ()):
        path = f"webhooks[{at}]"
        name = hook.get("name", "")
        if name in seen:
            checker.duplicate(f"{path}.name", name)
        seen.add(name)
        _check_webhook(checker, hook, path)


def _check_webhook(checker: Checker, hook: JsonObject, path: str) -> None:
    name = hook.get("name", "")
    if not name:
        checker.required(f"{path}.name")
    elif names.dns_subdomain(name):
        checker.problems(f"{path}.name", name, names.dns_subdomain(name))
    elif name.count(".") < 2:
        text = "should be a domain with at least three segments separated by dots"
        checker.invalid(f"{path}.name", name, text)
    for index, rule in enumerate(hook.get("rules") or ()):
        _check_rule(checker, rule, f"{path}.rules[{index}]")
    failure, match = hook.get("failurePolicy"), hook.get("matchPolicy")
    checker.choice(f"{path}.failurePolicy", failure, ("Fail", "Ignore"), needed=False)
    checker.choice(f"{path}.matchPolicy", match, ("Equivalent", "Exact"), needed=False)
    effects = hook.get("sideEffects")
    if effects is None:
        checker.required(f"{path}.sideEffects", "must specify one of None, NoneOnDryRun")
    elif effects not in {"None", "NoneOnDryRun"}:
        checker.unsupported(f"{path}.sideEffects", effects, ("None", "NoneOnDryRun"))
    seconds = hook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= 30:
        text = "the timeout value must be between 1 and 30 seconds"
        checker.invalid(f"{path}.timeoutSeconds", seconds, text)
    for field in ("namespaceSelector", "objectSelector"):
        check_selector(checker, hook.get(field), f"{path}.{field}")
    _check_client(checker, hook.get("clientConfig") or {}, f"{path}.clientConfig")
    _check_versions(checker, hook.get("admissionReviewVersions"), path)


def _check_versions(checker: Checker, versions: Any, path: str) -> None:
    field = f"{path}.admissionReviewVersions"
    if not versions:
        checker.required(field, "must specify one of v1, v1beta1")
    elif not {"v1", "v1beta1"} & set(versions):
        checker.invalid(field, versions, "must include at least one of v1, v1beta1")


def _check_client(checker: Checker, client: JsonObject, path: str) -> None:
    url, service = client.get("url"), client.get("service")
    if (url is None) == (service is None):
        checker.required(path, "exactly one of url or service is required")
    elif url is not None:
        scheme = urlsplit(url).scheme
        if scheme != "https":
            text = "'https' is the only allowed URL scheme; desired format: https://host[/path]"
            checker.invalid(f"{path}.url", scheme, text)
    elif service is not None:
        for field in ("name", "namespace"):
            if not service.get(field):
                checker.required(f"{path}.service.{field}")


def _check_rule(checker: Checker, rule: JsonObject, path: str) -> None:
    for field in ("operations", "apiGroups", "apiVersions", "resources"):
        if not rule.get(field):
            checker.required(f"{path}.{field}")
    for at, operation in enumerate(rule.get("operations") or ()):
        if operation not in _OPERATIONS:
            checker.unsupported(f"{path}.operations[{at}]", operation, _OPERATIONS)
    for field, label in (("apiGroups", "API groups"), ("apiVersions", "API versions")):
        values = rule.get(field) or ()
        if "*" in values and len(values) > 1:
            text = f"if '*' is present, must not specify other {label}"
            checker.invalid(f"{path}.{field}", values, text)
    for at, version in enumerate(rule.get("apiVersions") or ()):
        if not version:
            checker.required(f"{path}.apiVersions[{at}]")
    resources = rule.get("resources") or ()
    if "*/*" in resources and len(resources) > 1:
        text = "if '*/*' is present, must not specify other resources"
        checker.invalid(f"{path}.resources", resources, text)
