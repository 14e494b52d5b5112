"""Dies in the middle of what it does to a folder; loaded by a controller under test, by PYTHONPATH.

``FLUVIAL_TEST_DEATHS`` names a file. While that file has a number n in it, the n-th call from then
on that changes something below ``FLUVIAL_TEST_STORAGE`` is not made: the process kills itself, and
the file tells which call it would have been.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_ORDERS = os.environ.get("FLUVIAL_TEST_DEATHS", "")
_ROOT = os.environ.get("FLUVIAL_TEST_STORAGE", "")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CALLS = {"os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.truncate"}
_seen = 0


def _concerns(path: str) -> bool:
    inside = path.startswith(f"{_ROOT}/")
    return inside and not path.startswith((f"{_ROOT}/.work", f"{_ROOT}/.lock"))


def _path(name: Any, folder: Any = -1) -> str:
    try:
        text = os.fsdecode(name)
        if isinstance(folder, int) and folder >= 0:
            text = f"{Path(f'/proc/self/fd/{folder}').readlink()}/{text}"
    except (OSError, TypeError, ValueError):
        return ""
    return text


def _about_to(call: str, path: str) -> None:
    global _seen  # noqa: PLW0603  # one process, one count
    if not _concerns(path):
        return
    try:
        wanted = int(Path(_ORDERS).read_text())
    except (OSError, ValueError):
        _seen = 0
        return
    _seen += 1
    if _seen == wanted:
        Path(_ORDERS).write_text(f"{call} {Path(path).name}")
        os.kill(os.getpid(), signal.SIGKILL)


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES:
        _about_to("open", _path(arguments[0]))
    elif event in _CALLS:
        # The last path is the one that changes; folders that paths are relative to come last.
        two = event in {"os.rename", "os.link"}
        name = arguments[1] if two or event == "os.symlink" else arguments[0]
        _about_to(event.removeprefix("os."), _path(name, arguments[-1]))


def _told(real: Callable[[int], None]) -> Callable[[int], None]:
    def fsync(descriptor: int) -> None:
        _about_to("fsync", _path(f"/proc/self/fd/{descriptor}") and _target(descriptor))
        real(descriptor)

    return fsync


def _target(descriptor: int) -> str:
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


if _ORDERS and _ROOT:
    os.fsync = _told(os.fsync)  # type: ignore[assignment]  # nobody passes it by keyword
    sys.addaudithook(_watch)
