"""The way of one HelmRelease: look, resolve, decide, act, report.

Called by the controller for one key at a time. Invariants: everything done to a tenant's objects,
and to the records of its releases, is done as the tenant; status is written before an action begins
and after each record that it writes; a run that finds everything in place writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from fluvial.api.helm import HelmRelease
from fluvial.api.meta import FINALIZER
from fluvial.apply.compiling import Expressions
from fluvial.artifact.sources import SourceLookup
from fluvial.delivery.confirming import Confirmation, start_over
from fluvial.delivery.opening import ObjectGone, Opening
from fluvial.delivery.unsupported import refuse_unsupported
from fluvial.errors import FluvialError
from fluvial.helm.errors import WaitEnded
from fluvial.helm.helm3 import with_helm3_defaults
from fluvial.helm.history import newest_first
from fluvial.helm.observing import (
    FORCE_REQUEST,
    is_requested,
    moved_from,
    reset_reason,
)
from fluvial.kube.tenants import Tenants
from fluvial.log import Logger
from fluvial.objects import ObjectKey
from fluvial.runtime import conditions
from fluvial.runtime.dependencies import DependencyCheck
from fluvial.runtime.memory import Memories
from fluvial.runtime.outcome import Result
from helm_controller.helmrelease.acting import Stage
from helm_controller.helmrelease.actions import Actions, forget_failures
from helm_controller.helmrelease.approvals import is_planned
from helm_controller.helmrelease.charts import ChartObjects
from helm_controller.helmrelease.drift import DriftStep
from helm_controller.helmrelease.finish import Finish
from helm_controller.helmrelease.inputs import Inputs
from helm_controller.helmrelease.interrupts import Interrupts
from helm_controller.helmrelease.memory import Memory
from helm_controller.helmrelease.removal import RemovalStep
from helm_controller.helmrelease.rounds import Rounds, record_id
from helm_controller.helmrelease.run import Run
from helm_controller.helmrelease.targets import Targets
from helm_controller.helmrelease.turns import Turn, Turns
from helm_controller.helmrelease.unsupported import REFUSED_ANNOTATIONS, REFUSED_FIELDS

__all__ = ["HelmReleaseReconciler"]


@dataclass(frozen=True, slots=True)
class HelmReleaseReconciler:
    """Reconciles HelmReleases; ``reconcile`` is what the controller calls.

    Attributes:
        helm3_defaults: gate UseHelm3Defaults.

    """

    opening: Opening[HelmRelease, Memory]
    memories: Memories[Memory]
    sources: SourceLookup
    dependencies: DependencyCheck
    expressions: Expressions
    tenants: Tenants
    targets: Targets
    charts: ChartObjects
    inputs: Inputs
    stage: Stage
    actions: Actions
    confirmation: Confirmation
    rounds: Rounds
    drift: DriftStep
    removal: RemovalStep
    finish: Finish
    turns: Turns
    interrupts: Interrupts
    log: Logger
    helm3_defaults: bool = False

    async def reconcile(self, key: ObjectKey) -> Result:
        """One run.

        Raises:
            Failed, Waiting, Stalled: after status says so; the controller sets the timer.
            Ignored: the object is gone.

        """
        async with self.turns.turn() as turn:
            try:
                return await start_over(
                    lambda live: self._reconcile(key, turn, live=live), self.log
                )
            except ObjectGone:
                self.memories.forget(key)
                self.drift.release(key)
                await self.tenants.release(key)
                raise

    async def _reconcile(self, key: ObjectKey, turn: Turn, *, live: bool) -> Result:
        opened = await self.opening.open(key, live=live)
        run = Run(*opened, turn=turn)
        if self.helm3_defaults:
            run.spec_of = with_helm3_defaults(run.spec_of)
        if run.is_deleted:
            return await self._remove(run)
        if run.spec_of.spec.suspend:
            return await self.finish.suspended(run)
        async with self.finish.failures(run):
            try:
                with self.interrupts.of(run.key, run.obj) as run.turn.interruption:
                    return await self._steps(run)
            except FluvialError as error:
                if not isinstance(error, WaitEnded) and not run.turn.interruption.hit:
                    raise
                return await self.finish.interrupted(run, error)

    async def _remove(self, run: Run) -> Result:
        self.drift.release(run.key)
        if FINALIZER not in run.spec_of.metadata.finalizers:
            return Result()
        async with self.finish.failures(run):
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
        await self.dependencies.check(run.key, run.dependency_keys, fresh=run.fresh, judge=judge)
        made = await self.charts.ensure(run)
        run.source = await self.sources.find(run.source_name, fresh=run.fresh, known=made)
        self.interrupts.releases(run.key, run.source.artifact)
        await self.inputs.read_values(run)
        run.turn.interruption.confirm_by(lambda: self.inputs.have_changed(run))
        await self.targets.aim(run)
        await self.inputs.read_chart(run)
        if await self._is_in_place(run):
            return self.finish.quiet(run)
        run.memory.in_place = ""
        if await self._move(run):
            return Result(0.0)
        self._note_attempt(run)
        end = await self.rounds.round(run)
        await self.drift.listen(run)
        return await self.finish.ended(run, end)

    async def _is_in_place(self, run: Run) -> bool:
        """Whether nothing has changed since everything was found in place."""
        if run.fresh or not _is_settled(run):
            return False
        revisions = await self.stage.storage(run).revisions(run.spec_of.release_name)
        run.record = record_id(revisions)
        if not run.record or run.memory.in_place != run.attempt:
            return False
        return not run.spec_of.spec.detects_drift or not await self.drift.is_suspected(run)

    async def _move(self, run: Run) -> bool:
        """Uninstall what was released elsewhere, or of another chart; whether there was such."""
        assert run.chart is not None  # noqa: S101  # read by a step before
        moved = moved_from(run.spec_of, run.chart.described.name)
        if not moved:
            return False
        await self.confirmation.confirm(run)
        newest = newest_first(run.status.history)[0]
        if is_planned(run):
            self.actions.plans.approved_move(run, newest, changed=moved)
        self.log.info("the release moves: the old one is uninstalled", changed=moved)
        name = await self.stage.released_name(run)
        if name:
            await self.actions.take_away(run, run.spec_of, name=name)
        run.status.history = []
        run.status.inventory = None
        run.status.storage_namespace = ""
        forget_failures(run)
        await self.actions.writer.save(run)
        return True

    def _note_attempt(self, run: Run) -> None:
        """Write down what is tried, and forget the failures of what was tried before."""
        assert run.chart is not None  # noqa: S101  # read by a step before
        status = run.status
        if reset_reason(run.spec_of, run.wanted):
            forget_failures(run)
        run.forced = is_requested(run.spec_of, FORCE_REQUEST, handled=status.last_handled_force_at)
        status.last_attempted_generation = run.generation
        status.last_attempted_revision = run.chart.version
        status.last_attempted_revision_digest = run.chart.digest
        status.last_attempted_config_digest = run.config_digest
        status.last_attempted_values_checksum = ""
        status.last_release_revision = 0
        status.storage_namespace = run.spec_of.storage_namespace


def _is_settled(run: Run) -> bool:
    """Whether status already says that this generation is released."""
    return run.status.observed_generation == run.generation and conditions.is_true(
        run.status.conditions, conditions.READY
    )
