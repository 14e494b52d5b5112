"""What the server writes into workloads: a Job's selector, a DaemonSet's template generation."""

from __future__ import annotations

from typing import Any

from devcluster.kinds import Target
from devcluster.writes import WriteOptions

__all__ = ["daemon_set_generation", "job_selector"]

JsonObject = dict[str, Any]
_GENERATION = "deprecated.daemonset.template.generation"
_UID = "batch.kubernetes.io/controller-uid"
_NAME = "batch.kubernetes.io/job-name"


def job_selector(
    target: Target, new: JsonObject, old: JsonObject | None, options: WriteOptions
) -> None:
    """A new Job selects its pods by its own uid unless it says that it does so itself."""
    del options
    if target.kind.table != ("batch", "jobs") or old is not None:
        return
    spec = new.get("spec")
    if not isinstance(spec, dict) or spec.get("manualSelector") or spec.get("selector"):
        return
    uid = new["metadata"]["uid"]
    template = spec.setdefault("template", {})
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    # A Job without labels of its own shares those of its template, and has them when it is read.
    own = new["metadata"].get("labels")
    shared = own is None or own is labels
    labels |= {_UID: uid, _NAME: target.name, "controller-uid": uid, "job-name": target.name}
    spec["selector"] = {"matchLabels": {_UID: uid}}
    if shared:
        new["metadata"]["labels"] = dict(labels)


def daemon_set_generation(
    target: Target, new: JsonObject, old: JsonObject | None, options: WriteOptions
) -> None:
    """A DaemonSet counts the changes of its template in an annotation."""
    del options
    if target.kind.table != ("apps", "daemonsets"):
        return
    count = 1
    if old is not None:
        before = (old["metadata"].get("annotations") or {}).get(_GENERATION, "1")
        changed = new["spec"].get("template") != old["spec"].get("template")
        count = int(before) + changed
    new["metadata"].setdefault("annotations", {})[_GENERATION] = str(count)
