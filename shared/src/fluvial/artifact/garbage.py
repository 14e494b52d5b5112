"""Which artifacts of an object are no longer needed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from fluvial.artifact.publishing import TEMP_PREFIX
from fluvial.artifact.threads import StopFlag

__all__ = ["clean", "collect", "object_folders", "remove_folder"]

_MAX_WALKED = 1000


def clean(base: Path, stop: StopFlag) -> int:
    """Delete what a killed process left half written; answers how many files.

    Args:
        base: of the storage.
        stop: ends it early.

    """
    removed = 0
    for folder, _, names in os.walk(base):
        stop.check()
        for name in names:
            if name.startswith(TEMP_PREFIX):
                Path(folder, name).unlink(missing_ok=True)
                removed += 1
    return removed


def object_folders(root: Path) -> list[tuple[str, str]]:
    """Namespace and name of each folder of a kind's objects; ``root`` may be gone."""
    return [
        (namespace.name, folder.name)
        for namespace in _folders(root)
        for folder in _folders(namespace)
    ]


def collect(folder: Path, *, current: str, oldest: float, records: int) -> list[str]:
    """Delete old artifacts: those from before a time, and the oldest beyond a number.

    Args:
        folder: of one object; it may be gone.
        current: name of the file that is never deleted, ``""`` if there is none.
        oldest: seconds since the epoch.
        records: files that stay at most, the current one included.

    Returns:
        The names that were deleted. Links and names that begin with a dot are no artifacts.

    """
    found: list[tuple[float, str]] = []
    try:
        with os.scandir(folder) as entries:
            for count, entry in enumerate(entries):
                if count >= _MAX_WALKED:
                    break
                if entry.is_file(follow_symlinks=False) and not entry.name.startswith("."):
                    found.append((entry.stat(follow_symlinks=False).st_mtime, entry.name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    old = sorted((mtime, name) for mtime, name in found if name != current)
    expired = [name for mtime, name in old if mtime < oldest]
    left = len(found) - len(expired)
    rest = [name for _, name in old if name not in set(expired)]
    surplus = rest[: max(0, left - max(records, 1))]
    removed = expired + surplus
    for name in removed:
        (folder / name).unlink(missing_ok=True)
    return removed


def remove_folder(folder: Path) -> None:
    """Delete a folder, and its namespace's folder if that is empty now; it may be gone already."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=False, onerror=_ignore_missing)
    try:
        folder.parent.rmdir()
    except OSError:
        return  # other objects are in it


def _folders(root: Path) -> list[Path]:
    try:
        return [item for item in root.iterdir() if item.is_dir() and not item.is_symlink()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _ignore_missing(_: object, __: str, info: tuple[object, BaseException, object]) -> None:
    if not isinstance(info[1], FileNotFoundError):
        raise info[1]
