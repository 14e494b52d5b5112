"""What every kind of source is built with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fluvial.artifact.storage import Storage
from fluvial.clock import Clock
from fluvial.kube.client import KubeClient
from fluvial.kube.resource import Resource
from fluvial.log import Logger
from fluvial.objects import ObjectKey
from fluvial.runtime.events import EventRecorder
from fluvial.runtime.patcher import StatusPatcher
from source_controller.source.reasons import Summary
from source_controller.source.run import StatusWriter

__all__ = ["FIELD_MANAGER", "Tools"]

FIELD_MANAGER = "source-controller"


@dataclass(frozen=True, slots=True)
class Tools:
    """The same for all kinds of one process.

    Attributes:
        client: under the controller's own identity.
        storage: of artifacts.
        events: for people and notification-controller.
        clock: the time.
        log: the controller's.
        work: folder for what runs need; emptied at the start of the process.
        requeue_dependency: seconds until what waits for another object is looked at again.
        jitter: spreads an interval in seconds.
        forget: called with kind and key when an object is gone, such as to drop its metrics.
        progress_after: seconds that a run takes until its progress is written.

    """

    client: KubeClient
    storage: Storage
    events: EventRecorder
    clock: Clock
    log: Logger
    work: Path
    requeue_dependency: float
    jitter: Callable[[float], float]
    forget: Callable[[str, ObjectKey], None]
    progress_after: float = 0.0

    def writer(self, resource: Resource, summary: Summary) -> StatusWriter:
        """For the statuses and finalizers of one kind."""
        patcher = StatusPatcher(
            self.client,
            resource,
            field_manager=FIELD_MANAGER,
            owned=summary.owned,
            clock=self.clock,
        )
        return StatusWriter(patcher, progress_after=self.progress_after)
