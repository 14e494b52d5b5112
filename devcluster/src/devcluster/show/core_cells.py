"""Cells of the core group's kinds, in the order of their columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from devcluster.show.age import age

__all__ = ["CELLS", "born", "labels_text", "none", "selector_text"]

JsonObject = dict[str, Any]
Cells = list[Any]
_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def born(obj: JsonObject) -> str:
    """The age of an object."""
    return age(obj["metadata"].get("creationTimestamp"))


def none(text: Any, *, empty: str = "<none>") -> str:
    """``<none>`` in place of nothing."""
    return str(text) if text not in (None, "") else empty


def labels_text(labels: Mapping[str, str] | None) -> str:
    """``a=b,c=d``."""
    return none(",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())))


def selector_text(selector: Mapping[str, Any] | None) -> str:
    """A label selector in its short form."""
    selector = selector or {}
    terms = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for term in selector.get("matchExpressions") or ():
        values = f" ({','.join(sorted(term.get('values') or ()))})"
        forms = {
            "In": f"{term['key']} in{values}",
            "NotIn": f"{term['key']} notin{values}",
            "Exists": term["key"],
            "DoesNotExist": f"!{term['key']}",
        }
        terms.append(forms[term["operator"]])
    return none(",".join(terms))


def _status(obj: JsonObject) -> JsonObject:
    return obj.get("status") or {}


def _spec(obj: JsonObject) -> JsonObject:
    return obj.get("spec") or {}


def _name(obj: JsonObject) -> str:
    name: str = obj["metadata"]["name"]
    return name


def _config_map(obj: JsonObject) -> Cells:
    count = len(obj.get("data") or {}) + len(obj.get("binaryData") or {})
    return [_name(obj), count, born(obj)]


def _secret(obj: JsonObject) -> Cells:
    return [_name(obj), obj.get("type", ""), len(obj.get("data") or {}), born(obj)]


def _endpoints(obj: JsonObject) -> Cells:
    shown: list[str] = []
    for subset in obj.get("subsets") or ():
        for address in subset.get("addresses") or ():
            ports = subset.get("ports") or [{}]
            shown += [
                f"{address['ip']}:{port['port']}" if port else address["ip"] for port in ports
            ]
    text = ",".join(shown[:3]) + (f" + {len(shown) - 3} more..." if len(shown) > 3 else "")
    return [_name(obj), none(text), born(obj)]


def _event(obj: JsonObject) -> Cells:
    target = obj.get("involvedObject") or {}
    source = obj.get("source") or {}
    component = source.get("component") or obj.get("reportingComponent") or ""
    host = source.get("host") or obj.get("reportingInstance") or ""
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    last = obj.get("lastTimestamp") or first
    series = obj.get("series") or {}
    count = obj.get("count") or 1
    if series:
        last, count = series.get("lastObservedTime") or last, series.get("count") or count
    kind = target.get("kind", "").lower()
    name = target.get("name", "")
    return [
        age(last),
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{kind}/{name}" if kind else name,
        target.get("fieldPath", ""),
        f"{component}, {host}" if host else component,
        obj.get("message", "").strip(),
        age(first),
        count,
        _name(obj),
    ]


def _event_v1(obj: JsonObject) -> Cells:
    renamed = {
        "involvedObject": obj.get("regarding"),
        "message": obj.get("note", ""),
        "reportingComponent": obj.get("reportingController"),
        "firstTimestamp": obj.get("deprecatedFirstTimestamp"),
        "lastTimestamp": obj.get("deprecatedLastTimestamp"),
        "count": obj.get("deprecatedCount"),
        "source": obj.get("deprecatedSource"),
    }
    return _event({**obj, **renamed})


def _created_at(obj: JsonObject) -> Cells:
    return [_name(obj), obj["metadata"].get("creationTimestamp")]


def _namespace(obj: JsonObject) -> Cells:
    return [_name(obj), _status(obj).get("phase", ""), born(obj)]


def _plain(obj: JsonObject) -> Cells:
    return [_name(obj), born(obj)]


def _node(obj: JsonObject) -> Cells:
    status, info = _status(obj), _status(obj).get("nodeInfo") or {}
    conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
    ready = {"True": "Ready", "False": "NotReady"}.get(conditions.get("Ready", ""), "Unknown")
    if _spec(obj).get("unschedulable"):
        ready += ",SchedulingDisabled"
    prefix = "node-role.kubernetes.io/"
    labels = obj["metadata"].get("labels") or {}
    roles = ",".join(sorted(key[len(prefix) :] for key in labels if key.startswith(prefix)))
    addresses = {a["type"]: a["address"] for a in status.get("addresses") or ()}
    return [
        _name(obj),
        ready,
        none(roles),
        born(obj),
        info.get("kubeletVersion", ""),
        none(addresses.get("InternalIP")),
        none(addresses.get("ExternalIP")),
        none(info.get("osImage"), empty="<unknown>"),
        none(info.get("kernelVersion"), empty="<unknown>"),
        none(info.get("containerRuntimeVersion"), empty="<unknown>"),
    ]


def _modes(modes: Iterable[str] | None) -> str:
    return ",".join(_MODES.get(mode, mode) for mode in modes or ())


def _phase(obj: JsonObject) -> str:
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    phase: str = _status(obj).get("phase", "")
    return phase


def _claim(obj: JsonObject) -> Cells:
    spec, status = _spec(obj), _status(obj)
    bound = bool(spec.get("volumeName"))
    return [
        _name(obj),
        _phase(obj),
        spec.get("volumeName", ""),
        (status.get("capacity") or {}).get("storage", "0") if bound else "",
        _modes(status.get("accessModes")) if bound else "",
        spec.get("storageClassName") or "",
        none(spec.get("volumeAttributesClassName"), empty="<unset>"),
        born(obj),
        none(spec.get("volumeMode"), empty="<unset>"),
    ]


def _volume(obj: JsonObject) -> Cells:
    spec, status = _spec(obj), _status(obj)
    claim = spec.get("claimRef") or {}
    return [
        _name(obj),
        (spec.get("capacity") or {}).get("storage", "0"),
        _modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        _phase(obj),
        f"{claim.get('namespace', '')}/{claim['name']}" if claim.get("name") else "",
        spec.get("storageClassName") or "",
        none(spec.get("volumeAttributesClassName"), empty="<unset>"),
        status.get("reason", ""),
        born(obj),
        none(spec.get("volumeMode"), empty="<unset>"),
    ]


def _quota(obj: JsonObject) -> Cells:
    status = _status(obj)
    hard, used = status.get("hard") or {}, status.get("used") or {}
    request: list[str] = []
    limit: list[str] = []
    for name in sorted(hard):
        shown = f"{name}: {used.get(name, '0')}/{hard[name]}"
        (limit if name.startswith("limits") else request).append(shown)
    return [_name(obj), ", ".join(request), ", ".join(limit), born(obj)]


def _service(obj: JsonObject) -> Cells:
    spec = _spec(obj)
    return [
        _name(obj),
        spec.get("type", ""),
        none(spec.get("clusterIP")),
        _external(obj),
        none(",".join(_port(port) for port in spec.get("ports") or ())),
        born(obj),
        labels_text(spec.get("selector")),
    ]


def _port(port: Mapping[str, Any]) -> str:
    node = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port['port']}{node}/{port.get('protocol', 'TCP')}"


def _external(obj: JsonObject) -> str:
    spec = _spec(obj)
    given = spec.get("externalIPs") or []
    kind = spec.get("type", "")
    if kind == "ExternalName":
        return none(spec.get("externalName"))
    if kind != "LoadBalancer":
        return none(",".join(given))
    ingress = (_status(obj).get("loadBalancer") or {}).get("ingress") or ()
    found = [i.get("ip") or i.get("hostname", "") for i in ingress] + given
    return ",".join(found) if found else "<pending>"


def _account(obj: JsonObject) -> Cells:
    return [_name(obj), born(obj)]


CELLS: dict[tuple[str, str], Callable[[JsonObject], Cells]] = {
    ("", "configmaps"): _config_map,
    ("", "secrets"): _secret,
    ("", "endpoints"): _endpoints,
    ("", "events"): lambda obj: _event_v1(obj) if "regarding" in obj else _event(obj),
    ("", "limitranges"): _created_at,
    ("", "namespaces"): _namespace,
    ("", "nodes"): _node,
    ("", "persistentvolumeclaims"): _claim,
    ("", "persistentvolumes"): _volume,
    ("", "resourcequotas"): _quota,
    ("", "services"): _service,
    ("", "serviceaccounts"): _account,
    ("rbac.authorization.k8s.io", "roles"): _created_at,
    ("rbac.authorization.k8s.io", "clusterroles"): _created_at,
}
