"""From an event to the lanes of Providers, and from a lane to a service."""

from __future__ import annotations

import functools
from dataclasses import replace

from fluvial.api.codec import decode
from fluvial.api.notification import Provider
from fluvial.cel.evaluator import CelEvaluator
from fluvial.clock import Clock
from fluvial.cloud.identities import CloudIdentities
from fluvial.kube.client import KubeClient
from fluvial.kube.store import Store
from fluvial.log import Logger
from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime.events import EventRecorder
from fluvial.runtime.metrics import Metrics
from notification_controller.alert.choosing import DISPATCH_FAILED, Choosing
from notification_controller.alert.counting import ALERT_GONE, ALERT_SUSPENDED, Counting
from notification_controller.alert.failures import Failures, is_recovery
from notification_controller.alert.groups import Groups
from notification_controller.alert.known import KnownAlerts
from notification_controller.alert.lanes import Job, Lanes, LaneTimes
from notification_controller.alert.naming import status_name
from notification_controller.event.model import Event
from notification_controller.provider.loading import Loaded, load, send_with_fresh_token
from notification_controller.provider.message import Message
from notification_controller.provider.nats import nats
from notification_controller.provider.outgoing import SendFailed
from notification_controller.provider.sender import Sender
from notification_controller.provider.types import ALL_TYPES, NATS, tell

__all__ = ["Telling"]


class Telling:
    """Tells events.

    Args:
        client: the controller's own, of every replica.
        alerts: of all namespaces that are watched.
        providers: the same.
        sender: sends requests.
        identities: log in where a Secret is not itself what is shown to a service.
        cel: evaluates ``commitStatusExpr``.
        events: about Alerts, in the cluster alone.
        log: says what was not delivered.
        metrics: count messages.
        clock: for the lanes.
        times: of the lanes.
        cross_namespace: the opposite of ``--no-cross-namespace-refs``.

    """

    def __init__(
        self,
        client: KubeClient,
        *,
        alerts: Store,
        providers: Store,
        sender: Sender,
        identities: CloudIdentities,
        cel: CelEvaluator,
        events: EventRecorder,
        log: Logger,
        metrics: Metrics,
        clock: Clock,
        times: LaneTimes | None = None,
        cross_namespace: bool = True,
    ) -> None:
        self._client = client
        self._alerts = alerts
        self._providers = providers
        self._sender = sender
        self._identities = identities
        self._cel = cel
        self._events = events
        self._log = log
        self.lanes = Lanes(self._send, self._ended, clock=clock, log=log, times=times)
        self._groups = Groups(self._gathered, clock=clock)
        self._failures = Failures(clock)
        self._choosing = Choosing(
            client,
            KnownAlerts(alerts, log),
            providers,
            self._failures,
            self._warn,
            clock=clock,
            log=log,
            cross_namespace=cross_namespace,
        )
        self._count = Counting(metrics, lambda: self.waiting)

    @property
    def waiting(self) -> int:
        """Events that were matched and have come to no end yet."""
        return self.lanes.waiting + self._groups.waiting

    def awaits(self, event: Event) -> bool:
        """Whether an event may end a failure that was told."""
        return len(self._failures) > 0 and is_recovery(event)

    async def tell(self, event: Event, *, again: bool = False) -> int:
        """Put an event into the lanes of every Provider that an Alert of it names.

        Args:
            event: cleaned; those of one object one after the other.
            again: it was told before, and is told only where it ends a failure.

        Returns:
            How many Alerts are for it.

        """
        found = await self._choosing.choose(event, again=again)
        for chosen in found:
            self._count.matched()
            if chosen.job is None:
                self._count.ended("suppressed")
            elif chosen.window:
                self._groups.add(chosen.job, chosen.window)
            else:
                self.lanes.put(chosen.job)
        return len(found)

    async def flush(self, timeout: float) -> None:
        """Tell all that waits, also in groups, within ``timeout`` seconds; count the rest."""
        await self._groups.flush()
        await self.lanes.flush(timeout)
        self._log.info("messages accounted for", **dict(self._count.totals))

    def _gathered(self, job: Job, number: int) -> None:
        """A window has ended: the Alert may be another one by now."""
        obj = self._alerts.get(job.alert)
        if obj is None or obj["metadata"].get("uid") != job.message.alert:
            self._dropped(job, ALERT_GONE, number)
            return
        if obj["spec"].get("suspend"):
            self._dropped(job, ALERT_SUSPENDED, number)
            return
        if number > 1:
            self._count.ended("grouped", number=number - 1)
        provider = ObjectKey(job.alert.namespace, str(obj["spec"]["providerRef"]["name"]))
        self.lanes.put(replace(job, provider=provider))

    def _dropped(self, job: Job, why: str, number: int) -> None:
        self._count.ended("dropped", why, number=number)
        self._forget(job)
        log = self._log.bind(alert=str(job.alert), provider=str(job.provider))
        log.info("messages not delivered", outcome="dropped", reason=why, number=number)

    def _forget(self, job: Job) -> None:
        """What was not told may be told again."""
        for key in job.keys:
            self._failures.forget(job.alert.namespace, key)

    async def _send(self, job: Job) -> None:
        """Send one message, with the Provider as it is now.

        Raises:
            SendFailed: it was not sent.

        """
        obj = self._providers.get(job.provider)
        if obj is None:
            raise SendFailed(f"Provider '{job.provider}' does not exist any more", again=False)
        provider = decode(obj, Provider)
        spec = provider.spec
        if spec.type not in ALL_TYPES:
            raise SendFailed(
                f"the type {spec.type!r} is not supported by this version", again=False
            )
        message = await self._named(job, spec.commit_status_expr, obj)
        loaded = await load(self._client, provider, self._identities)
        settings, way = loaded.settings, loaded.way
        if spec.type == NATS:
            await self._sender.publish(
                functools.partial(nats, message, settings, tls=way.tls),
                way,
                timeout=loaded.timeout,
                secrets=loaded.secrets,
            )
            return

        async def send(loaded: Loaded) -> None:
            await self._sender.send(
                functools.partial(tell, message, loaded.settings),
                loaded.way,
                timeout=loaded.timeout,
                secrets=loaded.secrets,
            )

        async def reload(refused: str) -> Loaded:
            return await load(self._client, provider, self._identities, refused=refused)

        await send_with_fresh_token(send, loaded, reload)

    async def _named(self, job: Job, text: str, provider: JsonObject) -> Message:
        """The message with the name that the Provider gives a status."""
        alert = self._alerts.get(job.alert)
        if not text:
            return job.message
        if alert is None:
            raise SendFailed(f"Alert '{job.alert}' does not exist any more", again=False)
        name = await status_name(
            self._cel, text, event=job.message.event, alert=alert, provider=provider
        )
        return replace(job.message, status_name=name)

    def _ended(self, job: Job, outcome: str, why: str) -> None:
        """What became of a message."""
        self._count.ended(outcome, why)
        if outcome == "delivered":
            return
        self._forget(job)
        log = self._log.bind(alert=str(job.alert), provider=str(job.provider))
        log.error("message not delivered", outcome=outcome, reason=why)
        alert = self._alerts.get(job.alert)
        if alert is not None:
            about = job.message.event.involved_object
            self._warn(
                alert,
                DISPATCH_FAILED,
                f"failed to send notification for {about.kind}/{about.key}: {why}",
            )

    def _warn(self, alert: JsonObject, reason: str, message: str) -> None:
        self._events.event(alert, type="Warning", reason=reason, message=message)
