"""What becomes of the objects when their owner is deleted (``spec.deletionPolicy``)."""

from __future__ import annotations

from collections.abc import Iterable

from fluvial.apply.model import Target
from fluvial.apply.prune import PruneResult
from fluvial.objects import ObjectRef

__all__ = ["deletes_on_removal", "still_there", "wait_for_termination", "waits_for_termination"]


def deletes_on_removal(policy: str, *, prune: bool) -> bool:
    """Whether the policy deletes the objects: MirrorPrune follows ``spec.prune``."""
    raise NotImplementedError


def waits_for_termination(policy: str) -> bool:
    """Whether the policy waits until they are gone."""
    return policy == "WaitForTermination"


async def wait_for_termination(
    target: Target, pruned: PruneResult, *, timeout: float
) -> tuple[ObjectRef, ...]:
    """Wait until the deleted objects are gone; returns those left after ``timeout`` seconds.

    A new object of the same name (another uid) counts as gone. Errors of reads count as "still
    there". Holds the caller; where a worker must not be held call it with a small timeout and
    come back.
    """
    raise NotImplementedError


async def still_there(target: Target, refs: Iterable[tuple[ObjectRef, str]]) -> list[ObjectRef]:
    """Which of these objects (reference, uid) exist now: one GET each."""
    raise NotImplementedError
