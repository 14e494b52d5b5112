"""Deleting and creating again where a change is refused as immutable (``spec.force``).

The one step of an apply that destroys, so it asks first: every cause of the refusal must mean
"can never change", nobody else may own the object, and the server must have said of the new
object that nothing but its name stands in the way.
"""

from __future__ import annotations

from fluvial.apply.errors import Failure, FailureReason
from fluvial.apply.failures import failure_of
from fluvial.apply.immutable import is_immutable
from fluvial.apply.live import Wanted, uid_of, version_of
from fluvial.apply.model import Owner, PlannedChange, Target
from fluvial.apply.policy import forces, recreation_needs_consent
from fluvial.kube.errors import AlreadyExists, ApiError, Forbidden, NotFound
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey, ObjectRef, labels_of

__all__ = ["delete_and_wait", "other_owner", "refusal", "wants_recreation"]

_FIRST_DELAY = 0.1
_LONGEST_DELAY = 2.0


def wants_recreation(
    error: ApiError, *, owner: Owner, desired: JsonObject, live: JsonObject, force: bool
) -> bool:
    """Whether the refused change is to be made by recreating the object."""
    if not is_immutable(error):
        return False
    said = forces(owner, desired, live)
    return said or (force and not recreation_needs_consent(desired))


def other_owner(owner: Owner, live: JsonObject) -> str:
    """``namespace/name`` of another owner of the same kind that the live object names, or ``""``."""
    labels = labels_of(live)
    name = labels.get(f"{owner.group}/name")
    namespace = labels.get(f"{owner.group}/namespace")
    if not name or not namespace or owner.owns(live):
        return ""
    return f"{namespace}/{name}"


async def refusal(target: Target, wanted: Wanted, live: JsonObject) -> Failure | None:
    """Why the object must not be deleted for its successor; ``None`` if it may be.

    The dry run of a POST under the same name goes through validation and admission before it
    answers AlreadyExists, so that answer is the consent, and any other a refusal.
    """
    owner = other_owner(target.owner, live)
    if owner:
        text = (
            f"{wanted.ref} cannot be changed without recreating it, and it belongs to "
            f"{target.owner.kind} {owner}: remove it there or delete the object"
        )
        return Failure(wanted.ref, FailureReason.IMMUTABLE, text)
    try:
        await target.client.create(
            wanted.resource, wanted.obj, field_manager=target.field_manager, dry_run=True
        )
    except AlreadyExists:
        return None
    except ApiError as error:
        return failure_of(
            wanted.ref,
            error,
            masker=target.masker,
            during="dry-run of the recreation",
            objects=(wanted.obj, live),
        )
    return None


async def delete_and_wait(
    target: Target, planned: PlannedChange, resource: Resource, *, version: str, timeout: float
) -> Failure | None:
    """Delete the planned object (that uid, this version, no other) and wait until it is gone.

    Args:
        target: deletes as the tenant.
        planned: what is to be recreated.
        resource: where it is served.
        version: resourceVersion of the live object that was found to be the planned one.
        timeout: seconds until it must be gone.

    Raises:
        Conflict: it is not that version any more.
        ApiError: the deletion was refused.

    """
    try:
        await target.client.delete(
            resource,
            planned.key,
            uid=planned.expected_uid,
            resource_version=version,
            propagation="Background",
        )
    except NotFound:
        return None
    deadline = target.clock.monotonic() + timeout
    delay = _FIRST_DELAY
    while True:
        left = await _left(target, resource, planned.key, planned.expected_uid)
        if left is None:
            return None
        if target.clock.monotonic() + delay > deadline:
            return _stuck(planned.change.ref, left, timeout)
        await target.clock.sleep(delay)
        delay = min(delay * 2, _LONGEST_DELAY)


async def _left(target: Target, resource: Resource, key: ObjectKey, uid: str) -> JsonObject | None:
    try:
        live = await target.client.get(resource, key)
    except NotFound:
        return None
    except Forbidden:
        return {}
    return live if uid_of(live) == uid and version_of(live) else None


def _stuck(ref: ObjectRef, live: JsonObject, timeout: float) -> Failure:
    finalizers = (live.get("metadata") or {}).get("finalizers") or []
    why = f"; its finalizers are {', '.join(map(str, finalizers))}" if finalizers else ""
    text = f"{ref} was deleted to be recreated and is still there after {timeout:g}s{why}"
    return Failure(ref, FailureReason.TIMEOUT, text)
