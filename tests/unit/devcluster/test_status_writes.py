"""The short way of writing a status stores what the long way stores."""

from __future__ import annotations

from typing import Any

import pytest

from devcluster import clock
from devcluster.engine import Engine
from devcluster.errors import ApiFailure
from devcluster.kinds import Target
from devcluster.workloads import Health, status_of
from devcluster.writes import WriteOptions

_NOW = "2026-01-01T00:00:00Z"
_POD = {"containers": [{"name": "c", "image": "i:1", "resources": {"limits": {"cpu": "1"}}}]}
_TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": _POD}
_SELECTED = {"selector": {"matchLabels": {"a": "b"}}, "template": _TEMPLATE}

_SPECS: dict[str, tuple[str, dict[str, Any]]] = {
    "Deployment": ("apps", {**_SELECTED, "replicas": 2}),
    "StatefulSet": ("apps", {**_SELECTED, "serviceName": "s"}),
    "DaemonSet": ("apps", _SELECTED),
    "ReplicaSet": ("apps", _SELECTED),
    "ReplicationController": ("", {"selector": {"a": "b"}, "template": _TEMPLATE}),
    "Job": ("batch", {"template": {"spec": {**_POD, "restartPolicy": "Never"}}}),
    "Pod": ("", _POD),
    "PodDisruptionBudget": ("policy", {"maxUnavailable": 1, "selector": {}}),
}


@pytest.fixture(autouse=True)
def one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries of ``managedFields`` are ordered by their times: let there be one."""
    monkeypatch.setattr(clock, "stamp", lambda: _NOW)


def _with_object(kind: str) -> tuple[Engine, dict[str, Any]]:
    engine = Engine()
    engine.create(engine.kind("", "Namespace"), {"metadata": {"name": "n"}}, manager="t")
    account = {"metadata": {"name": "default", "namespace": "n"}}
    engine.create(engine.kind("", "ServiceAccount"), account, manager="t")
    group, spec = _SPECS[kind]
    made = {"metadata": {"name": "x", "namespace": "n"}, "spec": spec}
    engine.create(engine.kind(group, kind), made, manager="t")
    return engine, _read(engine, kind)


def _read(engine: Engine, kind: str) -> dict[str, Any]:
    found = engine.read(engine.kind(_SPECS[kind][0], kind), "x", namespace="n")
    assert found is not None
    return found


def _comparable(obj: dict[str, Any]) -> dict[str, Any]:
    meta = {k: v for k, v in obj["metadata"].items() if k not in {"uid", "creationTimestamp"}}
    entries = [{**entry, "time": ""} for entry in meta["managedFields"]]
    shown: dict[str, Any] = {**obj, "metadata": {**meta, "managedFields": entries}}
    if obj["kind"] == "Job":  # selected by its uid
        shown |= {"spec": sorted(obj["spec"]), "metadata": {**shown["metadata"], "labels": {}}}
    return shown


@pytest.mark.parametrize("health", [Health(), Health(ready=False)], ids=["ready", "waiting"])
@pytest.mark.parametrize("kind", sorted(_SPECS))
def test_status_is_stored_as_by_an_update_of_the_subresource(kind: str, health: Health) -> None:
    engine, obj = _with_object(kind)
    status = status_of(kind, obj, health, now=_NOW)
    engine.write_status(engine.kind(_SPECS[kind][0], kind), obj, status, manager="m")

    other, same = _with_object(kind)
    same["status"] = status_of(kind, same, health, now=_NOW)
    other.update(other.kind(_SPECS[kind][0], kind), same, manager="m", subresource="status")

    assert _comparable(_read(engine, kind)) == _comparable(_read(other, kind))


def test_status_write_that_changes_nothing_keeps_the_version() -> None:
    engine, obj = _with_object("Deployment")
    kind = engine.kind("apps", "Deployment")
    status = status_of("Deployment", obj, Health(), now=_NOW)
    engine.write_status(kind, obj, status, manager="m")
    before = _read(engine, "Deployment")
    engine.write_status(kind, before, before["status"], manager="m")

    assert _read(engine, "Deployment") == before


def test_spec_that_changes_is_validated_though_the_stored_one_was() -> None:
    engine, obj = _with_object("Deployment")
    kind = engine.kind("apps", "Deployment")
    obj["spec"]["selector"]["matchLabels"] = {"a": "other"}
    target = Target(kind, namespace="n", name="x")

    with pytest.raises(ApiFailure, match="field is immutable"):
        engine.writer.update(target, obj, WriteOptions(manager="m"))
    assert _read(engine, "Deployment")["spec"]["selector"]["matchLabels"] == {"a": "b"}
