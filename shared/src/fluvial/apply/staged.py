"""The whole set, stage by stage: plan, write the inventory ahead, apply, wait for definitions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from fluvial.apply.inventory import Inventory
from fluvial.apply.model import ApplyOptions, ApplyResult, ChangeSet, Target, Verified
from fluvial.objects import JsonObject

__all__ = ["WriteAhead", "apply_set", "plan_set"]

WriteAhead = Callable[[Inventory], Awaitable[None]]


async def apply_set(
    target: Target,
    desired: Sequence[JsonObject],
    *,
    inventory: Inventory,
    known: Verified,
    write_ahead: WriteAhead,
    options: ApplyOptions,
) -> ApplyResult:
    """Apply a prepared set.

    Args:
        target: where and as whom.
        desired: the result of ``prepare``.
        inventory: what status says is owned; the union with each stage is handed to
            ``write_ahead`` before the first write of that stage, if it says more than before.
        known: what this owner remembers; brought up to date, also when an error is raised.
        write_ahead: stores the union in status (under resourceVersion, 409: read again, union).
            What it raises ends the apply before the stage is written.
        options: force, stages, trust.

    Raises:
        StageRejected, StageFailed, StageNotReady: ``applied`` has the changes made before.

    """
    raise NotImplementedError


async def plan_set(
    target: Target, desired: Sequence[JsonObject], *, known: Verified, options: ApplyOptions
) -> tuple[ChangeSet, ...]:
    """Plan every stage without writing; for diff, preview and approvals.

    Raises:
        StageRejected: also where a stage needs an earlier one to be there first.

    """
    raise NotImplementedError
