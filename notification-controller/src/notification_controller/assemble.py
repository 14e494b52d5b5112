"""The controller put together from its parts, without flags or environment.

``app`` does this for the process, tests do it with their own parts. Calls and events are taken by
every replica; statuses are written, and finalizers taken off, by the leader alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from fluvial.cel.evaluator import CelEvaluator, cel_pool
from fluvial.clock import Clock
from fluvial.cloud.http import CloudHttp
from fluvial.cloud.identities import CloudIdentities
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.informer import Informer, InformerFactory
from fluvial.kube.resource import Resource
from fluvial.log import Logger
from fluvial.net.dialer import Dialer
from fluvial.net.policy import Network
from fluvial.objects import JsonObject, ObjectKey, key_of
from fluvial.runtime.controller import Controller, controller_of
from fluvial.runtime.events import EventRecorder
from fluvial.runtime.identities import IdentityRules
from fluvial.runtime.metrics import Metrics
from fluvial.runtime.outcome import Result
from fluvial.runtime.patcher import StatusPatcher
from notification_controller.alert import releasing
from notification_controller.alert.backlog import Backlog
from notification_controller.alert.lanes import LaneTimes
from notification_controller.alert.releasing import Releasing
from notification_controller.alert.telling import Telling
from notification_controller.event.limiter import EventLimiter
from notification_controller.event.server import EventServer
from notification_controller.proof.oidc import Issuers
from notification_controller.provider.sender import Sender
from notification_controller.receiver import triggers
from notification_controller.receiver.callers import Callers
from notification_controller.receiver.memory import Deliveries, Refusals
from notification_controller.receiver.reconciler import ReceiverReconciler
from notification_controller.receiver.server import ReceiverServer
from notification_controller.receiver.waking import Waking

__all__ = ["NotificationController", "Parts", "Settings"]

FIELD_MANAGER = "gotk-notification-controller"
_CEL_WORKERS = 2
_OWNED_CONDITIONS = frozenset({"Ready", "Reconciling", "Stalled"})


@dataclass(frozen=True, slots=True)
class Settings:
    """What flags decide.

    Attributes:
        concurrency: Receivers reconciled at once (``--concurrent``).
        retry_delays: first and longest wait in seconds after a failure.
        cross_namespace: the opposite of ``--no-cross-namespace-refs``.
        namespace: the only namespace that is watched; ``""`` for all.
        config_selector: of the Secrets whose changes wake; ``""`` for none.
        event_interval: seconds for which an event that comes again is not told again.
        lanes: how Providers are tried.
        trusted_proxies: networks of proxies that say who called a webhook.
        identities: of the controller and of Providers, in clouds.

    """

    concurrency: int = 4
    retry_delays: tuple[float, float] = (0.75, 900.0)
    cross_namespace: bool = True
    namespace: str = ""
    config_selector: str = "reconcile.fluxcd.io/watch=Enabled"
    event_interval: float = 300.0
    lanes: LaneTimes = field(default_factory=LaneTimes)
    trusted_proxies: tuple[Network, ...] = ()
    identities: IdentityRules = field(default_factory=IdentityRules)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the controller is given.

    Attributes:
        client: writes statuses, as the leader.
        everywhere: the same identity in every replica: wakes objects.
        dialer: reaches Providers.
        http: asks issuers of tokens, and for tokens, by the dialer.

    """

    client: KubeClient
    everywhere: KubeClient
    informers: InformerFactory
    events: EventRecorder
    metrics: Metrics
    dialer: Dialer
    http: CloudHttp
    clock: Clock
    log: Logger


class NotificationController:
    """Everything that runs.

    Attributes:
        leading: runs with the lease.
        everywhere: runs in every replica.

    """

    def __init__(self, parts: Parts, settings: Settings) -> None:
        self._parts = parts
        self._settings = settings
        expressions = _Expressions(size=_CEL_WORKERS, log=parts.log)
        receivers, self._receiver_server = self._receivers(expressions.cel)
        alerts, alert_informer = self._released(kinds.ALERT)
        providers, provider_informer = self._released(kinds.PROVIDER)
        provider_informer.subscribe(self._forget_tokens)
        telling = Telling(
            parts.everywhere,
            alerts=alert_informer.store,
            providers=provider_informer.store,
            sender=Sender(parts.dialer),
            cel=expressions.cel,
            identities=_identities(parts, settings),
            events=parts.events,
            log=parts.log,
            metrics=parts.metrics,
            clock=parts.clock,
            times=settings.lanes,
            cross_namespace=settings.cross_namespace,
        )
        backlog = Backlog(telling, log=parts.log, metrics=parts.metrics)
        self._event_server = EventServer(
            EventLimiter(parts.clock, settings.event_interval),
            backlog.put,
            parts.log,
            again=backlog.put_again,
            is_open=backlog.is_open,
        )
        self._followed = (alert_informer, provider_informer)
        self.leading = (receivers, alerts, providers)
        self.everywhere = (expressions, backlog)

    async def wait_followed(self) -> None:
        """Wait until Alerts and Providers are known as they are now; compares with a fresh list."""
        for informer in self._followed:
            await informer.relist()

    def webhooks(self) -> web.Application:
        """What takes calls of Receivers."""
        return self._receiver_server.app(self._parts.metrics, self._parts.clock)

    def events(self) -> web.Application:
        """What takes events of controllers."""
        return self._event_server.app(self._parts.metrics, self._parts.clock)

    def _receivers(self, cel: CelEvaluator) -> tuple[Controller[ObjectKey], ReceiverServer]:
        parts, settings = self._parts, self._settings
        own = parts.informers.informer(
            kinds.RECEIVER, namespace=settings.namespace, indexes=triggers.INDEXES
        )
        reconciler = ReceiverReconciler(
            client=parts.client,
            patcher=self._patcher(kinds.RECEIVER),
            events=parts.events,
            cel=cel,
            clock=parts.clock,
            receivers=own.store,
        )
        controller = self._controller(kinds.RECEIVER, reconciler.reconcile)
        triggers.connect(
            own,
            parts.informers,
            controller.queue,
            config_selector=settings.config_selector,
            namespace=settings.namespace,
        )
        server = ReceiverServer(
            client=parts.everywhere,
            store=own.store,
            waking=Waking(
                parts.everywhere,
                cel,
                clock=parts.clock,
                log=parts.log,
                cross_namespace=settings.cross_namespace,
            ),
            issuers=Issuers(parts.http, parts.clock),
            cel=cel,
            deliveries=Deliveries(parts.clock),
            refusals=Refusals(parts.clock),
            log=parts.log,
            callers=Callers(settings.trusted_proxies),
        )
        return controller, server

    def _released(self, resource: Resource) -> tuple[Controller[ObjectKey], Informer]:
        informer = self._parts.informers.informer(resource, namespace=self._settings.namespace)
        reconciler = Releasing(self._parts.client, resource, self._patcher(resource))
        controller = self._controller(resource, reconciler.reconcile)
        releasing.connect(informer, controller.queue)
        return controller, informer

    def _forget_tokens(self, old: JsonObject | None, new: JsonObject | None) -> None:
        """A Provider is gone: so is what is counted of it."""
        if old is not None and new is None:
            key = key_of(old)
            labels = {"kind": "Provider", "name": key.name, "namespace": key.namespace}
            self._parts.metrics.token_events.remove_by_labels(labels)

    def _patcher(self, resource: Resource) -> StatusPatcher:
        return StatusPatcher(
            self._parts.client,
            resource,
            field_manager=FIELD_MANAGER,
            owned=_OWNED_CONDITIONS,
            clock=self._parts.clock,
        )

    def _controller(
        self, resource: Resource, reconcile: Callable[[ObjectKey], Awaitable[Result]]
    ) -> Controller[ObjectKey]:
        parts, settings = self._parts, self._settings
        return controller_of(
            resource,
            reconcile,
            concurrency=settings.concurrency,
            retry_delays=settings.retry_delays,
            log=parts.log,
            metrics=parts.metrics,
            clock=parts.clock,
        )


def _identities(parts: Parts, settings: Settings) -> CloudIdentities:
    return settings.identities.identities(
        parts.http,
        parts.everywhere,
        clock=parts.clock,
        metrics=parts.metrics,
        operation="post",
    )


class _Expressions:
    """The worker processes for expressions, as a runnable of the manager."""

    name = "expressions"

    def __init__(self, *, size: int, log: Logger) -> None:
        self._pool = cel_pool(size=size, log=log)
        self.cel = CelEvaluator(self._pool)
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """End the processes."""
        self._stopped.set()

    async def run(self) -> None:
        """Keep the pool open."""
        async with self._pool:
            await self._stopped.wait()
