"""Extracted artifacts by digest: read-only, shared, bounded in size.

An entry appears by rename, so it is whole or absent. It is pinned while anybody uses it; of the
others the one that was used longest ago goes first when the bound is reached. What an earlier
process left is removed at the start, because nothing says that it is still as it was.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from fluvial.artifact import tar
from fluvial.artifact.digest import Digest
from fluvial.artifact.threads import StopFlag, in_thread

__all__ = ["CacheEntry", "TreeCache", "remove_tree"]


@dataclass(slots=True)
class CacheEntry:
    """One extracted tree.

    Attributes:
        origins: scheme, host and port of the servers that have delivered the archive.

    """

    path: Path
    size: int
    dropped_links: tuple[str, ...]
    pins: int = field(default=0)
    origins: set[str] = field(default_factory=set)


class TreeCache:
    """Trees below one folder.

    Args:
        folder: nobody else's; emptied by ``start``.
        max_bytes: bound on what is kept when nobody uses it; what is in use may exceed it.
        limits: for each archive.

    """

    def __init__(self, folder: Path, *, max_bytes: int, limits: tar.UnpackLimits) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._limits = limits
        self._entries: OrderedDict[Digest, CacheEntry] = OrderedDict()
        self._size = 0
        self._started = False
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Empty the folder, once; whoever calls meanwhile waits for it.

        Raises:
            OSError: the folder cannot be made or emptied; the next call tries again.

        """
        async with self._starting:
            if not self._started:
                await in_thread(self._empty)
                self._started = True

    @property
    def size(self) -> int:
        """Bytes of all trees."""
        return self._size

    def temporary(self) -> Path:
        """A new folder in the same file system, for a download."""
        return Path(tempfile.mkdtemp(prefix="in-", dir=self._folder))

    def pin(self, digest: Digest) -> CacheEntry | None:
        """The tree of a digest, kept until ``unpin``; ``None`` if it is not there."""
        entry = self._entries.get(digest)
        if entry is not None:
            entry.pins += 1
            self._entries.move_to_end(digest)
        return entry

    async def unpin(self, digest: Digest) -> None:
        """Give back what ``pin`` or ``add`` gave."""
        self._entries[digest].pins -= 1
        await self._evict()

    async def add(self, digest: Digest, archive: Path) -> CacheEntry:
        """Extract a verified archive, and pin the tree.

        Raises:
            UnsafeArchive, ArtifactTooLarge: as ``tar.unpack``; nothing is kept.

        """
        work = self.temporary()
        try:
            result = await in_thread(lambda stop: self._extract(archive, work / "tree", stop))
            found = self.pin(digest)
            if found is not None:
                return found  # somebody else was faster; our copy goes with the folder
            final = self._folder / f"{digest.algorithm}-{digest.hex}"
            (work / "tree").rename(final)
            # Only now: renaming a folder needs write permission on the folder itself.
            final.chmod(0o500)
            entry = CacheEntry(final, result.size, result.dropped_links)
            self._entries[digest] = entry
            self._size += entry.size
        finally:
            await in_thread(lambda _: remove_tree(work))
        entry.pins += 1
        try:
            await self._evict()
        except BaseException:
            entry.pins -= 1
            raise
        return entry

    async def _evict(self) -> None:
        while self._size > self._max_bytes:
            victim = next((d for d, e in self._entries.items() if not e.pins), None)
            if victim is None:
                return
            entry = self._entries.pop(victim)
            self._size -= entry.size
            # Out of the way first, so that the same digest can be added while this is deleted.
            grave = self.temporary()
            entry.path.chmod(0o700)
            entry.path.rename(grave / "tree")
            await in_thread(lambda _, grave=grave: remove_tree(grave))  # type: ignore[misc]  # a lambda with a default has no inferred type

    def _extract(self, archive: Path, target: Path, stop: StopFlag) -> tar.UnpackResult:
        with archive.open("rb") as stream:
            result = tar.unpack(stream, target, self._limits, stop=stop)
        _make_read_only(target)
        return result

    def _empty(self, _: StopFlag) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for item in self._folder.iterdir():
            remove_tree(item)


def _make_read_only(root: Path) -> None:
    for folder, _, files in os.walk(root):
        for name in files:
            path = Path(folder, name)
            path.chmod(0o500 if path.stat().st_mode & 0o100 else 0o400)
        if Path(folder) != root:
            Path(folder).chmod(0o500)


def remove_tree(root: Path) -> None:
    """Delete a tree, read-only folders too; what is gone already is fine."""
    if not root.is_dir() or root.is_symlink():
        root.unlink(missing_ok=True)
        return
    for folder, _, _ in os.walk(root):
        Path(folder).chmod(0o700)
    shutil.rmtree(root, ignore_errors=True)
