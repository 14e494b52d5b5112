"""Putting a file in its place, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fluvial.artifact import tar
from fluvial.artifact.cache import remove_tree
from fluvial.artifact.digest import Digest, new_hasher
from fluvial.artifact.errors import ArtifactTooLarge
from fluvial.artifact.threads import StopFlag

__all__ = ["TEMP_PREFIX", "Published", "Write", "copy", "place", "point", "publish", "share"]

TEMP_PREFIX = ".tmp-"
"""What unfinished files are called: they are removed at the next start."""

Write = Callable[[BinaryIO, StopFlag], tar.PackResult]
"""Writes the content, and says what it wrote."""

_BLOCK = 1 << 18


@dataclass(frozen=True, slots=True)
class Published:
    """What is in its place now.

    Attributes:
        packed: what was written.
        status: of the file; ``None`` if somebody else changed it meanwhile.

    """

    packed: tar.PackResult
    status: os.stat_result | None


def publish(target: Path, write: Write, stop: StopFlag) -> tar.PackResult:
    """``place``, with the folders made, for a folder of one's own.

    Raises:
        OSError: as ``place``.

    """
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return place(target, write, stop, permit=lambda: None).packed


def place(target: Path, write: Write, stop: StopFlag, *, permit: Callable[[], None]) -> Published:
    """Write beside ``target``, sync, and rename.

    Args:
        target: in a folder that is there; what is in its place is replaced, even a folder.
        write: the content.
        stop: ends it before the rename.
        permit: raises if the file may not appear any more; asked last.

    Raises:
        OSError: the disk is full, or the folder cannot be written.

    """
    descriptor, name = tempfile.mkstemp(prefix=TEMP_PREFIX, dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as out:
            result = write(out, stop)
            out.flush()
            os.fsync(out.fileno())
            before = os.fstat(out.fileno())
            permit()
            _replace(temporary, target)
            after = os.fstat(out.fileno())
    except BaseException:
        _discard(temporary)
        raise
    _sync_folder(target.parent)
    return Published(result, after if _is_same(before, after) else None)


def share(source: Path, target: Path, *, permit: Callable[[], None]) -> os.stat_result | None:
    """Give a finished file a further name: ``target`` appears at once, and costs no space.

    Args:
        source: written by ``publish`` on the same file system, and never written to again.
        target: replaced if it is there, in a folder that is there.
        permit: raises if the file may not appear any more; asked last.

    Returns:
        The file's status afterwards; ``None`` if somebody changed it meanwhile.

    Raises:
        OSError: the file system does not allow it.

    """
    temporary = target.with_name(f"{TEMP_PREFIX}{target.name}")
    before = source.stat()
    _discard(temporary)
    temporary.hardlink_to(source)
    try:
        permit()
        _replace(temporary, target)
    finally:
        _discard(temporary)  # a rename onto the same file does nothing
    _sync_folder(target.parent)
    after = target.lstat()
    return after if before.st_ino == after.st_ino and _is_same(before, after) else None


def copy(source: Path, *, algorithm: str, max_bytes: int) -> Write:
    """Writes one file as it is.

    Args:
        source: the file.
        algorithm: of the digest.
        max_bytes: ``ArtifactTooLarge`` is raised beyond; 0 for no limit.

    """

    def write(out: BinaryIO, stop: StopFlag) -> tar.PackResult:
        hasher, size = new_hasher(algorithm), 0
        with source.open("rb") as stream:
            while block := stream.read(_BLOCK):
                stop.check()
                size += len(block)
                if max_bytes and size > max_bytes:
                    raise ArtifactTooLarge(f"the file has more than {max_bytes} bytes")
                hasher.update(block)
                out.write(block)
        return tar.PackResult(size, Digest(algorithm, hasher.hexdigest()), ())

    return write


def point(link: Path, name: str) -> None:
    """Make ``link`` a link to the file ``name`` beside it, replacing what it was.

    Raises:
        OSError: it cannot be made.

    """
    temporary = link.with_name(f"{TEMP_PREFIX}{link.name}")
    _discard(temporary)
    temporary.symlink_to(name)
    _replace(temporary, link)


def _replace(temporary: Path, target: Path) -> None:
    """Rename; a folder in the place of a file is none of ours, and goes."""
    try:
        temporary.replace(target)
    except IsADirectoryError:
        remove_tree(target)
        temporary.replace(target)


def _discard(path: Path) -> None:
    """Remove what may be there, whatever it is; the disk may fail at that, too."""
    with contextlib.suppress(OSError):
        remove_tree(path)


def _is_same(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
