"""A private copy of a shared, read-only tree, for one build."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from fluvial.artifact.threads import StopFlag, in_thread
from fluvial.build.errors import RefusedInput

__all__ = ["private_view", "remove_leftovers"]

_PREFIX = "build-"
# Walking and deleting recurse, here and in the program.
_MAX_DEPTH = 200


@contextlib.asynccontextmanager
async def private_view(
    tree: Path, *, work_dir: Path, only: frozenset[str] | None = None
) -> AsyncIterator[Path]:
    """A copy of ``tree`` that the caller may change by creating, replacing and deleting files.

    Files are hard links where both are on one file system, else copies, so a file must never be
    opened for writing: replace it. Symbolic links and special files are left out.

    Args:
        tree: folder to copy; read only.
        only: files to copy, relative to ``tree``, each there and not behind a link; ``None``
            copies everything.
        work_dir: existing folder in which the copy is made, and removed from at the end.

    Raises:
        RefusedInput: folders are nested too deeply.

    """
    root = _new_folder(work_dir)
    try:
        if only is None:
            await in_thread(lambda stop: _copy(str(tree), str(root), stop))
        else:
            await in_thread(lambda stop: _copy_some(tree, root, only, stop))
        yield root
    finally:
        await in_thread(lambda _: shutil.rmtree(root, ignore_errors=True))


def remove_leftovers(work_dir: Path) -> None:
    """Delete copies that a killed process left behind; call it before the first build."""
    for folder in work_dir.glob(f"{_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _new_folder(work_dir: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=work_dir)).resolve()


def _copy(tree: str, root: str, stop: StopFlag) -> None:
    pending = [(tree, root, 0)]
    while pending:
        source, target, depth = pending.pop()
        if depth > _MAX_DEPTH:
            raise RefusedInput(f"folders are nested deeper than {_MAX_DEPTH} levels")
        with os.scandir(source) as entries:
            for entry in entries:
                stop.check()
                destination = f"{target}/{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    Path(destination).mkdir(0o700)
                    pending.append((entry.path, destination, depth + 1))
                elif entry.is_file(follow_symlinks=False):
                    _copy_file(entry.path, destination)


def _copy_some(tree: Path, root: Path, only: frozenset[str], stop: StopFlag) -> None:
    made: set[str] = set()
    for path in only:
        stop.check()
        if path.count("/") > _MAX_DEPTH:
            raise RefusedInput(f"folders are nested deeper than {_MAX_DEPTH} levels")
        folder = path.rpartition("/")[0]
        if folder not in made:
            (root / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
            made.add(folder)
        _copy_file(f"{tree}/{path}", f"{root}/{path}")


def _copy_file(source: str, destination: str) -> None:
    try:
        os.link(source, destination, follow_symlinks=False)
    except OSError:
        # Another file system, or a file of another owner.
        shutil.copyfile(source, destination, follow_symlinks=False)
