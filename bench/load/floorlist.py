"""The floor: the writes and dry runs that the contracts demand for one object of each phase.

Derived as follows, for the workload of four applied objects (ServiceAccount, Service, Deployment,
Ingress) of which a change of parameters touches one:

- an object becomes a controller's by its finalizer before anything else is done for it;
- status is patched once for an outcome, once for progress before new work begins, and once for the
  inventory ahead of the first write that adds to it;
- every object that is not known to be in place is dry-run, as the tenant, before any of its stage
  is written; a single changed object is not, since its PATCH is the check;
- everything done to applied objects is done as the tenant, by impersonation;
- an outcome makes one event.

A HelmRelease is what Helm makes of it: a record of each revision, made as pending and marked as
deployed (and the one before as superseded), and every object of a revision applied. It has no
inventory to be written ahead, since the record is that. The HelmChart is the controller's to make.

Not in it, though controllers may have to: reads (what is live, health, the owner check before a
deletion), watches, discovery, further progress reports and events. So the floor is below what can
be reached, on purpose: it does not move when controllers get better at something.

``bench.load.floor`` sends these requests with real bodies to real objects of the same control
plane while no controller runs: the user's own at the burst's concurrency, those of each kind for as
many objects at once as its controller reconciles, those for one object's parts four at once in
apply order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["FLOOR", "HELM_FLOOR", "SOURCE", "List", "Step", "Who", "per_object", "table"]

SOURCE = "source"
"""Stands for the kind of source that a workload has."""

Who = str
List = Mapping[str, Mapping[str, tuple["Step", ...]]]
_USER, _CONTROLLER, _TENANT = "user", "controller", "tenant"


@dataclass(frozen=True, slots=True)
class Step:
    """One step for one object.

    Attributes:
        name: what it is for; ``floor`` knows how to send it.
        who: under whose identity.
        verb: as the audit counts it.
        resource: plural with subresource; ``sources`` for the source's kind, ``objects`` for the
            applied ones, ``records`` for Helm's Secrets.
        requests: how many the step sends.

    """

    name: str
    who: Who
    verb: str
    resource: str
    requests: int = 1


_SOURCE, _OWNER = "sources", "kustomizations"

_SEND_SOURCE = Step("send", _USER, "apply", _SOURCE)
_SEND_OWNER = Step("send", _USER, "apply", _OWNER)
_EVENT = Step("event", _CONTROLLER, "create", "events")


def _finalizer(resource: str) -> Step:
    return Step("finalizer", _CONTROLLER, "patch", resource)


def _status(name: str, resource: str) -> Step:
    return Step(name, _CONTROLLER, "patch", f"{resource}/status")


def _made(send: Step, *steps: Step) -> tuple[Step, ...]:
    """An object is new, and becomes what it is to be by ``steps``."""
    resource = send.resource
    return (
        send,
        _finalizer(resource),
        _status("progress", resource),
        *steps,
        _status("outcome", resource),
        _EVENT,
    )


def _drift(resource: str) -> tuple[Step, ...]:
    """Somebody changes one object, and it is put right."""
    return (
        Step("by-hand", _USER, "patch", "objects"),
        Step("apply-changed", _TENANT, "apply", "objects"),
        _status("outcome", resource),
        _EVENT,
    )


def _removed(who: Who, resource: str, *steps: Step) -> tuple[Step, ...]:
    """An object is deleted, and let go of once ``steps`` are done."""
    return (
        Step("remove", who, "delete", resource),
        *steps,
        _EVENT,
        Step("release", _CONTROLLER, "patch", resource),
    )


FLOOR: List = {
    "install": {
        SOURCE: _made(_SEND_SOURCE),
        "Kustomization": _made(
            _SEND_OWNER,
            Step("dry-run", _TENANT, "dry-run", "objects", 4),
            _status("inventory", _OWNER),
            Step("apply", _TENANT, "apply", "objects", 4),
        ),
    },
    "upgrade": {
        "Kustomization": (
            _SEND_OWNER,
            _status("progress", _OWNER),
            Step("apply-changed", _TENANT, "apply", "objects"),
            _status("outcome", _OWNER),
            _EVENT,
        ),
    },
    "no-op": {},
    "drift": {
        "Kustomization": _drift(_OWNER),
    },
    "uninstall": {
        SOURCE: _removed(_USER, _SOURCE),
        "Kustomization": _removed(_USER, _OWNER, Step("prune", _TENANT, "delete", "objects", 4)),
    },
}
"""Steps of each phase by kind, in order; the first is always the user's own."""

_RELEASE = "helmreleases"
_RECORDED = (
    Step("record", _TENANT, "create", "records"),
    Step("apply", _TENANT, "apply", "objects", 4),
    Step("deployed", _TENANT, "patch", "records"),
)
HELM_FLOOR: List = {
    "install": {
        SOURCE: _made(Step("send", _CONTROLLER, "apply", _SOURCE)),
        "HelmRelease": _made(Step("send", _USER, "apply", _RELEASE), *_RECORDED),
    },
    "upgrade": {
        "HelmRelease": (
            Step("send", _USER, "apply", _RELEASE),
            _status("progress", _RELEASE),
            *_RECORDED,
            Step("superseded", _TENANT, "patch", "records"),
            _status("outcome", _RELEASE),
            _EVENT,
        ),
    },
    "no-op": {},
    "drift": {
        "HelmRelease": _drift(_RELEASE),
    },
    "uninstall": {
        SOURCE: _removed(_CONTROLLER, _SOURCE),
        "HelmRelease": _removed(
            _USER,
            _RELEASE,
            Step("uninstalling", _TENANT, "patch", "records"),
            Step("prune", _TENANT, "delete", "objects", 4),
            Step("purge", _TENANT, "delete", "records", 2),
        ),
    },
}
"""The same for releases; a HelmChart is made by the controller."""


def per_object(phase: str, floor: List = FLOOR) -> int:
    """Requests for one index of a phase: one source and one owner, the user's included."""
    return sum(step.requests for steps in floor[phase].values() for step in steps)


def table(floor: List = FLOOR) -> str:
    """The list as a Markdown table."""
    lines = ["| phase | for each | requests, in order | sum |", "|---|---|---|--:|"]
    for phase, by_kind in floor.items():
        if not by_kind:
            lines.append(f"| {phase} | | none | 0 |")
        for kind, steps in by_kind.items():
            shown = ", ".join(_shown(step) for step in steps)
            lines.append(
                f"| {phase} | {kind.lower()} | {shown} | {sum(one.requests for one in steps)} |"
            )
    return "\n".join(lines)


def _shown(step: Step) -> str:
    times = f"{step.requests} x " if step.requests > 1 else ""
    return f"{times}{step.verb} {step.resource} ({step.name}, {step.who})"
