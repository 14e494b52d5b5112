"""The controller put together from its parts, without flags or environment.

``app`` does this for the process, tests do it with their own parts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from fluvial.artifact.cache import remove_tree
from fluvial.artifact.errors import StorageUnusable
from fluvial.artifact.storage import Storage
from fluvial.artifact.tar import UnpackLimits
from fluvial.artifact.threads import in_thread
from fluvial.clock import Clock
from fluvial.cloud.http import CloudHttp
from fluvial.cloud.identities import CloudIdentities
from fluvial.kube.client import KubeClient
from fluvial.kube.informer import Informer, InformerFactory
from fluvial.kube.resource import Resource
from fluvial.log import Logger
from fluvial.net.dialer import Dialer
from fluvial.net.gateway import Gateway
from fluvial.objects import ObjectKey, key_of
from fluvial.runtime.controller import controller_of
from fluvial.runtime.events import EventRecorder
from fluvial.runtime.identities import IdentityRules
from fluvial.runtime.metrics import Metrics
from fluvial.runtime.outcome import Result
from fluvial.runtime.queue import WorkQueue
from source_controller.artifactgenerator.parts import Generators
from source_controller.bucket.opening import Stores
from source_controller.bucket.reconciler import bucket
from source_controller.bucket.stores.model import Limits as BucketLimits
from source_controller.git.client import GitClient, git_pool
from source_controller.git.model import Limits
from source_controller.gitrepository.reconciler import git_repository
from source_controller.helm.client import HelmJobs, helm_pool
from source_controller.helmchart.reconciler import ChartLimits, helm_chart
from source_controller.helmrepository.reconciler import helm_repository
from source_controller.oci.registries import Registries
from source_controller.ocirepository.reconciler import oci_repository
from source_controller.source.kind import SourceKind, Wiring
from source_controller.source.shard import Shard
from source_controller.source.tools import Tools
from source_controller.web.client import WebClient

__all__ = ["Parts", "Settings", "SourceController"]

_WORK = ".work"


@dataclass(frozen=True, slots=True)
class Settings:
    """What flags decide.

    Attributes:
        concurrency: objects of each kind at once (``--concurrent``), and git processes.
        requeue_dependency: seconds until the next look at what an object waits for.
        retry_delays: first and longest wait in seconds after a failure.
        namespace: the only namespace that is watched; ``""`` for all.
        label_selector: of the objects that this shard reconciles.
        limits: of one Git repository.
        max_index_bytes: of the index of one Helm repository.
        max_chart_bytes: of one Helm chart, packaged.
        max_chart_file_bytes: of one file in a Helm chart.
        cross_namespace: generators may name sources in other namespaces.
        http_retry: attempts after the first to fetch an artifact that is stored elsewhere.
        jitter: spreads an interval in seconds.
        progress_after: seconds that a run takes until its progress is written.
        identities: of the controller and of objects, in clouds.

    """

    concurrency: int = 2
    requeue_dependency: float = 30.0
    retry_delays: tuple[float, float] = (0.75, 900.0)
    namespace: str = ""
    label_selector: str = ""
    limits: Limits = field(default_factory=Limits)
    max_index_bytes: int = 50 << 20
    max_chart_bytes: int = 10 << 20
    max_chart_file_bytes: int = 5 << 20
    cross_namespace: bool = True
    http_retry: int = 9
    jitter: Callable[[float], float] = lambda seconds: seconds
    progress_after: float = 0.25
    identities: IdentityRules = field(default_factory=IdentityRules)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the controller is given.

    Attributes:
        storage: not started yet.
        dialer: connects to what the sources name.
        storage_address: gives the address that artifact URLs get, once it is known.
        identities: logs in to clouds; made of the other parts and the settings if ``None``.

    """

    client: KubeClient
    informers: InformerFactory
    events: EventRecorder
    metrics: Metrics
    storage: Storage
    dialer: Dialer
    clock: Clock
    log: Logger
    storage_address: Callable[[], str]
    identities: CloudIdentities | None = None


class SourceController:
    """Everything that runs: a runnable for the manager.

    Each kind has a queue and workers of its own; what several kinds use is made here and given to
    each. A further kind is one line in ``_kinds``.
    """

    name = "sources"

    def __init__(self, parts: Parts, settings: Settings) -> None:
        self._parts = parts
        self._stopping = False
        self._starting: asyncio.Task[None] | None = None
        self._work = parts.storage.base / _WORK
        self._git = git_pool(size=settings.concurrency, log=parts.log)
        self._gateway = Gateway(parts.dialer, log=parts.log)
        self._helm = helm_pool(
            size=settings.concurrency, max_index_bytes=settings.max_index_bytes, log=parts.log
        )
        self._registries = Registries(parts.dialer, clock=parts.clock)
        self._identities = parts.identities or _identities(parts, settings)
        tools = _tools(parts, settings, self._work)
        self._generators = Generators(
            tools,
            informers=parts.informers,
            dialer=parts.dialer,
            limits=_unpack_limits(settings),
            concurrency=settings.concurrency,
            namespace=settings.namespace,
            retries=settings.http_retry,
        )
        self._running = [
            _RunningKind(kind, parts, settings) for kind in self._kinds(tools, settings)
        ]

    def _kinds(self, tools: Tools, settings: Settings) -> tuple[SourceKind, ...]:
        git = GitClient(self._git, self._gateway)
        web = WebClient(lambda tls: self._parts.dialer.connector(tls=tls))
        return (
            git_repository(tools, git=git, identities=self._identities, limits=settings.limits),
            helm_repository(
                tools,
                web=web,
                jobs=HelmJobs(self._helm),
                max_index_bytes=settings.max_index_bytes,
            ),
            oci_repository(
                tools,
                registries=self._registries,
                identities=self._identities,
                limits=_unpack_limits(settings),
            ),
            helm_chart(
                tools,
                web=web,
                registries=self._registries,
                identities=self._identities,
                jobs=HelmJobs(self._helm),
                limits=ChartLimits(
                    index=settings.max_index_bytes,
                    package=settings.max_chart_bytes,
                    file=settings.max_chart_file_bytes,
                    source=_unpack_limits(settings),
                ),
            ),
            bucket(tools, stores=self._stores(settings)),
            self._generators.kind(cross_namespace=settings.cross_namespace),
        )

    def _stores(self, settings: Settings) -> Stores:
        limits = settings.limits
        return Stores(
            self._parts.dialer,
            self._identities,
            clock=self._parts.clock,
            limits=BucketLimits(
                max_entries=limits.max_entries,
                max_object=limits.max_file_bytes,
                max_total=limits.max_tree_bytes,
            ),
        )

    def queue_of(self, resource: Resource) -> WorkQueue[ObjectKey]:
        """The queue of one kind."""
        return next(kind.queue for kind in self._running if kind.resource == resource)

    def stop(self) -> None:
        """Take no new key; ``run`` returns when those in hand are done."""
        self._stopping = True
        if self._starting is not None:
            self._starting.cancel()
        for kind in self._running:
            kind.controller.stop()

    async def run(self) -> None:
        """Prepare the storage, then reconcile until ``stop`` or until cancelled.

        Raises:
            StorageUnusable: another process has it, it cannot be written, or it went away.

        """
        try:
            await self._run()
        except ExceptionGroup as group:
            if len(group.exceptions) == 1 and isinstance(group.exceptions[0], StorageUnusable):
                raise group.exceptions[0] from None
            raise

    async def _run(self) -> None:
        storage = self._parts.storage
        storage.adv_addr = self._parts.storage_address()
        async with AsyncExitStack() as stack:
            stack.callback(storage.stop)
            if not await self._start_storage():
                return
            await in_thread(lambda _: remove_tree(self._work))
            for kind in self._running:
                await kind.wait_synced()
                await kind.collect_orphans()
            await stack.enter_async_context(self._gateway)
            await stack.enter_async_context(self._git)
            await stack.enter_async_context(self._helm)
            await stack.enter_async_context(self._registries)
            await stack.enter_async_context(self._generators)
            async with asyncio.TaskGroup() as beside:
                others = [beside.create_task(storage.watch(), name="storage")]
                async with asyncio.TaskGroup() as group:
                    for kind in self._running:
                        name = kind.controller.name
                        group.create_task(kind.controller.run(), name=name)
                        check = beside.create_task(kind.check_stored(), name=f"{name}-stored")
                        others.append(check)
                for other in others:
                    other.cancel()

    async def _start_storage(self) -> bool:
        """Wait for the storage, but not beyond ``stop``, which makes it False."""
        if self._stopping:
            return False
        self._starting = asyncio.create_task(self._parts.storage.start(), name="storage")
        try:
            await self._starting
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return False
        finally:
            self._starting = None
        return True


class _RunningKind:
    """One kind with its queue, workers and informers."""

    def __init__(self, kind: SourceKind, parts: Parts, settings: Settings) -> None:
        self.resource = kind.resource
        self._own = parts.informers.informer(
            kind.resource,
            namespace=settings.namespace,
            label_selector=settings.label_selector,
            indexes=kind.indexes,
        )
        self._watched = [self._own]

        def follow(resource: Resource) -> Informer:
            informer = parts.informers.informer(resource, namespace=settings.namespace)
            self._watched.append(informer)
            return informer

        everyone = follow(kind.resource) if settings.label_selector else self._own
        self._stored = follow(kind.stored_as) if kind.stored_as else None
        self._kind, self._storage, self._namespace = kind, parts.storage, settings.namespace
        self._forget = parts.metrics.delete_object
        self._shard = Shard(
            kind.resource.kind,
            own=self._own,
            everyone=everyone,
            storage=parts.storage,
            log=parts.log,
            look_again=settings.requeue_dependency,
        )
        self.controller = controller_of(
            kind.resource,
            self._reconcile,
            concurrency=max(settings.concurrency, kind.concurrency),
            retry_delays=settings.retry_delays,
            log=parts.log,
            metrics=parts.metrics,
            clock=parts.clock,
        )
        self.queue = self.controller.queue
        kind.connect(Wiring(self._own, everyone, self.queue, follow))

    async def wait_synced(self) -> None:
        """Wait until everything that this kind watches is known."""
        for informer in self._watched:
            await informer.wait_synced()

    async def collect_orphans(self) -> None:
        """Remove what is stored of objects that are gone, or another process's by now."""
        if self._stored is not None:
            existing = {key_of(obj) for obj in self._stored.store.list()}
            kind = self._stored.resource.kind
            await self._storage.collect_orphans(kind, existing, namespace=self._namespace)
        await self._storage.collect_orphans(
            self.resource.kind, self._shard.kept(), namespace=self._namespace
        )

    async def check_stored(self) -> None:
        """Read every artifact once; what is missing or altered is made again first."""
        await self._shard.check_stored(self.queue)

    async def _reconcile(self, key: ObjectKey) -> Result:
        if self._shard.has(key):
            return await self._kind.reconcile(key)
        self._forget(self.resource.kind, key)
        return await self._shard.leave(key)


def _tools(parts: Parts, settings: Settings, work: Path) -> Tools:
    return Tools(
        client=parts.client,
        storage=parts.storage,
        events=parts.events,
        clock=parts.clock,
        log=parts.log,
        work=work,
        requeue_dependency=settings.requeue_dependency,
        jitter=settings.jitter,
        progress_after=settings.progress_after,
        forget=parts.metrics.delete_object,
    )


def _identities(parts: Parts, settings: Settings) -> CloudIdentities:
    return settings.identities.identities(
        CloudHttp(parts.dialer), parts.client, clock=parts.clock, metrics=parts.metrics
    )


def _unpack_limits(settings: Settings) -> UnpackLimits:
    limits = settings.limits
    return UnpackLimits(
        max_bytes=limits.max_tree_bytes,
        max_file_bytes=limits.max_file_bytes,
        max_entries=limits.max_entries,
    )
