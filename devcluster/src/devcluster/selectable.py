"""The fields that each kind can be selected by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from devcluster import errors
from devcluster.kinds import Kind
from devcluster.selectors import FieldSelector
from devcluster.show.jsonpath import find
from devcluster.store import Row

__all__ = ["check_fields", "reader"]

JsonObject = dict[str, Any]
_META = ("metadata.name", "metadata.namespace")
_OF_EVENTS = {"reason": ".reason", "type": ".type"}
_EVENT_TARGET = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")

# Beyond name and namespace: path of the selector -> path in the stored object.
_FIELDS: dict[tuple[str, str], dict[str, str]] = {
    ("", "events"): {
        **{f"involvedObject.{name}": f".involvedObject.{name}" for name in _EVENT_TARGET},
        **_OF_EVENTS,
        "reportingComponent": ".reportingComponent",
        "source": ".source.component",
    },
    ("events.k8s.io", "events"): {
        **{f"regarding.{name}": f".involvedObject.{name}" for name in _EVENT_TARGET},
        **_OF_EVENTS,
        "reportingController": ".reportingComponent",
    },
    ("", "namespaces"): {"status.phase": ".status.phase"},
    ("", "nodes"): {"spec.unschedulable": ".spec.unschedulable"},
    ("", "pods"): {
        name: f".{name}"
        for name in (
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        )
    },
    ("", "replicationcontrollers"): {"status.replicas": ".status.replicas"},
    ("", "secrets"): {"type": ".type"},
    ("", "services"): {"spec.clusterIP": ".spec.clusterIP", "spec.type": ".spec.type"},
    ("batch", "jobs"): {"status.successful": ".status.succeeded"},
}
_DEFAULTS = {
    ".spec.unschedulable": "false",
    ".spec.hostNetwork": "false",
    ".status.replicas": "0",
    ".status.succeeded": "0",
}


def check_fields(kind: Kind, selector: FieldSelector) -> None:
    """400 for a field that the kind cannot be selected by."""
    own = _own(kind)
    for path, _, _ in selector.terms:
        if path in _META or path in own:
            continue
        if (kind.group, kind.plural) == ("batch", "jobs"):
            raise errors.bad_request(f'field label "{path}" not supported for Job')
        if _own(kind) or kind.crd:
            raise errors.bad_request(f"field label not supported: {path}")
        raise errors.bad_request(
            f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"'
        )


def _own(kind: Kind) -> dict[str, str]:
    if kind.crd:
        return {path.removeprefix("."): path for path in kind.selectable}
    return _FIELDS.get((kind.group, kind.plural), {})


def reader(kind: Kind) -> Callable[[Row], Callable[[str], str]]:
    """How to read a selector's path from a row; an object is decoded only where it must be."""
    own = _own(kind)

    def of(row: Row) -> Callable[[str], str]:
        decoded: list[JsonObject] = []

        def read(path: str) -> str:
            if path == "metadata.name":
                return row.name
            if path == "metadata.namespace":
                return row.namespace
            if not decoded:
                decoded.append(row.decode())
            return _text(own[path], decoded[0])

        return read

    return of


def _text(path: str, obj: JsonObject) -> str:
    values = find(path, obj)
    if not values or values[0] is None:
        return _DEFAULTS.get(path, "")
    value = values[0]
    return str(value).lower() if isinstance(value, bool) else str(value)
