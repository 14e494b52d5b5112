"""The controller put together from its parts, without flags or environment.

``app`` does this for the process, tests do it with their own parts.
"""

from __future__ import annotations

from dataclasses import dataclass

from fluvial.api.helm import HelmRelease
from fluvial.artifact.fetcher import Fetcher
from fluvial.build.helm.renderer import HelmRenderer
from fluvial.delivery.controller import DeliveryController
from fluvial.delivery.kind import DeliveryKind, DeliveryParts, DeliverySettings
from fluvial.helm.digests import CANONICAL
from fluvial.helm.recordwatch import RecordWatch
from fluvial.helm.waiting import HealthWaits
from fluvial.kube import kinds
from fluvial.kube.informer import InformerFactory
from fluvial.objects import ObjectKey
from fluvial.runtime import wiring
from fluvial.runtime.conditions import RECONCILING, STALLED
from fluvial.runtime.outcome import Result
from helm_controller.helmrelease import reasons
from helm_controller.helmrelease.acting import Stage
from helm_controller.helmrelease.actions import Actions
from helm_controller.helmrelease.charts import ChartObjects
from helm_controller.helmrelease.drift import DriftStep
from helm_controller.helmrelease.finish import Finish
from helm_controller.helmrelease.inputs import Inputs
from helm_controller.helmrelease.interrupts import Interrupts
from helm_controller.helmrelease.memory import Memory
from helm_controller.helmrelease.plans import Plans
from helm_controller.helmrelease.reconciler import HelmReleaseReconciler
from helm_controller.helmrelease.references import INDEXES, has_tried, kind_of_source
from helm_controller.helmrelease.removal import RemovalStep
from helm_controller.helmrelease.rendering import Rendering
from helm_controller.helmrelease.rounds import Rounds
from helm_controller.helmrelease.run import FIELD_MANAGER, StatusWriter
from helm_controller.helmrelease.targets import Targets
from helm_controller.helmrelease.turns import Turns

__all__ = ["HelmController", "Parts", "Settings"]


@dataclass(frozen=True, slots=True)
class Settings(DeliverySettings):
    """What flags decide of HelmReleases alone.

    Attributes:
        tracks_digests: the opposite of gate DisableChartDigestTracking.
        retries_by_default: gate DefaultToRetryOnFailure.
        cancels_on_new_revision: gate CancelHealthCheckOnNewRevision.
        helm3_defaults: gate UseHelm3Defaults.
        render_seconds: that one render of a chart may take.
        snapshot_digest: algorithm of the digests in the status (``--snapshot-digest-algo``).

    """

    tracks_digests: bool = True
    retries_by_default: bool = False
    cancels_on_new_revision: bool = False
    helm3_defaults: bool = False
    render_seconds: float = 120.0
    snapshot_digest: str = CANONICAL
    user_agent: str = "helm-controller"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts(DeliveryParts):
    """What the controller is given.

    Attributes:
        fetcher: gets charts.
        renderer: renders them.

    """

    fetcher: Fetcher
    renderer: HelmRenderer


KIND = DeliveryKind(
    resource=kinds.HELM_RELEASE,
    model=HelmRelease,
    memory=Memory,
    indexes=INDEXES,
    kind_of_source=kind_of_source,
    has_tried=has_tried,
    field_manager=FIELD_MANAGER,
    conditions=frozenset(
        {
            *(reasons.READY, reasons.RELEASED, reasons.TEST_SUCCESS, reasons.REMEDIATED),
            *(reasons.DRIFTED, RECONCILING, STALLED),
        }
    ),
    source_not_ready=reasons.SOURCE_NOT_READY,
    strict_source=True,
    objects_in_hand=32,
)


class HelmController(DeliveryController[HelmRelease, Memory]):
    """Everything that runs: a runnable for the manager."""

    _parts: Parts
    _settings: Settings

    def __init__(self, parts: Parts, settings: Settings) -> None:
        super().__init__(KIND, parts, settings)
        self._interrupts = Interrupts(self._own.store, by_changes=settings.cancels_on_new_revision)
        self._local = self._make_waits(parts.informers)
        self._remote = self._make_waits(None)
        self._records = self._watch_records() if settings.drift.kinds else None
        self._reconciler = self._make_reconciler()
        self._watch_for_runs()

    async def _reconcile(self, key: ObjectKey) -> Result:
        return await self._reconciler.reconcile(key)

    def _make_waits(self, informers: InformerFactory | None) -> HealthWaits:
        waits = HealthWaits()
        waits.use(self._make_waiter(waits.done, informers))
        return waits

    def _watch_records(self) -> RecordWatch:
        parts, settings = self._parts, self._settings
        records = RecordWatch(
            parts.informers,
            namespace=settings.namespace,
            wake=self._drifted,
            is_busy=self.queue.is_processing,
            clock=parts.clock,
            log=parts.log,
            limits=settings.drift,
        )
        self._run_beside("records of releases", records.run)
        return records

    def _watch_for_runs(self) -> None:
        """Tell runs what becomes of their objects while they wait."""
        self._own.subscribe(self._interrupts.changed)
        if self._settings.cancels_on_new_revision:
            wiring.watch_configs(
                self._own,
                self._parts.informers,
                self._interrupts,
                self._settings.config_selector,
            )

    def _source_changed(self, source: str, unless_tried: str) -> None:
        super()._source_changed(source, unless_tried)
        kind, _, name = source.partition("/")
        self._interrupts.source_changed(self._sources.peek(kind, ObjectKey(*name.split("/", 1))))

    def _corrects(self, key: ObjectKey) -> bool:
        """What is not in place is about to be looked at anyway."""
        memory = self._memories.peek(key)
        return memory is not None and bool(memory.in_place)

    def _make_reconciler(self) -> HelmReleaseReconciler:
        parts, settings = self._parts, self._settings
        writer = StatusWriter(self._patcher)
        targets = Targets(self._tenants, parts.clock)
        inputs = self._make_inputs()
        stage = Stage(self._local, self._remote, parts.events, settings.snapshot_digest)
        rendering = Rendering(
            inputs,
            parts.renderer,
            targets.capabilities,
            parts.log,
            timeout=settings.render_seconds,
        )
        actions = Actions(stage, rendering, Plans(stage), writer)
        charts = self._make_charts(writer)
        drift = DriftStep(self._owned, self._records)
        return HelmReleaseReconciler(
            opening=self._opening,
            memories=self._memories,
            sources=self._sources,
            dependencies=self._dependencies,
            expressions=self._expressions,
            tenants=self._tenants,
            targets=targets,
            charts=charts,
            inputs=inputs,
            stage=stage,
            actions=actions,
            confirmation=self._confirmation,
            rounds=Rounds(
                stage,
                actions,
                writer,
                self._confirmation,
                drift,
                retries_by_default=settings.retries_by_default,
            ),
            drift=drift,
            removal=RemovalStep(
                parts.client,
                self._tenants,
                targets,
                inputs,
                stage,
                actions,
                charts,
                self._patcher,
                parts.log,
            ),
            finish=Finish(writer, parts.events, parts.log, settings.jitter),
            turns=Turns(settings.concurrency, parts.clock),
            interrupts=self._interrupts,
            helm3_defaults=settings.helm3_defaults,
            log=parts.log,
        )

    def _make_inputs(self) -> Inputs:
        parts, settings = self._parts, self._settings
        return Inputs(
            parts.client,
            parts.fetcher,
            parts.renderer,
            requeue_dependency=settings.requeue_dependency,
            tracks_digests=settings.tracks_digests,
            algorithm=settings.snapshot_digest,
            spread=settings.jitter,
        )

    def _make_charts(self, writer: StatusWriter) -> ChartObjects:
        return ChartObjects(
            self._parts.client,
            writer,
            self._parts.events,
            lambda key: self._sources.peek(kinds.HELM_CHART.kind, key),
            cross_namespace=self._settings.cross_namespace,
        )
