"""The controller's side of the Helm jobs."""

from __future__ import annotations

from pathlib import Path

import msgspec

from fluvial.log import Logger
from fluvial.workers.errors import WorkerError, WorkerTimeout
from fluvial.workers.pool import WorkerPool
from source_controller.helm.index import IndexSummary, InvalidIndex

__all__ = ["HelmJobs", "helm_pool"]

_TARGET = "source_controller.helm.job:run"
_BASE_MEMORY = 192 << 20
_MEMORY_PER_BYTE = 5
_FILE_FACTOR = 3
_SECONDS = 300.0


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
        memory_bytes=_BASE_MEMORY + _MEMORY_PER_BYTE * max_index_bytes,
        file_bytes=_FILE_FACTOR * max_index_bytes,
        keep_spare=False,
        log=log,
    )


class HelmJobs:
    """Work on files of Helm that may be hostile, in worker processes.

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
            namespace: of the object: no process works for two.

        Raises:
            InvalidIndex: it is none, or reading it takes too much time or memory.

        """
        try:
            answer = await self._pool.call(
                "index",
                {"work": str(work), "source": source, "target": target},
                timeout=_SECONDS,
                trust_domain=namespace,
                retry_timeout=False,
            )
        except WorkerTimeout as error:
            raise InvalidIndex(f"it takes longer than {_SECONDS:g}s to read") from error
        except WorkerError as error:
            prefix = "" if error.code == "InvalidIndex" else "the Helm worker failed: "
            raise InvalidIndex(prefix + error.message) from error
        return msgspec.convert(answer, IndexSummary)
