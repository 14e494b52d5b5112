"""Workloads as data: what a run creates, N times, and what must be there afterwards.

A workload is a YAML file in ``bench/workloads``; its comments say what the parts are. The objects
of an index, the content of the source and the applied field are templates (``placeholders``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from bench.load.placeholders import BadData, fill
from fluvial.kube import kinds
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey

__all__ = ["WORKLOADS", "Applied", "Workload", "load_workload", "resource_of", "value_at"]

WORKLOADS = Path(__file__).resolve().parents[1] / "workloads"

_ROLE_BINDING = Resource(
    "rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", namespaced=True
)
_RESOURCES: dict[tuple[str, str], Resource] = {
    (resource.api_version, resource.kind): resource
    for resource in (
        kinds.NAMESPACE,
        kinds.SERVICE_ACCOUNT,
        _ROLE_BINDING,
        kinds.GIT_REPOSITORY,
        kinds.OCI_REPOSITORY,
        kinds.KUSTOMIZATION,
        kinds.HELM_REPOSITORY,
        kinds.HELM_CHART,
        kinds.HELM_RELEASE,
    )
}
_FLUX = "toolkit.fluxcd.io"
Path_ = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Applied:
    """One field of one applied object of each owner.

    Attributes:
        resource: the object's kind.
        name: template of its name.
        field: path of the field that the workload decides.
        value: template of what it must be.
        drift_field: path of the field that a hand changes.
        drift_value: what it is by right.
        drift_changed: what the hand makes of it.

    """

    resource: Resource
    name: str
    field: Path_
    value: str
    drift_field: Path_
    drift_value: Any
    drift_changed: Any


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload with its parameters.

    Attributes:
        name: as on the command line.
        serve: how the sources get the content: ``git``, ``oci``, or ``chart`` for that of
            ``bench.load.podinfo`` from a registry.
        notes: what a reader of the figures has to know.
        parameters: values of the placeholders, without ``index``.
        measured: kinds whose readiness is measured.
        upgrade: parameters that the upgrade phase changes.
        setup: objects that are there once, in order.
        each: templates of the objects of one index.
        applied: what the controllers must have brought about.
        content: files of the source, by name.

    """

    name: str
    serve: str
    notes: tuple[str, ...]
    parameters: Mapping[str, Any]
    measured: tuple[str, ...]
    upgrade: Mapping[str, Any]
    setup: tuple[JsonObject, ...]
    each: tuple[JsonObject, ...]
    applied: Applied
    content: Mapping[str, str]

    @property
    def namespace(self) -> str:
        """Where everything is."""
        return str(self.parameters["namespace"])

    def with_parameters(self, **changes: Any) -> Workload:
        """The same with other values.

        Raises:
            BadData: a parameter that the workload does not have.

        """
        unknown = sorted(set(changes) - set(self.parameters))
        if unknown:
            known = ", ".join(sorted(self.parameters))
            raise BadData(f"workload {self.name} has no parameter {unknown[0]!r}, only {known}")
        return replace(self, parameters={**self.parameters, **changes})

    def upgraded(self) -> Workload:
        """What the upgrade phase makes of it."""
        return self.with_parameters(**self.upgrade)

    def set_up(self) -> tuple[JsonObject, ...]:
        """The objects that are there once."""
        return tuple(fill(obj, self.parameters) for obj in self.setup)

    def objects(self, index: int) -> tuple[JsonObject, ...]:
        """The objects of one index, from 1."""
        values = {**self.parameters, "index": index}
        return tuple(fill(obj, values) for obj in self.each)

    def changed(self, before: Workload, index: int) -> tuple[JsonObject, ...]:
        """Those objects of an index that differ from what ``before`` makes."""
        old = before.objects(index)
        return tuple(new for new in self.objects(index) if new not in old)

    def applied_key(self, index: int) -> ObjectKey:
        """Where the applied object of an index is."""
        return ObjectKey(self.namespace, str(fill(self.applied.name, {"index": index})))

    def applied_value(self, index: int) -> Any:
        """What its field must be."""
        return fill(self.applied.value, {**self.parameters, "index": index})

    def missing(self, served: Collection[str]) -> list[str]:
        """Kinds of Flux' API that the workload needs and ``served`` lacks."""
        made = {
            str(obj["kind"]) for obj in (*self.setup, *self.each) if _FLUX in str(obj["apiVersion"])
        }
        return sorted((made | set(self.measured)) - set(served))


def load_workload(name: str, folder: Path = WORKLOADS) -> Workload:
    """Read a workload.

    Raises:
        BadData: there is none of that name, or its file lacks a part.

    """
    file = folder / f"{name}.yaml"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
        raise BadData(f"there is no workload {name!r}, only {known}")
    data = yaml.safe_load(file.read_text(encoding="utf-8"))
    if base := data.pop("extends", ""):
        data = _extended(folder / f"{base}.yaml", data)
    try:
        return _workload(data)
    except KeyError as error:
        raise BadData(f"{file.name} lacks {error.args[0]!r}") from error


def _extended(base: Path, data: JsonObject) -> JsonObject:
    """Another workload with some parts replaced, parameters one by one."""
    original: JsonObject = yaml.safe_load(base.read_text(encoding="utf-8"))
    parameters = {**original["parameters"], **(data.get("parameters") or {})}
    return {**original, **data, "parameters": parameters}


def resource_of(obj: JsonObject) -> Resource:
    """The resource of an object that a workload names.

    Raises:
        BadData: the harness does not know the kind.

    """
    found = _RESOURCES.get((str(obj.get("apiVersion")), str(obj.get("kind"))))
    if found is None:
        raise BadData(f"the harness does not know {obj.get('apiVersion')} {obj.get('kind')}")
    return found


def value_at(obj: Any, path: Path_) -> Any:
    """The value at a path of keys and list positions; ``None`` where it ends early."""
    for step in path:
        try:
            obj = obj[step]
        except (KeyError, IndexError, TypeError):
            return None
    return obj


def _workload(data: JsonObject) -> Workload:
    return Workload(
        name=data["name"],
        serve=data["serve"],
        notes=tuple(data.get("notes") or ()),
        parameters=dict(data["parameters"]),
        measured=tuple(data["measured"]),
        upgrade=dict(data["upgrade"]),
        setup=tuple(data["setup"]),
        each=tuple(data["each"]),
        applied=_applied(data["applied"]),
        content=dict(data["content"]),
    )


def _applied(data: JsonObject) -> Applied:
    group, _, version = str(data["apiVersion"]).rpartition("/")
    drift = data["drift"]
    return Applied(
        resource=Resource(group, version, data["plural"], data["kind"], namespaced=True),
        name=data["name"],
        field=tuple(data["field"]),
        value=data["value"],
        drift_field=tuple(drift["field"]),
        drift_value=drift["value"],
        drift_changed=drift["changed"],
    )
