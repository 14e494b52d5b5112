"""Digests of files that were read before, so that no byte is read twice.

A digest belongs to one version of a file: device, inode, size and the times of its last change of
content and of anything. Whoever alters a file alters its change time, which no program can set
back. What is known is in memory alone: a process that starts knows nothing, and reads every
artifact once before it says anything about it.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from typing import NamedTuple
from weakref import WeakValueDictionary

from fluvial.artifact.digest import Digest, new_hasher
from fluvial.artifact.threads import StopFlag, in_thread
from fluvial.clock import Clock

__all__ = ["KnownDigests"]

_BLOCK = 1 << 18
_MOST = 20_000
_NANOSECOND = 10**9
# A change within the same tick of the file system's clock leaves no trace in its times.
_TICK = 0.05
_COARSE_TICK = 2.0  # of file systems that count whole seconds


class _Version(NamedTuple):
    """What changes when a file's content does."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> _Version:
        return cls(
            status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        )


_Key = tuple[_Version, str]


class KnownDigests:
    """For the storage and the server of one process, on one event loop.

    Args:
        clock: tells whether a file was changed just now.
        most: files that are remembered; the one that was asked for longest ago goes first.

    """

    def __init__(self, clock: Clock, *, most: int = _MOST) -> None:
        self._clock = clock
        self._most = most
        self._known: OrderedDict[_Key, Digest] = OrderedDict()
        self._locks: WeakValueDictionary[_Key, asyncio.Lock] = WeakValueDictionary()
        self.bytes_read = 0
        """Bytes that were read from files to compute digests."""

    async def of(self, descriptor: int, algorithm: str, *, fresh: bool = False) -> Digest:
        """The digest of a file; who asks while it is being computed waits for the result.

        Args:
            descriptor: of a regular file; it stays open until this returns.
            algorithm: of the digest.
            fresh: read the file, whatever is known of it.

        Raises:
            InvalidDigest: the algorithm is not supported.
            OSError: the file cannot be read.

        """
        key = (_Version.of(os.fstat(descriptor)), algorithm)
        async with self._locks.setdefault(key, asyncio.Lock()):
            known = None if fresh else self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                return known
            digest, size = await in_thread(lambda stop: _hash(descriptor, algorithm, stop))
            self.bytes_read += size
            self.learn(os.fstat(descriptor), digest, before=key[0])
            return digest

    def learn(self, status: os.stat_result, digest: Digest, *, before: object = None) -> None:
        """Remember a digest that was computed while a file was written or read.

        Args:
            status: of the file, afterwards.
            digest: of its content.
            before: its version before; a file that has changed since is not remembered, nor is
                one that could have changed without a trace. ``None`` for a file that this
                process has written itself, under another name until a moment ago.

        """
        version = _Version.of(status)
        key = (version, digest.algorithm)
        if before is not None and (before != version or not self._is_settled(status)):
            self._known.pop(key, None)
            return
        self._known[key] = digest
        self._known.move_to_end(key)
        while len(self._known) > self._most:
            self._known.popitem(last=False)

    def _is_settled(self, status: os.stat_result) -> bool:
        tick = _TICK if status.st_ctime_ns % _NANOSECOND else _COARSE_TICK
        return abs(self._clock.now().timestamp() - status.st_ctime) > tick


def _hash(descriptor: int, algorithm: str, stop: StopFlag) -> tuple[Digest, int]:
    hasher, at = new_hasher(algorithm), 0
    while block := os.pread(descriptor, _BLOCK, at):
        stop.check()
        hasher.update(block)
        at += len(block)
    return Digest(algorithm, hasher.hexdigest()), at
