"""The artifacts of sources as read-only folders.

What this process stores itself is read from the storage, anything else (an ExternalArtifact of
another controller, a source of another shard) by its address, through the process's dialer. Either
way the bytes are compared with the digest before they are unpacked, and a digest is unpacked once
however many generators are made of it. An artifact in the storage is given only to whoever names
the object that it belongs to: knowing a digest is no right to its content.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from weakref import WeakValueDictionary

from fluvial.api.meta import Artifact
from fluvial.artifact.cache import CacheEntry, TreeCache, remove_tree
from fluvial.artifact.digest import Digest, digest_file
from fluvial.artifact.errors import ArtifactNotFound
from fluvial.artifact.fetcher import Fetcher, open_fetcher
from fluvial.artifact.storage import Storage
from fluvial.artifact.tar import UnpackLimits
from fluvial.artifact.threads import in_thread
from fluvial.clock import Clock
from fluvial.net.dialer import Dialer
from source_controller.artifactgenerator.sources import ObservedSource

__all__ = ["SourceTrees", "Tree"]

_DEADLINE = 60.0
"""Seconds for one artifact: somebody's slow server must not keep other tenants' generators waiting."""


@dataclass(frozen=True, slots=True)
class Tree:
    """One artifact's content; valid while its context is open.

    Attributes:
        path: folder with the files.
        dropped_links: links of the source that are not in the tree.

    """

    path: Path
    dropped_links: tuple[str, ...]


class SourceTrees:
    """Gives trees, in ``async with``.

    Args:
        folder: for them, nobody else's, on the file system of the storage.
        storage: of this process.
        dialer: connects to other servers.
        clock: for waits between tries.
        limits: of one artifact.
        max_bytes: bound on trees that nobody uses.
        retries: attempts after the first to fetch from other servers.

    """

    def __init__(
        self,
        folder: Path,
        *,
        storage: Storage,
        dialer: Dialer,
        clock: Clock,
        limits: UnpackLimits,
        max_bytes: int,
        retries: int,
    ) -> None:
        self._folder = folder
        self._storage = storage
        self._dialer = dialer
        self._clock = clock
        self._limits = limits
        self._max_bytes = max_bytes
        self._retries = retries
        self._own = TreeCache(folder / "own", max_bytes=max_bytes, limits=limits)
        self._others: Fetcher | None = None
        self._locks: WeakValueDictionary[Digest, asyncio.Lock] = WeakValueDictionary()
        self._stack = AsyncExitStack()
        self.unpacked = 0

    async def __aenter__(self) -> Self:
        await self._own.start()
        self._others = await self._stack.enter_async_context(
            open_fetcher(
                self._folder / "others",
                dialer=self._dialer,
                max_cache_bytes=self._max_bytes,
                max_artifact_bytes=self._limits.max_bytes,
                retries=self._retries,
                clock=self._clock,
                deadline=_DEADLINE,
            )
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._others = None
        await self._stack.aclose()

    @asynccontextmanager
    async def open(self, source: ObservedSource) -> AsyncIterator[Tree]:
        """The content of a source's artifact, while the context is open.

        Raises:
            ArtifactError: it is not there, cannot be fetched, or is not what its digest says.
            OSError: the disk is full.

        """
        artifact = source.artifact
        if self._is_here(source):
            digest = Digest.parse(artifact.digest)
            entry = await self._pinned(artifact, digest)
            try:
                yield Tree(entry.path, entry.dropped_links)
            finally:
                await self._own.unpin(digest)
            return
        assert self._others is not None  # noqa: S101  # only used while open
        async with self._others.fetch(artifact) as tree:
            yield Tree(tree.path, tree.dropped_links)

    def _is_here(self, source: ObservedSource) -> bool:
        artifact = source.artifact
        path = artifact.path.lstrip("/")
        return artifact.url == self._storage.url_for(path) and self._storage.is_of(
            artifact, source.kind, source.key
        )

    async def _pinned(self, artifact: Artifact, digest: Digest) -> CacheEntry:
        """The tree of a stored file, which is checked even if the tree is there."""
        async with self._locks.setdefault(digest, asyncio.Lock()):
            entry = self._own.pin(digest)
            if entry is None:
                return await self._unpacked(artifact, digest)
        try:
            await self._storage.verify(artifact)
        except BaseException:
            await self._own.unpin(digest)
            raise
        return entry

    async def _unpacked(self, artifact: Artifact, digest: Digest) -> CacheEntry:
        stored = self._storage.local_path(artifact)
        folder = self._own.temporary()
        archive = folder / "archive"
        try:
            await in_thread(lambda _: _copy(stored, archive, digest))
            self.unpacked += 1
            return await self._own.add(digest, archive)
        finally:
            await in_thread(lambda _: remove_tree(folder))


def _copy(stored: Path, archive: Path, digest: Digest) -> None:
    """Copy a stored file, so that nobody replaces it meanwhile, and check what was copied."""
    if stored.is_symlink() or not stored.is_file():
        raise ArtifactNotFound("the artifact is not in storage")
    try:
        shutil.copyfile(stored, archive, follow_symlinks=False)
    except FileNotFoundError:
        raise ArtifactNotFound("the artifact is not in storage") from None
    digest.check(digest_file(archive, digest.algorithm), what="the stored artifact")
