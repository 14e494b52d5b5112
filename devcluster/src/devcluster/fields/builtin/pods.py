"""Pod specs, in pods and in the templates of workloads."""

from __future__ import annotations

from typing import Any

import orjson

from devcluster.fields.builtin import names
from devcluster.fields.builtin.checker import Checker
from devcluster.fields.builtin.containers import check_containers
from devcluster.fields.builtin.meta import check_labels
from devcluster.fields.builtin.volumes import check_volumes
from devcluster.fields.schema import JsonObject

__all__ = ["check_pod", "check_pod_spec", "check_pod_update", "check_template"]

_RESTART = ("Always", "OnFailure", "Never")
_DNS = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_MAX_ID = 2147483647


def check_template(checker: Checker, template: JsonObject, path: str) -> None:
    """The template of a workload.

    One that was found without fault is not looked at again, whatever its images: any text is one.
    """
    key = _without_images(template)
    if key in _faultless:
        return
    before = len(checker.causes)
    _check_template(checker, template, path)
    if len(checker.causes) == before:
        if len(_faultless) >= _MAX_FAULTLESS:
            _faultless.clear()
        _faultless.add(key)


_faultless: set[bytes] = set()
_MAX_FAULTLESS = 1024


def _without_images(template: JsonObject) -> bytes:
    spec = dict(template.get("spec") or {})
    for kind in ("containers", "initContainers"):
        if spec.get(kind):
            spec[kind] = [
                {**container, "image": ""} if container.get("image") else [container]
                for container in spec[kind]
            ]
    return orjson.dumps((template.get("metadata"), spec))


def _check_template(checker: Checker, template: JsonObject, path: str) -> None:
    meta = template.get("metadata") or {}
    check_labels(checker, meta.get("labels"), f"{path}.labels")
    for key in meta.get("annotations") or {}:
        checker.problems(f"{path}.annotations", key, names.label_key(key.lower()))
    spec = template.get("spec") or {}
    check_pod_spec(checker, spec, f"{path}.spec")
    if spec.get("ephemeralContainers"):
        checker.forbidden(
            f"{path}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template"
        )


def check_pod_spec(checker: Checker, spec: JsonObject, path: str) -> None:
    """Everything in a pod spec."""
    volumes = check_volumes(checker, spec.get("volumes") or [], f"{path}.volumes")
    check_containers(checker, spec, path, volumes)
    checker.choice(f"{path}.restartPolicy", spec.get("restartPolicy"), _RESTART)
    checker.choice(f"{path}.dnsPolicy", spec.get("dnsPolicy"), _DNS)
    check_labels(checker, spec.get("nodeSelector"), f"{path}.nodeSelector")
    _check_names(checker, spec, path)
    _check_security(checker, spec, path)
    _check_placement(checker, spec, path)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= _MAX_ID:
        detail = "must be between 1 and 2147483647, inclusive"
        checker.invalid(f"{path}.activeDeadlineSeconds", deadline, detail)
    os_name = (spec.get("os") or {}).get("name")
    if spec.get("os") is not None:
        checker.choice(f"{path}.os", os_name, ("linux", "windows"))


def _check_names(checker: Checker, spec: JsonObject, path: str) -> None:
    for field, syntax in (
        ("serviceAccountName", names.dns_subdomain),
        ("nodeName", names.dns_subdomain),
        ("priorityClassName", names.dns_subdomain),
        ("runtimeClassName", names.dns_subdomain),
        ("hostname", names.dns_label),
        ("subdomain", names.dns_label),
    ):
        value = spec.get(field)
        if value:
            checker.problems(f"{path}.{field}", value, syntax(value))
    for at, alias in enumerate(spec.get("hostAliases") or ()):
        inner = f"{path}.hostAliases[{at}]"
        checker.problems(f"{inner}.ip", alias.get("ip", ""), names.ip_address(alias.get("ip", "")))
        for index, host in enumerate(alias.get("hostnames") or ()):
            checker.problems(f"{inner}.hostnames[{index}]", host, names.dns_subdomain(host))
    for at, gate in enumerate(spec.get("readinessGates") or ()):
        kind = gate.get("conditionType", "")
        field = f"{path}.readinessGates[{at}].conditionType"
        checker.problems(field, kind, names.qualified_name(kind))
    for at, server in enumerate((spec.get("dnsConfig") or {}).get("nameservers") or ()):
        field = f"{path}.dnsConfig.nameservers[{at}]"
        checker.problems(field, server, names.ip_address(server))


def _check_security(checker: Checker, spec: JsonObject, path: str) -> None:
    context = spec.get("securityContext") or {}
    for field in ("fsGroup", "runAsUser", "runAsGroup"):
        value = context.get(field)
        if value is not None and not 0 <= value <= _MAX_ID:
            checker.invalid(
                f"{path}.securityContext.{field}",
                value,
                f"must be between 0 and {_MAX_ID}, inclusive",
            )
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        checker.invalid(
            f"{path}.shareProcessNamespace",
            True,
            "ShareProcessNamespace and HostPID cannot both be enabled",
        )


def _check_placement(checker: Checker, spec: JsonObject, path: str) -> None:
    for at, toleration in enumerate(spec.get("tolerations") or ()):
        _check_toleration(checker, toleration, f"{path}.tolerations[{at}]")
    for at, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        inner = f"{path}.topologySpreadConstraints[{at}]"
        if constraint.get("maxSkew", 0) <= 0:
            checker.invalid(
                f"{inner}.maxSkew", constraint.get("maxSkew", 0), "must be greater than zero"
            )
        if not constraint.get("topologyKey"):
            checker.required(f"{inner}.topologyKey", "can not be empty")
        when = constraint.get("whenUnsatisfiable", "")
        if when not in {"DoNotSchedule", "ScheduleAnyway"}:
            checker.unsupported(
                f"{inner}.whenUnsatisfiable", when, ("DoNotSchedule", "ScheduleAnyway")
            )
    node = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if node is not None and not node.get("nodeSelectorTerms"):
        checker.required(
            f"{path}.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
            ".nodeSelectorTerms",
            "must have at least one node selector term",
        )


def _check_toleration(checker: Checker, toleration: JsonObject, path: str) -> None:
    key, operator = toleration.get("key", ""), toleration.get("operator", "")
    value, effect = toleration.get("value", ""), toleration.get("effect", "")
    if key:
        checker.problems(f"{path}.key", key, names.qualified_name(key))
    if not key and operator != "Exists":
        checker.invalid(
            f"{path}.operator",
            operator,
            'operator must be Exists when `key` is empty, which means "match all values and all keys"',
        )
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        checker.invalid(
            f"{path}.effect", effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"
        )
    if operator in {"Equal", ""}:
        checker.problems(f"{path}.operator", value, names.label_value(value))
    elif operator == "Exists":
        if value:
            checker.invalid(
                f"{path}.operator", value, "value must be empty when `operator` is 'Exists'"
            )
    else:
        checker.unsupported(f"{path}.operator", operator, ("Equal", "Exists"))
    if effect and effect not in _EFFECTS:
        checker.unsupported(f"{path}.effect", effect, _EFFECTS)


def check_pod(checker: Checker, obj: JsonObject) -> None:
    """A new pod."""
    check_pod_spec(checker, obj.get("spec") or {}, "spec")


_MUTABLE = {
    "activeDeadlineSeconds",
    "tolerations",
    "terminationGracePeriodSeconds",
    "schedulingGates",
}


def check_pod_update(checker: Checker, new: JsonObject, old: JsonObject) -> None:
    """A changed pod: little more than its images may differ."""
    if _frozen(new["spec"]) != _frozen(old["spec"]):
        checker.forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations`"
            " (only additions to existing tolerations),`spec.terminationGracePeriodSeconds`"
            " (allow it to be set to 1 if it was previously negative)",
        )
    for kind in ("containers", "initContainers"):
        for at, container in enumerate(new["spec"].get(kind) or ()):
            if not container.get("image"):
                checker.required(f"spec.{kind}[{at}].image")


def _frozen(spec: JsonObject) -> Any:
    out = {key: value for key, value in spec.items() if key not in _MUTABLE}
    for kind in ("containers", "initContainers"):
        if kind in out:
            out[kind] = [{**container, "image": ""} for container in out[kind] or ()]
    return out
