"""Cells of the remaining groups' kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from devcluster.show.core_cells import born, none, selector_text

__all__ = ["CELLS"]

JsonObject = dict[str, Any]
Cells = list[Any]


def _name(obj: JsonObject) -> str:
    name: str = obj["metadata"]["name"]
    return name


def _autoscaler(obj: JsonObject) -> Cells:
    spec, status = obj["spec"], obj.get("status") or {}
    target = spec.get("scaleTargetRef") or {}
    minimum = spec.get("minReplicas")
    return [
        _name(obj),
        f"{target.get('kind', '')}/{target.get('name', '')}",
        _targets(spec),
        "<unset>" if minimum is None else str(minimum),
        spec.get("maxReplicas", 0),
        status.get("currentReplicas", 0),
        born(obj),
    ]


def _targets(spec: Mapping[str, Any]) -> str:
    percent = spec.get("targetCPUUtilizationPercentage")
    if percent is not None:
        return f"cpu: <unknown>/{percent}%"
    shown: list[str] = []
    for metric in spec.get("metrics") or ():
        body = next((value for value in metric.values() if isinstance(value, dict)), {})
        goal = body.get("target") or {}
        name = body.get("name") or (body.get("metric") or {}).get("name", "")
        if goal.get("averageUtilization") is not None:
            shown.append(f"{name}: <unknown>/{goal['averageUtilization']}%")
        else:
            shown.append(f"{name}: <unknown>/{goal.get('averageValue') or goal.get('value')}")
    more = f" + {len(shown) - 2} more..." if len(shown) > 2 else ""
    return none(", ".join(shown[:2]) + more)


def _ingress(obj: JsonObject) -> Cells:
    spec = obj.get("spec") or {}
    rules = spec.get("rules") or ()
    hosts = [rule["host"] for rule in rules if rule.get("host")]
    more = f" + {len(hosts) - 3} more..." if len(hosts) > 3 else ""
    ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return [
        _name(obj),
        none(spec.get("ingressClassName")),
        ",".join(hosts[:3]) + more if hosts else "*",
        ",".join(entry.get("ip") or entry.get("hostname", "") for entry in ingress),
        "80, 443" if spec.get("tls") else "80",
        born(obj),
    ]


def _ingress_class(obj: JsonObject) -> Cells:
    spec = obj.get("spec") or {}
    reference = spec.get("parameters")
    shown = "<none>"
    if reference:
        group = f".{reference['apiGroup']}" if reference.get("apiGroup") else ""
        shown = f"{reference['kind']}{group}/{reference['name']}"
    return [_name(obj), spec.get("controller", ""), shown, born(obj)]


def _network_policy(obj: JsonObject) -> Cells:
    return [_name(obj), selector_text((obj.get("spec") or {}).get("podSelector")), born(obj)]


def _budget(obj: JsonObject) -> Cells:
    spec = obj.get("spec") or {}
    return [
        _name(obj),
        none(spec.get("minAvailable"), empty="N/A"),
        none(spec.get("maxUnavailable"), empty="N/A"),
        (obj.get("status") or {}).get("disruptionsAllowed", 0),
        born(obj),
    ]


def _binding(obj: JsonObject) -> Cells:
    role = obj["roleRef"]
    subjects = obj.get("subjects") or ()
    users = [s["name"] for s in subjects if s["kind"] == "User"]
    groups = [s["name"] for s in subjects if s["kind"] == "Group"]
    accounts = [
        f"{s.get('namespace', '')}/{s['name']}" for s in subjects if s["kind"] == "ServiceAccount"
    ]
    return [
        _name(obj),
        f"{role['kind']}/{role['name']}",
        born(obj),
        ", ".join(users),
        ", ".join(groups),
        ", ".join(accounts),
    ]


def _storage_class(obj: JsonObject) -> Cells:
    notes = obj["metadata"].get("annotations") or {}
    default = notes.get("storageclass.kubernetes.io/is-default-class") == "true"
    return [
        _name(obj) + (" (default)" if default else ""),
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy", "Delete"),
        obj.get("volumeBindingMode", "Immediate"),
        bool(obj.get("allowVolumeExpansion")),
        born(obj),
    ]


def _policy(field: str) -> Callable[[JsonObject], Cells]:
    def cells(obj: JsonObject) -> Cells:
        spec = obj.get("spec") or {}
        kind = spec.get("paramKind")
        shown = f"{kind['apiVersion']}/{kind['kind']}" if kind else "<unset>"
        return [_name(obj), len(spec.get(field) or ()), shown, born(obj)]

    return cells


def _policy_binding(obj: JsonObject) -> Cells:
    spec = obj.get("spec") or {}
    reference = spec.get("paramRef")
    shown = "<unset>"
    if reference:
        namespace = reference.get("namespace") or "*"
        name = reference.get("name")
        shown = f"{namespace}/{name}" if name else f"{namespace}/<selector>"
    return [_name(obj), spec.get("policyName", ""), shown, born(obj)]


def _webhooks(obj: JsonObject) -> Cells:
    return [_name(obj), len(obj.get("webhooks") or ()), born(obj)]


def _version_name(version: JsonObject) -> str:
    return f"{version['name']}(storage)" if version["storage"] else f"{version['name']}"


def _definition(obj: JsonObject) -> Cells:
    spec, names = obj["spec"], obj["spec"]["names"]
    conditions = (obj.get("status") or {}).get("conditions") or ()
    established = next((c["status"] for c in conditions if c["type"] == "Established"), "False")
    return [
        _name(obj),
        spec["scope"],
        ",".join(_version_name(version) for version in spec["versions"] if version["served"]),
        obj["metadata"].get("creationTimestamp"),
        spec["group"],
        names["kind"],
        ",".join(names.get("shortNames") or ()),
        established,
    ]


def _priority_class(obj: JsonObject) -> Cells:
    return [
        _name(obj),
        obj.get("value", 0),
        bool(obj.get("globalDefault")),
        born(obj),
        obj.get("preemptionPolicy", ""),
    ]


def _lease(obj: JsonObject) -> Cells:
    return [_name(obj), (obj.get("spec") or {}).get("holderIdentity") or "", born(obj)]


def _runtime_class(obj: JsonObject) -> Cells:
    return [_name(obj), obj.get("handler", ""), born(obj)]


def _slice(obj: JsonObject) -> Cells:
    ports = ",".join(str(p["port"]) for p in obj.get("ports") or () if p.get("port"))
    addresses = [a for e in obj.get("endpoints") or () for a in e.get("addresses") or ()]
    more = f" + {len(addresses) - 3} more..." if len(addresses) > 3 else ""
    return [
        _name(obj),
        obj.get("addressType", ""),
        none(ports, empty="<unset>"),
        none(",".join(addresses[:3]) + more, empty="<unset>"),
        born(obj),
    ]


_RBAC = "rbac.authorization.k8s.io"
_ADMISSION = "admissionregistration.k8s.io"
CELLS: dict[tuple[str, str], Callable[[JsonObject], Cells]] = {
    ("autoscaling", "horizontalpodautoscalers"): _autoscaler,
    ("networking.k8s.io", "ingresses"): _ingress,
    ("networking.k8s.io", "ingressclasses"): _ingress_class,
    ("networking.k8s.io", "networkpolicies"): _network_policy,
    ("policy", "poddisruptionbudgets"): _budget,
    (_RBAC, "clusterrolebindings"): _binding,
    (_RBAC, "rolebindings"): _binding,
    ("storage.k8s.io", "storageclasses"): _storage_class,
    (_ADMISSION, "validatingadmissionpolicies"): _policy("validations"),
    (_ADMISSION, "mutatingadmissionpolicies"): _policy("mutations"),
    (_ADMISSION, "validatingadmissionpolicybindings"): _policy_binding,
    (_ADMISSION, "mutatingadmissionpolicybindings"): _policy_binding,
    (_ADMISSION, "validatingwebhookconfigurations"): _webhooks,
    (_ADMISSION, "mutatingwebhookconfigurations"): _webhooks,
    ("apiextensions.k8s.io", "customresourcedefinitions"): _definition,
    ("scheduling.k8s.io", "priorityclasses"): _priority_class,
    ("coordination.k8s.io", "leases"): _lease,
    ("node.k8s.io", "runtimeclasses"): _runtime_class,
    ("discovery.k8s.io", "endpointslices"): _slice,
}
