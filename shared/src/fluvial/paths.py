"""Joining a path that somebody else wrote to a root that it must not leave."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["secure_join"]

_MAX_LINKS = 255
_MAX_NAME, _MAX_PATH = 255, 3072  # the root comes on top, and 4096 is the end


def secure_join(root: Path, unsafe: str) -> Path:
    """Join so that the result is inside ``root`` whatever ``unsafe`` says.

    ``..`` stops at the root and symlinks are followed as if ``root`` were ``/`` (the rule of
    Go's ``filepath-securejoin``, which Flux uses). The result need not exist.

    Raises:
        ValueError: a NUL byte, a name or path that no file system takes, or more than 255 links.

    """
    if "\0" in unsafe:
        raise ValueError("path contains a NUL byte")
    if len(unsafe) > _MAX_PATH or any(len(os.fsencode(p)) > _MAX_NAME for p in unsafe.split("/")):
        raise ValueError(f"path {unsafe[:64]!r}... is too long")
    pending = [part for part in reversed(unsafe.split("/")) if part]
    done: list[str] = []
    links = 0
    while pending:
        part = pending.pop()
        if part == ".":
            continue
        if part == "..":
            if done:
                done.pop()
            continue
        here = root.joinpath(*done, part)
        if not here.is_symlink():
            done.append(part)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise ValueError(f"too many symbolic links in path {unsafe!r}")
        target = str(here.readlink())
        if target.startswith("/"):
            done.clear()
        pending.extend(piece for piece in reversed(target.split("/")) if piece)
    return root.joinpath(*done)
