"""What the server takes, and warns of: the ``Warning`` headers of a write, in its words.

Called last of the admission steps. A workload's template is looked at when it is new or the
workload's generation has grown, as the real server does it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from devcluster.fields import quantity
from devcluster.kinds import Target
from devcluster.writes import WriteOptions

__all__ = ["warn"]

JsonObject = dict[str, Any]
Texts = Iterator[str]
_TEMPLATE = ("spec", "template")
_TEMPLATES = {
    ("", "replicationcontrollers"): _TEMPLATE,
    ("apps", "daemonsets"): _TEMPLATE,
    ("apps", "deployments"): _TEMPLATE,
    ("apps", "replicasets"): _TEMPLATE,
    ("apps", "statefulsets"): _TEMPLATE,
    ("batch", "cronjobs"): ("spec", "jobTemplate", "spec", "template"),
    ("batch", "jobs"): _TEMPLATE,
}
_LABELS = {
    "beta.kubernetes.io/arch": 'v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'v1.17; use "topology.kubernetes.io/zone" instead',
}
_BYTES = frozenset({"memory", "ephemeral-storage", "storage"})
_SURPRISING = (
    "which can result in surprising behavior; a DNS label is recommended: [must not contain dots]"
)
_VOLUME_CLASS = "volume.beta.kubernetes.io/storage-class"
_FORMATS = frozenset(
    {
        *("bsonobjectid", "uri", "email", "hostname", "ipv4", "ipv6", "cidr", "mac", "uuid"),
        *("uuid3", "uuid4", "uuid5", "isbn", "isbn10", "isbn13", "creditcard", "ssn", "hexcolor"),
        *("rgbcolor", "byte", "password", "date", "duration", "datetime", "date-time"),
        *("int32", "int64", "float", "double", "k8s-short-name", "k8s-long-name"),
    }
)


def warn(target: Target, new: JsonObject, old: JsonObject | None, options: WriteOptions) -> None:
    """Add what is to be said of the object to ``options.warnings``."""
    table = target.kind.table
    if target.subresource:
        return
    path = _TEMPLATES.get(table)
    if path is not None:
        options.warnings += _of_workload(new, old, path)
    of_kind = _KINDS.get(table)
    if of_kind is not None:
        options.warnings += of_kind(new, old)


# --- pods ----------------------------------------------------------------------------------------


def _of_workload(new: JsonObject, old: JsonObject | None, path: tuple[str, ...]) -> Texts:
    if old is None and "." in new["metadata"]["name"]:
        yield f"metadata.name: this is used in Pod names and hostnames, {_SURPRISING}"
    before = (old or {}).get("metadata", {}).get("generation")
    if old is not None and new["metadata"].get("generation") == before:
        return
    template: Any = new
    for name in path:
        template = template.get(name) or {}
    yield from _of_pod_spec(template.get("spec") or {}, f"{'.'.join(path)}.spec")


def _of_pod(new: JsonObject, old: JsonObject | None) -> Texts:
    if old is None and "." in new["metadata"]["name"]:
        yield f"metadata.name: this is used in the Pod's hostname, {_SURPRISING}"
    if old is None:
        yield from _of_pod_spec(new["spec"], "spec")


def _of_pod_spec(spec: JsonObject, path: str) -> Texts:
    for key in spec.get("nodeSelector") or ():
        if key in _LABELS:
            yield f"{path}.nodeSelector[{key}]: deprecated since {_LABELS[key]}"
    for at, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        if constraint.get("labelSelector") is None:
            inner = f"{path}.topologySpreadConstraints[{at}].labelSelector"
            yield f"{inner}: a null labelSelector results in matching no pod"
    seen: set[str] = set()
    for at, alias in enumerate(spec.get("hostAliases") or ()):
        if alias.get("ip") in seen:
            yield f'{path}.hostAliases[{at}].ip: duplicate ip "{alias["ip"]}"'
        seen.add(alias.get("ip", ""))
    for at, secret in enumerate(spec.get("imagePullSecrets") or ()):
        if not secret.get("name"):
            yield f'{path}.imagePullSecrets[{at}].name: invalid empty name ""'
    yield from _of_containers(spec, path)


def _of_containers(spec: JsonObject, path: str) -> Texts:
    ports: list[tuple[JsonObject, str]] = []
    said: list[str] = []
    for field in ("initContainers", "containers"):
        for at, container in enumerate(spec.get(field) or ()):
            inner = f"{path}.{field}[{at}]"
            yield from _fractions(container.get("resources") or {}, f"{inner}.resources")
            yield from _hidden(container.get("env") or (), f"{inner}.env")
            if container.get("ports") and field == "containers":
                said += _of_ports(container["ports"], f"{inner}.ports", ports)
    yield from said


def _fractions(resources: JsonObject, path: str) -> Texts:
    for field in ("limits", "requests"):
        for name, amount in (resources.get(field) or {}).items():
            # A canonical amount has a fraction only with one of these endings.
            if name not in _BYTES or str(amount)[-1:] not in "mun":
                continue
            value = quantity.parse(str(amount))
            if value != value.to_integral_value():
                text = f'fractional byte value "{amount}" is invalid, must be an integer'
                yield f"{path}.{field}[{name}]: {text}"


def _hidden(env: Any, path: str) -> Texts:
    seen: set[str] = set()
    for at, variable in enumerate(env):
        name = variable.get("name", "")
        if name in seen:
            text = f'hides previous definition of "{name}", which may be dropped when using apply'
            yield f"{path}[{at}]: {text}"
        seen.add(name)


def _of_ports(ports: list[JsonObject], path: str, known: list[tuple[JsonObject, str]]) -> Texts:
    """``known`` are the ports so far, of all containers; these are added."""
    for at, port in enumerate(ports):
        inner = f"{path}[{at}]"
        if port.get("hostIP") and not port.get("hostPort"):
            shown = (
                f"{{Name:{port.get('name', '')} HostPort:0 ContainerPort:{port['containerPort']}"
                f" Protocol:{port.get('protocol', '')} HostIP:{port['hostIP']}}}"
            )
            yield f"{inner}: hostIP set without hostPort: {shown}"
        for other, where in known:
            if _same_port(port, other):
                yield f"{inner}: duplicate port definition with {where}"
        known.append((port, inner))


def _same_port(port: JsonObject, other: JsonObject) -> bool:
    fields = ("containerPort", "protocol", "hostIP", "hostPort")
    return all(port.get(field) == other.get(field) for field in fields)


# --- other kinds ---------------------------------------------------------------------------------


def _of_service(new: JsonObject, _old: JsonObject | None) -> Texts:
    spec = new["spec"]
    if spec.get("clusterIP") == "None" and spec.get("sessionAffinity") == "ClientIP":
        yield "spec.SessionAffinity is ignored for headless services"
    if spec.get("externalIPs"):
        yield "spec.externalIPs is deprecated and may no longer be implemented in some clusters"


def _of_ingress(new: JsonObject, old: JsonObject | None) -> Texts:
    name = "kubernetes.io/ingress.class"
    if old is None and name in (new["metadata"].get("annotations") or {}):
        yield f"annotation \"{name}\" is deprecated, please use 'spec.ingressClassName' instead"


def _of_claim(new: JsonObject, _old: JsonObject | None) -> Texts:
    if _VOLUME_CLASS in (new["metadata"].get("annotations") or {}):
        text = 'deprecated since v1.8; use "storageClassName" attribute instead'
        yield f"metadata.annotations[{_VOLUME_CLASS}]: {text}"
    yield from _fractions(new["spec"].get("resources") or {}, "spec.resources")


def _of_quota(new: JsonObject, _old: JsonObject | None) -> Texts:
    hard = (new.get("spec") or {}).get("hard") or {}
    for name in ("cpu", "memory"):
        wanted, most = hard.get(f"requests.{name}"), hard.get(f"limits.{name}")
        if wanted and most and quantity.parse(str(wanted)) > quantity.parse(str(most)):
            yield (
                f"ResourceQuota requests.{name} ({wanted}) should be less than limits.{name}"
                f" ({most})"
            )


def _of_definition(new: JsonObject, _old: JsonObject | None) -> Texts:
    said: set[str] = set()
    for version in new["spec"].get("versions") or ():
        _collect((version.get("schema") or {}).get("openAPIV3Schema") or {}, said)
    yield from sorted(said)


def _collect(schema: Any, said: set[str]) -> None:
    if not isinstance(schema, dict):
        return
    items = schema.get("items") or {}
    if schema.get("x-kubernetes-list-type") == "set" and items.get("type") == "array":
        said.add(
            'x-kubernetes-list-type: set for items of type "array" is not supported by server-side'
            " apply or CEL validation rules"
        )
    name = schema.get("format")
    if name and name.replace("-", "") not in {known.replace("-", "") for known in _FORMATS}:
        said.add(f'unrecognized format "{name}"')
    for below in (schema.get("properties") or {}).values():
        _collect(below, said)
    _collect(schema.get("items"), said)
    _collect(schema.get("additionalProperties"), said)


_KINDS: dict[tuple[str, str], Callable[[JsonObject, JsonObject | None], Texts]] = {
    ("", "persistentvolumeclaims"): _of_claim,
    ("", "pods"): _of_pod,
    ("", "resourcequotas"): _of_quota,
    ("", "services"): _of_service,
    ("apiextensions.k8s.io", "customresourcedefinitions"): _of_definition,
    ("networking.k8s.io", "ingresses"): _of_ingress,
}
