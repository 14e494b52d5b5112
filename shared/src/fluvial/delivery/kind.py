"""What the controller of a kind is told: by the kind itself, by flags, and by the app."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar

from fluvial.apply import WatchLimits
from fluvial.clock import Clock
from fluvial.delivery.run import DeliveredObject
from fluvial.kube.client import KubeClient
from fluvial.kube.described import Clusters
from fluvial.kube.informer import InformerFactory
from fluvial.kube.resource import Resource
from fluvial.kube.store import IndexFunction
from fluvial.kube.tenants import TenantRules
from fluvial.log import Logger
from fluvial.objects import JsonObject
from fluvial.runtime.backoff import jitter
from fluvial.runtime.events import EventRecorder
from fluvial.runtime.manager import Manager
from fluvial.runtime.memory import ObjectMemory
from fluvial.runtime.metrics import Metrics
from fluvial.runtime.options import CONFIG_WATCH_SELECTOR, CommonOptions

__all__ = ["DeliveryKind", "DeliveryParts", "DeliverySettings"]

ObjectT = TypeVar("ObjectT", bound=DeliveredObject)
MemoryT = TypeVar("MemoryT", bound=ObjectMemory)


@dataclass(frozen=True, slots=True)
class DeliveryKind(Generic[ObjectT, MemoryT]):
    """A kind whose objects bring what a source has into a cluster.

    Attributes:
        resource: the kind.
        model: its typed form.
        memory: what is remembered of each object.
        indexes: by source, dependency and config; see ``runtime.wiring``.
        kind_of_source: the kind of source that an object names, or ``""``.
        has_tried: whether an object has dealt with a revision of its source.
        field_manager: who writes statuses, as Flux names it.
        conditions: types that only the kind's controller writes.
        source_not_ready: reason where a source has no artifact.
        strict_source: a source must also be reconciled at its generation and not be stalled.
        objects_in_hand: for each that may be worked on; the others wait for the cluster. Where it
            is more than one, no namespace may have more than its share of them.

    """

    resource: Resource
    model: type[ObjectT]
    memory: type[MemoryT]
    indexes: Mapping[str, IndexFunction]
    kind_of_source: Callable[[JsonObject], str]
    has_tried: Callable[[JsonObject, str], bool]
    field_manager: str
    conditions: frozenset[str]
    source_not_ready: str
    strict_source: bool = False
    objects_in_hand: int = 1

    @property
    def owner_label(self) -> str:
        """Label of every object that one of the kind owns."""
        return f"{self.resource.group}/name"


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """What flags decide, whatever the kind.

    Attributes:
        concurrency: objects that are worked on at once (``--concurrent``).
        requeue_dependency: seconds until the next look at what is not ready.
        retry_delays: first and longest wait in seconds after a failure under backoff.
        cross_namespace: the opposite of ``--no-cross-namespace-refs``.
        external_artifacts: gate ExternalArtifact.
        additive_expressions: the usual check of a dependency counts beside its ``readyExpr``.
        namespace: the only namespace that is watched; ``""`` for all.
        label_selector: of the objects that this shard reconciles.
        config_selector: of the ConfigMaps and Secrets whose changes wake; ``""`` for none.
        tenants: what is allowed to those who act.
        drift: how much is watched of what was applied.
        jitter: moves an interval in seconds a little.
        spread: a point within an interval, for what is in place when the controller starts.
        user_agent: of requests to other clusters.

    """

    concurrency: int = 4
    requeue_dependency: float = 30.0
    retry_delays: tuple[float, float] = (0.75, 900.0)
    cross_namespace: bool = True
    external_artifacts: bool = False
    additive_expressions: bool = False
    namespace: str = ""
    label_selector: str = ""
    config_selector: str = CONFIG_WATCH_SELECTOR
    tenants: TenantRules = field(default_factory=TenantRules)
    drift: WatchLimits = field(default_factory=WatchLimits)
    jitter: Callable[[float], float] = lambda seconds: seconds
    spread: Callable[[float], float] = lambda _seconds: 0.0
    user_agent: str = "fluvial"

    @classmethod
    def of(cls, options: CommonOptions, **own: Any) -> Self:
        """What the common options say.

        Args:
            options: with the gates AdditiveCELDependencyCheck, DisableConfigWatchers and
                ExternalArtifact.
            own: fields that they say nothing of.

        """
        gates = options.gates
        watched = options.watch_configs_label_selector
        return cls(
            concurrency=options.concurrent,
            requeue_dependency=options.requeue_dependency,
            retry_delays=(options.min_retry_delay, options.max_retry_delay),
            cross_namespace=not options.no_cross_namespace_refs,
            external_artifacts=gates["ExternalArtifact"],
            additive_expressions=gates["AdditiveCELDependencyCheck"],
            namespace=options.watch_namespace,
            label_selector=options.watch_label_selector,
            config_selector="" if gates["DisableConfigWatchers"] else watched,
            tenants=TenantRules(
                default_service_account=options.default_service_account,
                insecure_kubeconfig_exec=options.insecure_kubeconfig_exec,
                insecure_kubeconfig_tls=options.insecure_kubeconfig_tls,
            ),
            jitter=jitter(options.interval_jitter_percentage),
            spread=lambda seconds: random.uniform(0, seconds),  # noqa: S311 - spreads load
            **own,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryParts:
    """What the controller of such a kind is given.

    Attributes:
        guard: wraps clients of remote clusters so that they stop writing with a lost lease.
        clusters: finds those that ConfigMaps describe; without it none of them is used.

    """

    client: KubeClient
    informers: InformerFactory
    events: EventRecorder
    metrics: Metrics
    clock: Clock
    log: Logger
    guard: Callable[[KubeClient], KubeClient] = lambda client: client
    clusters: Clusters | None = None

    @classmethod
    def of(cls, manager: Manager, **own: Any) -> Self:
        """The parts that a manager has, once it is started, and those that it has not."""
        return cls(
            client=manager.client,
            informers=manager.informers,
            events=manager.events,
            metrics=manager.metrics,
            clock=manager.clock,
            guard=manager.guard,
            **own,
        )
