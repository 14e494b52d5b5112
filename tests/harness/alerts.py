"""Alerts without a cluster: what they tell is kept instead of sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from fluvial.clock import RealClock
from fluvial.kube.store import Store
from fluvial.log import get_logger
from fluvial.objects import JsonObject
from fluvial.runtime.metrics import Metrics
from notification_controller.alert.lanes import Job, LaneTimes
from notification_controller.alert.telling import Telling
from notification_controller.event.model import Event, InvolvedObject
from notification_controller.provider.outgoing import SendFailed

__all__ = ["GROUP", "Cluster", "LoopClock", "Recording", "event", "running", "tell"]

GROUP = "kustomize.toolkit.fluxcd.io"


class LoopClock(RealClock):
    """The event loop's time."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class Recording(Telling):
    """Sends nothing; keeps what it would have sent.

    Attributes:
        sent: jobs that were delivered.
        warned: reason and message of the events about Alerts.
        refuses: whether the service takes nothing.

    """

    def __init__(self, alerts: Store, providers: Store, metrics: Metrics) -> None:
        unused: Any = None
        self.sent: list[Job] = []
        self.warned: list[tuple[str, str]] = []
        self.refuses = False
        super().__init__(
            unused,
            alerts=alerts,
            providers=providers,
            sender=unused,
            identities=unused,
            cel=unused,
            events=cast("Any", self),
            log=get_logger("test"),
            metrics=metrics,
            clock=LoopClock(),
            times=LaneTimes(patience=0.0, burst=1000),
        )

    def event(self, _: JsonObject, **said: str) -> None:
        """In place of the recorder's."""
        self.warned.append((said["reason"], said["message"]))

    async def _send(self, job: Job) -> None:
        if self.refuses:
            raise SendFailed("no", again=False)
        self.sent.append(job)

    @property
    def told(self) -> list[str]:
        return [f"{event.reason}: {event.message}" for event in self.events]

    @property
    def events(self) -> list[Event]:
        return [job.message.event for job in self.sent]


@dataclass
class Cluster:
    """One Provider, and Alerts that change."""

    annotations: dict[str, str] = field(default_factory=dict)
    type_: str = "slack"
    metrics: Metrics = field(default_factory=Metrics)
    version: int = 0

    def __post_init__(self) -> None:
        self.alerts, self.providers = Store(), Store()
        head = {"name": "chat", "namespace": "team", "uid": "p", "resourceVersion": "1"}
        self.providers.put({"metadata": head, "spec": {"type": self.type_, "address": "x"}})
        self.alert()
        self.telling = Recording(self.alerts, self.providers, self.metrics)

    def alert(self, name: str = "all", uid: str = "a", **spec: Any) -> None:
        """Make or change the Alert."""
        self.version += 1
        head = {
            "name": name,
            "namespace": "team",
            "uid": uid,
            "resourceVersion": str(self.version),
            "annotations": self.annotations,
        }
        sources = [{"kind": kind, "name": "*"} for kind in ("Kustomization", "GitRepository")]
        fields = {"providerRef": {"name": "chat"}, "eventSources": sources} | spec
        self.alerts.put({"metadata": head, "spec": fields})

    def count(self, line: str) -> float:
        """The value of a metric."""
        text = self.metrics.render().decode()
        found = [one for one in text.splitlines() if one.startswith(f"fluvial_{line} ")]
        return float(found[0].rpartition(" ")[2]) if found else 0.0

    def outcomes(self) -> dict[str, float]:
        """What became of everything that matched."""
        names = ("delivered", "failed", "dropped", "grouped", "suppressed")
        all_of = {n: self.count(f'notifications_total{{outcome="{n}"}}') for n in names}
        return {name: number for name, number in all_of.items() if number}

    def closes(self) -> bool:
        """Whether the account of what matched closes."""
        waits = self.count("notifications_waiting")
        return self.count("alerted_events_total") == sum(self.outcomes().values()) + waits


@asynccontextmanager
async def running(cluster: Cluster) -> AsyncIterator[Recording]:
    """Flushed at the end."""
    try:
        yield cluster.telling
    finally:
        await cluster.telling.flush(1)


def event(reason: str, message: str = "x", **fields: Any) -> Event:
    """An event of a Kustomization; an error where the reason says so."""
    about = {"kind": "Kustomization", "name": "app", "uid": "1"}
    about |= {name: fields.pop(name) for name in tuple(fields) if name in about}
    involved = InvolvedObject(api_version=f"{GROUP}/v1", namespace="team", **about)
    defaults = {
        "severity": "error" if "Fail" in reason else "info",
        "timestamp": "2026-11-23T10:00:00Z",
        "reporting_controller": "kustomize-controller",
    }
    return Event(involved_object=involved, message=message, reason=reason, **defaults | fields)


async def tell(telling: Recording, *events: Event) -> None:
    """Tell events, with time to send each."""
    for one in events:
        await telling.tell(one)
        await asyncio.sleep(0.001)
