"""The controller put together from its parts, without flags or environment.

``app`` does this for the process, tests do it with their own parts. Calls are taken by every
replica, statuses are written by the leader alone.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

from aiohttp import web

from fluvial.cel.evaluator import CelEvaluator, cel_pool
from fluvial.clock import Clock
from fluvial.cloud.http import CloudHttp
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.informer import InformerFactory
from fluvial.log import Logger
from fluvial.objects import ObjectKey
from fluvial.runtime.backoff import Backoff
from fluvial.runtime.controller import Controller
from fluvial.runtime.events import EventRecorder
from fluvial.runtime.metrics import Metrics
from fluvial.runtime.patcher import StatusPatcher
from fluvial.runtime.queue import WorkQueue
from notification_controller.proof.oidc import Issuers
from notification_controller.receiver import triggers
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

    """

    concurrency: int = 4
    retry_delays: tuple[float, float] = (0.75, 900.0)
    cross_namespace: bool = True
    namespace: str = ""
    config_selector: str = "reconcile.fluxcd.io/watch=Enabled"


@dataclass(frozen=True, slots=True)
class Parts:
    """What the controller is given.

    Attributes:
        client: writes statuses, as the leader.
        everywhere: the same identity in every replica: wakes objects.
        http: asks issuers of tokens, by the dialer.

    """

    client: KubeClient
    everywhere: KubeClient
    informers: InformerFactory
    events: EventRecorder
    metrics: Metrics
    http: CloudHttp
    clock: Clock
    log: Logger


class NotificationController:
    """Everything that runs: ``receivers`` with the lease, ``expressions`` without it."""

    def __init__(self, parts: Parts, settings: Settings) -> None:
        base, cap = settings.retry_delays
        self._parts = parts
        self.queue: WorkQueue[ObjectKey] = WorkQueue(
            backoff=Backoff(base, cap), observer=parts.metrics.queue("receiver", parts.clock)
        )
        self._own = parts.informers.informer(
            kinds.RECEIVER, namespace=settings.namespace, indexes=triggers.INDEXES
        )
        self.expressions = _Expressions(size=_CEL_WORKERS, log=parts.log)
        reconciler = ReceiverReconciler(
            client=parts.client,
            patcher=StatusPatcher(
                parts.client,
                kinds.RECEIVER,
                field_manager=FIELD_MANAGER,
                owned=_OWNED_CONDITIONS,
                clock=parts.clock,
            ),
            events=parts.events,
            cel=self.expressions.cel,
            clock=parts.clock,
        )
        self.receivers: Controller[ObjectKey] = Controller(
            name="receiver",
            group=kinds.RECEIVER.group,
            kind=kinds.RECEIVER.kind,
            queue=self.queue,
            reconcile=reconciler.reconcile,
            concurrency=settings.concurrency,
            log=parts.log,
            metrics=parts.metrics,
            clock=parts.clock,
        )
        triggers.connect(
            self._own,
            parts.informers,
            self.queue,
            config_selector=settings.config_selector,
            namespace=settings.namespace,
        )
        self._server = ReceiverServer(
            client=parts.everywhere,
            store=self._own.store,
            waking=Waking(
                parts.everywhere,
                self.expressions.cel,
                clock=parts.clock,
                log=parts.log,
                cross_namespace=settings.cross_namespace,
            ),
            issuers=Issuers(parts.http, parts.clock),
            cel=self.expressions.cel,
            deliveries=Deliveries(parts.clock),
            refusals=Refusals(parts.clock),
            log=parts.log,
        )

    def webhooks(self) -> web.Application:
        """What takes calls."""
        return self._server.app(self._parts.metrics, self._parts.clock)


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
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._pool)
            await self._stopped.wait()
