"""Putting a file in its place, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from fluvial.artifact import tar
from fluvial.artifact.digest import Digest, new_hasher
from fluvial.artifact.errors import ArtifactTooLarge
from fluvial.artifact.threads import StopFlag

__all__ = ["TEMP_PREFIX", "Write", "copy", "point", "publish", "share"]

TEMP_PREFIX = ".tmp-"
"""What unfinished files are called: they are removed at the next start."""

Write = Callable[[BinaryIO, StopFlag], tar.PackResult]
"""Writes the content, and says what it wrote."""

_BLOCK = 1 << 18


def publish(target: Path, write: Write, stop: StopFlag) -> tar.PackResult:
    """Write beside ``target``, sync, and rename; its folders are made.

    Raises:
        OSError: the disk is full, or the folder cannot be written.

    """
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=TEMP_PREFIX, dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as out:
            result = write(out, stop)
            out.flush()
            os.fsync(out.fileno())
        temporary.chmod(0o600)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)
    return result


def share(source: Path, target: Path) -> None:
    """Give a finished file a further name: ``target`` appears at once, and costs no space.

    Args:
        source: written by ``publish`` on the same file system, and never written to again.
        target: replaced if it is there; its folders are made.

    Raises:
        OSError: the file system does not allow it.

    """
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = target.with_name(f"{TEMP_PREFIX}{target.name}")
    temporary.unlink(missing_ok=True)
    temporary.hardlink_to(source)
    temporary.replace(target)
    temporary.unlink(missing_ok=True)  # a rename onto the same file does nothing
    _sync_folder(target.parent)


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
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(name)
    temporary.replace(link)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
