"""Apply the desired set as the tenant, then prune what is no longer in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from fluvial.apply import (
    ApplyError,
    ApplyOptions,
    ApplyResult,
    Inventory,
    PruneFailed,
    Pruner,
    Target,
    apply_set,
    change_log,
)
from fluvial.clock import Clock
from fluvial.kube.tenants import Tenant
from fluvial.objects import JsonObject
from fluvial.runtime.events import EventRecorder
from fluvial.runtime.outcome import Failed
from kustomize_controller.kustomization import reasons
from kustomize_controller.kustomization.run import Run, StatusWriter

__all__ = ["ApplyStep"]


@dataclass(frozen=True, slots=True)
class ApplyStep:
    """Brings the cluster to the desired set.

    Attributes:
        options: what flags say about every apply.
        concurrency: requests in flight for one set (``--concurrent-ssa``).

    """

    writer: StatusWriter
    events: EventRecorder
    clock: Clock
    options: ApplyOptions
    concurrency: int = 4

    def target(self, run: Run, tenant: Tenant) -> Target:
        """Where a run's objects go, and as whom."""
        return Target(
            client=tenant.client,
            mapper=tenant.mapper,
            owner=run.owner,
            masker=run.masker,
            clock=self.clock,
            concurrency=self.concurrency,
            health=run.health,
        )

    async def apply(
        self,
        run: Run,
        target: Target,
        desired: Sequence[JsonObject],
        *,
        confirm: Callable[[], Awaitable[None]],
    ) -> ApplyResult:
        """Apply, prune, and leave the new inventory in ``run.status``.

        Args:
            run: whose.
            target: where and as whom.
            desired: the built set.
            confirm: awaited before the first write and before the first deletion; what it raises
                ends the apply.

        Raises:
            Failed: ReconciliationFailed or PruneFailed; what was done is in the message and the
                inventory.

        """
        before = run.inventory

        async def write_ahead(inventory: Inventory) -> None:
            await self.writer.store_ahead(run, inventory)

        options = replace(self.options, force=run.spec_of.spec.force, trust_known=not run.fresh)
        try:
            result = await apply_set(
                target,
                desired,
                inventory=before,
                known=run.memory.known,
                write_ahead=write_ahead,
                confirm=confirm,
                options=options,
            )
        except ApplyError as error:
            done = change_log(error.applied)
            if done:
                self._report(run, done)
            message = f"{error}\n{done}" if done else str(error)
            raise Failed(reasons.RECONCILIATION_FAILED, message) from error
        if result.changed:
            run.changed = True
            self._report(run, result.log())
        stale = before.subtract(result.inventory)
        if run.spec_of.spec.prune and len(stale):
            await confirm()
            await self._prune(run, target, stale, result)
        else:
            run.set_inventory(result.inventory)
        return result

    async def _prune(self, run: Run, target: Target, stale: Inventory, result: ApplyResult) -> None:
        """Delete what is no longer desired; entries whose deletion failed stay."""
        pruned = await Pruner(target).prune(stale)
        run.set_inventory(result.inventory.union(pruned.kept))
        log = change_log(pruned.changes, all_actions=True)
        if log:
            run.changed = True
            self._report(run, log)
        try:
            pruned.raise_failures()
        except PruneFailed as error:
            raise Failed(reasons.PRUNE_FAILED, str(error)) from error

    def _report(self, run: Run, log: str) -> None:
        self.events.event(
            run.obj,
            type="Normal",
            reason=reasons.PROGRESSING,
            message=run.masker.text(log),
            metadata=run.event_metadata(),
        )
