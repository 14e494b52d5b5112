"""Readiness as Helm 3 saw it, kind by kind."""

from __future__ import annotations

from typing import Any, cast

import pytest

from fluvial.apply.health import HealthStatus
from fluvial.apply.model import Owner, Target
from fluvial.helm.legacy import LegacyReadiness
from fluvial.kube.client import ListPage
from fluvial.kube.errors import Forbidden
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectRef, gvk_of

_READY, _NOT_YET = HealthStatus.CURRENT, HealthStatus.IN_PROGRESS
_FAILED, _UNKNOWN = HealthStatus.FAILED, HealthStatus.UNKNOWN
_ROLLING = {"type": "RollingUpdate"}


class _Server:
    """Lists what it is given."""

    def __init__(self, *items: JsonObject, error: Exception | None = None) -> None:
        self._items = items
        self._error = error
        self.selectors: list[str] = []

    async def list_all(
        self, resource: Resource, *, namespace: str, label_selector: str
    ) -> ListPage:
        assert namespace == "apps"
        if self._error is not None:
            raise self._error
        self.selectors.append(label_selector)
        listed = [one for one in self._items if one["kind"] == resource.kind]
        return ListPage(listed, "1")


async def _status(live: JsonObject, *listed: JsonObject, error: Exception | None = None) -> Any:
    owner = Owner("helm.toolkit.fluxcd.io", "HelmRelease", "apps", "app")
    client: Any = _Server(*listed, error=error)
    target = Target(client, cast("Any", None), owner)
    gvk = gvk_of(live)
    reader = LegacyReadiness(target)
    ref = ObjectRef(gvk.group, gvk.kind, "apps", "x")
    assert reader.covers(ref)
    return (await reader.read(ref, live)).status


def _obj(api_version: str, kind: str, spec: Any = None, status: Any = None) -> JsonObject:
    metadata = {"namespace": "apps", "name": "x", "uid": "u", "generation": 2}
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": metadata,
        "spec": spec or {},
        "status": {"observedGeneration": 2, **(status or {})},
    }


def _condition(kind: str, status: str) -> dict[str, Any]:
    return {"conditions": [{"type": "Other", "status": "True"}, {"type": kind, "status": status}]}


def _sts(status: dict[str, Any], **strategy: Any) -> JsonObject:
    spec = {"replicas": 3, "updateStrategy": strategy or _ROLLING}
    return _obj("apps/v1", "StatefulSet", spec, status)


def _daemon_set(status: dict[str, Any], **strategy: Any) -> JsonObject:
    return _obj("apps/v1", "DaemonSet", {"updateStrategy": strategy or _ROLLING}, status)


def _job(status: dict[str, Any], **spec: Any) -> JsonObject:
    return _obj("batch/v1", "Job", {"backoffLimit": 1, "completions": 2, **spec}, status)


_BALANCER = {"type": "LoadBalancer", "clusterIP": "10.0.0.1"}
_SAME = {"currentRevision": "a", "updateRevision": "a"}
_ON_ALL = {"desiredNumberScheduled": 4, "updatedNumberScheduled": 4}
_DEFINITION = ("apiextensions.k8s.io/v1", "CustomResourceDefinition", None)


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        (_obj("v1", "ConfigMap"), _READY),
        (_obj("example.com/v1", "Thing", None, _condition("Ready", "False")), _READY),
        (_obj("v1", "Pod", None, _condition("Ready", "True")), _READY),
        (_obj("v1", "Pod", None, _condition("Ready", "False")), _NOT_YET),
        (_obj("v1", "PersistentVolumeClaim", None, {"phase": "Bound"}), _READY),
        (_obj("v1", "PersistentVolumeClaim", None, {"phase": "Pending"}), _NOT_YET),
        (_obj("v1", "Service", {"type": "ExternalName"}), _READY),
        (_obj("v1", "Service", {"clusterIP": ""}), _NOT_YET),
        (_obj("v1", "Service", {"clusterIP": "None"}), _READY),
        (_obj("v1", "Service", _BALANCER), _NOT_YET),
        (_obj("v1", "Service", _BALANCER | {"externalIPs": ["192.0.2.1"]}), _READY),
        (_obj("v1", "Service", _BALANCER, {"loadBalancer": {"ingress": [{}]}}), _READY),
        (_obj(*_DEFINITION, _condition("Established", "True")), _READY),
        (_obj(*_DEFINITION, _condition("NamesAccepted", "False")), _READY),
        (_obj(*_DEFINITION, _condition("Established", "False")), _NOT_YET),
        (_job({"failed": 1, "succeeded": 1}), _NOT_YET),
        (_job({"failed": 2}), _FAILED),
        (_job({"failed": 1, "succeeded": 2}), _READY),
        (_job({}, completions=None), _READY),
        (_sts({"updatedReplicas": 3, "readyReplicas": 3, **_SAME}), _READY),
        (_sts({"updatedReplicas": 3, "readyReplicas": 3, "observedGeneration": 1}), _NOT_YET),
        (_sts({"updatedReplicas": 2, "readyReplicas": 3, **_SAME}), _NOT_YET),
        (_sts({"updatedReplicas": 3, "readyReplicas": 2, **_SAME}), _NOT_YET),
        (_sts({"updatedReplicas": 3, "readyReplicas": 3, "updateRevision": "b"}), _NOT_YET),
        (_sts({}, type="OnDelete"), _READY),
        (
            _sts(
                {"updatedReplicas": 1, "readyReplicas": 3, "updateRevision": "b"},
                type="RollingUpdate",
                rollingUpdate={"partition": 2},
            ),
            _READY,
        ),
        (_daemon_set({**_ON_ALL, "numberReady": 3}), _READY),
        (_daemon_set({**_ON_ALL, "numberReady": 2}), _NOT_YET),
        (_daemon_set({**_ON_ALL, "updatedNumberScheduled": 3, "numberReady": 4}), _NOT_YET),
        (_daemon_set({**_ON_ALL, "observedGeneration": 1, "numberReady": 4}), _NOT_YET),
        (_daemon_set({}, type="OnDelete"), _READY),
        (
            _daemon_set(
                {**_ON_ALL, "numberReady": 2}, **_ROLLING, rollingUpdate={"maxUnavailable": "30%"}
            ),
            _READY,
        ),
        (
            _daemon_set({**_ON_ALL}, **_ROLLING, rollingUpdate={"maxUnavailable": "nonsense"}),
            _READY,
        ),
    ],
)
async def test_what_an_object_says_of_itself(live: JsonObject, expected: HealthStatus) -> None:
    assert await _status(live) is expected


def _template(image: str, **labels: str) -> JsonObject:
    return {"metadata": {"labels": {"app": "x", **labels}}, "spec": {"image": image}}


def _deployment(replicas: int = 4, **fields: Any) -> JsonObject:
    strategy = {"maxSurge": "25%", "maxUnavailable": "25%"} | fields.pop("rolling", {})
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "x"}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": strategy},
        "template": _template("b"),
    }
    return _obj("apps/v1", "Deployment", spec | fields)


def _set(image: str, ready: int, *, owner: str = "u", since: str = "2026-01-01") -> JsonObject:
    obj = _obj("apps/v1", "ReplicaSet", None, {"readyReplicas": ready})
    obj["spec"]["template"] = _template(image, **{"pod-template-hash": "1"})
    obj["metadata"] |= {
        "creationTimestamp": since,
        "ownerReferences": [{"controller": True, "uid": owner}],
    }
    return obj


@pytest.mark.parametrize(
    ("deployment", "sets", "expected"),
    [
        (_deployment(), [_set("a", 4), _set("b", 3)], _READY),
        (_deployment(), [_set("a", 4), _set("b", 2)], _NOT_YET),
        (_deployment(), [_set("a", 4)], _NOT_YET),
        (_deployment(), [_set("b", 4, owner="another")], _NOT_YET),
        (_deployment(), [_set("b", 0), _set("b", 4, since="2025-01-01")], _READY),
        (_deployment(1), [_set("b", 0)], _NOT_YET),
        (_deployment(0), [_set("b", 0)], _READY),
        (_deployment(2, rolling={"maxSurge": 0, "maxUnavailable": 0}), [_set("b", 1)], _READY),
        (_deployment(2, rolling={"maxUnavailable": 9}), [_set("b", 0)], _READY),
        (_deployment(2, rolling={"maxUnavailable": "x"}), [_set("b", 1)], _NOT_YET),
        (_deployment(2, strategy={"type": "Recreate"}), [_set("b", 1)], _NOT_YET),
        (_deployment(paused=True), [], _READY),
    ],
)
async def test_a_deployment_is_as_ready_as_its_newest_set(
    deployment: JsonObject, sets: list[JsonObject], expected: HealthStatus
) -> None:
    assert await _status(deployment, *sets) is expected


async def test_a_set_that_its_controller_has_not_seen_does_not_count() -> None:
    late = _set("b", 4)
    late["status"]["observedGeneration"] = 1

    assert await _status(_deployment(), late) is _NOT_YET


@pytest.mark.parametrize("kind", ["ReplicaSet", "ReplicationController"])
async def test_of_sets_every_pod_counts(kind: str) -> None:
    plain = {"app": "x", "tier": "y"}
    selector = plain if kind == "ReplicationController" else {"matchLabels": plain}
    live = _obj("v1" if selector is plain else "apps/v1", kind, {"selector": selector})
    pods = [_obj("v1", "Pod", None, _condition("Ready", ready)) for ready in ("True", "False")]

    assert await _status(live, pods[0]) is _READY
    assert await _status(live, *pods) is _NOT_YET
    assert await _status(live) is _READY
    live["status"]["observedGeneration"] = 1
    assert await _status(live, pods[0]) is _NOT_YET


async def test_what_cannot_be_read_is_unknown() -> None:
    assert await _status(_deployment(), error=Forbidden("no")) is _UNKNOWN
