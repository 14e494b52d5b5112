"""What becomes of the objects when their owner is deleted (``spec.deletionPolicy``)."""

from __future__ import annotations

from collections.abc import Iterable

from fluvial.apply.bounded import map_bounded
from fluvial.apply.live import uid_of
from fluvial.apply.model import Target
from fluvial.apply.prune import PruneOutcome, PruneResult
from fluvial.errors import FluvialError
from fluvial.kube.errors import NotFound
from fluvial.objects import ObjectKey, ObjectRef

__all__ = ["deletes_on_removal", "still_there", "wait_for_termination", "waits_for_termination"]

_FIRST_DELAY = 0.2
_LONGEST_DELAY = 5.0


def deletes_on_removal(policy: str, *, prune: bool) -> bool:
    """Whether the policy deletes the objects.

    Args:
        policy: ``MirrorPrune`` (the default, also for ``""``), ``Delete``, ``WaitForTermination``
            or ``Orphan``.
        prune: ``spec.prune``, which MirrorPrune follows.

    """
    if policy in {"Delete", "WaitForTermination"}:
        return True
    return prune and policy != "Orphan"


def waits_for_termination(policy: str) -> bool:
    """Whether the policy waits until the objects are gone."""
    return policy == "WaitForTermination"


async def wait_for_termination(
    target: Target, pruned: PruneResult, *, timeout: float
) -> tuple[ObjectRef, ...]:
    """Wait until the deleted objects are gone.

    Holds the caller; where a worker must not be held, call ``still_there`` and come back.

    Args:
        target: reads as the tenant.
        pruned: what was deleted.
        timeout: seconds.

    Returns:
        The objects that are still there at the end; a new object of the same name is not.

    """
    left = [
        (one.entry.ref, one.uid)
        for one in pruned.results
        if one.outcome is PruneOutcome.DELETED and one.uid
    ]
    deadline = target.clock.monotonic() + timeout
    delay = _FIRST_DELAY
    while left:
        present = set(await still_there(target, left))
        left = [pair for pair in left if pair[0] in present]
        if not left or target.clock.monotonic() + delay > deadline:
            break
        await target.clock.sleep(delay)
        delay = min(delay * 2, _LONGEST_DELAY)
    return tuple(ref for ref, _ in left)


async def still_there(target: Target, refs: Iterable[tuple[ObjectRef, str]]) -> list[ObjectRef]:
    """Which of these objects (reference, uid) exist now: one GET each.

    A read that fails counts as "still there": only absence is absence.
    """
    pairs = list(refs)
    states = await map_bounded(
        lambda pair: _is_there(target, *pair), pairs, limit=target.concurrency, name="termination"
    )
    return [ref for (ref, _), there in zip(pairs, states, strict=True) if there]


async def _is_there(target: Target, ref: ObjectRef, uid: str) -> bool:
    try:
        resource = await target.mapper.resource_for_kind(ref.group, ref.kind)
        key = ObjectKey(ref.namespace if resource.namespaced else "", ref.name)
        live = await target.client.get(resource, key)
    except NotFound as error:
        return error.is_resource and await _served(target, ref)
    except FluvialError:
        return await _served(target, ref)
    return uid_of(live) == uid


async def _served(target: Target, ref: ObjectRef) -> bool:
    try:
        return await target.mapper.has_kind_fresh(ref.group, ref.kind)
    except FluvialError:
        return True
