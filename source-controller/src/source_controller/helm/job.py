"""The jobs that run in a worker process: files of strangers become files that can be trusted."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from fluvial.objects import JsonObject
from fluvial.workers import landlock
from fluvial.workers.errors import WorkerError
from source_controller.helm import index

__all__ = ["run"]


def run(method: str, payload: JsonObject) -> JsonObject:
    """The worker's target; ``method`` is ``index``.

    Args:
        method: what to do.
        payload: ``work``, the job's folder, and the names in it of ``source`` and ``target``.

    Raises:
        WorkerError: code ``InvalidIndex``.

    """
    if method != "index":
        raise WorkerError("Internal", f"unknown method {method!r}")
    work = Path(payload["work"])
    _fence(work.parent)
    try:
        summary = index.rewrite(work / payload["source"], work / payload["target"])
    except index.InvalidIndex as error:
        raise WorkerError("InvalidIndex", str(error)) from error
    except OSError as error:
        raise WorkerError("Storage", f"the index cannot be written: {error.strerror}") from error
    result: JsonObject = msgspec.to_builtins(summary)
    return result


def _fence(folder: Path) -> None:
    """Limit this process to its namespace's folder, at the first call, for good."""
    if _fenced:
        return
    os.umask(0o077)
    landlock.fence(read=landlock.library_paths(), write=[folder])
    _fenced.append(folder)


_fenced: list[Path] = []
