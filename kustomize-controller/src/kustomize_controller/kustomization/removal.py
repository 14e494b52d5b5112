"""What happens to the applied objects when their Kustomization is deleted."""

from __future__ import annotations

from dataclasses import dataclass

from fluvial.apply import (
    Inventory,
    PruneFailed,
    Pruner,
    Target,
    change_log,
    deletes_on_removal,
    wait_for_termination,
    waits_for_termination,
)
from fluvial.kube.client import KubeClient
from fluvial.kube.tenants import Tenants
from fluvial.log import Logger
from fluvial.runtime.events import EventRecorder
from fluvial.runtime.outcome import Failed, Waiting
from fluvial.runtime.patcher import StatusPatcher
from kustomize_controller.kustomization import reasons
from kustomize_controller.kustomization.applying import ApplyStep
from kustomize_controller.kustomization.memory import Removal
from kustomize_controller.kustomization.run import Run, StatusWriter

__all__ = ["RemovalStep"]

_PATIENCE = 2.0
_PAUSE = 2.0


@dataclass(frozen=True, slots=True)
class RemovalStep:
    """Deletes, waits, and lets go of the object by taking the finalizer off."""

    client: KubeClient
    tenants: Tenants
    applying: ApplyStep
    writer: StatusWriter
    patcher: StatusPatcher
    events: EventRecorder
    log: Logger

    async def remove(self, run: Run) -> None:
        """Do what the deletion policy says as the tenant, then take the finalizer off.

        Raises:
            Failed: PruneFailed; the finalizer stays and the deletion is tried again.

        """
        spec = run.spec_of.spec
        policy = spec.deletion_policy or "MirrorPrune"
        wanted = deletes_on_removal(policy, prune=spec.prune) and not spec.suspend
        if wanted and len(run.inventory):
            if await self.tenants.account_is_gone(run.actor):
                self._report_orphans(run)
            else:
                await self._delete(run, wait=waits_for_termination(policy))
        await self.patcher.remove_finalizer(run.obj)

    async def _delete(self, run: Run, *, wait: bool) -> None:
        tenant = await self.tenants.tenant_of(run.actor)
        target = self.applying.target(run, tenant)
        if run.memory.removal is None:
            run.memory.removal = await self._prune(run, target)
        if wait:
            await self._wait(run, target, run.memory.removal)

    async def _prune(self, run: Run, target: Target) -> Removal:
        pruned = await Pruner(target).prune(run.inventory)
        log = change_log(pruned.changes, all_actions=True)
        if log:
            self._report(run, "Normal", log)
        try:
            pruned.raise_failures()
        except PruneFailed as error:
            run.set_inventory(_in_order(run.inventory, pruned.kept))
            await self.writer.save(run)
            raise Failed(
                reasons.PRUNE_FAILED,
                f"pruning for deleted resource failed: {error}",
                retry_after=run.spec_of.spec.retry_seconds,
            ) from error
        return Removal(pruned, run.started)

    async def _wait(self, run: Run, target: Target, removal: Removal) -> None:
        """Wait for a moment; come back until the timeout, so that no worker is held.

        Raises:
            Waiting: some objects are still there.

        """
        left = await wait_for_termination(target, removal.pruned, timeout=_PATIENCE)
        if not left:
            return
        names = ", ".join(str(ref) for ref in left)
        if run.started - removal.started < run.spec_of.spec.timeout_seconds:
            raise Waiting(
                reasons.PROGRESSING, f"waiting for the termination of {names}", after=_PAUSE
            )
        self._report(
            run, "Warning", f"failed to wait for resources termination: {names} still exist"
        )

    def _report_orphans(self, run: Run) -> None:
        left = "\n".join(entry.id for entry in run.inventory)
        self.log.error(
            "service account is gone, objects are left behind", objects=len(run.inventory)
        )
        self._report(
            run,
            "Warning",
            f"unable to prune objects: the service account to be impersonated does not exist\n{left}",
        )

    def _report(self, run: Run, type_: str, message: str) -> None:
        self.events.event(
            run.obj,
            type="Warning" if type_ == "Warning" else "Normal",
            reason=reasons.PRUNE_FAILED if type_ == "Warning" else reasons.RECONCILIATION_SUCCEEDED,
            message=message,
            metadata=run.event_metadata(),
        )


def _in_order(before: Inventory, kept: Inventory) -> Inventory:
    ids = kept.ids()
    return Inventory.of(entry for entry in before if entry.id in ids)
