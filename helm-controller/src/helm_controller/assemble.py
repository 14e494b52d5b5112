"""The controller put together from its parts, without flags or environment.

``app`` does this for the process, tests do it with their own parts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from fluvial.api.helm import HelmRelease
from fluvial.apply import HealthWaiter, OwnedWatches, WatchLimits
from fluvial.apply.compiling import Expressions
from fluvial.apply.watching import DriftMetrics
from fluvial.artifact.fetcher import Fetcher
from fluvial.artifact.sources import SourceLookup, SourceRules
from fluvial.build.helm.renderer import HelmRenderer
from fluvial.cel.evaluator import CelEvaluator, cel_pool
from fluvial.clock import Clock
from fluvial.delivery.confirming import Confirmation
from fluvial.delivery.opening import Opening
from fluvial.helm.digests import CANONICAL
from fluvial.helm.waiting import HealthWaits
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.described import Clusters
from fluvial.kube.discovery import RestMapper
from fluvial.kube.informer import InformerFactory
from fluvial.kube.tenants import TenantRules, Tenants
from fluvial.log import Logger
from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime import wiring
from fluvial.runtime.backoff import Backoff
from fluvial.runtime.controller import Controller
from fluvial.runtime.dependencies import DependencyCheck, DependencyRules
from fluvial.runtime.events import EventRecorder
from fluvial.runtime.memory import Memories
from fluvial.runtime.metrics import Metrics
from fluvial.runtime.patcher import StatusPatcher
from fluvial.runtime.queue import WorkQueue
from helm_controller.helmrelease import reasons
from helm_controller.helmrelease.acting import Stage
from helm_controller.helmrelease.actions import Actions
from helm_controller.helmrelease.charts import ChartObjects
from helm_controller.helmrelease.drift import OWNER_LABEL, DriftStep
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

_HEALTH_READERS = 8
_WAITING_AT_ONCE = 16
"""Releases in hand for each that may work: the others wait for the cluster."""
_OWNED_CONDITIONS = frozenset(
    {"Ready", "Released", "TestSuccess", "Remediated", "Drifted", "Reconciling", "Stalled"}
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What flags decide.

    Attributes:
        concurrency: HelmReleases that are worked on at once (``--concurrent``); more may wait for
            their objects and hooks.
        requeue_dependency: seconds until the next look at what is not ready.
        retry_delays: first and longest wait in seconds after a failure.
        cross_namespace: the opposite of ``--no-cross-namespace-refs``.
        external_artifacts: gate ExternalArtifact.
        additive_expressions: the usual check of a dependency counts beside its ``readyExpr``.
        tracks_digests: the opposite of gate DisableChartDigestTracking.
        retries_by_default: gate DefaultToRetryOnFailure.
        cancels_on_new_revision: gate CancelHealthCheckOnNewRevision.
        helm3_defaults: gate UseHelm3Defaults.
        render_seconds: that one render of a chart may take.
        snapshot_digest: algorithm of the digests in the status (``--snapshot-digest-algo``).
        namespace: the only namespace that is watched; ``""`` for all.
        label_selector: of the HelmReleases that this shard reconciles.
        config_selector: of the ConfigMaps and Secrets whose changes wake; ``""`` for none.
        drift: how much is watched of what was released.
        jitter: moves an interval in seconds a little.
        spread: a point within an interval, for what is in place when the controller starts.

    """

    concurrency: int = 4
    requeue_dependency: float = 30.0
    retry_delays: tuple[float, float] = (0.75, 900.0)
    cross_namespace: bool = True
    external_artifacts: bool = False
    additive_expressions: bool = False
    tracks_digests: bool = True
    retries_by_default: bool = False
    cancels_on_new_revision: bool = False
    helm3_defaults: bool = False
    render_seconds: float = 120.0
    snapshot_digest: str = CANONICAL
    namespace: str = ""
    label_selector: str = ""
    config_selector: str = "reconcile.fluxcd.io/watch=Enabled"
    tenants: TenantRules = field(default_factory=TenantRules)
    drift: WatchLimits = field(default_factory=WatchLimits)
    jitter: Callable[[float], float] = lambda seconds: seconds
    spread: Callable[[float], float] = lambda _seconds: 0.0
    user_agent: str = "helm-controller"


@dataclass(frozen=True, slots=True)
class Parts:
    """What the controller is given.

    Attributes:
        fetcher: gets charts.
        renderer: renders them.
        guard: wraps clients of remote clusters so that they stop writing with a lost lease.
        clusters: finds those that ConfigMaps describe; without it none of them is used.

    """

    client: KubeClient
    informers: InformerFactory
    events: EventRecorder
    metrics: Metrics
    fetcher: Fetcher
    renderer: HelmRenderer
    clock: Clock
    log: Logger
    guard: Callable[[KubeClient], KubeClient] = lambda client: client
    clusters: Clusters | None = None


class HelmController:
    """Everything that runs: a runnable for the manager."""

    name = "helmrelease"

    def __init__(self, parts: Parts, settings: Settings) -> None:
        base, cap = settings.retry_delays
        self._parts, self._settings = parts, settings
        self.queue: WorkQueue[ObjectKey] = WorkQueue(
            backoff=Backoff(base, cap), observer=parts.metrics.queue(self.name, parts.clock)
        )
        self.mapper = RestMapper(parts.client)
        self._tenants = Tenants(
            parts.client,
            self.mapper,
            rules=settings.tenants,
            user_agent=settings.user_agent,
            guard=parts.guard,
            clusters=parts.clusters,
        )
        self._own = parts.informers.informer(
            kinds.HELM_RELEASE,
            namespace=settings.namespace,
            label_selector=settings.label_selector,
            indexes=INDEXES,
        )
        self._everyone = (
            parts.informers.informer(kinds.HELM_RELEASE, namespace=settings.namespace)
            if settings.label_selector
            else self._own
        )
        self._interrupts = Interrupts(self._own.store, by_changes=settings.cancels_on_new_revision)
        self._expressions = cel_pool(size=1, log=parts.log)
        # Readiness is heard of by nobody's worker, and must keep up with all of them.
        readers = max(_HEALTH_READERS, 2 * settings.concurrency)
        self._waits = (HealthWaits(), HealthWaits())
        self._waiters = tuple(
            HealthWaiter(
                done=waits.done,
                clock=parts.clock,
                informers=informers,
                selector=OWNER_LABEL,
                concurrency=readers,
            )
            for waits, informers in zip(self._waits, (parts.informers, None), strict=True)
        )
        for waits, waiter in zip(self._waits, self._waiters, strict=True):
            waits.use(waiter)
        self._sources = SourceLookup(
            parts.client,
            parts.informers,
            rules=SourceRules(
                cross_namespace=settings.cross_namespace,
                external_artifacts=settings.external_artifacts,
                requeue_dependency=settings.requeue_dependency,
                not_ready=reasons.SOURCE_NOT_READY,
                strict=True,
            ),
            on_change=self._source_changed,
        )
        self._owned = self._make_watches() if settings.drift.kinds else None
        self._reconciler = self._make_reconciler()
        self._wake_by_source = wiring.wake_by_source(self._own, self.queue, tried=has_tried)
        self._controller: Controller[ObjectKey] = Controller(
            name=self.name,
            group=kinds.HELM_RELEASE.group,
            kind=kinds.HELM_RELEASE.kind,
            queue=self.queue,
            reconcile=self._reconciler.reconcile,
            concurrency=settings.concurrency * _WAITING_AT_ONCE,
            log=parts.log,
            metrics=parts.metrics,
            clock=parts.clock,
        )
        wiring.connect(
            self._own,
            self._everyone,
            parts.informers,
            self.queue,
            config_selector=settings.config_selector,
            spread=settings.spread,
        )
        self._own.subscribe(self._watch_source)
        self._watch_for_runs()

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

    def _watch_source(self, _old: JsonObject | None, new: JsonObject | None) -> None:
        self._sources.watch_kind(kind_of_source(new or {}))

    def _source_changed(self, source: str, unless_tried: str) -> None:
        self._wake_by_source(source, unless_tried)
        kind, _, name = source.partition("/")
        self._interrupts.source_changed(self._sources.peek(kind, ObjectKey(*name.split("/", 1))))

    def stop(self) -> None:
        """Take no new key; ``run`` returns when those in hand are done."""
        self._controller.stop()

    async def run(self) -> None:
        """Wait for the caches, then reconcile until ``stop`` or until cancelled."""
        try:
            await self._own.wait_synced()
            await self._everyone.wait_synced()
            async with self._expressions, asyncio.TaskGroup() as group:
                waits = [
                    group.create_task(each.run(), name="release waits") for each in self._waiters
                ]
                if self._owned is not None:
                    waits.append(group.create_task(self._owned.run(), name="owned objects"))
                await self._controller.run()
                for task in waits:
                    task.cancel()
        finally:
            await self._tenants.aclose()

    def _make_reconciler(self) -> HelmReleaseReconciler:
        parts, settings = self._parts, self._settings
        patcher = StatusPatcher(
            parts.client,
            kinds.HELM_RELEASE,
            field_manager=FIELD_MANAGER,
            owned=_OWNED_CONDITIONS,
            clock=parts.clock,
        )
        writer = StatusWriter(patcher)
        targets = Targets(self._tenants, parts.clock)
        inputs = self._make_inputs()
        local, remote = self._waits
        stage = Stage(local, remote, parts.events, settings.snapshot_digest)
        rendering = Rendering(
            inputs,
            parts.renderer,
            targets.capabilities,
            parts.log,
            timeout=settings.render_seconds,
        )
        actions = Actions(stage, rendering, Plans(stage), writer)
        charts = self._make_charts(writer)
        confirmation = Confirmation(parts.client, kinds.HELM_RELEASE, self._sources)
        drift = DriftStep(self._owned)
        memories = Memories(
            Memory,
            on_forget=lambda key: parts.metrics.delete_object(kinds.HELM_RELEASE.kind, key),
        )
        return HelmReleaseReconciler(
            opening=Opening(
                parts.client,
                self._own.store,
                patcher,
                memories,
                resource=kinds.HELM_RELEASE,
                model=HelmRelease,
                log=parts.log,
            ),
            memories=memories,
            sources=self._sources,
            dependencies=self._make_dependencies(),
            expressions=Expressions(
                CelEvaluator(self._expressions), additive=settings.additive_expressions
            ),
            tenants=self._tenants,
            targets=targets,
            charts=charts,
            inputs=inputs,
            stage=stage,
            actions=actions,
            confirmation=confirmation,
            rounds=Rounds(
                stage,
                actions,
                writer,
                confirmation,
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
                patcher,
                parts.log,
            ),
            finish=Finish(writer, parts.events, parts.clock, parts.log, settings.jitter),
            turns=Turns(settings.concurrency, parts.clock),
            interrupts=self._interrupts,
            helm3_defaults=settings.helm3_defaults,
            log=parts.log,
        )

    def _make_watches(self) -> OwnedWatches:
        parts = self._parts
        return OwnedWatches(
            parts.informers,
            selector=OWNER_LABEL,
            wake=self._drifted,
            is_busy=self.queue.is_processing,
            clock=parts.clock,
            log=parts.log,
            limits=self._settings.drift,
            observer=DriftMetrics(parts.metrics),
        )

    def _drifted(self, key: ObjectKey) -> None:
        """Somebody changed what was released; what is suspended, or not in place, is let be."""
        obj, memory = self._own.store.get(key), self._reconciler.memories.peek(key)
        suspended = obj is None or (obj.get("spec") or {}).get("suspend")
        if not suspended and memory is not None and memory.in_place:
            self.queue.add(key)

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

    def _make_dependencies(self) -> DependencyCheck:
        rules = DependencyRules(self._settings.requeue_dependency, self._settings.cross_namespace)
        return DependencyCheck(self._parts.client, self._everyone.store, kinds.HELM_RELEASE, rules)
