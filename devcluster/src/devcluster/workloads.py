"""A stand-in for the workload controllers and the kubelet, as far as health needs one.

It writes statuses and nothing else: a Deployment, StatefulSet, DaemonSet, ReplicaSet or
ReplicationController becomes available, a Job completes, a PersistentVolumeClaim is bound, a
PersistentVolume available, a Pod running and ready, a PodDisruptionBudget observed. **It is no controller**: it creates no
pods, no ReplicaSets and no volumes, schedules nothing, pulls no image and runs no code, honours no
rollout strategy, quota or probe, and whatever a spec says about those has no effect.

The annotation ``devcluster.fluvial.dev/health`` on the object steers it, also afterwards:

    never            stays not ready (a rollout that goes on for ever)
    fail             not ready, and says so (ProgressDeadlineExceeded; a Job fails)
    slow:<seconds>   not ready for that long after each change of the spec, then ready

``status_of`` is pure; the controller around it reads, compares and writes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from devcluster import clock
from devcluster.engine import Engine
from devcluster.kinds import Kind
from devcluster.naming import SUFFIX_LETTERS
from devcluster.store import Change, Table

__all__ = ["HEALTH", "Health", "Workloads", "status_of"]

JsonObject = dict[str, Any]
HEALTH = "devcluster.fluvial.dev/health"
_MANAGER = "kube-controller-manager"


@dataclass(frozen=True, slots=True)
class Health:
    """What the annotation asks for at one moment: ready, failed, or neither (in progress)."""

    ready: bool = True
    failed: bool = False


def status_of(kind: str, obj: JsonObject, health: Health, *, now: str) -> JsonObject:
    """The status that an object of a workload kind should have.

    Args:
        kind: one of the kinds in the module's docstring.
        obj: the object, defaulted; its present status keeps the times of what does not change.
        health: how it is doing.
        now: the time for conditions that change, RFC 3339.

    """
    status = _BUILDERS[kind](obj, health)
    old = obj.get("status") or {}
    if "conditions" in status:
        status["conditions"] = _timed(status["conditions"], old.get("conditions") or [], now)
    for name in ("startTime", "completionTime"):
        if name in status:
            status[name] = old.get(name) or now
    return status


def _timed(wanted: list[JsonObject], old: list[JsonObject], now: str) -> list[JsonObject]:
    """Conditions with their times, kept where nothing changed."""
    before = {condition["type"]: condition for condition in old}
    timed: list[JsonObject] = []
    for condition in wanted:
        full = dict(condition)
        same = before.get(condition["type"], {})
        stamps = full.pop("stamps")
        for name in stamps:
            changed = any(same.get(key) != value for key, value in full.items())
            moved = same.get("status") != full["status"] if name == stamps[-1] else changed
            full[name] = now if moved or name not in same else same[name]
        timed.append(full)
    return timed


def _condition(
    kind: str,
    ok: bool,  # noqa: FBT001 (the value of the condition, as it reads in each call)
    reason: str,
    message: str,
    *stamps: str,
) -> JsonObject:
    shown: JsonObject = {"type": kind, "status": "True" if ok else "False"}
    if reason:
        shown |= {"reason": reason, "message": message}
    return {**shown, "stamps": stamps or ("lastTransitionTime",)}


def _replicas(obj: JsonObject) -> int:
    wanted = obj["spec"].get("replicas")
    return 1 if wanted is None else int(wanted)


def _observed(obj: JsonObject) -> JsonObject:
    return {"observedGeneration": obj["metadata"].get("generation", 1)}


def _counts(count: int, names: tuple[str, ...]) -> JsonObject:
    return dict.fromkeys(names, count) if count else {}


def _deployment(obj: JsonObject, health: Health) -> JsonObject:
    count = _replicas(obj)
    status = _observed(obj) | _counts(count, ("replicas", "updatedReplicas"))
    ready = health.ready or not count
    if ready:
        status |= _counts(count, ("readyReplicas", "availableReplicas"))
    else:
        status["unavailableReplicas"] = count
    name = _revision(obj)
    stamps = ("lastUpdateTime", "lastTransitionTime")
    available = ("MinimumReplicasAvailable", "Deployment has minimum availability.")
    if not ready:
        available = (
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    progress = ("NewReplicaSetAvailable", f'ReplicaSet "{name}" has successfully progressed.')
    if health.failed:
        progress = ("ProgressDeadlineExceeded", f'ReplicaSet "{name}" has timed out progressing.')
    elif not ready:
        progress = ("ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.')
    status["conditions"] = [
        _condition("Available", ready, *available, *stamps),
        _condition("Progressing", not health.failed, *progress, *stamps),
    ]
    return status


def _revision(obj: JsonObject) -> str:
    """A name as a ReplicaSet or revision of this pod template would have."""
    digest = hashlib.sha256(orjson.dumps(obj["spec"].get("template"))).digest()
    letters = "".join(SUFFIX_LETTERS[byte % len(SUFFIX_LETTERS)] for byte in digest[:10])
    return f"{obj['metadata']['name']}-{letters}"


def _stateful_set(obj: JsonObject, health: Health) -> JsonObject:
    count = _replicas(obj)
    status: JsonObject = _observed(obj) | {
        "replicas": count,
        "availableReplicas": count if health.ready else 0,
        "collisionCount": 0,
        "currentRevision": _revision(obj),
        "updateRevision": _revision(obj),
    }
    status |= _counts(count, ("currentReplicas", "updatedReplicas"))
    return status | _counts(count if health.ready else 0, ("readyReplicas",))


def _daemon_set(obj: JsonObject, health: Health) -> JsonObject:
    status = _observed(obj) | {
        "currentNumberScheduled": 1,
        "desiredNumberScheduled": 1,
        "numberMisscheduled": 0,
        "numberReady": 1 if health.ready else 0,
        "updatedNumberScheduled": 1,
    }
    return status | ({"numberAvailable": 1} if health.ready else {"numberUnavailable": 1})


def _replica_set(obj: JsonObject, health: Health) -> JsonObject:
    count = _replicas(obj)
    status = _observed(obj) | {"replicas": count} | _counts(count, ("fullyLabeledReplicas",))
    return status | _counts(count if health.ready else 0, ("readyReplicas", "availableReplicas"))


def _job(obj: JsonObject, health: Health) -> JsonObject:
    spec = obj["spec"]
    counts: JsonObject = {"ready": 0, "terminating": 0, "uncountedTerminatedPods": {}}
    if spec.get("suspend"):
        message = "Job suspended"
        stamps = ("lastProbeTime", "lastTransitionTime")
        suspended = _condition("Suspended", True, "JobSuspended", message, *stamps)
        return {**counts, "conditions": [suspended]}
    counts["startTime"] = ""
    stamps = ("lastProbeTime", "lastTransitionTime")
    if health.failed:
        why = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
        kinds = ("FailureTarget", "Failed")
        counts["failed"] = 1
    elif health.ready:
        why = ("CompletionsReached", "Reached expected number of succeeded pods")
        kinds = ("SuccessCriteriaMet", "Complete")
        counts |= {"succeeded": spec.get("completions") or 1, "completionTime": ""}
    else:
        return {**counts, "active": 1, "ready": 1}
    return {**counts, "conditions": [_condition(kind, True, *why, *stamps) for kind in kinds]}


def _claim(obj: JsonObject, health: Health) -> JsonObject:
    if not health.ready:
        return {"phase": "Pending"}
    spec = obj["spec"]
    capacity = (spec.get("resources") or {}).get("requests") or {}
    return {"phase": "Bound", "accessModes": spec.get("accessModes") or [], "capacity": capacity}


def _volume(obj: JsonObject, health: Health) -> JsonObject:
    """A volume that is new is there to be claimed; what else becomes of it is not done here."""
    status: JsonObject = obj.get("status") or {}
    if not health.ready or status.get("phase", "Pending") != "Pending":
        return status
    return {**status, "phase": "Available"}


def _pod(obj: JsonObject, health: Health) -> JsonObject:
    if health.ready and obj["spec"].get("restartPolicy", "Always") != "Always":
        return _ended_pod(obj)
    names = ("PodScheduled", "Initialized", "PodReadyToStartContainers", "ContainersReady", "Ready")
    ready = {"ContainersReady": health.ready, "Ready": health.ready}
    return {
        "phase": "Failed" if health.failed else "Running",
        "qosClass": (obj.get("status") or {}).get("qosClass", "BestEffort"),
        "conditions": [_condition(name, ready.get(name, True), "", "") for name in names],
        "containerStatuses": [_container(one, health) for one in obj["spec"]["containers"]],
        "startTime": "",
    }


def _ended_pod(obj: JsonObject) -> JsonObject:
    """A pod that may end has ended: what it would run is not run."""
    names = {"PodScheduled": True, "Initialized": True, "ContainersReady": False, "Ready": False}
    done = Health(ready=False)
    return {
        "phase": "Succeeded",
        "qosClass": (obj.get("status") or {}).get("qosClass", "BestEffort"),
        "conditions": [_condition(name, ok, "", "") for name, ok in names.items()],
        "containerStatuses": [_container(one, done) for one in obj["spec"]["containers"]],
        "startTime": "",
    }


def _container(container: JsonObject, health: Health) -> JsonObject:
    return {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "ready": health.ready,
        "restartCount": 0,
    }


def _budget(obj: JsonObject, health: Health) -> JsonObject:
    del health
    zeros = dict.fromkeys(
        ("currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods"), 0
    )
    condition = _condition("DisruptionAllowed", False, "InsufficientPods", "")
    condition["observedGeneration"] = obj["metadata"].get("generation", 1)
    return {**_observed(obj), **zeros, "conditions": [condition]}


_BUILDERS: dict[str, Callable[[JsonObject, Health], JsonObject]] = {
    "Deployment": _deployment,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "ReplicaSet": _replica_set,
    "ReplicationController": _replica_set,
    "Job": _job,
    "PersistentVolume": _volume,
    "PersistentVolumeClaim": _claim,
    "Pod": _pod,
    "PodDisruptionBudget": _budget,
}
_FINISHED = frozenset({"Complete", "Failed"})


class Workloads:
    """The controller: a key is (kind, namespace, name)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        groups = {
            "Job": "batch",
            "PersistentVolume": "",
            "PersistentVolumeClaim": "",
            "Pod": "",
            "PodDisruptionBudget": "policy",
            "ReplicationController": "",
        }
        self._kinds: dict[str, Kind] = {
            name: engine.kind(groups.get(name, "apps"), name) for name in _BUILDERS
        }
        self._by_table = {kind.table: name for name, kind in self._kinds.items()}
        self._since: dict[tuple[str, int], float] = {}

    def keys(self, table: Table, change: Change) -> list[tuple[str, str, str]]:
        """The workload that changed."""
        name = self._by_table.get(table.name)
        if name is None or change.type == "DELETED":
            return []
        return [(name, change.row.namespace, change.row.name)]

    def handle(self, key: tuple[str, str, str]) -> float | None:
        """Write the status if it is not what it should be."""
        name, namespace, object_name = key
        kind = self._kinds[name]
        obj = self._engine.read(kind, object_name, namespace=namespace)
        if obj is None or obj["metadata"].get("deletionTimestamp") or _finished(name, obj):
            return None
        health, again = self._health(name, obj)
        status = status_of(name, obj, health, now=clock.stamp())
        if name == "PersistentVolumeClaim" and health.ready:
            obj = self._bind(kind, obj)
        if obj is not None and obj.get("status") != status:
            self._engine.write_status(kind, obj, status, manager=_MANAGER)
        return again

    def _health(self, name: str, obj: JsonObject) -> tuple[Health, float | None]:
        """What the annotation says now, and in how many seconds it will say something else."""
        meta = obj["metadata"]
        wanted = (meta.get("annotations") or {}).get(HEALTH, "")
        if wanted == "never":
            return Health(ready=False), None
        if wanted == "fail":
            return Health(ready=False, failed=True), None
        head, _, seconds = wanted.partition(":")
        if head != "slow" or not seconds.replace(".", "", 1).isdigit():
            return Health(), None
        at = (meta["uid"], meta.get("generation", 1))
        if at not in self._since and obj.get("status") == status_of(name, obj, Health(), now=""):
            return Health(), None  # it has become ready before this process began
        now = clock.loop_time()
        left = self._since.setdefault(at, now) + float(seconds) - now
        return (Health(ready=False), left) if left > 0 else (Health(), None)

    def _bind(self, kind: Kind, obj: JsonObject) -> JsonObject | None:
        if obj["spec"].get("volumeName"):
            return obj
        obj["spec"]["volumeName"] = f"pvc-{obj['metadata']['uid']}"
        notes = obj["metadata"].setdefault("annotations", {})
        notes["pv.kubernetes.io/bind-completed"] = "yes"
        outcome = self._engine.update(kind, obj, manager=_MANAGER)
        return None if outcome is None else outcome.obj


def _finished(name: str, obj: JsonObject) -> bool:
    """A Job that ended stays as it is."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return name == "Job" and any(condition["type"] in _FINISHED for condition in conditions)
