"""Which Alerts tell of an event, and in which words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fluvial.api.codec import InvalidObject, decode
from fluvial.api.notification import Provider
from fluvial.clock import Clock
from fluvial.durations import format_duration
from fluvial.errors import FluvialError
from fluvial.kube.client import KubeClient
from fluvial.kube.store import Store
from fluvial.log import Logger
from fluvial.objects import JsonObject, ObjectKey, key_of, labels_of
from notification_controller.alert.failures import Failure, Failures, failure_key, is_recovery
from notification_controller.alert.known import KnownAlert, KnownAlerts
from notification_controller.alert.lanes import Job
from notification_controller.alert.matching import Match, match
from notification_controller.alert.merging import merge
from notification_controller.alert.rules import CHANGE_REQUESTS, COMMIT_STATUSES, is_for
from notification_controller.alert.wishes import Wishes
from notification_controller.event.model import Event, InvolvedObject
from notification_controller.provider.message import Message
from notification_controller.provider.outgoing import SendFailed
from notification_controller.receiver.waking import RESOURCES

__all__ = [
    "DISPATCH_FAILED",
    "INVALID_CONFIG",
    "METADATA_FAILED",
    "SOURCE_FETCH_FAILED",
    "Choosing",
    "Chosen",
]

DISPATCH_FAILED = "NotificationDispatchFailed"
INVALID_CONFIG = "InvalidConfig"
METADATA_FAILED = "MetadataAppendFailed"
SOURCE_FETCH_FAILED = "SourceFetchFailed"

_OF_EACH_COMMIT = COMMIT_STATUSES | CHANGE_REQUESTS
_COMMIT_STATUS = "commit_status"


@dataclass(frozen=True, slots=True)
class Chosen:
    """A message that an Alert tells.

    Attributes:
        job: of its Provider; ``None`` where its failure was told before.
        window: seconds for which others of the Alert are awaited.

    """

    job: Job | None
    window: float = 0.0


@dataclass(frozen=True, slots=True)
class Choosing:
    """Chooses. Events of one object must come one after the other.

    Attributes:
        client: reads labels of objects.
        alerts: of all namespaces that are watched.
        providers: the same.
        failures: that were told.
        warn: told an Alert, a reason and a message.
        cross_namespace: the opposite of ``--no-cross-namespace-refs``.

    """

    client: KubeClient
    alerts: KnownAlerts
    providers: Store
    failures: Failures
    warn: Callable[[JsonObject, str, str], None]
    clock: Clock
    log: Logger
    cross_namespace: bool = True

    async def choose(self, event: Event, *, again: bool = False) -> list[Chosen]:
        """What the Alerts tell of an event; one that cannot keeps no other from it.

        Args:
            event: cleaned.
            again: it was told before, and is told only where it ends a failure.

        """
        chosen = []
        for known in self.alerts.about(event.involved_object):
            try:
                found = await self._choose(known, event, again=again)
            except InvalidObject as error:
                self.log.error("a Provider does not have its kind's shape", error=str(error))
                continue
            if found is not None:
                chosen.append(found)
        return chosen

    async def _choose(self, known: KnownAlert, event: Event, *, again: bool) -> Chosen | None:
        alert, wishes = known.alert, known.wishes
        found = match(alert, event)
        if found.about and not alert.spec.suspend and not again:
            self._check(known, found)
        ended = self._ended_failure(known, event) if found.about else None
        if ended is None and (again or not found.told):
            return None
        if not await self._may_tell(known, event, found, ended):
            return None
        provider = self._provider(known)
        if provider is None or provider.spec.suspend:
            return None
        if ended is None and not is_for(provider.spec.type, event):
            return None
        wishes = self._wishes(known, provider)
        keys: tuple[bytes, ...] = ()
        if event.is_error and wishes.remembers:
            keys = (failure_key(alert.metadata.uid, event),)
            if self._is_old(known, keys[0], event) and wishes.once:
                return Chosen(None)
        return Chosen(self._job(known, provider, event, ended, keys), wishes.window)

    def _check(self, known: KnownAlert, found: Match) -> None:
        invalid = (*found.invalid, *known.wishes.invalid)
        if invalid:
            self.warn(known.obj, INVALID_CONFIG, "; ".join(invalid))

    def _ended_failure(self, known: KnownAlert, event: Event) -> Failure | None:
        """The failure whose end is to be told; whatever the severity and words the Alert wants."""
        alert, wishes = known.alert, known.wishes
        if not wishes.remembers or not is_recovery(event):
            return None
        key = failure_key(alert.metadata.uid, event)
        ended = self.failures.cleared(alert.metadata.namespace, key, event)
        return ended if wishes.recovery and not alert.spec.suspend else None

    async def _may_tell(
        self, known: KnownAlert, event: Event, found: Match, ended: Failure | None
    ) -> bool:
        # Who was told of a failure may be told of its end; labels were looked at then.
        if ended is None and not await self._has_labels(known.obj, event.involved_object, found):
            return False
        own, about = known.alert.metadata.namespace, event.involved_object
        if about.namespace == own or self.cross_namespace:
            return True
        self.warn(
            known.obj,
            DISPATCH_FAILED,
            f"alert '{key_of(known.obj)}' can't process event from '{about.kind}/{about.key}',"
            " cross-namespace references have been blocked",
        )
        return False

    def _wishes(self, known: KnownAlert, provider: Provider) -> Wishes:
        """What the Alert asks for, where the Provider can do that."""
        if provider.spec.type in _OF_EACH_COMMIT and known.wishes.any:
            self.warn(
                known.obj,
                INVALID_CONFIG,
                "annotations of fluvial.dev do not count: the Provider is of type"
                f" {provider.spec.type}, which is told of each commit",
            )
            return Wishes()
        return known.wishes

    def _is_old(self, known: KnownAlert, key: bytes, event: Event) -> bool:
        """Whether a failure was told before; it is remembered if not."""
        namespace = known.alert.metadata.namespace
        if self.failures.is_known(namespace, key, event):
            return True
        self.failures.remember(namespace, key, event)
        return False

    def _job(
        self,
        known: KnownAlert,
        provider: Provider,
        event: Event,
        ended: Failure | None,
        keys: tuple[bytes, ...],
    ) -> Job:
        alert, obj = known.alert, known.obj
        merged = merge(event, alert)
        if merged.conflicts:
            self._tell_conflicts(obj, merged.conflicts)
        said = merged.event if ended is None else self._recovered(merged.event, ended)
        message = Message(said, alert.metadata.uid, provider.metadata.uid, str(key_of(obj)))
        key = ObjectKey(alert.metadata.namespace, provider.metadata.name)
        return Job(key, key_of(obj), message, keys)

    def _recovered(self, event: Event, ended: Failure) -> Event:
        """An event that says of which failure it is the end."""
        lasted = format_duration(float(round(self.clock.monotonic() - ended.began)))
        facts = {name: text for name, text in event.metadata.items() if name != _COMMIT_STATUS}
        facts |= {"recoveredFrom": ended.reason, "failedFor": lasted}
        return event.saying(
            f"recovered from {ended.reason} after {lasted}: {event.message}",
            dict(sorted(facts.items())),
        )

    async def _has_labels(self, obj: JsonObject, about: InvolvedObject, found: Match) -> bool:
        if not found.labels:
            return True
        resource = RESOURCES.get(about.kind)
        try:
            if resource is None:
                raise SendFailed(f"the kind {about.kind!r} is not known", again=False)
            live = await self.client.get(resource, about.key, metadata_only=True)
        except FluvialError as error:
            self.warn(obj, SOURCE_FETCH_FAILED, f"cannot read {about.kind}/{about.key}: {error}")
            return False
        labels = labels_of(live)
        return any(
            all(labels.get(name) == value for name, value in wanted.items())
            for wanted in found.labels
        )

    def _provider(self, known: KnownAlert) -> Provider | None:
        alert = known.alert
        key = ObjectKey(alert.metadata.namespace, alert.spec.provider_ref.name)
        obj = self.providers.get(key)
        if obj is None:
            self.warn(known.obj, DISPATCH_FAILED, f"Provider '{key}' does not exist")
            return None
        return decode(obj, Provider)

    def _tell_conflicts(self, obj: JsonObject, conflicts: Mapping[str, tuple[str, ...]]) -> None:
        names = ", ".join(f"{name} ({', '.join(who)})" for name, who in conflicts.items())
        self.warn(
            obj,
            METADATA_FAILED,
            f"metadata key conflicts detected, the last source counts: {names}",
        )
