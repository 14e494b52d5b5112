"""Where a source controller keeps its artifacts.

The layout is Flux's: ``<base>/<kind>/<namespace>/<name>/<file>``. A file appears whole or not at
all: it is written beside its place, synced, and renamed. ``status.artifact`` of an object is the
only index; files that no status names are garbage after the retention time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar
from weakref import WeakValueDictionary

from fluvial.api.meta import Artifact
from fluvial.artifact import garbage, publishing, tar
from fluvial.artifact.cache import remove_tree
from fluvial.artifact.digest import DEFAULT_ALGORITHM, Digest, new_hasher
from fluvial.artifact.errors import StorageUnusable
from fluvial.artifact.known import KnownDigests
from fluvial.artifact.layout import Layout
from fluvial.artifact.lock import VolumeLock
from fluvial.artifact.opening import open_file, own_folder, parts_of
from fluvial.artifact.threads import StopFlag, in_thread
from fluvial.clock import Clock, format_time
from fluvial.log import Logger
from fluvial.objects import ObjectKey

__all__ = ["Retention", "Storage"]

T = TypeVar("T")

_LOCK_SECONDS = 60.0  # twice the time that a process has to end
_WATCH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Retention:
    """Old artifacts stay for consumers that still load them: ``ttl`` in seconds, ``records`` files."""

    ttl: float = 60.0
    records: int = 2


class Storage(Layout):
    """Files under one folder, which no other process writes to.

    Args:
        base: the folder; made by ``start``.
        adv_addr: host and port, or a URL prefix, under which consumers reach the file server.
        clock: dates artifacts and ages garbage.
        log: gets what start-up and collection removed.
        algorithm: digest algorithm of new artifacts.
        retention: how long old artifacts stay.
        max_bytes: largest content of one artifact, decompressed; 0 for no limit.
        holder: name of this process for others that want the folder.
        permit: raises once this process may not write any more, such as ``LeaderElector.check``;
            asked before each change, and again before a file appears.

    Raises:
        InvalidDigest: the algorithm is not supported.

    """

    def __init__(
        self,
        base: Path,
        *,
        adv_addr: str,
        clock: Clock,
        log: Logger,
        algorithm: str = DEFAULT_ALGORITHM,
        retention: Retention | None = None,
        max_bytes: int = 0,
        holder: str = "",
        permit: Callable[[], None] = lambda: None,
    ) -> None:
        new_hasher(algorithm)
        super().__init__(base, adv_addr=adv_addr)
        self.algorithm = algorithm
        self._clock = clock
        self._log = log
        self._retention = retention or Retention()
        self._max_bytes = max_bytes
        self._permit = permit
        self._volume = VolumeLock(base, holder=holder or f"pid {os.getpid()}", clock=clock, log=log)
        self._started = (clock.now().timestamp(), clock.monotonic())
        self.digests = KnownDigests(clock)
        """Of what is stored; the file server of the same process uses them, too."""
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def start(self, *, lock_timeout: float = _LOCK_SECONDS) -> None:
        """Make the folder and take it, and remove what a killed process left half written.

        Args:
            lock_timeout: seconds to wait for another process that has the folder.

        Raises:
            StorageLocked: it still has it.
            StorageUnusable: the folder cannot be made or written.

        """
        try:
            await self._volume.acquire(lock_timeout)
            removed = await in_thread(lambda stop: garbage.clean(self.base, stop))
        except OSError as error:
            raise StorageUnusable(
                f"the storage folder {self.base} cannot be used: {error.strerror}"
            ) from error
        if removed:
            self._log.info("removed unfinished files of an earlier run", count=removed)

    async def watch(self) -> None:
        """Return never while the folder is ours.

        Raises:
            StorageUnusable: it was emptied or replaced; start again.

        """
        while True:
            await self._clock.sleep(_WATCH_SECONDS)
            with contextlib.suppress(OSError):  # it does not say; whoever uses it will hear why
                await in_thread(lambda _: self._volume.confirm())

    def stop(self) -> None:
        """Leave the folder to the next process."""
        self._volume.release()

    async def archive(
        self,
        source: Path,
        *,
        path: str,
        revision: str,
        keep_for: Callable[[Path], tar.Keep],
        metadata: Mapping[str, str] | None = None,
    ) -> Artifact:
        """Pack a folder and publish it in one step.

        Args:
            source: the folder.
            path: from ``relative_path``; a file that is there is replaced.
            revision: what the folder holds.
            keep_for: makes the filter for ``tar.pack`` from the folder; called in the thread.
            metadata: what the source says about itself.

        Raises:
            ArtifactTooLarge: the content exceeds ``max_bytes``.
            OSError: the disk is full, or the folder cannot be written.

        """

        def write(out: BinaryIO, stop: StopFlag) -> tar.PackResult:
            return tar.pack(
                source,
                out,
                keep_for(source),
                algorithm=self.algorithm,
                max_bytes=self._max_bytes,
                stop=stop,
            )

        return await self._published(write, path=path, revision=revision, metadata=metadata)

    async def store_file(
        self, source: Path, *, path: str, revision: str, metadata: Mapping[str, str] | None = None
    ) -> Artifact:
        """Publish a copy of one file as it is; the rest as ``archive``.

        Raises:
            ArtifactTooLarge: it exceeds ``max_bytes``.
            OSError: the disk is full, or the file cannot be read.

        """
        write = publishing.copy(source, algorithm=self.algorithm, max_bytes=self._max_bytes)
        return await self._published(write, path=path, revision=revision, metadata=metadata)

    async def share_file(
        self,
        source: Path,
        packed: tar.PackResult,
        *,
        path: str,
        revision: str,
        metadata: Mapping[str, str] | None = None,
    ) -> Artifact:
        """Publish a further name of one finished file, or a copy where that is not possible.

        Args:
            source: a file that nobody writes to any more, in this storage's file system.
            packed: its size, and its digest by this storage's algorithm.
            path: as for ``archive``.
            revision: what the file holds.
            metadata: what the source says about itself.

        Raises:
            ArtifactTooLarge: it exceeds ``max_bytes``.
            OSError: the disk is full, or the file cannot be read.

        """
        target = self._target(path)
        try:
            status = await self._changing(
                target.parent, lambda _: publishing.share(source, target, permit=self._permit)
            )
        except FileNotFoundError:
            raise
        except OSError:
            return await self.store_file(source, path=path, revision=revision, metadata=metadata)
        self._learn(status, packed.digest)
        return self._artifact(packed, path=path, revision=revision, metadata=metadata)

    async def link(self, artifact: Artifact, name: str) -> str:
        """Have ``name``, beside an artifact's file, lead to it; the address of that.

        Raises:
            OSError: the link cannot be made.

        """
        link = self._target(artifact.path).with_name(name)
        target = self._target(artifact.path).name
        await self._changing(link.parent, lambda _: publishing.point(link, target))
        return self.url_for(link.relative_to(self.base).as_posix())

    async def verify(self, artifact: Artifact, *, fresh: bool = False) -> None:
        """Check that an artifact's file is there and is what its digest says.

        A file that was read before and has not been changed since is not read again.

        Args:
            artifact: of an object's status, after ``is_of``.
            fresh: read it in any case.

        Raises:
            ArtifactNotFound: there is no regular file at its place.
            DigestMismatch: the content differs.
            InvalidDigest: the artifact's digest is empty, malformed or unsupported.
            OSError: the disk does not say.

        """
        async with self._verified(artifact, fresh=fresh):
            pass

    async def unpack(self, artifact: Artifact, target: Path, limits: tar.UnpackLimits) -> None:
        """Extract a stored artifact into ``target``, which must not exist, after checking it.

        Raises:
            ArtifactNotFound, DigestMismatch, InvalidDigest: as ``verify``.
            UnsafeArchive, ArtifactTooLarge: as ``tar.unpack``.

        """
        async with self._verified(artifact) as descriptor:

            def extract(stop: StopFlag) -> None:
                with os.fdopen(os.dup(descriptor), "rb") as stream:
                    tar.unpack(stream, target, limits, stop=stop)

            await in_thread(extract)

    async def remove(self, artifact: Artifact) -> None:
        """Delete one artifact's file; it may be gone already."""
        path = self._target(artifact.path)
        await self._changing(path.parent, lambda _: remove_tree(path), make=False)

    async def remove_object(self, kind: str, key: ObjectKey) -> None:
        """Delete everything that belongs to an object."""
        folder = self.base / self.relative_path(kind, key)
        await self._changing(folder, lambda _: garbage.remove_folder(folder), make=False)

    async def collect_garbage(self, kind: str, key: ObjectKey, *, current: str) -> list[str]:
        """Delete an object's old artifacts: past the retention time, and beyond the number kept.

        Args:
            kind: of the object.
            key: of the object.
            current: path of the artifact in its status, never deleted; ``""`` if there is none.

        Returns:
            The paths that were deleted.

        """
        folder = self.base / self.relative_path(kind, key)
        oldest = self._steady_now() - self._retention.ttl

        def collect(_: StopFlag) -> list[str]:
            return garbage.collect(
                folder,
                current=Path(current).name,
                oldest=oldest,
                records=self._retention.records,
            )

        removed = await self._changing(folder, collect, make=False)
        return [self.relative_path(kind, key, name) for name in removed]

    async def collect_orphans(
        self, kind: str, existing: Collection[ObjectKey], *, namespace: str = ""
    ) -> int:
        """Delete the folders of objects that no longer exist; answers how many.

        Call it once all objects of the kind are known.

        Args:
            kind: of the objects.
            existing: those whose folders stay.
            namespace: the only one that is looked at; ``""`` for all.

        """
        found = await in_thread(lambda _: garbage.object_folders(self.base / kind.lower()))
        keys = (ObjectKey(*names) for names in found)
        orphans = [k for k in keys if k not in existing and namespace in {"", k.namespace}]
        for key in orphans:
            await self.remove_object(kind, key)
        if orphans:
            self._log.info("removed artifacts of objects that are gone", count=len(orphans))
        return len(orphans)

    async def _published(
        self,
        write: publishing.Write,
        *,
        path: str,
        revision: str,
        metadata: Mapping[str, str] | None,
    ) -> Artifact:
        target = self._target(path)
        published = await self._changing(
            target.parent,
            lambda stop: publishing.place(target, write, stop, permit=self._permit),
        )
        self._learn(published.status, published.packed.digest)
        return self._artifact(published.packed, path=path, revision=revision, metadata=metadata)

    async def _changing(
        self, folder: Path, work: Callable[[StopFlag], T], *, make: bool = True
    ) -> T:
        """Run ``work`` on an object's folder as the only one, if this process may write."""

        def checked(stop: StopFlag) -> T:
            self._permit()
            self._volume.confirm()
            own_folder(self.base, folder, make=make)
            return work(stop)

        async with self._lock(folder):
            return await in_thread(checked)

    @contextlib.asynccontextmanager
    async def _verified(self, artifact: Artifact, *, fresh: bool = False) -> AsyncIterator[int]:
        """A descriptor of an artifact's file, whose content is what its digest says."""
        expected = Digest.parse(artifact.digest)
        parts = parts_of(artifact.path)
        opened: list[int] = []
        async with self._lock(self._target(artifact.path).parent):
            try:
                await in_thread(lambda _: opened.append(open_file(self.base, parts)))
                actual = await self.digests.of(opened[0], expected.algorithm, fresh=fresh)
                expected.check(actual, what="the stored artifact")
                yield opened[0]
            finally:
                for descriptor in opened:
                    os.close(descriptor)

    def _target(self, path: str) -> Path:
        return self.base.joinpath(*parts_of(path))

    def _learn(self, status: os.stat_result | None, digest: Digest) -> None:
        if status is not None:
            self.digests.learn(status, digest)

    def _steady_now(self) -> float:
        """Wall time that a jump of the clock makes no file old by: seconds since the epoch."""
        wall, monotonic = self._started
        return min(self._clock.now().timestamp(), wall + self._clock.monotonic() - monotonic)

    def _artifact(
        self,
        packed: tar.PackResult,
        *,
        path: str,
        revision: str,
        metadata: Mapping[str, str] | None,
    ) -> Artifact:
        return Artifact(
            digest=str(packed.digest),
            last_update_time=format_time(self._clock.now()),
            metadata=dict(metadata or {}),
            path=path,
            revision=revision,
            size=packed.size,
            url=self.url_for(path),
        )

    def _lock(self, folder: Path) -> asyncio.Lock:
        return self._locks.setdefault(str(folder), asyncio.Lock())
