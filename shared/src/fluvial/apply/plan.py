"""The plan of one stage: what would be written, checked by the server as the tenant.

Called by ``staged`` for each stage, once the stages before it are there. Requests for an object:

    verified, not suspect                          none
    suspect, live as verified but for status       GET
    not there yet                                  dry run
    there                                          dry run and GET
    verified with other content, the only one      none: its PATCH is the check

A stage with a failure is refused as a whole, with every failing object in the message.
"""

from __future__ import annotations

import asyncio

from fluvial.apply.bounded import map_bounded
from fluvial.apply.errors import Failure, StageRejected
from fluvial.apply.examine import Examiner
from fluvial.apply.failures import ends_all
from fluvial.apply.inventory import Entry, encode_id
from fluvial.apply.live import Wanted, stamp
from fluvial.apply.locate import Assumed, Awaited, locate
from fluvial.apply.model import (
    Action,
    ApplyOptions,
    Change,
    ChangeSet,
    PlannedChange,
    Target,
    Verified,
)
from fluvial.apply.order import Stage
from fluvial.objects import ObjectRef, gvk_of, key_of

__all__ = ["Planner"]

_YIELD_EVERY = 64


class Planner:
    """Plans stages for one target; holds no state of its own."""

    def __init__(
        self, target: Target, options: ApplyOptions, *, assumed: Assumed | None = None
    ) -> None:
        self._target = target
        self._options = options
        self._assumed = assumed or Assumed()
        self._examiner = Examiner(target, options, self._assumed)

    async def plan_stage(self, stage: Stage, *, known: Verified) -> ChangeSet:
        """Compare a stage with the cluster; writes nothing.

        Args:
            stage: prepared objects in apply order.
            known: what is verified; brought up to date for objects found unchanged.

        Raises:
            StageRejected: some object cannot be applied, and every failing object is listed; or
                the API server does not answer.

        """
        rows = await locate(self._target, stage.objects, assumed=self._assumed)
        settled: dict[ObjectRef, PlannedChange | Failure] = {}
        unsure: list[Wanted] = []
        for number, row in enumerate(rows):
            if number % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
            if isinstance(row, Failure):
                settled[row.ref] = row
            elif isinstance(row, Awaited):
                settled[row.ref] = _unchecked(row)
            elif (planned := self._examiner.without_request(row, known)) is not None:
                settled[row.ref] = planned
            else:
                unsure.append(row)
        settled.update(await self._examine(unsure, known))
        return _change_set(stage, [settled.get(row.ref) for row in rows])

    async def _examine(
        self, unsure: list[Wanted], known: Verified
    ) -> dict[ObjectRef, PlannedChange | Failure]:
        """Examine side by side; nothing more once the server does not answer at all."""
        alone = len(unsure) == 1 and not self._options.always_dry_run
        found: dict[ObjectRef, PlannedChange | Failure] = {}
        broken = False

        async def examine(row: Wanted) -> None:
            nonlocal broken
            if broken:
                return
            result = await self._examiner.examine(row, known=known, alone=alone)
            found[row.ref] = result
            if isinstance(result, Failure) and ends_all(result):
                broken = True

        await map_bounded(examine, unsure, limit=self._target.concurrency, name="plan")
        return found


def _change_set(stage: Stage, rows: list[PlannedChange | Failure | None]) -> ChangeSet:
    failures = [row for row in rows if isinstance(row, Failure)]
    if failures:
        raise StageRejected(failures=failures)
    planned = tuple(row for row in rows if isinstance(row, PlannedChange))
    entries = tuple(Entry(encode_id(one.change.ref), one.change.version) for one in planned)
    return ChangeSet(stage.name, planned, entries)


def _unchecked(row: Awaited) -> PlannedChange:
    version = gvk_of(row.obj).version
    change = Change(row.ref, version, Action.CREATED, "its kind is defined by the set")
    return PlannedChange(
        change=change, resource=None, key=key_of(row.obj), body=stamp(row.obj), desired_hash=""
    )
