"""Reading the status of one object, as the tenant."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fluvial.apply.health import Health, HealthStatus, compute_status, with_pods
from fluvial.apply.live import version_of
from fluvial.apply.model import Target, Verified
from fluvial.apply.observe import confirm
from fluvial.errors import FluvialError
from fluvial.kube.discovery import NoMatch
from fluvial.kube.errors import ApiError, NotFound
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey, ObjectRef

__all__ = [
    "PODS",
    "Reading",
    "health_of",
    "is_covered",
    "is_ready_at_once",
    "pod_selector",
    "read_health",
    "read_pods",
]

PODS = Resource("", "v1", "pods", "Pod", namespaced=True)
_POD_LIMIT = 100
_POD_OWNERS = frozenset(
    {("apps", "StatefulSet"), ("apps", "ReplicaSet"), ("extensions", "ReplicaSet")}
)
_SETTLED_GROUPS = frozenset(
    {
        *("", "apps", "batch", "networking.k8s.io", "policy"),
        *("rbac.authorization.k8s.io", "scheduling.k8s.io", "storage.k8s.io"),
    }
)
"""Groups of which an object that is not ready says so from the moment it is written."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one look at an object found.

    Attributes:
        health: its status.
        resource: where it is served; ``None`` if its kind is not.
        version: its resourceVersion, ``""`` if it is not there.
        pods: label selector of its pods if they tell more than it does, else ``""``.

    """

    health: Health
    resource: Resource | None = None
    version: str = ""
    pods: str = ""


async def read_health(
    target: Target, ref: ObjectRef, *, absent_is_success: bool, known: Verified | None = None
) -> Reading:
    """GET one object, and its pods where they tell more; never raises for the API's errors.

    Args:
        target: reads as the tenant.
        ref: the object.
        absent_is_success: a Job that deletes itself after its end.
        known: what the owner has verified; learns that the object is still so.

    """
    try:
        resource = await target.mapper.resource_for_kind(ref.group, ref.kind)
    except NoMatch as error:
        return Reading(Health(HealthStatus.NOT_FOUND, str(error)))
    except FluvialError as error:
        return Reading(_unknown(target, error))
    if resource.namespaced and not ref.namespace:
        text = "the namespace is not specified"
        return Reading(Health(HealthStatus.UNKNOWN, text), resource)
    key = ObjectKey(ref.namespace if resource.namespaced else "", ref.name)
    try:
        live = await target.client.get(resource, key)
    except NotFound as error:
        return Reading(_absent(error, absent_is_success=absent_is_success), resource)
    except FluvialError as error:
        return Reading(_unknown(target, error), resource)
    if known is not None:
        confirm(known, ref, live)
    return await _judged(target, ref, live, resource)


async def _judged(target: Target, ref: ObjectRef, live: JsonObject, resource: Resource) -> Reading:
    """What the user's expressions say, or else the usual rules and the pods."""
    if is_covered(target, ref):
        return Reading(await health_of(target, ref, live), resource, version_of(live))
    health = compute_status(live, now=target.clock.now())
    pods = pod_selector(live) if (ref.group, ref.kind) in _POD_OWNERS else ""
    if pods:
        health = await read_pods(target, health, namespace=ref.namespace, selector=pods)
    health = replace(health, message=target.masker.text(health.message))
    return Reading(health, resource, version_of(live), pods)


def is_covered(target: Target, ref: ObjectRef) -> bool:
    """Whether something else than the usual rules says how an object is."""
    return target.health is not None and target.health.covers(ref)


def is_ready_at_once(target: Target, ref: ObjectRef, written: JsonObject) -> bool:
    """Whether the answer to a write already says that an object is ready.

    Only of Kubernetes' own kinds: what other controllers have to say of theirs comes later, and an
    object of which nobody has said anything yet would count as ready.

    Args:
        target: whose expressions count.
        ref: the object.
        written: as the API server answered.

    """
    if ref.group not in _SETTLED_GROUPS or is_covered(target, ref):
        return False
    return compute_status(written, now=target.clock.now()).status is HealthStatus.CURRENT


async def health_of(target: Target, ref: ObjectRef, live: JsonObject) -> Health:
    """Status of an object that was read, without its pods, and masked."""
    if target.health is None or not target.health.covers(ref):
        health = compute_status(live, now=target.clock.now())
        return replace(health, message=target.masker.text(health.message))
    health = await target.health.read(ref, live)
    # Of an expression that failed, the text may quote what it was evaluated over.
    return replace(health, message=target.masker.message(health.message, live))


async def read_pods(target: Target, own: Health, *, namespace: str, selector: str) -> Health:
    """Status in view of the pods, if the tenant may list them."""
    if own.status is not HealthStatus.IN_PROGRESS:
        return own
    try:
        page = await target.client.list_page(
            PODS, namespace=namespace, label_selector=selector, limit=_POD_LIMIT
        )
    except ApiError:
        return own
    return with_pods(own, page.items, now=target.clock.now())


def _absent(error: NotFound, *, absent_is_success: bool) -> Health:
    if absent_is_success and not error.is_resource:
        return Health(HealthStatus.CURRENT, "the Job has ended and was cleaned up")
    return Health(HealthStatus.NOT_FOUND, "the object is not there")


def _unknown(target: Target, error: FluvialError) -> Health:
    return Health(HealthStatus.UNKNOWN, target.masker.text(str(error)))


def pod_selector(live: JsonObject) -> str:
    """The label selector of a workload's pods, ``""`` where it has none."""
    selector = (live.get("spec") or {}).get("selector") or {}
    plain = live.get("kind") == "ReplicationController"
    labels = (selector if plain else selector.get("matchLabels")) or {}
    parts = [f"{key}={value}" for key, value in sorted(labels.items())]
    if not plain:
        parts += [_expression(rule) for rule in selector.get("matchExpressions") or []]
    return ",".join(part for part in parts if part)


def _expression(rule: JsonObject) -> str:
    key, values = str(rule.get("key") or ""), ",".join(map(str, rule.get("values") or []))
    match rule.get("operator"):
        case "In":
            return f"{key} in ({values})"
        case "NotIn":
            return f"{key} notin ({values})"
        case "Exists":
            return key
        case "DoesNotExist":
            return f"!{key}"
        case _:
            return ""
