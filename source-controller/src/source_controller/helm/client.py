"""The controller's side of the Helm jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from fluvial.log import Logger
from fluvial.objects import JsonObject
from fluvial.workers.errors import WorkerError, WorkerTimeout
from fluvial.workers.pool import WorkerPool
from source_controller.helm.building import Fetched, Found, Packed, Wish
from source_controller.helm.errors import by_code
from source_controller.helm.index import IndexSummary, InvalidIndex
from source_controller.helm.lookup import Chosen

__all__ = ["HelmJobs", "helm_pool"]

_TARGET = "source_controller.helm.job:run"
_BASE_MEMORY = 192 << 20
_MEMORY_PER_BYTE = 5
_FILE_FACTOR = 3
_SECONDS = 300.0
_CHART_SECONDS = 60.0
_CHART_MEMORY = 256 << 20
_CHART_FILE = 128 << 20


def helm_pool(*, size: int, max_index_bytes: int, log: Logger) -> WorkerPool:
    """The pool that ``HelmJobs`` works with; use it as a context manager.

    Args:
        size: jobs at once.
        max_index_bytes: of an index; decides how much memory a process may have.
        log: for process ends.

    """
    return WorkerPool(
        target=_TARGET,
        size=size,
        memory_bytes=_BASE_MEMORY + max(_CHART_MEMORY, _MEMORY_PER_BYTE * max_index_bytes),
        file_bytes=max(_CHART_FILE, _FILE_FACTOR * max_index_bytes),
        keep_spare=False,
        log=log,
    )


class HelmJobs:
    """Work on files of Helm that may be hostile, in worker processes.

    Every method takes ``work``, the run's folder, whose names the others are, and ``namespace``,
    that of the object: no process works for two.

    Args:
        pool: from ``helm_pool``.

    """

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool

    async def rewrite_index(
        self, work: Path, *, source: str, target: str, namespace: str
    ) -> IndexSummary:
        """Read an index and write it as JSON, as ``index.rewrite``.

        Args:
            work: the run's folder.
            source: name of the file in it.
            target: name of the file to write.
            namespace: of the object.

        Raises:
            InvalidIndex: it is none, or reading it takes too much time or memory.

        """
        payload = {"work": str(work), "source": source, "target": target}
        try:
            answer = await self._call("index", payload, _SECONDS, namespace)
        except WorkerTimeout as error:
            raise InvalidIndex(f"it takes longer than {_SECONDS:g}s to read") from error
        except WorkerError as error:
            prefix = "" if error.code == "InvalidIndex" else "the Helm worker failed: "
            raise InvalidIndex(prefix + error.message) from error
        return msgspec.convert(answer, IndexSummary)

    async def look_up(
        self, work: Path, *, index: str, name: str, version: str, namespace: str
    ) -> Chosen:
        """Which version of a chart a stored index means, as ``lookup.look_up``.

        Args:
            work: the run's folder.
            index: name of the index, in the namespace's folder, where that one is.
            name: of the chart.
            version: or range.
            namespace: of the object.

        Raises:
            ChartError: see ``lookup.look_up``.

        """
        payload = {
            "work": str(work),
            "index": index,
            "name": name,
            "version": version,
        }
        return msgspec.convert(await self._chart("lookup", payload, namespace), Chosen)

    async def inspect(self, work: Path, wish: Wish, *, namespace: str) -> Found:
        """Look at a chart, with all checks, as ``building.inspect``.

        Raises:
            ChartError: see ``building.inspect``.

        """
        payload = {"work": str(work), "wish": msgspec.to_builtins(wish)}
        return msgspec.convert(await self._chart("inspect", payload, namespace), Found)

    async def package(
        self, work: Path, wish: Wish, fetched: tuple[Fetched, ...], *, target: str, namespace: str
    ) -> Packed:
        """Package a chart, as ``building.package``.

        Args:
            work: the run's folder.
            wish: which chart, and how.
            fetched: dependencies from elsewhere.
            target: name of the file to write.
            namespace: of the object.

        Raises:
            ChartError: see ``building.package``.

        """
        payload = {
            "work": str(work),
            "wish": msgspec.to_builtins(wish),
            "fetched": msgspec.to_builtins(fetched),
            "target": target,
        }
        return msgspec.convert(await self._chart("package", payload, namespace), Packed)

    async def _chart(self, method: str, payload: JsonObject, namespace: str) -> Any:
        try:
            return await self._call(method, payload, _CHART_SECONDS, namespace)
        except WorkerError as error:
            raise by_code(error.code, error.message) from error

    async def _call(
        self, method: str, payload: JsonObject, seconds: float, namespace: str
    ) -> JsonObject:
        return await self._pool.call(
            method, payload, timeout=seconds, trust_domain=namespace, retry_timeout=False
        )
