"""Containers of a pod spec: names, images, ports, environment, resources, probes, mounts."""

from __future__ import annotations

from typing import Any

from devcluster.fields import quantity
from devcluster.fields.builtin import names
from devcluster.fields.builtin.checker import Checker
from devcluster.fields.schema import JsonObject

__all__ = ["check_containers", "check_resources"]

_PULL = ("Always", "IfNotPresent", "Never")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_RESOURCE_FIELDS = (
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
)
_FIELD_PATHS = frozenset(
    {
        "metadata.name",
        "metadata.namespace",
        "metadata.labels",
        "metadata.annotations",
        "metadata.uid",
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.serviceAccountName",
        "spec.schedulerName",
        "status.phase",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    }
)
_STANDARD = frozenset({"cpu", "memory", "ephemeral-storage"})


def check_containers(
    checker: Checker, spec: JsonObject, path: str, volumes: dict[str, JsonObject]
) -> None:
    """Containers and init containers of a pod spec."""
    containers = spec.get("containers") or []
    if not containers:
        checker.required(f"{path}.containers")
    seen: set[str] = set()
    for kind in ("containers", "initContainers"):
        for at, container in enumerate(spec.get(kind) or ()):
            inner = f"{path}.{kind}[{at}]"
            _check_name(checker, container, inner, seen)
            _check_container(checker, container, inner, volumes)


def _check_name(checker: Checker, container: JsonObject, path: str, seen: set[str]) -> None:
    name = container.get("name", "")
    if not name:
        checker.required(f"{path}.name")
        return
    checker.problems(f"{path}.name", name, names.dns_label(name))
    if name in seen:
        checker.duplicate(f"{path}.name", name)
    seen.add(name)


def _check_container(
    checker: Checker, container: JsonObject, path: str, volumes: dict[str, JsonObject]
) -> None:
    image = container.get("image", "")
    if not image:
        checker.required(f"{path}.image")
    checker.choice(
        f"{path}.terminationMessagePolicy",
        container.get("terminationMessagePolicy"),
        ("File", "FallbackToLogsOnError"),
    )
    _check_ports(checker, container.get("ports") or (), f"{path}.ports")
    for at, variable in enumerate(container.get("env") or ()):
        _check_env(checker, variable, f"{path}.env[{at}]")
    for at, source in enumerate(container.get("envFrom") or ()):
        _check_env_from(checker, source, (f"{path}.envFrom[{at}]", f"{path}.envFrom"))
    _check_mounts(checker, container, path, volumes)
    checker.choice(f"{path}.imagePullPolicy", container.get("imagePullPolicy"), _PULL)
    check_resources(checker, container.get("resources") or {}, f"{path}.resources")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(probe) is not None:
            _check_probe(checker, container[probe], f"{path}.{probe}", probe)
    for hook in ("postStart", "preStop"):
        handler = (container.get("lifecycle") or {}).get(hook)
        if handler is not None:
            _check_handler(checker, handler, f"{path}.lifecycle.{hook}")
    _check_context(checker, container.get("securityContext") or {}, f"{path}.securityContext")


def _check_context(checker: Checker, context: JsonObject, path: str) -> None:
    for field in ("runAsUser", "runAsGroup"):
        value = context.get(field)
        if value is not None and not 0 <= value <= 2147483647:
            checker.invalid(f"{path}.{field}", value, "must be between 0 and 2147483647, inclusive")
    mount = context.get("procMount")
    if mount is not None and mount not in {"Default", "Unmasked"}:
        checker.unsupported(f"{path}.procMount", mount, ("Default", "Unmasked"))


def _check_ports(checker: Checker, ports: Any, path: str) -> None:
    seen: set[str] = set()
    for at, port in enumerate(ports):
        inner = f"{path}[{at}]"
        name = port.get("name")
        if name:
            problems = names.port_name(name)
            checker.problems(f"{inner}.name", name, problems)
            if not problems:
                if name in seen:
                    checker.duplicate(f"{inner}.name", name)
                seen.add(name)
        number = port.get("containerPort", 0)
        if number == 0:
            checker.required(f"{inner}.containerPort")
        else:
            checker.problems(f"{inner}.containerPort", number, names.port_number(number))
        host = port.get("hostPort", 0)
        if host != 0:
            checker.problems(f"{inner}.hostPort", host, names.port_number(host))
        checker.choice(f"{inner}.protocol", port.get("protocol"), _PROTOCOLS)


# --- environment ---------------------------------------------------------------------------------


def _check_env(checker: Checker, variable: JsonObject, path: str) -> None:
    name = variable.get("name", "")
    if not name:
        checker.required(f"{path}.name")
    else:
        checker.problems(f"{path}.name", name, names.env_name(name))
    source = variable.get("valueFrom")
    if source is None:
        return
    kinds = [kind for kind in _ENV_SOURCES if source.get(kind) is not None]
    inner = f"{path}.valueFrom"
    for kind in kinds:
        _ENV_SOURCES[kind](checker, source[kind], f"{inner}.{kind}")
    if variable.get("value"):
        if kinds:
            checker.invalid(inner, "", "may not be specified when `value` is not empty")
    elif not kinds and source.get("fileKeyRef") is None:
        checker.invalid(
            inner,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`,"
            " `secretKeyRef` or `fileKeyRef`",
        )
    elif len(kinds) > 1:
        checker.invalid(inner, "", "may not have more than one field specified at a time")


def _field_ref(checker: Checker, ref: JsonObject, path: str) -> None:
    field = ref.get("fieldPath", "")
    if not field:
        checker.required(f"{path}.fieldPath")
        return
    base = field.split("[", 1)[0]
    if field not in _FIELD_PATHS and base not in {"metadata.labels", "metadata.annotations"}:
        detail = f"error converting fieldPath: field label not supported: {field}"
        checker.invalid(f"{path}.fieldPath", field, detail)


def _resource_ref(checker: Checker, ref: JsonObject, path: str) -> None:
    resource = ref.get("resource", "")
    if not resource:
        checker.required(f"{path}.resource")
    elif resource not in _RESOURCE_FIELDS and ".hugepages-" not in resource:
        checker.unsupported(f"{path}.resource", resource, _RESOURCE_FIELDS)


def _key_ref(checker: Checker, ref: JsonObject, path: str) -> None:
    name, key = ref.get("name", ""), ref.get("key", "")
    checker.problems(f"{path}.name", name, names.dns_subdomain(name))
    if not key:
        checker.required(f"{path}.key")
    else:
        checker.problems(f"{path}.key", key, names.config_key(key))


_ENV_SOURCES = {
    "fieldRef": _field_ref,
    "resourceFieldRef": _resource_ref,
    "configMapKeyRef": _key_ref,
    "secretKeyRef": _key_ref,
}


def _check_env_from(checker: Checker, source: JsonObject, paths: tuple[str, str]) -> None:
    path, whole = paths
    prefix = source.get("prefix")
    if prefix:
        checker.problems(f"{path}.prefix", prefix, names.env_name(prefix))
    kinds = [kind for kind in ("configMapRef", "secretRef") if source.get(kind) is not None]
    for kind in kinds:
        name = source[kind].get("name", "")
        if not name:
            checker.required(f"{path}.{kind}.name")
        else:
            checker.problems(f"{path}.{kind}.name", name, names.dns_subdomain(name))
    if not kinds:
        checker.invalid(whole, "", "must specify one of: `configMapRef` or `secretRef`")
    elif len(kinds) > 1:
        checker.invalid(whole, "", "may not have more than one field specified at a time")


# --- mounts --------------------------------------------------------------------------------------


def _check_mounts(
    checker: Checker, container: JsonObject, path: str, volumes: dict[str, JsonObject]
) -> None:
    places: set[str] = set()
    for at, mount in enumerate(container.get("volumeMounts") or ()):
        inner = f"{path}.volumeMounts[{at}]"
        name, place = mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            checker.required(f"{inner}.name")
        if name not in volumes:
            checker.not_found(f"{inner}.name", name)
        if not place:
            checker.required(f"{inner}.mountPath")
        if place in places:
            checker.invalid(f"{inner}.mountPath", place, "must be unique")
        places.add(place)
        sub = mount.get("subPath", "")
        if sub.startswith("/"):
            checker.invalid(f"{path}.volumeMounts.subPath", sub, "must be a relative path")
        if ".." in sub.split("/"):
            checker.invalid(f"{path}.volumeMounts.subPath", sub, "must not contain '..'")
    _check_devices(checker, container, path, volumes)


def _check_devices(
    checker: Checker, container: JsonObject, path: str, volumes: dict[str, JsonObject]
) -> None:
    for at, device in enumerate(container.get("volumeDevices") or ()):
        inner = f"{path}.volumeDevices[{at}]"
        name = device.get("name", "")
        if name not in volumes:
            checker.not_found(f"{inner}.name", name)
        if not device.get("devicePath"):
            checker.required(f"{inner}.devicePath")


# --- resources -----------------------------------------------------------------------------------


def check_resources(checker: Checker, resources: JsonObject, path: str) -> None:
    """Requests and limits of a container."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for kind, amounts in (("limits", limits), ("requests", requests)):
        for name in sorted(amounts):
            _check_amount(checker, name, amounts[name], f"{path}.{kind}[{name}]")
    for name in sorted(requests):
        limit = limits.get(name)
        if limit is None:
            if "/" in name and "kubernetes.io/" not in name:
                text = "Limit must be set for non overcommitable resources"
                checker.required(f"{path}.limits", text)
        elif quantity.parse(str(requests[name])) > quantity.parse(str(limit)):
            detail = f"must be less than or equal to {name} limit of {limit}"
            checker.invalid(f"{path}.requests", requests[name], detail)
    named = {*limits, *requests}
    if any(name.startswith("hugepages-") for name in named) and not named & {"cpu", "memory"}:
        checker.forbidden(path, "HugePages require cpu or memory")


def _check_amount(checker: Checker, name: str, amount: str, path: str) -> None:
    checker.problems(path, name, names.qualified_name(name))
    value = quantity.parse(str(amount))
    if value < 0:
        checker.invalid(path, amount, "must be greater than or equal to 0")
    if "/" not in name:
        if name not in _STANDARD and not name.startswith("hugepages-"):
            checker.invalid(path, name, "must be a standard resource type or fully qualified")
            checker.invalid(path, name, "must be a standard resource for containers")
    elif value != value.to_integral_value():
        checker.invalid(path, amount, "must be an integer")


# --- probes and hooks ----------------------------------------------------------------------------


def _check_probe(checker: Checker, probe: JsonObject, path: str, kind: str) -> None:
    _check_handler(checker, probe, path)
    for field in (
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ):
        checker.not_negative(f"{path}.{field}", probe.get(field))
    if kind != "readinessProbe" and probe.get("successThreshold", 1) != 1:
        checker.invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1")


def _check_handler(checker: Checker, handler: JsonObject, path: str) -> None:
    given = [kind for kind in _HANDLERS if handler.get(kind) is not None]
    if not given and handler.get("sleep") is None:
        checker.required(path, "must specify a handler type")
        return
    for at, kind in enumerate(given):
        if at > 0:
            checker.forbidden(f"{path}.{kind}", "may not specify more than 1 handler type")
            continue
        action = handler[kind]
        if kind == "exec":
            if not action.get("command"):
                checker.required(f"{path}.exec.command")
        elif kind == "httpGet":
            _check_http(checker, action, f"{path}.httpGet")
        else:
            _check_port_ref(checker, action.get("port", 0), f"{path}.{kind}.port")


def _check_http(checker: Checker, action: JsonObject, path: str) -> None:
    if not action.get("path"):
        checker.required(f"{path}.path")
    _check_port_ref(checker, action.get("port", 0), f"{path}.port")
    scheme = action.get("scheme", "")
    if scheme not in {"HTTP", "HTTPS"}:
        checker.unsupported(f"{path}.scheme", scheme, ("HTTP", "HTTPS"))
    for header in action.get("httpHeaders") or ():
        name = header.get("name", "")
        if not name or not all(sign.isascii() and (sign.isalnum() or sign == "-") for sign in name):
            detail = (
                "a valid HTTP header must consist of alphanumeric characters or '-' (e.g."
                " 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')"
            )
            checker.invalid(f"{path}.httpHeaders", name, detail)


def _check_port_ref(checker: Checker, port: Any, path: str) -> None:
    if isinstance(port, int):
        checker.problems(path, port, names.port_number(port))
    else:
        checker.problems(path, port, names.port_name(port))
