"""The controller put together from its parts, without flags or environment.

``app`` does this for the process, tests do it with their own parts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from fluvial.api.kustomize import Kustomization
from fluvial.apply import ApplyOptions, HealthWaiter, OwnedWatches, WatchLimits
from fluvial.apply.compiling import Expressions
from fluvial.apply.watching import DriftMetrics
from fluvial.artifact.sources import SourceLookup, SourceRules
from fluvial.cel.evaluator import CelEvaluator, cel_pool
from fluvial.clock import Clock
from fluvial.delivery.confirming import Confirmation
from fluvial.delivery.opening import Opening
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
from kustomize_controller.kustomization.applying import ApplyStep
from kustomize_controller.kustomization.drift import DriftStep
from kustomize_controller.kustomization.finish import Finish
from kustomize_controller.kustomization.health import HealthStep
from kustomize_controller.kustomization.memory import Memory
from kustomize_controller.kustomization.reconciler import KustomizationReconciler
from kustomize_controller.kustomization.references import INDEXES, has_tried
from kustomize_controller.kustomization.removal import RemovalStep
from kustomize_controller.kustomization.rendering import Renderer
from kustomize_controller.kustomization.run import FIELD_MANAGER, StatusWriter

__all__ = ["KustomizeController", "Parts", "Settings"]

_HEALTH_READERS = 8
_OWNED_CONDITIONS = frozenset({"Ready", "Healthy", "Reconciling", "Stalled"})


@dataclass(frozen=True, slots=True)
class Settings:
    """What flags decide.

    Attributes:
        concurrency: Kustomizations at once (``--concurrent``).
        concurrency_apply: requests in flight for one of them (``--concurrent-ssa``).
        requeue_dependency: seconds until the next look at what is not ready.
        retry_delays: first and longest wait in seconds after an unexpected failure.
        cross_namespace: the opposite of ``--no-cross-namespace-refs``.
        fail_fast: end a health check at the first failed object.
        tells_replaced_waits: say that a health check was replaced by a new attempt.
        additive_expressions: the usual check of a dependency counts beside its ``readyExpr``.
        namespace: the only namespace that is watched; ``""`` for all.
        label_selector: of the Kustomizations that this shard reconciles.
        config_selector: of the ConfigMaps and Secrets whose changes wake; ``""`` for none.
        apply: options of every apply.
        drift: how much is watched of what was applied.
        jitter: moves an interval in seconds a little.
        spread: a point within an interval, for what is in place when the controller starts.

    """

    concurrency: int = 4
    concurrency_apply: int = 4
    requeue_dependency: float = 30.0
    retry_delays: tuple[float, float] = (0.75, 900.0)
    cross_namespace: bool = True
    external_artifacts: bool = False
    fail_fast: bool = True
    tells_replaced_waits: bool = False
    additive_expressions: bool = False
    namespace: str = ""
    label_selector: str = ""
    config_selector: str = "reconcile.fluxcd.io/watch=Enabled"
    tenants: TenantRules = field(default_factory=TenantRules)
    apply: ApplyOptions = field(default_factory=ApplyOptions)
    drift: WatchLimits = field(default_factory=WatchLimits)
    jitter: Callable[[float], float] = lambda seconds: seconds
    spread: Callable[[float], float] = lambda _seconds: 0.0
    user_agent: str = "kustomize-controller"


@dataclass(frozen=True, slots=True)
class Parts:
    """What the controller is given.

    Attributes:
        guard: wraps clients of remote clusters so that they stop writing with a lost lease.
        clusters: finds those that ConfigMaps describe; without it none of them is used.

    """

    client: KubeClient
    informers: InformerFactory
    events: EventRecorder
    metrics: Metrics
    renderer: Renderer
    clock: Clock
    log: Logger
    guard: Callable[[KubeClient], KubeClient] = lambda client: client
    clusters: Clusters | None = None


class KustomizeController:
    """Everything that runs: a runnable for the manager."""

    name = "kustomization"

    def __init__(self, parts: Parts, settings: Settings) -> None:
        base, cap = settings.retry_delays
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
            kinds.KUSTOMIZATION,
            namespace=settings.namespace,
            label_selector=settings.label_selector,
            indexes=INDEXES,
        )
        self._everyone = (
            parts.informers.informer(kinds.KUSTOMIZATION, namespace=settings.namespace)
            if settings.label_selector
            else self._own
        )
        # Health is read by nobody's worker, and must keep up with all of them.
        readers = max(_HEALTH_READERS, 2 * settings.concurrency)
        self._waiters = tuple(
            HealthWaiter(
                done=self.queue.add_first,
                clock=parts.clock,
                informers=informers,
                concurrency=readers,
            )
            for informers in (parts.informers, None)
        )
        self._expressions = cel_pool(size=1, log=parts.log)
        self._owned = self._make_watches(parts, settings) if settings.drift.kinds else None
        self._sources = self._make_sources(parts, settings)
        self._reconciler = self._make_reconciler(parts, settings)
        self._controller: Controller[ObjectKey] = Controller(
            name=self.name,
            group=kinds.KUSTOMIZATION.group,
            kind=kinds.KUSTOMIZATION.kind,
            queue=self.queue,
            reconcile=self._reconciler.reconcile,
            concurrency=settings.concurrency,
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

    def _watch_source(self, _old: JsonObject | None, new: JsonObject | None) -> None:
        ref = ((new or {}).get("spec") or {}).get("sourceRef") or {}
        self._sources.watch_kind(str(ref.get("kind")))

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
                    group.create_task(waiter.run(), name="health waits") for waiter in self._waiters
                ]
                if self._owned is not None:
                    waits.append(group.create_task(self._owned.run(), name="owned objects"))
                await self._controller.run()
                for task in waits:
                    task.cancel()
        finally:
            await self._tenants.aclose()

    def _make_reconciler(self, parts: Parts, settings: Settings) -> KustomizationReconciler:
        patcher = StatusPatcher(
            parts.client,
            kinds.KUSTOMIZATION,
            field_manager=FIELD_MANAGER,
            owned=_OWNED_CONDITIONS,
            clock=parts.clock,
        )
        writer = StatusWriter(patcher, parts.clock)
        applying = ApplyStep(
            writer,
            parts.events,
            parts.clock,
            settings.apply,
            concurrency=settings.concurrency_apply,
        )
        local, remote = self._waiters
        memories = Memories(
            Memory,
            on_forget=lambda key: parts.metrics.delete_object(kinds.KUSTOMIZATION.kind, key),
        )
        return KustomizationReconciler(
            client=parts.client,
            opening=Opening(
                parts.client,
                self._own.store,
                patcher,
                memories,
                resource=kinds.KUSTOMIZATION,
                model=Kustomization,
                log=parts.log,
            ),
            memories=memories,
            writer=writer,
            expressions=Expressions(
                CelEvaluator(self._expressions), additive=settings.additive_expressions
            ),
            sources=self._sources,
            confirmation=Confirmation(parts.client, kinds.KUSTOMIZATION, self._sources),
            dependencies=DependencyCheck(
                parts.client,
                self._everyone.store,
                kinds.KUSTOMIZATION,
                DependencyRules(settings.requeue_dependency, settings.cross_namespace),
            ),
            tenants=self._tenants,
            renderer=parts.renderer,
            applying=applying,
            drift=DriftStep(self._owned),
            health=HealthStep(
                writer,
                parts.events,
                parts.clock,
                local=local,
                remote=remote,
                fail_fast=settings.fail_fast,
                tells_replaced=settings.tells_replaced_waits,
            ),
            removal=RemovalStep(
                parts.client, self._tenants, applying, writer, patcher, parts.events, parts.log
            ),
            finish=Finish(writer, parts.events, parts.clock, parts.log, settings.jitter),
            clock=parts.clock,
            log=parts.log,
        )

    def _make_watches(self, parts: Parts, settings: Settings) -> OwnedWatches:
        return OwnedWatches(
            parts.informers,
            selector=f"{kinds.KUSTOMIZATION.group}/name",
            wake=self._drifted,
            is_busy=self.queue.is_processing,
            clock=parts.clock,
            log=parts.log,
            limits=settings.drift,
            observer=DriftMetrics(parts.metrics),
        )

    def _drifted(self, key: ObjectKey) -> None:
        """Somebody changed what a Kustomization has applied; one that is suspended is let be."""
        obj = self._own.store.get(key)
        if obj is not None and not (obj.get("spec") or {}).get("suspend"):
            self.queue.add(key)

    def _make_sources(self, parts: Parts, settings: Settings) -> SourceLookup:
        return SourceLookup(
            parts.client,
            parts.informers,
            rules=SourceRules(
                cross_namespace=settings.cross_namespace,
                external_artifacts=settings.external_artifacts,
                requeue_dependency=settings.requeue_dependency,
            ),
            on_change=wiring.wake_by_source(self._own, self.queue, tried=has_tried),
        )
