"""The way of one Kustomization: look, resolve, build, apply, prune, wait, report.

Called by the controller for one key at a time. Invariants: everything done to a tenant's objects
is done as the tenant; the inventory is stored before anything is written; status is patched once
for an outcome, and not at all by a timer run that finds nothing new.
"""

from __future__ import annotations

from dataclasses import dataclass

from fluvial.api.kustomize import Kustomization
from fluvial.api.meta import FINALIZER
from fluvial.apply.compiling import Expressions
from fluvial.artifact.sources import SourceLookup
from fluvial.clock import Clock
from fluvial.delivery.confirming import Confirmation, start_over
from fluvial.delivery.opening import ObjectGone, Opening
from fluvial.delivery.unsupported import refuse_unsupported
from fluvial.durations import format_duration
from fluvial.kube.client import KubeClient
from fluvial.kube.tenants import Tenants
from fluvial.log import Logger
from fluvial.objects import ObjectKey
from fluvial.runtime import conditions
from fluvial.runtime.dependencies import DependencyCheck
from fluvial.runtime.memory import Memories
from fluvial.runtime.outcome import Result
from kustomize_controller.kustomization import reasons
from kustomize_controller.kustomization.applying import ApplyStep
from kustomize_controller.kustomization.config import read_config
from kustomize_controller.kustomization.drift import DriftStep
from kustomize_controller.kustomization.finish import Finish
from kustomize_controller.kustomization.health import HealthStep
from kustomize_controller.kustomization.memory import Memory
from kustomize_controller.kustomization.references import lags_behind
from kustomize_controller.kustomization.removal import RemovalStep
from kustomize_controller.kustomization.rendering import Renderer
from kustomize_controller.kustomization.run import Run, StatusWriter
from kustomize_controller.kustomization.unsupported import REFUSED_ANNOTATIONS, REFUSED_FIELDS

__all__ = ["KustomizationReconciler"]


@dataclass(frozen=True, slots=True)
class KustomizationReconciler:
    """Reconciles Kustomizations; ``reconcile`` is what the controller calls."""

    client: KubeClient
    opening: Opening[Kustomization, Memory]
    memories: Memories[Memory]
    writer: StatusWriter
    expressions: Expressions
    sources: SourceLookup
    confirmation: Confirmation
    dependencies: DependencyCheck
    tenants: Tenants
    renderer: Renderer
    applying: ApplyStep
    drift: DriftStep
    health: HealthStep
    removal: RemovalStep
    finish: Finish
    clock: Clock
    log: Logger

    async def reconcile(self, key: ObjectKey) -> Result:
        """One run.

        Raises:
            Failed, Waiting, Stalled: after status says so; the controller sets the timer.
            Ignored: the object is gone.

        """
        try:
            return await start_over(lambda live: self._reconcile(key, live=live), self.log)
        except ObjectGone:
            self.memories.forget(key)
            self.drift.release(key)
            await self.tenants.release(key)
            raise

    async def _reconcile(self, key: ObjectKey, *, live: bool) -> Result:
        opened = await self.opening.open(key, live=live)
        run = Run(*opened, clock=self.clock, started=self.clock.monotonic())
        if run.is_deleted:
            return await self._remove(run)
        if run.spec_of.spec.suspend:
            await self.health.replace(run, cause="it is suspended")
            return await self.finish.suspended(run)
        async with self.finish.failures(run):
            return await self._steps(run)

    async def _remove(self, run: Run) -> Result:
        self.health.abandon(run)
        self.drift.release(run.key)
        if FINALIZER not in run.spec_of.metadata.finalizers:
            return Result()
        async with self.finish.failures(run):
            if run.memory.removal is None:
                await self.confirmation.own(run)
            await self.removal.remove(run)
        raise ObjectGone

    async def _steps(self, run: Run) -> Result:
        refuse_unsupported(run.obj, fields=REFUSED_FIELDS, annotations=REFUSED_ANNOTATIONS)
        run.health, judge = await self.expressions.compile(
            run.obj,
            checks=run.spec_of.spec.health_check_exprs,
            dependencies=run.dependencies,
        )
        run.source = await self.sources.find(run.source_name, fresh=run.live)
        await self.dependencies.check(
            run.key,
            run.dependency_keys,
            fresh=run.live,
            objection=lags_behind(run.source),
            judge=judge,
        )
        run.config = await read_config(self.client, run.spec_of)
        if not run.fresh:
            if self.health.is_pending(run):
                return Result()
            if self.health.take(run):
                self.drift.listened(run)
                return await self.finish.succeeded(run)
        return await self._bring_about(run)

    async def _bring_about(self, run: Run) -> Result:
        await self.health.replace(run, cause="there is something new to apply")
        tenant = await self.tenants.tenant_of(run.actor)
        target = self.applying.target(run, tenant)
        known = run.memory.known
        run.silent = not run.fresh and _is_settled(run)
        if run.silent and known.covers(run.attempt):
            if not await self.drift.is_suspected(run, target):
                return self.finish.quiet(run)
        elif not run.silent:
            await self.writer.progress(run, _progress_message(run))
        desired = await self.renderer.render(run)
        target = self.applying.target(run, tenant)
        result = await self.applying.apply(
            run, target, desired, confirm=lambda: self.confirmation.confirm(run)
        )
        await self.drift.listen(run, target)
        if await self.health.begin(run, target, result):
            return Result()
        return await self.finish.succeeded(run)


def _is_settled(run: Run) -> bool:
    """Whether status already says that this generation and revision are applied."""
    status = run.status
    return (
        status.observed_generation == run.generation
        and status.last_applied_revision == run.revision
        and conditions.is_true(status.conditions, reasons.READY)
    )


def _progress_message(run: Run) -> str:
    timeout = format_duration(run.spec_of.spec.timeout_seconds)
    return f"Fetching manifests for revision {run.revision} with a timeout of {timeout}"
