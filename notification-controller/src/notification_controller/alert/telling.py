"""From an event to the lanes of Providers, and from a lane to a service."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace

from fluvial.api.codec import InvalidObject, decode
from fluvial.api.notification import Alert, Provider
from fluvial.cel.evaluator import CelEvaluator
from fluvial.clock import Clock
from fluvial.cloud.identities import CloudIdentities
from fluvial.errors import FluvialError
from fluvial.kube.client import KubeClient
from fluvial.kube.store import Store
from fluvial.log import Logger
from fluvial.objects import JsonObject, ObjectKey, key_of, labels_of
from fluvial.runtime.events import EventRecorder
from fluvial.runtime.metrics import Metrics
from notification_controller.alert.lanes import Job, Lanes, LaneTimes
from notification_controller.alert.matching import Match, match
from notification_controller.alert.merging import merge
from notification_controller.alert.naming import status_name
from notification_controller.alert.rules import is_for
from notification_controller.event.model import Event, InvolvedObject
from notification_controller.provider.loading import load
from notification_controller.provider.message import Message
from notification_controller.provider.nats import nats
from notification_controller.provider.outgoing import SendFailed
from notification_controller.provider.sender import Sender
from notification_controller.provider.types import ALL_TYPES, NATS, tell
from notification_controller.receiver.waking import RESOURCES

__all__ = ["Telling"]


DISPATCH_FAILED = "NotificationDispatchFailed"
INVALID_CONFIG = "InvalidConfig"
METADATA_FAILED = "MetadataAppendFailed"
SOURCE_FETCH_FAILED = "SourceFetchFailed"


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
        self._cross_namespace = cross_namespace
        self.lanes = Lanes(self._send, self._ended, clock=clock, log=log, times=times)
        self._counted = metrics.counter(
            "fluvial_notifications_total",
            "Messages by what became of them: delivered, failed or dropped.",
            ("outcome",),
        )

    async def tell(self, event: Event) -> int:
        """Put an event into the lanes of every Provider that an Alert of it names.

        Args:
            event: cleaned, not told before.

        Returns:
            How many lanes got it.

        """
        jobs = []
        for obj in self._alerts.list():
            try:
                job = await self._job(obj, event)
            except InvalidObject as error:
                self._log.error("an Alert does not have its kind's shape", error=str(error))
                continue
            if job is not None:
                jobs.append(job)
        for job in jobs:
            self.lanes.put(job)
        return len(jobs)

    async def _job(self, obj: JsonObject, event: Event) -> Job | None:
        alert = decode(obj, Alert)
        found = match(alert, event)
        if found.invalid:
            self._warn(obj, INVALID_CONFIG, "; ".join(found.invalid))
        if not found.told or not await self._has_labels(obj, event.involved_object, found):
            return None
        own = alert.metadata.namespace
        if event.involved_object.namespace != own and not self._cross_namespace:
            self._warn(
                obj,
                DISPATCH_FAILED,
                f"alert '{key_of(obj)}' can't process event from"
                f" '{event.involved_object.kind}/{event.involved_object.key}',"
                " cross-namespace references have been blocked",
            )
            return None
        provider = await self._provider(obj, ObjectKey(own, alert.spec.provider_ref.name))
        if provider is None or provider.spec.suspend or not is_for(provider.spec.type, event):
            return None
        merged = merge(event, alert)
        if merged.conflicts:
            self._tell_conflicts(obj, merged.conflicts)
        message = Message(merged.event, alert.metadata.uid, provider.metadata.uid, str(key_of(obj)))
        key = ObjectKey(own, provider.metadata.name)
        return Job(key, key_of(obj), message)

    async def _has_labels(self, obj: JsonObject, about: InvolvedObject, found: Match) -> bool:
        if not found.labels:
            return True
        resource = RESOURCES.get(about.kind)
        try:
            if resource is None:
                raise SendFailed(f"the kind {about.kind!r} is not known", again=False)
            live = await self._client.get(resource, about.key, metadata_only=True)
        except FluvialError as error:
            self._warn(obj, SOURCE_FETCH_FAILED, f"cannot read {about.kind}/{about.key}: {error}")
            return False
        labels = labels_of(live)
        return any(
            all(labels.get(name) == value for name, value in wanted.items())
            for wanted in found.labels
        )

    async def _provider(self, alert: JsonObject, key: ObjectKey) -> Provider | None:
        obj = self._providers.get(key)
        if obj is None:
            self._warn(alert, DISPATCH_FAILED, f"Provider '{key}' does not exist")
            return None
        return decode(obj, Provider)

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
        if spec.service_account_name:
            raise SendFailed(
                "spec.serviceAccountName is not supported by this version", again=False
            )
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
        await self._sender.send(
            functools.partial(tell, message, settings),
            way,
            timeout=loaded.timeout,
            secrets=loaded.secrets,
        )

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
        self._counted.labels(outcome).inc()
        if outcome == "delivered":
            return
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

    def _tell_conflicts(self, obj: JsonObject, conflicts: Mapping[str, tuple[str, ...]]) -> None:
        names = ", ".join(f"{name} ({', '.join(who)})" for name, who in conflicts.items())
        self._warn(
            obj,
            METADATA_FAILED,
            f"metadata key conflicts detected, the last source counts: {names}",
        )

    def _warn(self, alert: JsonObject, reason: str, message: str) -> None:
        self._events.event(alert, type="Warning", reason=reason, message=message)
