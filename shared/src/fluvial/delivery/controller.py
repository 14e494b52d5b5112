"""The controller of one kind put together, as far as kinds are alike.

A kind's own controller is a subclass: it makes a reconciler of its steps and of what is made here.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from fluvial.apply import HealthWaiter, OwnedWatches
from fluvial.apply.compiling import Expressions
from fluvial.apply.watching import DriftMetrics
from fluvial.artifact.sources import SourceLookup, SourceRules
from fluvial.cel.evaluator import CelEvaluator, cel_pool
from fluvial.delivery.confirming import Confirmation
from fluvial.delivery.kind import DeliveryKind, DeliveryParts, DeliverySettings
from fluvial.delivery.opening import Opening
from fluvial.delivery.run import DeliveredObject
from fluvial.kube.discovery import RestMapper
from fluvial.kube.informer import InformerFactory
from fluvial.kube.tenants import Tenants
from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime import wiring
from fluvial.runtime.controller import controller_of
from fluvial.runtime.dependencies import DependencyCheck, DependencyRules
from fluvial.runtime.memory import Memories, ObjectMemory
from fluvial.runtime.outcome import Result
from fluvial.runtime.patcher import StatusPatcher

__all__ = ["DeliveryController"]

ObjectT = TypeVar("ObjectT", bound=DeliveredObject)
MemoryT = TypeVar("MemoryT", bound=ObjectMemory)

_HEALTH_READERS = 8


class DeliveryController(ABC, Generic[ObjectT, MemoryT]):
    """Everything that runs: a runnable for the manager.

    Args:
        kind: what the kind says of itself.
        parts: what it is given.
        settings: what flags decide.

    Attributes:
        name: Flux' name of the controller, in logs and metrics.
        queue: what is to be reconciled.
        mapper: of this cluster.

    """

    def __init__(
        self,
        kind: DeliveryKind[ObjectT, MemoryT],
        parts: DeliveryParts,
        settings: DeliverySettings,
    ) -> None:
        self._kind, self._parts, self._settings = kind, parts, settings
        self._controller = controller_of(
            kind.resource,
            self._reconcile,
            concurrency=settings.concurrency * kind.objects_in_hand,
            retry_delays=settings.retry_delays,
            log=parts.log,
            metrics=parts.metrics,
            clock=parts.clock,
            fair=kind.objects_in_hand > 1,
        )
        self.name, self.queue = self._controller.name, self._controller.queue
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
            kind.resource,
            namespace=settings.namespace,
            label_selector=settings.label_selector,
            indexes=kind.indexes,
        )
        self._everyone = (
            parts.informers.informer(kind.resource, namespace=settings.namespace)
            if settings.label_selector
            else self._own
        )
        self._wake_by_source = wiring.wake_by_source(self._own, self.queue, tried=kind.has_tried)
        self._memories = Memories(
            kind.memory,
            on_forget=lambda key: parts.metrics.delete_object(kind.resource.kind, key),
        )
        self._pool = cel_pool(size=1, log=parts.log)
        self._beside: list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]] = []
        self._make_steps()
        wiring.connect(
            self._own,
            self._everyone,
            parts.informers,
            self.queue,
            config_selector=settings.config_selector,
            spread=settings.spread,
        )
        self._own.subscribe(self._watch_source)

    @abstractmethod
    async def _reconcile(self, key: ObjectKey) -> Result:
        """One run of one object."""

    def _make_steps(self) -> None:
        """What reconcilers are made of, whatever the kind."""
        kind, parts, settings = self._kind, self._parts, self._settings
        self._patcher = StatusPatcher(
            parts.client,
            kind.resource,
            field_manager=kind.field_manager,
            owned=kind.conditions,
            clock=parts.clock,
        )
        self._opening = Opening(
            parts.client,
            self._own.store,
            self._patcher,
            self._memories,
            resource=kind.resource,
            model=kind.model,
            log=parts.log,
        )
        self._sources = SourceLookup(
            parts.client,
            parts.informers,
            rules=SourceRules(
                cross_namespace=settings.cross_namespace,
                external_artifacts=settings.external_artifacts,
                requeue_dependency=settings.requeue_dependency,
                not_ready=kind.source_not_ready,
                strict=kind.strict_source,
            ),
            on_change=self._source_changed,
        )
        self._confirmation = Confirmation(parts.client, kind.resource, self._sources)
        self._dependencies = DependencyCheck(
            parts.client,
            self._everyone.store,
            kind.resource,
            DependencyRules(settings.requeue_dependency, settings.cross_namespace),
        )
        self._expressions = Expressions(
            CelEvaluator(self._pool), additive=settings.additive_expressions
        )
        self._owned = self._make_watches() if settings.drift.kinds else None

    def _make_watches(self) -> OwnedWatches:
        watches = OwnedWatches(
            self._parts.informers,
            selector=self._kind.owner_label,
            wake=self._drifted,
            is_busy=self.queue.is_processing,
            clock=self._parts.clock,
            log=self._parts.log,
            limits=self._settings.drift,
            observer=DriftMetrics(self._parts.metrics),
        )
        self._run_beside("owned objects", watches.run)
        return watches

    def _run_beside(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have something run as long as the workers do, until it is cancelled."""
        self._beside.append((name, run))

    def _make_waiter(
        self, done: Callable[[Any], None], informers: InformerFactory | None
    ) -> HealthWaiter:
        """A waiter that runs beside the workers; without informers it is for other clusters."""
        waiter = HealthWaiter(
            done=done,
            clock=self._parts.clock,
            informers=informers,
            selector=self._kind.owner_label,
            # Health is read by nobody's worker, and must keep up with all of them.
            concurrency=max(_HEALTH_READERS, 2 * self._settings.concurrency),
        )
        self._run_beside("health waits", waiter.run)
        return waiter

    def stop(self) -> None:
        """Take no new key; ``run`` returns when those in hand are done."""
        self._controller.stop()

    async def run(self) -> None:
        """Wait for the caches, then reconcile until ``stop`` or until cancelled."""
        try:
            await self._own.wait_synced()
            await self._everyone.wait_synced()
            async with self._pool, asyncio.TaskGroup() as group:
                beside = [group.create_task(run(), name=name) for name, run in self._beside]
                await self._controller.run()
                for task in beside:
                    task.cancel()
        finally:
            await self._tenants.aclose()

    def _watch_source(self, _old: JsonObject | None, new: JsonObject | None) -> None:
        self._sources.watch_kind(self._kind.kind_of_source(new or {}))

    def _source_changed(self, source: str, unless_tried: str) -> None:
        """A source has another artifact; see ``SourceLookup``."""
        self._wake_by_source(source, unless_tried)

    def _drifted(self, key: ObjectKey) -> None:
        """Somebody changed what an object has applied; one that is suspended is let be."""
        obj = self._own.store.get(key)
        suspended = obj is None or (obj.get("spec") or {}).get("suspend")
        if not suspended and self._corrects(key):
            self.queue.add(key)

    def _corrects(self, _key: ObjectKey) -> bool:
        """Whether an object is in a state in which drift counts."""
        return True
