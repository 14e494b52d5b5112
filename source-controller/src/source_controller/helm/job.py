"""The jobs that run in a worker process: files of strangers become files that can be trusted."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from fluvial.objects import JsonObject
from fluvial.workers import landlock
from fluvial.workers.errors import WorkerError
from source_controller.helm import building, index, lookup
from source_controller.helm.building import Fetched, Wish
from source_controller.helm.errors import ChartError

__all__ = ["run"]


def run(method: str, payload: JsonObject) -> JsonObject:
    """The worker's target.

    Args:
        method: ``index``, ``lookup``, ``inspect`` or ``package``.
        payload: ``work``, the job's folder, and what the job takes.

    Raises:
        WorkerError: code ``InvalidIndex``, the name of a ``ChartError``.

    """
    job = _JOBS.get(method)
    if job is None:
        raise WorkerError("Internal", f"unknown method {method!r}")
    work = Path(payload["work"])
    _fence(work.parent)
    try:
        result: JsonObject = msgspec.to_builtins(job(work, payload))
    except index.InvalidIndex as error:
        raise WorkerError("InvalidIndex", str(error)) from error
    except ChartError as error:
        raise WorkerError(type(error).__name__, str(error)) from error
    except OSError as error:
        raise WorkerError("StorageFailed", f"{_WHAT[method]}: {error.strerror}") from error
    return result


def _index(work: Path, payload: JsonObject) -> msgspec.Struct:
    return index.rewrite(work / payload["source"], work / payload["target"])


def _lookup(work: Path, payload: JsonObject) -> msgspec.Struct:
    return lookup.look_up(
        work.parent / payload["index"],
        name=payload["name"],
        version=payload["version"],
    )


def _inspect(work: Path, payload: JsonObject) -> msgspec.Struct:
    return building.inspect(work, msgspec.convert(payload["wish"], Wish))


def _package(work: Path, payload: JsonObject) -> msgspec.Struct:
    fetched = msgspec.convert(payload["fetched"], tuple[Fetched, ...])
    wish = msgspec.convert(payload["wish"], Wish)
    return building.package(work, wish, fetched, work / payload["target"])


_JOBS: dict[str, Callable[[Path, JsonObject], msgspec.Struct]] = {
    "index": _index,
    "lookup": _lookup,
    "inspect": _inspect,
    "package": _package,
}
_WHAT = {
    "index": "the index cannot be written",
    "lookup": "the index cannot be read",
    "inspect": "the chart cannot be read",
    "package": "the chart cannot be packaged",
}


def _fence(folder: Path) -> None:
    """Limit this process to its namespace's folder, at the first call, for good."""
    if _fenced:
        return
    os.umask(0o077)
    landlock.fence(read=landlock.paths_of_libraries(), write=[folder])
    _fenced.append(folder)


_fenced: list[Path] = []
