"""Walking a folder whose content may have been changed behind our back.

Every step is taken from a descriptor of the folder before, and none follows a link, so that what
is opened, made or deleted is inside the root whatever somebody put there in between.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from fluvial.artifact.errors import ArtifactNotFound

__all__ = ["open_file", "own_folder", "parts_of"]

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
# Nothing of that name, or something that is no folder, no file, or a link.
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENAMETOOLONG})


def parts_of(path: str) -> list[str]:
    """The segments of an artifact's path.

    Raises:
        ArtifactNotFound: a segment is empty or hidden, or has a NUL: nothing is stored like this.

    """
    parts = path.lstrip("/").split("/")
    if any(not part or part[0] == "." or "\0" in part for part in parts):
        raise ArtifactNotFound("the artifact is not in storage")
    return parts


def open_file(root: Path, parts: Sequence[str], *, beside: bool = False) -> int:
    """A descriptor of a regular file below ``root``, which the caller closes.

    Args:
        root: the folder to start from.
        parts: segments of the path, none of them empty, ``.`` or ``..``.
        beside: follow a link at the end to a file in its own folder.

    Raises:
        ArtifactNotFound: there is no regular file, or a folder on the way is none.
        OSError: it cannot be said: the disk fails, or the right is missing.

    """
    here = -1
    try:
        here = os.open(root, _FLAGS | os.O_DIRECTORY)
        for part in parts[:-1]:
            here = _step(here, part, _FLAGS | os.O_DIRECTORY)
        name = _leads_to(here, parts[-1]) if beside else parts[-1]
        # Not blocking: a pipe in the place of a file would wait for somebody who writes.
        here = _step(here, name, _FLAGS | os.O_NONBLOCK)
        if stat.S_ISREG(os.fstat(here).st_mode):
            return here
    except OSError as error:
        if error.errno in _ABSENT:
            raise ArtifactNotFound("the artifact is not in storage") from error
        raise
    os.close(here)
    raise ArtifactNotFound("the artifact is not in storage")


def own_folder(root: Path, folder: Path, *, make: bool) -> bool:
    """Whether all folders from ``root`` down to ``folder`` are folders and no links.

    What is in the place of one is removed: nothing but folders belongs there, and a link would
    lead every later write and deletion out of the root.

    Args:
        root: is taken as it is.
        folder: below it.
        make: make those that are missing, with mode 0700.

    Returns:
        False if one is missing and ``make`` is not given.

    Raises:
        OSError: one cannot be looked at, removed or made.

    """
    here = root
    for part in folder.relative_to(root).parts:
        here = here / part
        try:
            mode = here.lstat().st_mode
        except FileNotFoundError:
            mode = 0
        if mode and not stat.S_ISDIR(mode):
            here.unlink(missing_ok=True)
            mode = 0
        if not mode:
            if not make:
                return False
            here.mkdir(mode=0o700, exist_ok=True)
    return True


def _step(folder: int, name: str, flags: int) -> int:
    """Open ``name`` in ``folder``, which is closed whatever happens."""
    try:
        return os.open(name, flags, dir_fd=folder)
    finally:
        os.close(folder)


def _leads_to(folder: int, name: str) -> str:
    """Where a link leads if that is a file beside it; else ``name``, which is opened as no link."""
    try:
        target = os.readlink(name, dir_fd=folder)
    except OSError:
        return name
    return name if "/" in target or target.startswith(".") else target
