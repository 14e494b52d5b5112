"""Services, configuration, volumes and the other small kinds of the core group."""

from __future__ import annotations

import base64
import ipaddress
from typing import Any

import orjson

from devcluster.fields import quantity
from devcluster.fields.builtin import names
from devcluster.fields.builtin.checker import Checker
from devcluster.fields.builtin.meta import check_labels, check_selector
from devcluster.fields.schema import JsonObject

__all__ = [
    "check_claim_spec",
    "config_map",
    "endpoints",
    "limit_range",
    "namespace",
    "resource_quota",
    "secret",
    "service",
    "update_config_map",
    "update_namespace",
    "update_secret",
    "update_service",
    "update_volume",
    "update_volume_claim",
    "volume",
    "volume_claim",
]

_LIMIT = 1048576
_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_SERVICE_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")


# --- services ------------------------------------------------------------------------------------


def service(checker: Checker, obj: JsonObject) -> None:
    """A service, new or changed; addresses are allotted elsewhere."""
    spec = obj["spec"]
    kind = spec.get("type")
    addresses = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    if not spec.get("ports") and kind != "ExternalName" and addresses != ["None"]:
        checker.required("spec.ports")
    _check_type(checker, spec, addresses)
    _check_service_ports(checker, spec)
    check_plain_labels(checker, spec.get("selector"), "spec.selector")
    checker.choice("spec.sessionAffinity", spec.get("sessionAffinity"), ("ClientIP", "None"))
    _check_affinity(checker, spec)
    for at, address in enumerate(addresses):
        if address != "None" and names.ip_address(address) and kind != "ExternalName":
            checker.problems(f"spec.clusterIPs[{at}]", address, names.ip_address(address))
    for at, address in enumerate(spec.get("externalIPs") or ()):
        checker.problems(f"spec.externalIPs[{at}]", address, names.ip_address(address))
    checker.choice("spec.type", kind, _SERVICE_TYPES)
    _check_traffic(checker, spec)
    _check_ranges(checker, spec)


def check_plain_labels(checker: Checker, labels: Any, path: str) -> None:
    """A plain map of labels."""
    check_labels(checker, labels, path)


def _check_type(checker: Checker, spec: JsonObject, addresses: list[str]) -> None:
    kind = spec.get("type")
    if kind == "LoadBalancer" and addresses == ["None"]:
        text = "may not be set to 'None' for LoadBalancer services"
        checker.invalid("spec.clusterIPs[0]", "None", text)
    elif kind == "NodePort" and addresses == ["None"]:
        checker.invalid(
            "spec.clusterIPs[0]", "None", "may not be set to 'None' for NodePort services"
        )
    elif kind == "ExternalName":
        if addresses:
            checker.forbidden("spec.clusterIPs", "may not be set for ExternalName services")
        name = spec.get("externalName", "").rstrip(".")
        if not name:
            checker.required("spec.externalName")
        else:
            checker.problems("spec.externalName", name, names.dns_subdomain(name))


def _check_service_ports(checker: Checker, spec: JsonObject) -> None:
    ports = spec.get("ports") or []
    headless = spec.get("clusterIP") == "None"
    seen_names: set[str] = set()
    seen: set[tuple[Any, Any]] = set()
    for at, port in enumerate(ports):
        path = f"spec.ports[{at}]"
        _check_service_port(checker, port, path, several=len(ports) > 1, headless=headless)
        name = port.get("name", "")
        if name:
            if name in seen_names:
                checker.duplicate(f"{path}.name", name)
            seen_names.add(name)
        if port.get("nodePort") and spec.get("type") == "ClusterIP":
            checker.forbidden(f"{path}.nodePort", "may not be used when `type` is 'ClusterIP'")
        identity = (port.get("protocol"), port.get("port"))
        if identity in seen:
            shown = {
                "Name": "",
                "Protocol": identity[0],
                "AppProtocol": None,
                "Port": identity[1],
                "TargetPort": 0,
                "NodePort": 0,
            }
            checker.duplicate(path, shown)
        seen.add(identity)


def _check_service_port(
    checker: Checker, port: JsonObject, path: str, *, several: bool, headless: bool
) -> None:
    name = port.get("name", "")
    if several and not name:
        checker.required(f"{path}.name")
    elif name:
        checker.problems(f"{path}.name", name, names.dns_label(name))
    number = port.get("port", 0)
    checker.problems(f"{path}.port", number, names.port_number(number))
    checker.choice(f"{path}.protocol", port.get("protocol"), ("SCTP", "TCP", "UDP"))
    target = port.get("targetPort")
    if isinstance(target, int):
        checker.problems(f"{path}.targetPort", target, names.port_number(target))
    elif isinstance(target, str):
        checker.problems(f"{path}.targetPort", target, names.port_name(target))
    protocol = port.get("appProtocol")
    if protocol is not None:
        checker.problems(f"{path}.appProtocol", protocol, names.qualified_name(protocol))
    del headless


def _check_affinity(checker: Checker, spec: JsonObject) -> None:
    seconds = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get(
        "timeoutSeconds"
    )
    if (
        spec.get("sessionAffinity") == "ClientIP"
        and seconds is not None
        and not 0 < seconds <= 86400
    ):
        path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
        checker.invalid(path, seconds, "must be greater than 0 and less than 86400")


def _check_traffic(checker: Checker, spec: JsonObject) -> None:
    kind = spec.get("type")
    external = kind in {"LoadBalancer", "NodePort"} or bool(spec.get("externalIPs"))
    policy = spec.get("externalTrafficPolicy")
    if policy:
        if not external:
            text = "may only be set for externally-accessible services"
            checker.invalid("spec.externalTrafficPolicy", policy, text)
        elif policy not in {"Cluster", "Local"}:
            checker.unsupported("spec.externalTrafficPolicy", policy, ("Cluster", "Local"))
    inner = spec.get("internalTrafficPolicy")
    if inner and inner not in {"Cluster", "Local"}:
        checker.unsupported("spec.internalTrafficPolicy", inner, ("Cluster", "Local"))


def _check_ranges(checker: Checker, spec: JsonObject) -> None:
    ranges = spec.get("loadBalancerSourceRanges") or ()
    if ranges and spec.get("type") != "LoadBalancer":
        text = "may only be used when `type` is 'LoadBalancer'"
        checker.forbidden("spec.LoadBalancerSourceRanges", text)
    for at, text in enumerate(ranges):
        if not is_cidr(text):
            detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
            checker.invalid(f"spec.LoadBalancerSourceRanges[{at}]", text, detail)


def is_cidr(text: str) -> bool:
    """Whether the text is an address with a prefix length."""
    if "/" not in text:
        return False
    try:
        ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return False
    return True


def update_service(checker: Checker, new: JsonObject, old: JsonObject) -> None:
    """Its addresses stay as long as its type has addresses."""
    service(checker, new)
    balanced = ((new.get("status") or {}).get("loadBalancer") or {}).get("ingress")
    changed = new.get("status") != old.get("status")
    if changed and balanced and new["spec"].get("type") != "LoadBalancer":
        text = "may only be used when `spec.type` is 'LoadBalancer'"
        checker.forbidden("status.loadBalancer.ingress", text)
    left, right = new["spec"], old["spec"]
    kinds = {left.get("type"), right.get("type")}
    if "ExternalName" not in kinds and right.get("clusterIP"):
        first = left.get("clusterIP")
        ours = left.get("clusterIPs") or ([first] if first else [])
        theirs = right.get("clusterIPs") or [right["clusterIP"]]
        if ours == theirs and first:
            # Whoever changes the one address means the list too.
            ours = [first, *ours[1:]]
        if ours[:1] != [first]:
            checker.invalid("spec.clusterIPs", ours, "first value must match `clusterIP`")
        elif ours[:1] != theirs[:1]:
            checker.invalid("spec.clusterIPs[0]", ours, "may not change once set")


# --- configuration -------------------------------------------------------------------------------


def config_map(checker: Checker, obj: JsonObject) -> None:
    """A config map, new or changed."""
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    size = 0
    for key, value in data.items():
        checker.problems(f"data[{key}]", key, names.config_key(key))
        if key in binary:
            checker.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
        size += len(value.encode())
    for key, value in binary.items():
        checker.problems(f"binaryData[{key}]", key, names.config_key(key))
        size += len(value) * 3 // 4
    if size > _LIMIT:
        checker.too_long("[]", _LIMIT)


def update_config_map(checker: Checker, new: JsonObject, old: JsonObject) -> None:
    """An immutable one stays as it is."""
    if old.get("immutable"):
        if not new.get("immutable"):
            checker.forbidden("immutable", "field is immutable when `immutable` is set")
        for field in ("data", "binaryData"):
            if (new.get(field) or {}) != (old.get(field) or {}):
                checker.forbidden(field, "field is immutable when `immutable` is set")
    config_map(checker, new)


_SECRET_KEYS: dict[str, tuple[str, ...]] = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}


def secret(checker: Checker, obj: JsonObject) -> None:
    """A secret, new or changed; no message quotes its contents."""
    data = obj.get("data") or {}
    size = 0
    for key, value in data.items():
        checker.problems(f"data[{key}]", key, names.config_key(key))
        size += len(value) * 3 // 4 - value[-2:].count("=")
    if size > _LIMIT:
        checker.too_long("data", _LIMIT)
    kind = obj.get("type", "")
    if kind == "kubernetes.io/service-account-token":
        annotations = obj["metadata"].get("annotations") or {}
        if not annotations.get("kubernetes.io/service-account.name"):
            checker.required("metadata.annotations[kubernetes.io/service-account.name]")
    if kind == "kubernetes.io/basic-auth" and not {"username", "password"} & data.keys():
        checker.required("data[username]")
        checker.required("data[password]")
    for key in _SECRET_KEYS.get(kind, ()):
        if key not in data:
            checker.required(f"data[{key}]")
        elif kind.startswith("kubernetes.io/dockerc"):
            _check_json(checker, data[key], f"data[{key}]")


def _check_json(checker: Checker, value: str, path: str) -> None:
    text = base64.b64decode(value)
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        problem = "unexpected end of JSON input"
        if text.strip():
            sign = text.strip()[:1].decode("utf-8", "replace")
            problem = f"invalid character '{sign}' looking for beginning of value"
        checker.invalid(path, "<secret contents redacted>", problem)


def update_secret(checker: Checker, new: JsonObject, old: JsonObject) -> None:
    """The type stays; an immutable one stays as it is."""
    checker.unchanged("type", new.get("type"), old.get("type"))
    if old.get("immutable"):
        if not new.get("immutable"):
            checker.forbidden("immutable", "field is immutable when `immutable` is set")
        if (new.get("data") or {}) != (old.get("data") or {}):
            checker.forbidden("data", "field is immutable when `immutable` is set")
    secret(checker, new)


# --- volumes -------------------------------------------------------------------------------------


def volume_claim(checker: Checker, obj: JsonObject) -> None:
    """A new claim."""
    check_claim_spec(checker, obj["spec"], "spec")


def check_claim_spec(checker: Checker, spec: JsonObject, path: str) -> None:
    """The spec of a claim, or of a template for claims."""
    _check_modes(checker, spec.get("accessModes"), path, "at least 1 access mode is required")
    check_selector(checker, spec.get("selector"), f"{path}.selector")
    amount = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if amount is None:
        checker.required(f"{path}.resources[storage]")
    elif quantity.parse(str(amount)) <= 0:
        checker.invalid(f"{path}.resources[storage]", amount, "must be greater than zero")
    name = spec.get("storageClassName")
    if name:
        checker.problems(f"{path}.storageClassName", name, names.dns_subdomain(name))
    mode = spec.get("volumeMode")
    if mode not in {"Block", "Filesystem", None}:
        checker.unsupported(f"{path}.volumeMode", mode, ("Block", "Filesystem"))


def _check_modes(checker: Checker, modes: Any, path: str, detail: str) -> None:
    field = f"{path}.accessModes"
    if not modes:
        checker.required(field, detail)
    for mode in modes or ():
        if mode not in _MODES:
            checker.unsupported(field, mode, _MODES)
    if modes and "ReadWriteOncePod" in modes and len(modes) > 1:
        checker.forbidden(field, "may not use ReadWriteOncePod with other access modes")


_CLAIM_FROZEN = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for"
    " bound claims"
)
_CLAIM_MUTABLE = frozenset({"resources", "volumeAttributesClassName"})


def update_volume_claim(checker: Checker, new: JsonObject, old: JsonObject) -> None:
    """Only its size may grow."""
    volume_claim(checker, new)
    left, right = new["spec"], old["spec"]
    frozen = [{k: v for k, v in spec.items() if k not in _CLAIM_MUTABLE} for spec in (left, right)]
    for field in ("volumeName", "storageClassName"):
        if not right.get(field):
            frozen = [{k: v for k, v in spec.items() if k != field} for spec in frozen]
    if frozen[0] != frozen[1]:
        checker.forbidden("spec", _CLAIM_FROZEN)
        return
    sizes = [
        ((spec.get("resources") or {}).get("requests") or {}).get("storage")
        for spec in (left, right)
    ]
    if None in sizes or sizes[0] == sizes[1]:
        return
    new_size, old_size = (quantity.parse(str(size)) for size in sizes)
    if (old.get("status") or {}).get("phase") != "Bound":
        checker.forbidden("spec", _CLAIM_FROZEN)
    elif new_size < old_size:
        text = "field can not be less than status.capacity"
        checker.forbidden("spec.resources.requests.storage", text)


_NOT_SOURCES = frozenset(
    {
        "accessModes",
        "capacity",
        "claimRef",
        "mountOptions",
        "nodeAffinity",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "volumeMode",
        "volumeAttributesClassName",
    }
)


def volume(checker: Checker, obj: JsonObject) -> None:
    """A persistent volume, new or changed."""
    spec = obj["spec"]
    _check_modes(checker, spec.get("accessModes"), "spec", "")
    capacity = spec.get("capacity")
    if not capacity:
        checker.required("spec.capacity")
    if not capacity or set(capacity) != {"storage"}:
        checker.unsupported("spec.capacity", capacity, ("storage",))
    elif quantity.parse(str(capacity["storage"])) <= 0:
        checker.invalid("spec.capacity[storage]", capacity["storage"], "must be greater than zero")
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy and policy not in {"Delete", "Recycle", "Retain"}:
        choices = ("Delete", "Recycle", "Retain")
        checker.unsupported("spec.persistentVolumeReclaimPolicy", policy, choices)
    sources = [key for key in spec if key not in _NOT_SOURCES]
    if not sources:
        checker.required("spec", "must specify a volume type")
    for key in sorted(sources)[1:]:
        checker.forbidden(f"spec.{key}", "may not specify more than 1 volume type")


def update_volume(checker: Checker, new: JsonObject, old: JsonObject) -> None:
    """Its source and mode stay."""
    volume(checker, new)
    sides = [
        {key: value for key, value in obj["spec"].items() if key not in _NOT_SOURCES}
        for obj in (new, old)
    ]
    if sides[0] != sides[1]:
        text = "spec.persistentvolumesource is immutable after creation"
        checker.forbidden("spec.persistentvolumesource", text)
    modes = [obj["spec"].get("volumeMode") for obj in (new, old)]
    checker.unchanged("volumeMode", modes[0], modes[1])


# --- the rest ------------------------------------------------------------------------------------


def namespace(checker: Checker, obj: JsonObject) -> None:
    """A new namespace."""
    for name in (obj.get("spec") or {}).get("finalizers") or ():
        checker.problems("spec.finalizers", name, names.qualified_name(name))
        if "/" not in name and name != "kubernetes":
            text = "name is neither a standard finalizer name nor is it fully qualified"
            checker.invalid("spec.finalizers", name, text)


def update_namespace(checker: Checker, new: JsonObject, old: JsonObject) -> None:
    """Nothing is immutable."""
    del old
    namespace(checker, new)


def endpoints(checker: Checker, obj: JsonObject) -> None:
    """Endpoints, new or changed."""
    for at, subset in enumerate(obj.get("subsets") or ()):
        for kind in ("addresses", "notReadyAddresses"):
            for index, address in enumerate(subset.get(kind) or ()):
                path = f"subsets[{at}].{kind}[{index}].ip"
                value = address.get("ip", "")
                checker.problems(path, value, names.ip_address(value))
                if names.ip_address(value):
                    checker.invalid(path, value, "must be a valid IP address")
        for index, port in enumerate(subset.get("ports") or ()):
            path = f"subsets[{at}].ports[{index}]"
            checker.problems(
                f"{path}.port", port.get("port", 0), names.port_number(port.get("port", 0))
            )


_COUNTED = frozenset(
    {
        *("configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers"),
        *("resourcequotas", "secrets", "services", "services.loadbalancers", "services.nodeports"),
    }
)


def _is_counted(name: str) -> bool:
    """Whether the resource comes in whole numbers: objects, and what vendors name."""
    return name in _COUNTED or "/" in name


def resource_quota(checker: Checker, obj: JsonObject) -> None:
    """A quota, new or changed."""
    for name, amount in ((obj.get("spec") or {}).get("hard") or {}).items():
        path = f"spec.hard[{name}]"
        checker.problems(path, name, names.qualified_name(name))
        if "/" not in name and " " in name:
            checker.invalid(path, name, "must be a standard resource for quota")
        value = quantity.parse(str(amount))
        if value < 0:
            checker.invalid(path, amount, "must be greater than or equal to 0")
        if value != value.to_integral_value() and _is_counted(name):
            checker.invalid(path, amount, "must be an integer")


def limit_range(checker: Checker, obj: JsonObject) -> None:
    """A limit range, new or changed."""
    for at, item in enumerate((obj.get("spec") or {}).get("limits") or ()):
        path = f"spec.limits[{at}]"
        least, most = item.get("min") or {}, item.get("max") or {}
        for name in sorted({*least, *most}):
            if name in least and name in most:
                _check_range(checker, item, name, path)


def _check_range(checker: Checker, item: JsonObject, name: str, path: str) -> None:
    least, most = item["min"][name], item["max"][name]
    if quantity.parse(least) > quantity.parse(most):
        text = f"min value {least} is greater than max value {most}"
        checker.invalid(f"{path}.min[{name}]", least, text)
    for field, label in (("defaultRequest", "default request"), ("default", "default")):
        amount = (item.get(field) or {}).get(name)
        if amount is not None and quantity.parse(least) > quantity.parse(amount):
            shown = amount if field == "defaultRequest" else least
            text = f"min value {least} is greater than {label} value {amount}"
            checker.invalid(f"{path}.{field}[{name}]", shown, text)
