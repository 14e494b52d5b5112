"""The controller put together from its parts, without flags or environment.

``app`` does this for the process, tests do it with their own parts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fluvial.artifact.cache import remove_tree
from fluvial.artifact.storage import Storage
from fluvial.artifact.tar import UnpackLimits
from fluvial.artifact.threads import in_thread
from fluvial.clock import Clock
from fluvial.kube.client import KubeClient
from fluvial.kube.informer import InformerFactory
from fluvial.kube.kinds import GIT_REPOSITORY
from fluvial.log import Logger
from fluvial.objects import ObjectKey, key_of
from fluvial.runtime.backoff import Backoff
from fluvial.runtime.controller import Controller
from fluvial.runtime.events import EventRecorder
from fluvial.runtime.metrics import Metrics
from fluvial.runtime.patcher import StatusPatcher
from fluvial.runtime.queue import WorkQueue
from source_controller.git.client import GitClient, git_pool
from source_controller.git.model import Limits
from source_controller.gitrepository import reasons, triggers
from source_controller.gitrepository.fetching import SourceStep
from source_controller.gitrepository.finish import Finish
from source_controller.gitrepository.including import IncludeStep
from source_controller.gitrepository.reconciler import GitRepositoryReconciler
from source_controller.gitrepository.run import StatusWriter
from source_controller.gitrepository.storing import KIND, ArtifactStep, StorageStep

__all__ = ["FIELD_MANAGER", "Parts", "Settings", "SourceController"]

FIELD_MANAGER = "source-controller"
_WORK = ".work"


@dataclass(frozen=True, slots=True)
class Settings:
    """What flags decide.

    Attributes:
        concurrency: objects at once (``--concurrent``), and git processes.
        requeue_dependency: seconds until the next look at what an object waits for.
        retry_delays: first and longest wait in seconds after a failure.
        namespace: the only namespace that is watched; ``""`` for all.
        label_selector: of the objects that this shard reconciles.
        limits: of one repository.
        jitter: spreads an interval in seconds.

    """

    concurrency: int = 2
    requeue_dependency: float = 30.0
    retry_delays: tuple[float, float] = (0.75, 900.0)
    namespace: str = ""
    label_selector: str = ""
    limits: Limits = field(default_factory=Limits)
    jitter: Callable[[float], float] = lambda seconds: seconds


@dataclass(frozen=True, slots=True)
class Parts:
    """What the controller is given.

    Attributes:
        storage: not started yet.
        storage_address: gives the address that artifact URLs get, once it is known.

    """

    client: KubeClient
    informers: InformerFactory
    events: EventRecorder
    metrics: Metrics
    storage: Storage
    clock: Clock
    log: Logger
    storage_address: Callable[[], str]


class SourceController:
    """Everything that runs: a runnable for the manager."""

    name = "gitrepository"

    def __init__(self, parts: Parts, settings: Settings) -> None:
        base, cap = settings.retry_delays
        self.queue: WorkQueue[ObjectKey] = WorkQueue(
            backoff=Backoff(base, cap), observer=parts.metrics.queue(self.name, parts.clock)
        )
        self._parts = parts
        self._own = parts.informers.informer(
            GIT_REPOSITORY,
            namespace=settings.namespace,
            label_selector=settings.label_selector,
            indexes=triggers.INDEXES,
        )
        self._everyone = (
            parts.informers.informer(GIT_REPOSITORY, namespace=settings.namespace)
            if settings.label_selector
            else self._own
        )
        self._pool = git_pool(size=settings.concurrency, log=parts.log)
        self._work = parts.storage.base / _WORK
        self._reconciler = self._make_reconciler(settings)
        self._controller: Controller[ObjectKey] = Controller(
            name=self.name,
            group=GIT_REPOSITORY.group,
            kind=GIT_REPOSITORY.kind,
            queue=self.queue,
            reconcile=self._reconciler.reconcile,
            concurrency=settings.concurrency,
            log=parts.log,
            metrics=parts.metrics,
            clock=parts.clock,
        )
        triggers.connect(self._own, self._everyone, self.queue)

    def stop(self) -> None:
        """Take no new key; ``run`` returns when those in hand are done."""
        self._controller.stop()

    async def run(self) -> None:
        """Prepare the storage, then reconcile until ``stop`` or until cancelled."""
        storage = self._parts.storage
        storage.adv_addr = self._parts.storage_address()
        await in_thread(lambda _: remove_tree(self._work))
        await storage.start()
        await self._own.wait_synced()
        await self._everyone.wait_synced()
        await storage.collect_orphans(KIND, {key_of(obj) for obj in self._own.store.list()})
        async with self._pool:
            await self._controller.run()

    def _make_reconciler(self, settings: Settings) -> GitRepositoryReconciler:
        parts = self._parts
        patcher = StatusPatcher(
            parts.client,
            GIT_REPOSITORY,
            field_manager=FIELD_MANAGER,
            owned=reasons.OWNED,
            clock=parts.clock,
        )
        writer = StatusWriter(patcher)
        unpack_limits = UnpackLimits(
            max_bytes=settings.limits.max_tree_bytes,
            max_file_bytes=settings.limits.max_file_bytes,
            max_entries=settings.limits.max_entries,
        )
        return GitRepositoryReconciler(
            client=parts.client,
            patcher=patcher,
            writer=writer,
            storage=parts.storage,
            storing=StorageStep(parts.storage, parts.events, writer),
            including=IncludeStep(parts.client, parts.storage, writer, unpack_limits),
            fetching=SourceStep(parts.client, GitClient(self._pool), writer, settings.limits),
            archiving=ArtifactStep(parts.storage, parts.events),
            finish=Finish(
                writer,
                parts.events,
                log=parts.log,
                requeue_dependency=settings.requeue_dependency,
                jitter=settings.jitter,
            ),
            events=parts.events,
            clock=parts.clock,
            log=parts.log,
            work=self._work,
            forget=lambda key: parts.metrics.delete_object(GIT_REPOSITORY.kind, key),
        )
