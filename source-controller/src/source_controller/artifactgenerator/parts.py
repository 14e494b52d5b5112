"""What generators are run with, as one part of the controller."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from fluvial.artifact.storage import Storage
from fluvial.artifact.tar import UnpackLimits
from fluvial.kube.informer import InformerFactory
from fluvial.net.dialer import Dialer
from source_controller.artifactgenerator.client import GeneratorJobs, generator_pool
from source_controller.artifactgenerator.reconciler import artifact_generator
from source_controller.artifactgenerator.sources import SourceLookup
from source_controller.artifactgenerator.trees import SourceTrees
from source_controller.source.kind import SourceKind
from source_controller.source.tools import Tools

__all__ = ["Generators"]

_FOLDER = ".sources"  # beside the namespaces' folders, and no namespace is called so
_CACHE_BYTES = 256 << 20


class Generators:
    """Workers and trees, in ``async with``, and the kind that uses them.

    Args:
        tools: the process's.
        informers: where informers of sources come from.
        dialer: connects to servers of artifacts that are not stored here.
        limits: of one source and of one artifact.
        concurrency: artifacts that are put together at once.
        namespace: the only one that is watched; ``""`` for all.
        retries: attempts after the first to fetch an artifact that is not stored here.

    """

    def __init__(
        self,
        tools: Tools,
        *,
        informers: InformerFactory,
        dialer: Dialer,
        limits: UnpackLimits,
        concurrency: int,
        namespace: str,
        retries: int,
    ) -> None:
        self._tools = tools
        self._pool = generator_pool(size=concurrency, limits=limits, log=tools.log)
        self._jobs = GeneratorJobs(self._pool, limits)
        self._lookup = SourceLookup(tools.client, informers, namespace=namespace)
        storage: Storage = tools.storage
        self.trees = SourceTrees(
            tools.work / _FOLDER,
            storage=storage,
            dialer=dialer,
            clock=tools.clock,
            limits=limits,
            max_bytes=_CACHE_BYTES,
            retries=retries,
        )
        self._stack = AsyncExitStack()

    def kind(self, *, cross_namespace: bool) -> SourceKind:
        """ArtifactGenerator.

        Args:
            cross_namespace: sources in other namespaces may be named.

        """
        self._lookup.cross_namespace = cross_namespace
        return artifact_generator(
            self._tools,
            lookup=self._lookup,
            trees=self.trees,
            jobs=self._jobs,
            cross_namespace=cross_namespace,
        )

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._pool)
        await self._stack.enter_async_context(self.trees)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()
