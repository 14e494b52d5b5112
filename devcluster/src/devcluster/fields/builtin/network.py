"""Ingresses, network policies, endpoint slices."""

from __future__ import annotations

import ipaddress
from typing import Any

from devcluster.fields.builtin import names
from devcluster.fields.builtin.checker import Checker
from devcluster.fields.builtin.core import is_cidr
from devcluster.fields.builtin.meta import check_selector
from devcluster.fields.schema import JsonObject

__all__ = [
    "create_ingress",
    "endpoint_slice",
    "ingress",
    "ingress_class",
    "network_policy",
    "update_ingress_class",
]

_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def ingress(checker: Checker, obj: JsonObject) -> None:
    """An ingress, new or changed."""
    spec = obj["spec"]
    rules = spec.get("rules")
    if not rules and spec.get("defaultBackend") is None:
        checker.invalid("spec", rules, "either `defaultBackend` or `rules` must be specified")
    if spec.get("defaultBackend") is not None:
        _check_backend(checker, spec["defaultBackend"], "spec.defaultBackend")
    for at, rule in enumerate(rules or ()):
        path = f"spec.rules[{at}]"
        _check_host(checker, rule.get("host", ""), f"{path}.host")
        http = rule.get("http")
        if http is not None:
            _check_paths(checker, http.get("paths"), f"{path}.http.paths")
    for at, tls in enumerate(spec.get("tls") or ()):
        _check_tls(checker, tls, f"spec.tls[{at}]")
    name = spec.get("ingressClassName")
    if name is not None:
        checker.problems("spec.ingressClassName", name, names.dns_subdomain(name))


_CLASS = "kubernetes.io/ingress.class"


def create_ingress(checker: Checker, obj: JsonObject) -> None:
    """A new ingress; the annotation that once named the class may not contradict the field."""
    old = (obj["metadata"].get("annotations") or {}).get(_CLASS)
    name = obj["spec"].get("ingressClassName")
    if old is not None and name is not None and old != name:
        text = "must match `ingressClassName` when both are specified"
        checker.invalid(f"annotations.{_CLASS}", old, text)
    ingress(checker, obj)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _check_host(checker: Checker, host: str, path: str) -> None:
    if not host:
        return
    if _is_ip(host):
        checker.invalid(path, host, "must be a DNS name, not an IP address")
    syntax = names.wildcard_subdomain if "*" in host else names.dns_subdomain
    checker.problems(path, host, syntax(host))


def _check_tls(checker: Checker, tls: JsonObject, path: str) -> None:
    for at, host in enumerate(tls.get("hosts") or ()):
        syntax = names.wildcard_subdomain if "*" in host else names.dns_subdomain
        checker.problems(f"{path}.hosts[{at}]", host, syntax(host))
    name = tls.get("secretName")
    if name:
        checker.problems(f"{path}.secretName", name, names.dns_subdomain(name))


_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_BAD_PARTS = ("//", "/./", "/../", "%2f", "%2F")


def _check_paths(checker: Checker, paths: Any, path: str) -> None:
    if not paths:
        checker.required(path)
    for at, entry in enumerate(paths or ()):
        inner = f"{path}[{at}]"
        kind, place = entry.get("pathType"), entry.get("path", "")
        if kind is None:
            checker.required(f"{inner}.pathType", "pathType must be specified")
        elif kind not in _TYPES:
            checker.unsupported(f"{inner}.pathType", kind, _TYPES)
        elif kind == "ImplementationSpecific":
            if place and not place.startswith("/"):
                checker.invalid(f"{inner}.path", place, "must be an absolute path")
        else:
            _check_place(checker, place, f"{inner}.path")
        _check_backend(checker, entry.get("backend") or {}, f"{inner}.backend")


def _check_place(checker: Checker, place: str, path: str) -> None:
    if not place.startswith("/"):
        checker.invalid(path, place, "must be an absolute path")
    for part in _BAD_PARTS:
        if part in place:
            checker.invalid(path, place, f"must not contain '{part}'")
    for end in ("/..", "/."):
        if place.endswith(end):
            checker.invalid(path, place, f"cannot end with '{end}'")


def _check_backend(checker: Checker, backend: JsonObject, path: str) -> None:
    service, resource = backend.get("service"), backend.get("resource")
    if service is None and resource is None:
        checker.invalid(path, "", "resource or service backend is required")
    elif service is not None and resource is not None:
        checker.invalid(path, "", "cannot set both resource and service backends")
    elif service is not None:
        _check_service_backend(checker, service, path)


def _check_service_backend(checker: Checker, service: JsonObject, path: str) -> None:
    inner = f"{path}.service"
    name, port = service.get("name", ""), service.get("port") or {}
    if not name:
        checker.required(f"{inner}.name")
    else:
        checker.problems(f"{inner}.name", name, names.dns_label(name))
    number, port_name = port.get("number", 0), port.get("name", "")
    if number and port_name:
        checker.invalid(path, "", "cannot set both port name & port number")
    elif port_name:
        checker.problems(f"{inner}.port.name", port_name, names.port_name(port_name))
    elif number:
        checker.problems(f"{inner}.port.number", number, names.port_number(number))
    else:
        checker.required(path, "port name or number is required")


def ingress_class(checker: Checker, obj: JsonObject) -> None:
    """A new ingress class."""
    controller = (obj.get("spec") or {}).get("controller", "")
    path = "spec.controller"
    if not controller:
        checker.required(path)
    elif "/" not in controller:
        text = 'must be a domain-prefixed path (such as "acme.io/foo")'
        checker.invalid(path, controller, text)
    else:
        domain = controller.split("/", 1)[0]
        checker.problems(path, domain, names.dns_subdomain(domain))


def update_ingress_class(checker: Checker, new: JsonObject, old: JsonObject) -> None:
    """The controller stays."""
    ingress_class(checker, new)
    field = "controller"
    checker.unchanged("spec.controller", new["spec"].get(field), old["spec"].get(field))


# --- network policies ----------------------------------------------------------------------------


def network_policy(checker: Checker, obj: JsonObject) -> None:
    """A network policy, new or changed."""
    spec = obj["spec"]
    check_selector(checker, spec.get("podSelector"), "spec.podSelector")
    for side, peers in (("ingress", "from"), ("egress", "to")):
        for at, rule in enumerate(spec.get(side) or ()):
            path = f"spec.{side}[{at}]"
            for index, port in enumerate(rule.get("ports") or ()):
                _check_policy_port(checker, port, f"{path}.ports[{index}]")
            for index, peer in enumerate(rule.get(peers) or ()):
                _check_peer(checker, peer, f"{path}.{peers}[{index}]")
    for at, kind in enumerate(spec.get("policyTypes") or ()):
        if kind not in {"Ingress", "Egress"}:
            checker.unsupported(f"spec.policyTypes[{at}]", kind, ("Ingress", "Egress"))


def _check_policy_port(checker: Checker, port: JsonObject, path: str) -> None:
    protocol = port.get("protocol")
    if protocol and protocol not in {"TCP", "UDP", "SCTP"}:
        checker.unsupported(f"{path}.protocol", protocol, ("TCP", "UDP", "SCTP"))
    number, end = port.get("port"), port.get("endPort")
    if isinstance(number, int):
        checker.problems(f"{path}.port", number, names.port_number(number))
        if end is not None:
            if end < number:
                checker.invalid(f"{path}.endPort", end, "must be greater than or equal to `port`")
            checker.problems(f"{path}.endPort", end, names.port_number(end))
    elif isinstance(number, str):
        checker.problems(f"{path}.port", number, names.port_name(number))
        if end is not None:
            text = "may not be specified when `port` is non-numeric"
            checker.invalid(f"{path}.endPort", end, text)
    elif end is not None:
        text = "may not be specified when `port` is not specified"
        checker.invalid(f"{path}.endPort", end, text)


def _check_peer(checker: Checker, peer: JsonObject, path: str) -> None:
    selectors = [f for f in ("podSelector", "namespaceSelector") if peer.get(f) is not None]
    if not peer:
        checker.required(path, "must specify a peer")
    if selectors and peer.get("ipBlock") is not None:
        checker.forbidden(path, "may not specify both ipBlock and another peer")
    for field in ("podSelector", "namespaceSelector"):
        check_selector(checker, peer.get(field), f"{path}.{field}")
    block = peer.get("ipBlock")
    if block is None:
        return
    cidr = block.get("cidr", "")
    if not cidr:
        checker.required(f"{path}.ipBlock.cidr")
        return
    if not is_cidr(cidr):
        checker.invalid(f"{path}.ipBlock.cidr", cidr, _CIDR)
        return
    outer = ipaddress.ip_network(cidr, strict=False)
    for at, text in enumerate(block.get("except") or ()):
        inner = f"{path}.ipBlock.except[{at}]"
        if not is_cidr(text):
            checker.invalid(inner, text, _CIDR)
        elif not _contains(outer, ipaddress.ip_network(text, strict=False)):
            checker.invalid(inner, text, "must be a strict subset of `cidr`")


def _contains(outer: Any, inner: Any) -> bool:
    same = outer.version == inner.version
    return bool(same and outer != inner and inner.subnet_of(outer))


def endpoint_slice(checker: Checker, obj: JsonObject) -> None:
    """An endpoint slice, new or changed."""
    kind = obj.get("addressType", "")
    if not kind:
        checker.required("addressType")
    elif kind not in {"FQDN", "IPv4", "IPv6"}:
        checker.unsupported("addressType", kind, ("FQDN", "IPv4", "IPv6"))
    for at, endpoint in enumerate(obj.get("endpoints") or ()):
        if not endpoint.get("addresses"):
            checker.required(f"endpoints[{at}].addresses")
