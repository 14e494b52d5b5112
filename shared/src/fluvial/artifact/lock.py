"""One process writes to a storage folder.

The writer holds an advisory lock (``flock``) on ``.lock`` in the folder, and its name is written
in that file: a lock ends with its process, however that ends, and the name tells a process that
waits for whom, and a standby whether the leader writes to the very volume that it sees.

Shared file systems keep such locks between machines where their protocol has them (NFSv4, CephFS,
SMB). Where it has none, nothing but leader election keeps two writers apart; that is logged.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from fluvial.artifact.errors import StorageLocked, StorageUnusable
from fluvial.artifact.threads import in_thread
from fluvial.clock import Clock
from fluvial.log import Logger

__all__ = ["SharedVolume", "VolumeLock", "read_holder"]

_NAME = ".lock"
_POLL = 0.1
_MAX_HOLDER = 512
_BUSY = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES})
_UNSUPPORTED = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})


class VolumeLock:
    """The right to write below one folder.

    Args:
        base: the folder; made by ``acquire``.
        holder: name of this process; that of its lease, where there is one.
        clock: for waiting.
        log: is told whom it waits for.

    """

    def __init__(self, base: Path, *, holder: str, clock: Clock, log: Logger) -> None:
        self._base = base
        self._holder = holder
        self._clock = clock
        self._log = log
        self._descriptor = -1
        self._wanted = False
        self._released = False

    async def acquire(self, timeout: float) -> None:
        """Take the lock, waiting for a process that is about to end.

        Args:
            timeout: seconds; a predecessor may take its whole grace period.

        Raises:
            StorageLocked: the other process is still there; the message names it.
            OSError: the folder cannot be made or written.

        """
        deadline = self._clock.monotonic() + timeout
        told, self._wanted, self._released = False, True, False
        while not await in_thread(lambda _: self._try()):
            holder = read_holder(self._base)
            if self._clock.monotonic() >= deadline:
                raise StorageLocked(
                    f"another process ({holder}) writes to {self._base}: give every process a"
                    " storage folder of its own, or stop it"
                )
            if not told:
                told = True
                self._log.info(
                    "waiting for the process that writes to the storage folder",
                    holder=holder,
                    folder=str(self._base),
                )
            await self._clock.sleep(_POLL)

    def release(self) -> None:
        """Give the lock up; the file stays, for its name is what is locked."""
        self._released = self._released or self._wanted
        self._wanted = False
        self._close()

    def confirm(self) -> None:
        """Check that the folder is still the one that was locked; blocks, so call it in a thread.

        A volume that was emptied, or went and came back, is another one: what this process knows
        of it, and the fences of its workers, are about the one before.

        Raises:
            StorageUnusable: it is not, or the lock was given up: what is still being written then is
                late.

        """
        if self._released:
            raise StorageUnusable(f"the storage folder {self._base} was given up")
        if self._wanted and not self._is_in_place():
            raise StorageUnusable(f"the storage folder {self._base} was emptied or replaced")

    def _is_in_place(self) -> bool:
        if self._descriptor < 0:
            return False
        held = os.fstat(self._descriptor)
        try:
            there = (self._base / _NAME).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _try(self) -> bool:
        self._base.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._base / _NAME, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _BUSY:
                os.close(descriptor)
                return False
            if error.errno not in _UNSUPPORTED:
                os.close(descriptor)
                raise
            self._log.info("the storage volume keeps no locks", folder=str(self._base))
        # One write of one size: nobody reads half of this name and half of the one before.
        os.pwrite(descriptor, self._holder.encode()[:_MAX_HOLDER].ljust(_MAX_HOLDER), 0)
        self._descriptor = descriptor
        return True


class SharedVolume:
    """Whether a standby sees the volume that the leader writes to.

    Only then may it serve artifacts while the leader is away: a volume of its own holds nothing.

    Args:
        base: the folder.
        leader: name of who holds the lease now, ``""`` if nobody is known to.
        clock: bounds how often it is looked, and how long an old answer counts.

    """

    _FRESH = 1.0
    _GRACE = 90.0  # a new leader has the lease before it has the lock

    def __init__(self, base: Path, *, leader: Callable[[], str], clock: Clock) -> None:
        self._base = base
        self._leader = leader
        self._clock = clock
        self._looked = float("-inf")
        self._seen = float("-inf")
        self._shared = False

    async def is_shared(self) -> bool:
        """The answer of at most a second ago."""
        now = self._clock.monotonic()
        leader = self._leader()
        if now - self._looked < self._FRESH or not leader:
            return self._shared
        self._looked = now
        if await in_thread(lambda _: read_holder(self._base)) == leader:
            self._seen, self._shared = now, True
        elif now - self._seen > self._GRACE:
            self._shared = False
        return self._shared


def read_holder(base: Path) -> str:
    """The name in a folder's lock file, ``""`` if it cannot be read."""
    try:
        descriptor = os.open(base / _NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        return os.pread(descriptor, _MAX_HOLDER, 0).decode(errors="replace").strip()
    except OSError:
        return ""
    finally:
        os.close(descriptor)
