"""Cells of pods and of what makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from devcluster import clock
from devcluster.show.age import age, human
from devcluster.show.core_cells import born, labels_text, none, selector_text

__all__ = ["CELLS"]

JsonObject = dict[str, Any]
Cells = list[Any]


def _name(obj: JsonObject) -> str:
    name: str = obj["metadata"]["name"]
    return name


def _containers(template: Mapping[str, Any] | None) -> list[str]:
    containers = ((template or {}).get("spec") or {}).get("containers") or ()
    return [
        none(",".join(c.get("name", "") for c in containers), empty=""),
        none(",".join(c.get("image", "") for c in containers), empty=""),
    ]


def _desired(obj: JsonObject) -> int:
    wanted = obj["spec"].get("replicas")
    return 0 if wanted is None else int(wanted)


def _pod(obj: JsonObject) -> Cells:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    states = status.get("containerStatuses") or ()
    ready = sum(1 for state in states if state.get("ready"))
    shown = status.get("reason") or status.get("phase", "")
    if obj["metadata"].get("deletionTimestamp"):
        shown = "Terminating"
    gates = spec.get("readinessGates") or ()
    return [
        _name(obj),
        f"{ready}/{len(spec.get('containers') or ())}",
        shown,
        f"{sum(state.get('restartCount', 0) for state in states)}",
        born(obj),
        none(status.get("podIP")),
        none(spec.get("nodeName")),
        none(status.get("nominatedNodeName")),
        none(f"0/{len(gates)}" if gates else ""),
    ]


def _deployment(obj: JsonObject) -> Cells:
    status = obj.get("status") or {}
    return [
        _name(obj),
        f"{status.get('readyReplicas', 0)}/{_desired(obj)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        born(obj),
        *_containers(obj["spec"].get("template")),
        selector_text(obj["spec"].get("selector")),
    ]


def _replica_set(obj: JsonObject) -> Cells:
    status = obj.get("status") or {}
    return [
        _name(obj),
        _desired(obj),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        born(obj),
        *_containers(obj["spec"].get("template")),
        selector_text(obj["spec"].get("selector")),
    ]


def _replication_controller(obj: JsonObject) -> Cells:
    cells = _replica_set(obj)
    cells[-1] = labels_text(obj["spec"].get("selector"))
    return cells


def _stateful_set(obj: JsonObject) -> Cells:
    status = obj.get("status") or {}
    return [
        _name(obj),
        f"{status.get('readyReplicas', 0)}/{_desired(obj)}",
        born(obj),
        *_containers(obj["spec"].get("template")),
    ]


def _daemon_set(obj: JsonObject) -> Cells:
    spec, status = obj["spec"], obj.get("status") or {}
    template = spec.get("template") or {}
    return [
        _name(obj),
        status.get("desiredNumberScheduled", 0),
        status.get("currentNumberScheduled", 0),
        status.get("numberReady", 0),
        status.get("updatedNumberScheduled", 0),
        status.get("numberAvailable", 0),
        labels_text((template.get("spec") or {}).get("nodeSelector")),
        born(obj),
        *_containers(template),
        selector_text(spec.get("selector")),
    ]


def _job(obj: JsonObject) -> Cells:
    spec, status = obj["spec"], obj.get("status") or {}
    done = status.get("succeeded", 0)
    completions = spec.get("completions")
    parallel = spec.get("parallelism") or 0
    wanted = f"{done}/{completions}"
    if completions is None:
        wanted = f"{done}/1 of {parallel}" if parallel > 1 else f"{done}/1"
    return [
        _name(obj),
        _job_state(obj),
        wanted,
        _job_duration(status),
        born(obj),
        *_containers(spec.get("template")),
        selector_text(spec.get("selector")),
    ]


def _job_state(obj: JsonObject) -> str:
    true = {
        condition["type"]
        for condition in (obj.get("status") or {}).get("conditions") or ()
        if condition["status"] == "True"
    }
    for kind, shown in (("Complete", "Complete"), ("Failed", "Failed")):
        if kind in true:
            return shown
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for kind, shown in (
        ("Suspended", "Suspended"),
        ("FailureTarget", "FailureTarget"),
        ("SuccessCriteriaMet", "SuccessCriteriaMet"),
    ):
        if kind in true:
            return shown
    return "Running"


def _job_duration(status: Mapping[str, Any]) -> str:
    start, end = status.get("startTime"), status.get("completionTime")
    if not start:
        return ""
    if not end:
        return age(start)
    return human((clock.parse_time(end) - clock.parse_time(start)).total_seconds())


def _cron_job(obj: JsonObject) -> Cells:
    spec, status = obj["spec"], obj.get("status") or {}
    last = status.get("lastScheduleTime")
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    return [
        _name(obj),
        spec.get("schedule", ""),
        none(spec.get("timeZone")),
        "True" if spec.get("suspend") else "False",
        len(status.get("active") or ()),
        age(last) if last else "<none>",
        born(obj),
        *_containers(job.get("template")),
        selector_text(job.get("selector")),
    ]


def _revision(obj: JsonObject) -> Cells:
    owners = obj["metadata"].get("ownerReferences") or ()
    controller = next((owner for owner in owners if owner.get("controller")), None)
    shown = "<none>"
    if controller:
        group, _, _ = controller["apiVersion"].rpartition("/")
        kind = controller["kind"].lower()
        shown = f"{kind}.{group}/{controller['name']}" if group else f"{kind}/{controller['name']}"
    return [_name(obj), shown, obj.get("revision", 0), born(obj)]


CELLS: dict[tuple[str, str], Callable[[JsonObject], Cells]] = {
    ("", "pods"): _pod,
    ("", "replicationcontrollers"): _replication_controller,
    ("apps", "deployments"): _deployment,
    ("apps", "replicasets"): _replica_set,
    ("apps", "statefulsets"): _stateful_set,
    ("apps", "daemonsets"): _daemon_set,
    ("apps", "controllerrevisions"): _revision,
    ("batch", "jobs"): _job,
    ("batch", "cronjobs"): _cron_job,
}
