"""Disruption budgets, autoscalers, classes and leases."""

from __future__ import annotations

from typing import Any

from devcluster.fields.builtin import names
from devcluster.fields.builtin.checker import Checker
from devcluster.fields.builtin.meta import check_selector
from devcluster.fields.builtin.workloads import check_amount, check_share
from devcluster.fields.schema import JsonObject

__all__ = [
    "autoscaler",
    "disruption_budget",
    "lease",
    "priority_class",
    "runtime_class",
    "storage_class",
    "update_priority_class",
    "update_runtime_class",
    "update_storage_class",
]


def disruption_budget(checker: Checker, obj: JsonObject) -> None:
    """A disruption budget, new or changed."""
    spec = obj["spec"]
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    if least is not None and most is not None:
        shown = {
            "MinAvailable": least,
            "Selector": spec.get("selector"),
            "MaxUnavailable": most,
            "UnhealthyPodEvictionPolicy": spec.get("unhealthyPodEvictionPolicy"),
        }
        checker.invalid("spec", shown, "minAvailable and maxUnavailable cannot be both set")
    for field, value in (("minAvailable", least), ("maxUnavailable", most)):
        check_amount(checker, value, f"spec.{field}")
        check_share(checker, value, f"spec.{field}")
    check_selector(checker, spec.get("selector"), "spec.selector")
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy not in {"AlwaysAllow", "IfHealthyBudget", None}:
        choices = ("AlwaysAllow", "IfHealthyBudget")
        checker.unsupported("spec.unhealthyPodEvictionPolicy", policy, choices)


_METRICS = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}


def autoscaler(checker: Checker, obj: JsonObject) -> None:
    """A horizontal pod autoscaler, new or changed."""
    spec = obj["spec"]
    least, most = spec.get("minReplicas"), spec.get("maxReplicas", 0)
    if most < 0:
        checker.invalid("spec.maxReplicas", most, "must be greater than 0")
    if least is not None and most < least:
        text = "must be greater than or equal to `minReplicas`"
        checker.invalid("spec.maxReplicas", most, text)
    target = spec.get("scaleTargetRef") or {}
    for field in ("kind", "name"):
        if not target.get(field):
            checker.required(f"spec.scaleTargetRef.{field}")
    if not target.get("apiVersion"):
        text = "apiVersion must specify API group"
        checker.invalid("spec.scaleTargetRef.apiVersion", target.get("apiVersion", ""), text)
    metrics = spec.get("metrics") or ()
    kinds = {metric.get("type") for metric in metrics}
    if least == 0 and not {"Object", "External"} & kinds:
        text = "must specify at least one Object or External metric to support scaling to zero replicas"
        checker.forbidden("spec.metrics", text)
    for at, metric in enumerate(metrics):
        _check_metric(checker, metric, f"spec.metrics[{at}]")
    if most == 0:  # found by the generated part of the validation, which comes last
        checker.required("spec.maxReplicas")


def _check_metric(checker: Checker, metric: JsonObject, path: str) -> None:
    kind = metric.get("type", "")
    if not kind:
        checker.required(f"{path}.type", "must specify a metric source type")
        return
    if kind not in _METRICS:
        checker.unsupported(f"{path}.type", kind, sorted(_METRICS))
        return
    field = _METRICS[kind]
    source = metric.get(field)
    if source is None:
        checker.required(f"{path}.{field}", "must populate information for the given metric source")
    elif kind in {"Resource", "ContainerResource"}:
        if not source.get("name"):
            checker.required(f"{path}.{field}.name", "must specify a resource name")
        _check_metric_target(checker, source.get("target") or {}, f"{path}.{field}.target")


def _check_metric_target(checker: Checker, target: JsonObject, path: str) -> None:
    kind = target.get("type", "")
    if not kind:
        checker.required(f"{path}.type", "must specify a metric target type")
    if kind not in {"Utilization", "Value", "AverageValue"}:
        checker.invalid(f"{path}.type", kind, "must be either Utilization, Value, or AverageValue")
    percent = target.get("averageUtilization")
    if percent is not None and percent < 1:
        checker.invalid(f"{path}.averageUtilization", percent, "must be greater than 0")
    if percent is None and target.get("averageValue") is None:
        text = "must set either a target raw value or a target utilization"
        checker.required(f"{path}.averageUtilization", text)


# --- classes -------------------------------------------------------------------------------------


def storage_class(checker: Checker, obj: JsonObject) -> None:
    """A new storage class."""
    provisioner = obj.get("provisioner", "")
    if not provisioner:
        checker.required("provisioner")
    else:
        lowered = provisioner.lower()
        checker.problems("provisioner", lowered, names.qualified_name(lowered))
    if "" in (obj.get("parameters") or {}):
        checker.invalid("parameters", "", "field can not be empty.")
    checker.choice("reclaimPolicy", obj.get("reclaimPolicy"), ("Delete", "Retain"), needed=False)
    modes = ("Immediate", "WaitForFirstConsumer")
    checker.choice("volumeBindingMode", obj.get("volumeBindingMode"), modes)


def update_storage_class(checker: Checker, new: JsonObject, old: JsonObject) -> None:
    """Almost everything stays."""
    for field in ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"):
        if (new.get(field) or None) != (old.get(field) or None):
            checker.invalid(field, None, "field is immutable")


_HIGHEST = 1_000_000_000


def priority_class(checker: Checker, obj: JsonObject) -> None:
    """A new priority class."""
    name = obj["metadata"].get("name", "")
    value = obj.get("value", 0)
    if name.startswith("system-"):
        if name not in {"system-cluster-critical", "system-node-critical"}:
            checker.forbidden(
                "metadata.name",
                "priority class names with 'system-' prefix are reserved for system use only."
                f" error: {name} is not a known system priority class",
            )
    elif value > _HIGHEST:
        text = f"maximum allowed value of a user defined priority is {_HIGHEST}"
        checker.forbidden("value", text)
    policies = ("PreemptLowerPriority", "Never")
    checker.choice("preemptionPolicy", obj.get("preemptionPolicy"), policies, needed=False)


def update_priority_class(checker: Checker, new: JsonObject, old: JsonObject) -> None:
    """Its value stays."""
    if new.get("value") != old.get("value"):
        checker.forbidden("value", "may not be changed in an update.")
    field = "preemptionPolicy"
    checker.unchanged(field, new.get(field), old.get(field))


def runtime_class(checker: Checker, obj: JsonObject) -> None:
    """A new runtime class."""
    handler = obj.get("handler", "")
    if not handler:
        checker.required("handler")
    else:
        checker.problems("handler", handler, names.dns_label(handler))


def update_runtime_class(checker: Checker, new: JsonObject, old: JsonObject) -> None:
    """Its handler stays."""
    if new.get("handler") != old.get("handler"):
        checker.invalid("handler", None, "field is immutable")


def lease(checker: Checker, obj: JsonObject) -> None:
    """A lease, new or changed."""
    spec: dict[str, Any] = obj.get("spec") or {}
    seconds = spec.get("leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        checker.invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")
    checker.not_negative("spec.leaseTransitions", spec.get("leaseTransitions"))
