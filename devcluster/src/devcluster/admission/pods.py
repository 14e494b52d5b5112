"""Pods as admission leaves them: account, priority, tolerations, first status."""

from __future__ import annotations

from typing import Any

from devcluster import errors
from devcluster.kinds import Target
from devcluster.store import Store
from devcluster.writes import WriteOptions

__all__ = ["PodAdmission"]

JsonObject = dict[str, Any]
_NOT_READY = "node.kubernetes.io/not-ready"
_UNREACHABLE = "node.kubernetes.io/unreachable"
_TOLERATED_SECONDS = 300


class PodAdmission:
    """Fills in what ServiceAccount, Priority and DefaultTolerationSeconds do for new pods.

    The account's token volume is left out: nothing here runs a container that could read it.
    """

    def __init__(self, store: Store) -> None:
        self._accounts = store.table(("", "serviceaccounts"))
        self._classes = store.table(("scheduling.k8s.io", "priorityclasses"))

    def __call__(
        self, target: Target, new: JsonObject, old: JsonObject | None, options: WriteOptions
    ) -> None:
        """Raises 403 when the account or the priority class is not there."""
        del options
        if target.kind.table != ("", "pods") or old is not None:
            return
        spec = new.get("spec")
        if not isinstance(spec, dict):
            return
        self._account(target, spec)
        self._priority(target, spec)
        _tolerate(spec)
        new["status"] = {"phase": "Pending", "qosClass": _quality(spec)}

    def _account(self, target: Target, spec: JsonObject) -> None:
        name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
        if f"{target.namespace}/{name}" not in self._accounts.by_key:
            raise _refused(
                target,
                f"error looking up service account {target.namespace}/{name}: serviceaccount"
                f' "{name}" not found',
            )
        spec["serviceAccountName"] = spec["serviceAccount"] = name

    def _priority(self, target: Target, spec: JsonObject) -> None:
        name = spec.get("priorityClassName")
        value, policy = 0, "PreemptLowerPriority"
        if name:
            row = self._classes.by_key.get(name)
            if row is None:
                raise _refused(target, f"no PriorityClass with name {name} was found")
            found = row.decode()
            value, policy = found.get("value", 0), found.get("preemptionPolicy", policy)
        spec["priority"] = value
        spec.setdefault("preemptionPolicy", policy)


def _refused(target: Target, why: str) -> errors.ApiFailure:
    return errors.forbidden(group="", plural="pods", name=target.name, why=why)


def _tolerate(spec: JsonObject) -> None:
    tolerations = list(spec.get("tolerations") or [])
    keys = {toleration.get("key") for toleration in tolerations}
    if None in keys:
        return  # one without a key tolerates everything
    tolerations += [
        {
            "key": key,
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": _TOLERATED_SECONDS,
        }
        for key in (_NOT_READY, _UNREACHABLE)
        if key not in keys
    ]
    spec["tolerations"] = tolerations


def _quality(spec: JsonObject) -> str:
    """The pod's QoS class."""
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    resources = [container.get("resources") or {} for container in containers]
    if not any(r.get("requests") or r.get("limits") for r in resources):
        return "BestEffort"
    for resource in resources:
        limits = resource.get("limits") or {}
        requests = {**limits, **(resource.get("requests") or {})}
        if not {"cpu", "memory"} <= set(limits) or requests != limits:
            return "Burstable"
    return "Guaranteed"
