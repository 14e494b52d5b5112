"""The controller's side of the jobs.

A process can read the trees of the generator that it works for, and no others: what a tenant's
archive or pattern may take over must not see what other namespaces' sources have. Since a fence
cannot be moved, a process serves one set of trees.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from fluvial.api.source_extensions import CopyOperation
from fluvial.artifact.tar import UnpackLimits
from fluvial.errors import FluvialError
from fluvial.log import Logger
from fluvial.objects import JsonObject
from fluvial.workers.errors import WorkerError, WorkerTimeout
from fluvial.workers.pool import WorkerPool
from source_controller.artifactgenerator.job import DiscoveryJob, InputsJob, Staged, StagingJob
from source_controller.artifactgenerator.trees import Tree

__all__ = ["BuildFailed", "GeneratorJobs", "generator_pool"]

_TARGET = "source_controller.artifactgenerator.job:run"
_MEMORY = 384 << 20
_SECONDS = 120.0


class BuildFailed(FluvialError):
    """An artifact cannot be made.

    Attributes:
        is_final: it will not get better before somebody changes the spec or a source.

    """

    def __init__(self, message: str, *, is_final: bool) -> None:
        super().__init__(message)
        self.is_final = is_final


def generator_pool(*, size: int, limits: UnpackLimits, log: Logger) -> WorkerPool:
    """The pool that ``GeneratorJobs`` works with; use it as a context manager.

    Args:
        size: jobs at once.
        limits: of one artifact.
        log: for process ends.

    """
    return WorkerPool(
        target=_TARGET,
        size=size,
        memory_bytes=_MEMORY,
        file_bytes=limits.max_file_bytes,
        keep_spare=False,
        log=log,
    )


class GeneratorJobs:
    """Puts contents of artifacts together, in worker processes.

    Args:
        pool: from ``generator_pool``.
        limits: of one artifact.

    """

    def __init__(self, pool: WorkerPool, limits: UnpackLimits) -> None:
        self._pool = pool
        self._limits = limits

    async def stage(
        self,
        work: Path,
        trees: Mapping[str, Tree],
        copy: Sequence[CopyOperation],
        *,
        namespace: str,
    ) -> str:
        """Fill the folder ``staged`` in ``work``; a digest of its content, in hex.

        Args:
            work: the run's folder.
            trees: alias to tree, of all sources of the generator.
            copy: the operations.
            namespace: of the generator: no process works for two.

        Raises:
            BuildFailed: an operation cannot be done, or takes too much time or memory.

        """
        job = StagingJob(
            work=str(work),
            readable=_folders(trees),
            trees={alias: str(tree.path) for alias, tree in trees.items()},
            dropped_links={
                alias: list(tree.dropped_links)
                for alias, tree in trees.items()
                if tree.dropped_links
            },
            copy=list(copy),
            limits=self._limits,
        )
        answer = await self._call("stage", msgspec.to_builtins(job), namespace, trees)
        return msgspec.convert(answer, Staged).hex

    async def inputs(
        self,
        work: Path,
        trees: Mapping[str, Tree],
        artifacts: Sequence[Sequence[CopyOperation]],
        *,
        namespace: str,
    ) -> list[str]:
        """What each artifact is made of, as ``inputs.input_digest``.

        Raises:
            BuildFailed: it takes too much time or memory.

        """
        job = InputsJob(
            work=str(work),
            readable=_folders(trees),
            trees={alias: str(tree.path) for alias, tree in trees.items()},
            artifacts=[list(copy) for copy in artifacts],
        )
        answer = await self._call("inputs", msgspec.to_builtins(job), namespace, trees)
        return msgspec.convert(answer["digests"], list[str])

    async def discover(
        self, work: Path, trees: Mapping[str, Tree], alias: str, *, pattern: str, namespace: str
    ) -> list[tuple[str, dict[str, str]]]:
        """The folders that a pattern matches, as ``pathpattern.discover``.

        Args:
            work: the run's folder.
            trees: alias to tree, of all sources of the generator.
            alias: of the tree that is looked at.
            pattern: without its alias.
            namespace: of the generator.

        Raises:
            BuildFailed: see there.

        """
        job = DiscoveryJob(
            work=str(work),
            readable=_folders(trees),
            tree=str(trees[alias].path),
            pattern=pattern,
        )
        answer = await self._call("discover", msgspec.to_builtins(job), namespace, trees)
        return msgspec.convert(answer["found"], list[tuple[str, dict[str, str]]])

    async def _call(
        self, method: str, payload: JsonObject, namespace: str, trees: Mapping[str, Tree]
    ) -> JsonObject:
        try:
            return await self._pool.call(
                method,
                payload,
                timeout=_SECONDS,
                trust_domain=_trust_domain(namespace, trees),
                turn=namespace,
                retry_timeout=False,
            )
        except WorkerTimeout as error:
            raise BuildFailed(f"it takes longer than {_SECONDS:g}s", is_final=False) from error
        except WorkerError as error:
            prefix = "" if error.code == "Refused" else "the worker failed: "
            raise BuildFailed(
                prefix + error.message, is_final=error.code == "Refused" and method == "discover"
            ) from error


def _folders(trees: Mapping[str, Tree]) -> list[str]:
    return sorted({str(tree.path) for tree in trees.values()})


def _trust_domain(namespace: str, trees: Mapping[str, Tree]) -> str:
    """The namespace and the very folders: one that was unpacked again is another to a fence."""
    hasher = hashlib.sha256()
    for folder in _folders(trees):
        found = Path(folder).stat()
        hasher.update(f"{folder}\n{found.st_ino} {found.st_ctime_ns}\n".encode())
    return f"{namespace} {hasher.hexdigest()}"
