"""Alerts and Providers of twenty tenants, the events that are posted, and who should be told.

The expectation is computed here from the plan of each Alert, not by the controller's own code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from fluvial.kube import kinds
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject

__all__ = [
    "DEAD",
    "SLOW",
    "TENANTS",
    "Plan",
    "alerts",
    "event",
    "matches",
    "namespace",
    "providers",
]

TENANTS = 20
DEAD = "t0/main"
"""The Provider whose service takes connections and never answers."""
SLOW = "t1/main"
"""The one whose service takes two seconds for an answer."""

_KINDS = ("Kustomization", "HelmRelease", "GitRepository")
_GROUPS = {
    "Kustomization": "kustomize.toolkit.fluxcd.io/v1",
    "HelmRelease": "helm.toolkit.fluxcd.io/v2",
    "GitRepository": "source.toolkit.fluxcd.io/v1",
}
_OBJECTS = 30
_WORDS = (
    "Deployment/shop/frontend configured; Service/shop/frontend unchanged; ConfigMap/shop/settings"
    " configured; Ingress/shop/frontend unchanged"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """An Alert.

    Attributes:
        provider: name of the Provider, in its own namespace.
        errors: it is for errors alone.
        kinds: that its sources name.
        object: the only name that they name; ``""`` for all.
        words: what the message must contain; ``""`` for anything.
        suspended: it is for nothing.
        annotations: of ours.

    """

    provider: str
    errors: bool = False
    kinds: tuple[str, ...] = _KINDS
    object: str = ""
    words: str = ""
    suspended: bool = False
    annotations: dict[str, str] = field(default_factory=dict)


_PLANS = (
    Plan("main"),
    Plan("errors", errors=True),
    Plan("errors", kinds=("GitRepository",), object="app-1"),
    Plan("main", kinds=("Kustomization",), object="app-2", words="number 1"),
    Plan("errors", words="nobody says this"),
    Plan("main", suspended=True),
    Plan("main", kinds=("Bucket", "OCIRepository", "HelmChart")),
    Plan("errors", kinds=("Kustomization",), object="none"),
    Plan(
        "digest",
        errors=True,
        annotations={"fluvial.dev/group-window": "20s", "fluvial.dev/recovery": "tell"},
    ),
    Plan("digest", errors=True, annotations={"fluvial.dev/failures": "once"}),
)


def namespace(tenant: int) -> str:
    """Its name."""
    return f"t{tenant}"


def providers(urls: dict[str, str]) -> Iterator[JsonObject]:
    """All Providers.

    Args:
        urls: of the services: ``live``, and under the names of ``DEAD`` and ``SLOW``.

    """
    for tenant in range(TENANTS):
        for name in ("main", "errors", "digest"):
            full = f"{namespace(tenant)}/{name}"
            address = f"{urls.get(full, urls['live'])}/{full}"
            spec: JsonObject = {"type": "generic", "address": address, "timeout": "10s"}
            if name == "main":
                spec["secretRef"] = {"name": "token"}
            yield _object(kinds.PROVIDER, tenant, name, spec)


def alerts() -> Iterator[JsonObject]:
    """All Alerts, ten for each tenant."""
    for tenant in range(TENANTS):
        for number, plan in enumerate(_PLANS):
            sources = [{"kind": kind, "name": plan.object or "*"} for kind in plan.kinds]
            spec = {
                "providerRef": {"name": plan.provider},
                "eventSeverity": "error" if plan.errors else "info",
                "eventSources": sources,
                "suspend": plan.suspended,
                "inclusionList": [plan.words] if plan.words else [],
                "exclusionList": ["^Health check passed"],
                "eventMetadata": {"cluster": "bench"},
            }
            obj = _object(kinds.ALERT, tenant, f"alert-{number}", spec)
            obj["metadata"]["annotations"] = plan.annotations
            yield obj


def event(number: int, run: str) -> JsonObject:
    """The event of that number: one in ten is an error; each says something else."""
    kind = _KINDS[number % len(_KINDS)]
    is_error = number % 10 == 9
    obj = {
        "apiVersion": _GROUPS[kind],
        "kind": kind,
        "namespace": namespace(number % TENANTS),
        "name": f"app-{number // TENANTS % _OBJECTS}",
        "uid": f"{kind}-{number % TENANTS}-{number // TENANTS % _OBJECTS}",
    }
    group = _GROUPS[kind].partition("/")[0]
    return {
        "involvedObject": obj,
        "severity": "error" if is_error else "info",
        "timestamp": "2026-11-23T10:00:00Z",
        "message": f"number {number} of {run}: {_WORDS}",
        "reason": "BuildFailed" if is_error else "Progressing",
        "metadata": {f"{group}/revision": f"main@sha1:{number:040x}"},
        "reportingController": f"{kind.lower()}-controller",
        "reportingInstance": "bench",
    }


def matches(posted: JsonObject) -> list[str]:
    """The Providers that an event is told to, once for each Alert that is for it."""
    obj = posted["involvedObject"]
    return [
        f"{obj['namespace']}/{plan.provider}"
        for plan in _PLANS
        if not plan.suspended
        and obj["kind"] in plan.kinds
        and plan.object in {"", obj["name"]}
        and (not plan.errors or posted["severity"] == "error")
        and plan.words in posted["message"]
    ]


def _object(resource: Resource, tenant: int, name: str, spec: JsonObject) -> JsonObject:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name, "namespace": namespace(tenant)},
        "spec": spec,
    }
