"""Where a source controller keeps its artifacts.

The layout is Flux's: ``<base>/<kind>/<namespace>/<name>/<file>``. A file appears whole or not at
all: it is written beside its place, synced, and renamed. ``status.artifact`` of an object is the
only index; files that no status names are garbage after the retention time.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from weakref import WeakValueDictionary

from fluvial.api.meta import Artifact
from fluvial.artifact import publishing, tar
from fluvial.artifact.digest import DEFAULT_ALGORITHM, Digest, digest_file, new_hasher
from fluvial.artifact.errors import ArtifactNotFound, UnsafeArchive
from fluvial.artifact.garbage import collect, remove_folder
from fluvial.artifact.publishing import TEMP_PREFIX
from fluvial.artifact.threads import StopFlag, in_thread
from fluvial.clock import Clock, format_time
from fluvial.log import Logger
from fluvial.objects import ObjectKey
from fluvial.paths import secure_join

__all__ = ["TEMP_PREFIX", "Retention", "Storage"]

_UNSAFE_SEGMENT = re.compile(r"[/\\\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Retention:
    """Old artifacts stay for consumers that still load them: ``ttl`` in seconds, ``records`` files."""

    ttl: float = 60.0
    records: int = 2


class Storage:
    """Files under one folder, which no other process writes to.

    Args:
        base: the folder; made by ``start``.
        adv_addr: host and port, or a URL prefix, under which consumers reach the file server.
        clock: dates artifacts and ages garbage.
        log: gets what start-up and collection removed.
        algorithm: digest algorithm of new artifacts.
        retention: how long old artifacts stay.
        max_bytes: largest content of one artifact, decompressed; 0 for no limit.

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
    ) -> None:
        new_hasher(algorithm)
        self.base = base
        self.adv_addr = adv_addr
        self.algorithm = algorithm
        self._clock = clock
        self._log = log
        self._retention = retention or Retention()
        self._max_bytes = max_bytes
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def start(self) -> None:
        """Make the folder, and remove what a killed process left half written."""
        removed = await in_thread(self._clean)
        if removed:
            self._log.info("removed unfinished files of an earlier run", count=removed)

    def relative_path(self, kind: str, key: ObjectKey, filename: str = "") -> str:
        """``gitrepository/<namespace>/<name>/<file>``.

        Raises:
            UnsafeArchive: a part is empty, starts with a dot or has a slash or control characters.

        """
        parts = [kind.lower(), key.namespace, key.name, *([filename] if filename else [])]
        for part in parts:
            if not part or part.startswith(".") or _UNSAFE_SEGMENT.search(part):
                raise UnsafeArchive(f"{part[:100]!r} cannot be part of a storage path")
        return "/".join(parts)

    def local_path(self, artifact: Artifact) -> Path:
        """Where an artifact's file is or would be, inside the base whatever its path says."""
        return secure_join(self.base, artifact.path)

    def is_of(self, artifact: Artifact, kind: str, key: ObjectKey) -> bool:
        """Whether an artifact's path is one of this object's own.

        A status can be forged by whoever may write it: ask before an artifact that was read from
        one is checked, served, unpacked or deleted.
        """
        folder, _, file = artifact.path.lstrip("/").rpartition("/")
        return folder == self.relative_path(kind, key) and file not in {"", ".", ".."}

    def url_for(self, path: str) -> str:
        """The address consumers load a path from."""
        address = self.adv_addr.rstrip("/")
        if not address.startswith(("http://", "https://")):
            address = f"http://{address}"
        return f"{address}/{path}"

    def with_current_url(self, artifact: Artifact) -> Artifact:
        """The artifact with the address at which this process serves it."""
        url = self.url_for(artifact.path.lstrip("/"))
        if url == artifact.url:
            return artifact
        return Artifact(
            digest=artifact.digest,
            last_update_time=artifact.last_update_time,
            metadata=artifact.metadata,
            path=artifact.path,
            revision=artifact.revision,
            size=artifact.size,
            url=url,
        )

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
        target = secure_join(self.base, path)
        async with self._lock(target.parent):
            try:
                await in_thread(lambda _: publishing.share(source, target))
            except FileNotFoundError:
                raise
            except OSError:
                shared = False
            else:
                shared = True
        if not shared:
            return await self.store_file(source, path=path, revision=revision, metadata=metadata)
        return self._artifact(packed, path=path, revision=revision, metadata=metadata)

    async def link(self, artifact: Artifact, name: str) -> str:
        """Have ``name``, beside an artifact's file, lead to it; the address of that.

        Raises:
            OSError: the link cannot be made.

        """
        path = self.local_path(artifact)
        link = path.with_name(name)
        async with self._lock(path.parent):
            await in_thread(lambda _: publishing.point(link, path.name))
        return self.url_for(link.relative_to(self.base).as_posix())

    async def verify(self, artifact: Artifact) -> None:
        """Check that an artifact's file is there and is what its digest says.

        Raises:
            ArtifactNotFound: there is no regular file at its place.
            DigestMismatch: the content differs.
            InvalidDigest: the artifact's digest is empty, malformed or unsupported.

        """
        path = self.local_path(artifact)
        expected = Digest.parse(artifact.digest)

        def check(_: StopFlag) -> None:
            if not _is_file(path):
                raise ArtifactNotFound("the artifact is not in storage")
            expected.check(digest_file(path, expected.algorithm), what="the stored artifact")

        async with self._lock(path.parent):
            await in_thread(check)

    async def unpack(self, artifact: Artifact, target: Path, limits: tar.UnpackLimits) -> None:
        """Extract a stored artifact into ``target``, which must not exist, after checking it.

        Raises:
            ArtifactNotFound, DigestMismatch, InvalidDigest: as ``verify``.
            UnsafeArchive, ArtifactTooLarge: as ``tar.unpack``.

        """
        path = self.local_path(artifact)
        expected = Digest.parse(artifact.digest)

        def extract(stop: StopFlag) -> None:
            if not _is_file(path):
                raise ArtifactNotFound("the artifact is not in storage")
            expected.check(digest_file(path, expected.algorithm), what="the stored artifact")
            with path.open("rb") as stream:
                tar.unpack(stream, target, limits, stop=stop)

        async with self._lock(path.parent):
            await in_thread(extract)

    async def remove(self, artifact: Artifact) -> None:
        """Delete one artifact's file; it may be gone already."""
        path = self.local_path(artifact)
        async with self._lock(path.parent):
            await in_thread(lambda _: path.unlink(missing_ok=True))

    async def remove_object(self, kind: str, key: ObjectKey) -> None:
        """Delete everything that belongs to an object."""
        folder = self.base / self.relative_path(kind, key)
        async with self._lock(folder):
            await in_thread(lambda _: remove_folder(folder))

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
        now = self._clock.now().timestamp()
        async with self._lock(folder):
            removed = await in_thread(
                lambda _: collect(
                    folder,
                    current=Path(current).name,
                    oldest=now - self._retention.ttl,
                    records=self._retention.records,
                )
            )
        return [self.relative_path(kind, key, name) for name in removed]

    async def collect_orphans(self, kind: str, existing: Collection[ObjectKey]) -> int:
        """Delete the folders of objects that no longer exist; answers how many.

        Call it once all objects of the kind are known.
        """

        def find(_: StopFlag) -> list[ObjectKey]:
            root = self.base / kind.lower()
            return [
                ObjectKey(namespace.name, folder.name)
                for namespace in _folders(root)
                for folder in _folders(namespace)
                if ObjectKey(namespace.name, folder.name) not in existing
            ]

        orphans = await in_thread(find)
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
        target = secure_join(self.base, path)
        async with self._lock(target.parent):
            packed = await in_thread(lambda stop: publishing.publish(target, write, stop))
        return self._artifact(packed, path=path, revision=revision, metadata=metadata)

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

    def _clean(self, stop: StopFlag) -> int:
        self.base.mkdir(mode=0o700, parents=True, exist_ok=True)
        removed = 0
        for folder, _, names in os.walk(self.base):
            stop.check()
            for name in names:
                if name.startswith(TEMP_PREFIX):
                    Path(folder, name).unlink(missing_ok=True)
                    removed += 1
        return removed


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _folders(root: Path) -> list[Path]:
    try:
        return [item for item in root.iterdir() if item.is_dir() and not item.is_symlink()]
    except FileNotFoundError:
        return []
