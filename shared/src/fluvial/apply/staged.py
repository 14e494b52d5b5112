"""The whole set, stage by stage: plan, write the inventory ahead, apply, wait for definitions.

The main path of every apply; called by the reconciler, and by nobody else. A killed process
leaves no object that the inventory does not name: the union is stored before the first write of
a stage. An object that changes between plan and apply is planned again, five times at most.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from fluvial.apply.apply import Applier
from fluvial.apply.bounded import map_bounded
from fluvial.apply.errors import (
    ApplyError,
    Failure,
    FailureReason,
    StageFailed,
    StageNotReady,
    StageRejected,
)
from fluvial.apply.health import HealthStatus
from fluvial.apply.health_reader import health_of
from fluvial.apply.inventory import Entry, Inventory
from fluvial.apply.locate import Assumed, defined_kind
from fluvial.apply.model import (
    Action,
    ApplyOptions,
    ApplyResult,
    Change,
    ChangeSet,
    PlannedChange,
    Target,
    Verified,
)
from fluvial.apply.order import Stage, stages
from fluvial.apply.plan import Planner
from fluvial.kube.errors import ApiError
from fluvial.objects import JsonObject, ObjectRef

__all__ = ["WriteAhead", "apply_set", "plan_set"]

WriteAhead = Callable[[Inventory], Awaitable[None]]
Confirm = Callable[[], Awaitable[None]]

_PLAN_ATTEMPTS = 5
_PLAN_DELAY = 0.05
_FIRST_DELAY = 0.05
_LONGEST_DELAY = 2.0
_CRD = "CustomResourceDefinition"


async def apply_set(
    target: Target,
    desired: Sequence[JsonObject],
    *,
    inventory: Inventory,
    known: Verified,
    write_ahead: WriteAhead,
    options: ApplyOptions,
    confirm: Confirm | None = None,
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
        confirm: awaited before the first write of all: whether the set is still wanted. What it
            raises ends the apply.

    Raises:
        StageRejected, StageFailed, StageNotReady: ``applied`` has the changes made before; keep
            the inventory that was written ahead, prune nothing, try again later.

    """
    if not options.trust_known:
        known.clear()
    run = _SetRun(
        target,
        desired,
        inventory=inventory,
        known=known,
        ahead=write_ahead,
        options=options,
        confirm=confirm,
    )
    for stage in stages(desired, custom_kinds=options.custom_stage_kinds):
        await run.stage(stage)
    known.retain(one.ref for one in run.changes)
    return ApplyResult(tuple(run.changes), Inventory.of(run.entries))


class _SetRun:
    """One apply of one set."""

    def __init__(
        self,
        target: Target,
        desired: Sequence[JsonObject],
        *,
        inventory: Inventory,
        known: Verified,
        ahead: WriteAhead,
        options: ApplyOptions,
        confirm: Confirm | None,
    ) -> None:
        self._confirm = confirm
        self._target = target
        self._known = known
        self._ahead = ahead
        self._options = options
        self._stored = inventory
        self._assumed = Assumed.of(desired, applied=True)
        self.changes: list[Change] = []
        self.entries: list[Entry] = []

    async def stage(self, stage: Stage) -> None:
        """Plan, write ahead, apply and wait for one stage."""
        options = self._options
        written: dict[ObjectRef, Change] = {}
        for attempt in range(1, _PLAN_ATTEMPTS + 1):
            change_set = await self._plan(stage, options, written)
            await self._store(change_set)
            try:
                changes = await Applier(self._target, options).apply(change_set, known=self._known)
            except StageFailed as error:
                written |= {one.ref: one for one in error.applied}
                if error.failures or attempt == _PLAN_ATTEMPTS:
                    raise self._failed(change_set, error, written) from None
                options = replace(options, always_dry_run=True)
                await self._target.clock.sleep(_PLAN_DELAY * 2**attempt)
                continue
            self.changes += [written.get(one.ref, one) for one in changes]
            self.entries += change_set.entries
            if stage.wait:
                await self._wait(change_set, changes)
            return

    async def _plan(
        self, stage: Stage, options: ApplyOptions, written: dict[ObjectRef, Change]
    ) -> ChangeSet:
        planner = Planner(self._target, options, assumed=self._assumed)
        try:
            return await planner.plan_stage(stage, known=self._known)
        except StageRejected as error:
            applied = (*self._made(), *written.values())
            raise StageRejected(str(error), failures=error.failures, applied=applied) from None

    async def _store(self, change_set: ChangeSet) -> None:
        if not change_set.writes:
            return
        if self._confirm is not None:
            await self._confirm()
            self._confirm = None
        union = self._stored.union(change_set.entries)
        if union.ids() != self._stored.ids():
            await self._ahead(union)
            self._stored = union

    def _failed(
        self, change_set: ChangeSet, error: StageFailed, written: dict[ObjectRef, Change]
    ) -> ApplyError:
        applied = (*self._made(), *written.values())
        if error.failures:
            checked = all(one.checked for one in change_set.planned if one.writes)
            kind = StageFailed if checked or written else StageRejected
            return kind(failures=error.failures, applied=applied)
        text = f"objects of stage {change_set.stage} keep changing while they are being applied"
        return StageFailed(text, applied=applied)

    def _made(self) -> list[Change]:
        return [one for one in self.changes if one.action in {Action.CREATED, Action.CONFIGURED}]

    async def _wait(self, change_set: ChangeSet, changes: Sequence[Change]) -> None:
        actions = {one.ref: one.action for one in changes}
        waiting = [
            one
            for one in change_set.planned
            if not one.ready and actions.get(one.change.ref) is not Action.SKIPPED
        ]
        failures = await _until_ready(self._target, waiting, self._options.stage_timeout)
        self._announce(change_set)
        if failures:
            raise StageNotReady(failures=failures, applied=self._made())

    def _announce(self, change_set: ChangeSet) -> None:
        """Tell discovery of the kinds that were just defined."""
        written = [
            one.desired
            for one in change_set.planned
            if one.desired is not None and one.change.ref.kind == _CRD
        ]
        for group in {defined_kind(obj)[0] for obj in written}:
            self._target.mapper.crd_appeared(group)
        if written:
            self._target.mapper.invalidate()


async def _until_ready(
    target: Target, waiting: list[PlannedChange], timeout: float
) -> list[Failure]:
    """Read what is not usable yet until it is; returns what is left at the deadline."""
    deadline = target.clock.monotonic() + timeout
    delay = _FIRST_DELAY
    while waiting:
        states = await map_bounded(
            lambda one: _state(target, one), waiting, limit=target.concurrency, name="ready"
        )
        left = [(one, state) for one, state in zip(waiting, states, strict=True) if state]
        if target.clock.monotonic() + delay > deadline:
            return [_not_ready(one.change.ref, state, timeout) for one, state in left]
        waiting = [one for one, _ in left]
        if waiting:
            await target.clock.sleep(delay)
            delay = min(delay * 2, _LONGEST_DELAY)
    return []


async def _state(target: Target, planned: PlannedChange) -> str:
    """Why an object is not usable yet, or ``""``."""
    if planned.resource is None:
        return ""
    try:
        live = await target.client.get(planned.resource, planned.key)
    except ApiError as error:
        return target.masker.text(str(error))
    health = await health_of(target, planned.change.ref, live)
    if health.status is HealthStatus.CURRENT:
        return ""
    return target.masker.text(f"status is {health.status}: {health.message}")


def _not_ready(ref: ObjectRef, state: str, timeout: float) -> Failure:
    return Failure(ref, FailureReason.TIMEOUT, f"{ref} is not usable after {timeout:g}s: {state}")


async def plan_set(
    target: Target, desired: Sequence[JsonObject], *, known: Verified, options: ApplyOptions
) -> tuple[ChangeSet, ...]:
    """Plan every stage without writing; for diff, preview and approvals.

    Objects whose kind or namespace the set itself brings, and that is not there yet, count as
    created without a check.

    Raises:
        StageRejected: some objects cannot be applied; those of every stage are listed.

    """
    options = replace(options, always_dry_run=True)
    planner = Planner(target, options, assumed=Assumed.of(desired, applied=False))
    sets: list[ChangeSet] = []
    failures: list[Failure] = []
    for stage in stages(desired, custom_kinds=options.custom_stage_kinds):
        try:
            sets.append(await planner.plan_stage(stage, known=known))
        except StageRejected as error:
            if not error.failures:
                raise
            failures += error.failures
    if failures:
        raise StageRejected(failures=failures)
    return tuple(sets)
