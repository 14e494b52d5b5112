"""The scale subresource: an ``autoscaling/v1`` Scale in front of a workload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devcluster import errors
from devcluster.kinds import Kind
from devcluster.show.core_cells import born, selector_text
from devcluster.show.jsonpath import find

__all__ = ["SCALE", "check", "check_kind", "scale_of", "table_of", "with_scale"]

JsonObject = dict[str, Any]
SCALE = Kind(
    group="autoscaling",
    version="v1",
    kind="Scale",
    plural="scales",
    singular="scale",
    namespaced=True,
)
"""The kind of what the subresource takes and gives."""


def scale_of(kind: Kind, obj: JsonObject, *, to_write: bool = False) -> JsonObject:
    """The Scale that shows an object's replicas; 500 where they have no place, but ``to_write``."""
    meta = obj["metadata"]
    shown = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    paths = kind.scale
    place = paths.get("specReplicasPath", ".spec.replicas")
    if kind.crd and not to_write and not find(place, obj):
        text = f'Internal error occurred: the spec replicas field "{place}" does not exist'
        details = {"causes": [{"message": text.removeprefix("Internal error occurred: ")}]}
        raise errors.ApiFailure(500, "InternalError", text, details=details)
    replicas = _number(place, obj)
    spec = {"replicas": replicas} if replicas else {}
    status: JsonObject = {
        "replicas": _number(paths.get("statusReplicasPath", ".status.replicas"), obj)
    }
    selector = _selector(kind, obj)
    if selector:
        status["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: meta[name] for name in shown if name in meta},
        "spec": spec,
        "status": status,
    }


def table_of(scale: JsonObject, version: str) -> JsonObject:
    """A ``meta.k8s.io`` Table of one Scale; ``version`` is the Table's."""
    columns = (("Name", "string", "name"), ("Desired", "integer", ""), ("Available", "integer", ""))
    meta, spec, status = scale["metadata"], scale["spec"], scale["status"]
    api_version = f"meta.k8s.io/{version}"
    return {
        "kind": "Table",
        "apiVersion": api_version,
        "metadata": {"resourceVersion": meta["resourceVersion"]},
        "columnDefinitions": [
            {"name": name, "type": kind, "format": form, "description": "", "priority": 0}
            for name, kind, form in (*columns, ("Age", "string", ""))
        ],
        "rows": [
            {
                "cells": [meta["name"], spec.get("replicas", 0), status["replicas"], born(scale)],
                "object": {
                    "kind": "PartialObjectMetadata",
                    "apiVersion": api_version,
                    "metadata": meta,
                },
            }
        ],
    }


def check_kind(scale: Mapping[str, Any]) -> None:
    """400 for what is sent as the Scale of a custom resource, and says to be something else."""
    if scale.get("kind") != "Scale":
        text = 'no kind is registered for the type v1.Scale in scheme "pkg/runtime/scheme.go:111"'
        raise errors.bad_request(text)


def check(kind: Kind, name: str, scale: Mapping[str, Any]) -> None:
    """400 for what is no Scale of this object, 422 for one that no workload can have."""
    given = (scale.get("metadata") or {}).get("name")
    if given and given != name:
        raise errors.bad_request(
            f"the name of the object ({given}) does not match the name on the URL ({name})"
        )
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    if isinstance(replicas, int) and replicas >= 0:
        return
    if kind.crd:
        cause = {
            "reason": "FieldValueInvalid",
            "message": f"Invalid value: {replicas}: should be a non-negative integer",
            "field": kind.scale.get("specReplicasPath", ""),
        }
        raise errors.invalid(group=kind.group, kind=kind.kind, name=name, causes=[cause])
    cause = {
        "reason": "FieldValueInvalid",
        "message": f"Invalid value: {replicas}: must be greater than or equal to 0",
        "field": "spec.replicas",
    }
    raise errors.invalid(group="autoscaling", kind="Scale", name=name, causes=[cause])


def with_scale(kind: Kind, obj: JsonObject, scale: Mapping[str, Any]) -> JsonObject:
    """The object with the replicas of ``scale``, and its resourceVersion if it names one."""
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    path = kind.scale.get("specReplicasPath", ".spec.replicas").strip(".").split(".")
    result = _set(obj, path, replicas)
    meta = dict(obj["metadata"])
    version = (scale.get("metadata") or {}).get("resourceVersion")
    if version:
        meta["resourceVersion"] = version
    uid = (scale.get("metadata") or {}).get("uid")
    if uid:
        meta["uid"] = uid
    return {**result, "metadata": meta}


def _set(obj: Mapping[str, Any], path: list[str], value: int) -> JsonObject:
    head, *rest = path
    inner = obj.get(head)
    changed = _set(inner if isinstance(inner, dict) else {}, rest, value) if rest else value
    return {**obj, head: changed}


def _number(path: str, obj: JsonObject) -> int:
    values = find(path, obj)
    return int(values[0]) if values and isinstance(values[0], int) else 0


def _selector(kind: Kind, obj: JsonObject) -> str:
    if kind.crd:
        path = kind.scale.get("labelSelectorPath", "")
        values = find(path, obj) if path else []
        return str(values[0]) if values else ""
    selector = obj["spec"].get("selector") or {}
    if kind.kind == "ReplicationController":
        selector = {"matchLabels": selector}
    text = selector_text(selector)
    return "" if text == "<none>" else text
