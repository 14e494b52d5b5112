"""Readiness as Helm 3 saw it: ``spec.waitStrategy.name: legacy``.

Where it differs from the usual rules: a Deployment may lack as many pods as its rollout may do
without, a load balancer must have an address, and kinds that are not named here are ready as soon
as they are there. Users' expressions do not count.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fluvial.apply.health_kinds import Health, HealthStatus
from fluvial.apply.health_reader import PODS, pod_selector
from fluvial.apply.live import uid_of
from fluvial.apply.model import Target
from fluvial.errors import FluvialError
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectRef, key_of

__all__ = ["LegacyReadiness"]

_REPLICA_SETS: Final = Resource("apps", "v1", "replicasets", "ReplicaSet", namespaced=True)
_HASH: Final = "pod-template-hash"
_READY: Final = Health(HealthStatus.CURRENT, "it is ready")


class LegacyReadiness:
    """Reads the health of every kind; goes into a ``Target``.

    Args:
        target: reads ReplicaSets and pods, as the tenant.

    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._rules: dict[tuple[str, str], Callable[[JsonObject], Awaitable[Health]]] = {
            ("apps", "Deployment"): self._deployment,
            ("apps", "ReplicaSet"): self._replica_set,
            ("", "ReplicationController"): self._replica_set,
        }

    def covers(self, ref: ObjectRef) -> bool:
        """Every kind."""
        del ref
        return True

    async def read(self, ref: ObjectRef, live: JsonObject) -> Health:
        """Whether an object is ready; unknown, where something about it cannot be read."""
        kind = (ref.group, ref.kind)
        simple = _SIMPLE.get(kind)
        if simple is not None:
            return simple(live)
        rule = self._rules.get(kind)
        if rule is None:
            return _READY
        try:
            return await rule(live)
        except FluvialError as error:
            return Health(HealthStatus.UNKNOWN, str(error))

    async def _deployment(self, live: JsonObject) -> Health:
        spec = _part(live, "spec")
        if spec.get("paused") is True:
            return Health(HealthStatus.CURRENT, "it is paused")
        newest = await self._newest(live)
        if newest is None:
            return _not_yet("there is no ReplicaSet of its template")
        behind = _not_observed(newest) or _not_observed(live)
        if behind is not None:
            return behind
        wanted = _number(spec, "replicas", 1) - _may_lack(spec)
        return _enough(_number(_part(newest, "status"), "readyReplicas"), wanted, "ready")

    async def _newest(self, deployment: JsonObject) -> JsonObject | None:
        """The ReplicaSet that has the Deployment's template, of several the oldest."""
        page = await self._target.client.list_all(
            _REPLICA_SETS,
            namespace=key_of(deployment).namespace,
            label_selector=pod_selector(deployment),
        )
        template = _without_hash(_part(deployment, "spec", "template"))
        found = [
            one
            for one in page.items
            if _controller_of(one) == uid_of(deployment)
            and _without_hash(_part(one, "spec", "template")) == template
        ]
        found.sort(key=lambda one: str(_part(one, "metadata").get("creationTimestamp")))
        return found[0] if found else None

    async def _replica_set(self, live: JsonObject) -> Health:
        if (behind := _not_observed(live)) is not None:
            return behind
        selector = pod_selector(live)
        if not selector:
            return _READY
        page = await self._target.client.list_all(
            PODS, namespace=key_of(live).namespace, label_selector=selector
        )
        ready = sum(_is_true(pod, "Ready") for pod in page.items)
        return _enough(ready, len(page.items), "ready")


def _not_yet(text: str) -> Health:
    return Health(HealthStatus.IN_PROGRESS, text)


def _enough(there: int, wanted: int, what: str) -> Health:
    return _not_yet(f"{there} of {wanted} pods are {what}") if there < wanted else _READY


def _part(obj: JsonObject, *path: str) -> dict[str, Any]:
    value: Any = obj
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _number(part: dict[str, Any], name: str, default: int = 0) -> int:
    value = part.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _conditions(obj: JsonObject) -> list[JsonObject]:
    listed = _part(obj, "status").get("conditions")
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _is_true(obj: JsonObject, kind: str) -> bool:
    return any(one.get("type") == kind and one.get("status") == "True" for one in _conditions(obj))


def _not_observed(obj: JsonObject) -> Health | None:
    generation = _number(_part(obj, "metadata"), "generation")
    observed = _number(_part(obj, "status"), "observedGeneration")
    if generation == observed:
        return None
    return _not_yet(f"generation is {generation}, the controller has seen {observed}")


def _controller_of(obj: JsonObject) -> str:
    for owner in _part(obj, "metadata").get("ownerReferences") or ():
        if owner.get("controller") is True:
            return str(owner.get("uid"))
    return ""


def _without_hash(template: JsonObject) -> JsonObject:
    metadata = _part(template, "metadata")
    labels = {key: text for key, text in _part(metadata, "labels").items() if key != _HASH}
    return {**template, "metadata": {**metadata, "labels": labels}}


def _scaled(value: Any, total: int, *, up: bool) -> int | None:
    """A number, or that part of ``total`` that a text in percent means; ``None`` for nonsense."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    digits = str(value).removesuffix("%")
    if not str(value).endswith("%") or not (digits.isascii() and digits.isdigit()):
        return None
    part = int(digits[:9]) * total
    return -(-part // 100) if up else part // 100


def _may_lack(spec: dict[str, Any]) -> int:
    """How many pods a rollout may do without (``maxUnavailable``); one where else none may go."""
    replicas = _number(spec, "replicas", 1)
    strategy = _part(spec, "strategy")
    if strategy.get("type", "RollingUpdate") != "RollingUpdate" or replicas == 0:
        return 0
    rolling = _part(strategy, "rollingUpdate")
    surge = _scaled(rolling.get("maxSurge", "25%"), replicas, up=True)
    missing = _scaled(rolling.get("maxUnavailable", "25%"), replicas, up=False)
    if surge is None or missing is None:
        return 0
    return min(missing if surge or missing else 1, replicas)


def _pod(live: JsonObject) -> Health:
    return _READY if _is_true(live, "Ready") else _not_yet("the pod is not ready")


def _job(live: JsonObject) -> Health:
    spec, status = _part(live, "spec"), _part(live, "status")
    if _number(status, "failed") > _number(spec, "backoffLimit", 6):
        return Health(HealthStatus.FAILED, "the Job has failed")
    return _enough(_number(status, "succeeded"), _number(spec, "completions"), "done")


def _claim(live: JsonObject) -> Health:
    phase = _part(live, "status").get("phase")
    return _READY if phase == "Bound" else _not_yet(f"phase is {phase}")


def _service(live: JsonObject) -> Health:
    spec = _part(live, "spec")
    if spec.get("type") == "ExternalName":
        return _READY
    if not spec.get("clusterIP"):
        return _not_yet("no cluster address is assigned")
    if spec.get("type") != "LoadBalancer" or spec.get("externalIPs"):
        return _READY
    if _part(live, "status", "loadBalancer").get("ingress"):
        return _READY
    return _not_yet("the load balancer has no address")


def _daemon_set(live: JsonObject) -> Health:
    if (behind := _not_observed(live)) is not None:
        return behind
    strategy, status = _part(live, "spec", "updateStrategy"), _part(live, "status")
    if strategy.get("type") != "RollingUpdate":
        return _READY
    wanted = _number(status, "desiredNumberScheduled")
    if _number(status, "updatedNumberScheduled") != wanted:
        return _not_yet(f"{_number(status, 'updatedNumberScheduled')} of {wanted} pods are updated")
    limit = _part(strategy, "rollingUpdate").get("maxUnavailable", 1)
    missing = _scaled(limit, wanted, up=True)
    lack = wanted if missing is None else missing
    return _enough(_number(status, "numberReady"), wanted - lack, "ready")


def _stateful_set(live: JsonObject) -> Health:
    if (behind := _not_observed(live)) is not None:
        return behind
    spec, status = _part(live, "spec"), _part(live, "status")
    strategy = _part(spec, "updateStrategy")
    if strategy.get("type") != "RollingUpdate":
        return _READY
    replicas = _number(spec, "replicas", 1)
    partition = _number(_part(strategy, "rollingUpdate"), "partition")
    if (updated := _number(status, "updatedReplicas")) < replicas - partition:
        return _not_yet(f"{updated} of {replicas - partition} pods are updated")
    if (ready := _number(status, "readyReplicas")) != replicas:
        return _not_yet(f"{ready} of {replicas} pods are ready")
    if partition == 0 and status.get("currentRevision") != status.get("updateRevision"):
        return _not_yet("pods of the old revision are left")
    return _READY


def _definition(live: JsonObject) -> Health:
    for one in _conditions(live):
        if (one.get("type"), one.get("status")) in _ESTABLISHED:
            return _READY
    return _not_yet("the definition is not established")


# A name that is not accepted counts as ready: nothing becomes better by waiting.
_ESTABLISHED: Final = {("Established", "True"), ("NamesAccepted", "False")}
_SIMPLE: Final[dict[tuple[str, str], Callable[[JsonObject], Health]]] = {
    ("", "Pod"): _pod,
    ("batch", "Job"): _job,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Service"): _service,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
}
