"""What a kind's own strategy writes into a new object, after ownership has been recorded."""

from __future__ import annotations

from collections.abc import Callable

from devcluster.fields.schema import JsonObject

__all__ = ["prepare_create"]


def prepare_create(obj: JsonObject, *, group: str, kind: str) -> None:
    """Complete a new built-in object in place; it has its uid already.

    A job gets its selector and labels, a pod its phase and class, claims and volumes the finalizer
    that protects them.
    """
    prepare = _KINDS.get((group, kind))
    if prepare is not None:
        prepare(obj)


def _job(obj: JsonObject) -> None:
    spec = obj["spec"]
    if spec.get("manualSelector"):
        return
    uid, name = obj["metadata"].get("uid", ""), obj["metadata"].get("name", "")
    ours = {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    }
    meta = spec["template"].setdefault("metadata", {})
    meta["labels"] = {**(meta.get("labels") or {}), **ours}
    selector = spec.get("selector") or {}
    chosen = {**(selector.get("matchLabels") or {}), "batch.kubernetes.io/controller-uid": uid}
    spec["selector"] = {**selector, "matchLabels": chosen}


def _pod(obj: JsonObject) -> None:
    spec, status = obj["spec"], obj.setdefault("status", {})
    status.setdefault("phase", "Pending")
    status["qosClass"] = _quality(spec)


def _quality(spec: JsonObject) -> str:
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    wanted = [container.get("resources") or {} for container in containers]
    if not any(part.get("requests") or part.get("limits") for part in wanted):
        return "BestEffort"
    for part in wanted:
        limits, requests = part.get("limits") or {}, part.get("requests") or {}
        both = {"cpu", "memory"} <= limits.keys()
        if not both or any(requests.get(key, limits[key]) != limits[key] for key in limits):
            return "Burstable"
    return "Guaranteed"


def _finalizer(name: str) -> Callable[[JsonObject], None]:
    def prepare(obj: JsonObject) -> None:
        meta = obj["metadata"]
        if name not in (meta.get("finalizers") or ()):
            meta["finalizers"] = [*(meta.get("finalizers") or ()), name]

    return prepare


_KINDS: dict[tuple[str, str], Callable[[JsonObject], None]] = {
    ("batch", "Job"): _job,
    ("", "Pod"): _pod,
    ("", "PersistentVolumeClaim"): _finalizer("kubernetes.io/pvc-protection"),
    ("", "PersistentVolume"): _finalizer("kubernetes.io/pv-protection"),
}
