"""Services: cluster addresses, address families and node ports.

Addresses come from 10.96.0.0/12 and ports from 30000-32767, in order, skipping what is in use.
One address family (IPv4) is offered.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator
from typing import Any

from devcluster import errors
from devcluster.kinds import Target
from devcluster.store import Change, Row, Store, Table
from devcluster.writes import WriteOptions

__all__ = ["ServiceAddresses"]

JsonObject = dict[str, Any]
_NETWORK = ipaddress.IPv4Network("10.96.0.0/12")
_FIRST = 16  # the first addresses are for well-known services
_PORTS = range(30_000, 32_768)
_OUTSIDE = f"provided IP is not in the valid range. The range of valid IPs is {_NETWORK}"
_OF_TYPE = {
    "allocateLoadBalancerNodePorts": frozenset({"LoadBalancer"}),
    "externalName": frozenset({"ExternalName"}),
    "externalTrafficPolicy": frozenset({"LoadBalancer", "NodePort"}),
    "healthCheckNodePort": frozenset({"LoadBalancer"}),
    "internalTrafficPolicy": frozenset({"ClusterIP", "LoadBalancer", "NodePort"}),
    "loadBalancerClass": frozenset({"LoadBalancer"}),
}
_NODE_PORT_TYPES = frozenset({"NodePort", "LoadBalancer"})


class ServiceAddresses:
    """Allocates for new services, keeps for changed ones."""

    def __init__(self, store: Store) -> None:
        self._used: Counter[str] = Counter()
        self._ports: Counter[int] = Counter()
        self._next = _FIRST
        store.listen(self._changed)

    def _changed(self, table: Table, change: Change) -> None:
        if table.name != ("", "services"):
            return
        if change.previous is not None:
            self._count(change.previous, -1)
        if change.type != "DELETED":
            self._count(change.row, 1)

    def _count(self, row: Row, by: int) -> None:
        spec = row.decode().get("spec") or {}
        address = spec.get("clusterIP")
        if address and address != "None":
            self._used[address] += by
        for port in spec.get("ports") or ():
            if port.get("nodePort"):
                self._ports[port["nodePort"]] += by

    def __call__(
        self, target: Target, new: JsonObject, old: JsonObject | None, options: WriteOptions
    ) -> None:
        """Raises 422 for an address or a port that another service has."""
        del options
        if target.kind.table != ("", "services") or target.subresource == "status":
            return
        spec = new.get("spec")
        if not isinstance(spec, dict):
            return
        before = (old or {}).get("spec") or {}
        if before:
            _keep(spec, before)
            _drop_of_type(spec, before)
        if spec.get("type") == "ExternalName":
            _drop_address(spec, before)
        else:
            self._address(target, spec, before)
        self._node_ports(target, spec, before)

    def _address(self, target: Target, spec: JsonObject, before: JsonObject) -> None:
        given = spec.get("clusterIP")
        if not given:
            spec["clusterIP"] = given = self._free()
        elif given != "None" and not before.get("clusterIP") and not _in_range(given):
            text = f'Invalid value: "{given}": failed to allocate IP {given}: {_OUTSIDE}'
            raise _taken(target, "spec.clusterIPs", text)
        elif given not in {"None", before.get("clusterIP")} and self._used[given] > 0:
            text = f'Invalid value: "{given}": failed to allocate IP {given}: provided IP is already allocated'
            raise _taken(target, "spec.clusterIPs", text)
        spec.setdefault("clusterIPs", [given])
        # A headless service without a selector has no pods whose families would limit it.
        dual = given == "None" and not spec.get("selector")
        spec.setdefault("ipFamilies", ["IPv4", "IPv6"] if dual else ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "RequireDualStack" if dual else "SingleStack")

    def _free(self) -> str:
        for _ in range(_NETWORK.num_addresses):
            address = str(_NETWORK[self._next])
            self._next = self._next + 1 if self._next < _NETWORK.num_addresses - 2 else _FIRST
            if self._used[address] <= 0:
                return address
        raise errors.internal("no cluster address is left")

    def _node_ports(self, target: Target, spec: JsonObject, before: JsonObject) -> None:
        wants = spec.get("type") in _NODE_PORT_TYPES
        if (
            spec.get("type") == "LoadBalancer"
            and spec.get("allocateLoadBalancerNodePorts") is False
        ):
            wants = False
        old_ports = {port.get("nodePort") for port in before.get("ports") or ()}
        free = (port for port in _PORTS if self._ports[port] <= 0)
        for at, port in enumerate(spec.get("ports") or ()):
            given = port.get("nodePort")
            if not wants:
                if given in old_ports:
                    port.pop("nodePort", None)
            elif not given:
                port["nodePort"] = next(_unused(free, spec))
            elif given not in old_ports and given not in _PORTS:
                text = (
                    f"Invalid value: {given}: provided port is not in the valid range. The range of"
                    f" valid ports is {_PORTS[0]}-{_PORTS[-1]}"
                )
                raise _taken(target, f"spec.ports[{at}].nodePort", text)
            elif given not in old_ports and self._ports[given] > 0:
                text = f"Invalid value: {given}: provided port is already allocated"
                raise _taken(target, f"spec.ports[{at}].nodePort", text)


def _in_range(address: str) -> bool:
    try:
        return ipaddress.IPv4Address(address) in _NETWORK
    except ValueError:
        return True  # refused by validation, with its own words


def _unused(free: Iterator[int], spec: JsonObject) -> Iterator[int]:
    here = {port.get("nodePort") for port in spec.get("ports") or ()}
    return (port for port in free if port not in here)


def _keep(spec: JsonObject, before: JsonObject) -> None:
    """What a client that leaves out allocated values does not lose."""
    if before.get("type") != "ExternalName" and spec.get("type") != "ExternalName":
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if not spec.get(name) and before.get(name):
                spec[name] = before[name]
    if before.get("type") in _NODE_PORT_TYPES and spec.get("type") in _NODE_PORT_TYPES:
        old = {(p.get("protocol"), p.get("port")): p.get("nodePort") for p in before["ports"]}
        for port in spec.get("ports") or ():
            kept = old.get((port.get("protocol"), port.get("port")))
            if kept and not port.get("nodePort"):
                port["nodePort"] = kept


def _drop_of_type(spec: JsonObject, before: JsonObject) -> None:
    """A changed type takes with it what only the old one can have, unless that changed, too."""
    for name, types in _OF_TYPE.items():
        had, has = before.get("type") in types, spec.get("type") in types
        if had and not has and spec.get(name) == before.get(name):
            spec.pop(name, None)


def _drop_address(spec: JsonObject, before: JsonObject) -> None:
    """A service that becomes an external name gives its address back."""
    if before and before.get("type") != "ExternalName":
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if spec.get(name) == before.get(name):
                spec.pop(name, None)


def _taken(target: Target, field: str, message: str) -> errors.ApiFailure:
    cause = {"reason": "FieldValueInvalid", "message": message, "field": field}
    return errors.invalid(group="", kind="Service", name=target.name, causes=[cause])
