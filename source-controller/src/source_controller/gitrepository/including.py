"""The include step: parts of other repositories' artifacts, copied into the tree."""

from __future__ import annotations

from pathlib import Path

from fluvial.api.codec import decode
from fluvial.api.meta import Artifact
from fluvial.api.source import GitRepository, GitRepositoryInclude
from fluvial.artifact.errors import ArtifactError
from fluvial.artifact.storage import Storage
from fluvial.artifact.tar import UnpackLimits
from fluvial.artifact.threads import in_thread
from fluvial.errors import FluvialError
from fluvial.kube.client import KubeClient
from fluvial.kube.kinds import GIT_REPOSITORY
from fluvial.objects import ObjectKey
from fluvial.paths import secure_join
from source_controller.gitrepository import reasons
from source_controller.gitrepository.run import GitRun
from source_controller.source.reasons import ARTIFACT_OUTDATED, STORAGE_OPERATION_FAILED
from source_controller.source.run import StatusWriter, StepFailed

__all__ = ["IncludeStep"]


class IncludeStep:
    """Looks up what is included, before the fetch, and copies it, after.

    Args:
        client: reads the other objects, live, in the same namespace.
        storage: has their artifacts.
        writer: for progress.
        limits: of one included artifact.

    """

    def __init__(
        self,
        client: KubeClient,
        storage: Storage,
        writer: StatusWriter,
        limits: UnpackLimits,
    ) -> None:
        self._client = client
        self._storage = storage
        self._writer = writer
        self._limits = limits

    async def look_up(self, run: GitRun) -> None:
        """Find the artifacts of all includes.

        Raises:
            StepFailed: ``NotFound`` or ``NoArtifact``, waiting.

        """
        run.included = [await self._artifact_of(run, include) for include in run.obj.spec.include]
        run.clear(reasons.INCLUDE_UNAVAILABLE)

    async def run(self, run: GitRun, tree: Path) -> None:
        """Copy every include into the tree.

        Raises:
            StepFailed: ``IllegalPath`` or ``CopyFailure``.

        """
        await self._announce(run)
        includes = run.obj.spec.include
        for number, (include, artifact) in enumerate(zip(includes, run.included, strict=True)):
            unpacked = run.folder / f"include-{number}"
            try:
                await self._storage.unpack(artifact, unpacked, self._limits)
            except (ArtifactError, OSError) as error:
                raise _copy_failed(include, error) from error
            await in_thread(lambda _, i=include, u=unpacked: _move(i, u, tree))  # type: ignore[misc]  # a lambda with a default has no inferred type

    async def _announce(self, run: GitRun) -> None:
        new = [(artifact.revision, artifact.digest) for artifact in run.included]
        old = [(a.revision, a.digest) for a in run.obj.status.included_artifacts]
        if new == old:
            return
        message = "included artifacts differ from last observed includes"
        if old:
            run.set_true(ARTIFACT_OUTDATED, reasons.INCLUDE_CHANGE, message)
        run.progress(f"building artifact: {message}", drift=True)
        await self._writer.progress(run)

    async def _artifact_of(self, run: GitRun, include: GitRepositoryInclude) -> Artifact:
        name = include.repository.name
        key = ObjectKey(run.key.namespace, name)
        try:
            found = decode(await self._client.get(GIT_REPOSITORY, key), GitRepository)
        except FluvialError as error:
            raise StepFailed(
                reasons.INCLUDE_UNAVAILABLE,
                reasons.NOT_FOUND,
                f"could not get resource for include {name!r}: {error}",
                kind="waiting",
            ) from error
        artifact = found.status.artifact
        if artifact is None or not self._storage.is_of(artifact, GIT_REPOSITORY.kind, key):
            raise StepFailed(
                reasons.INCLUDE_UNAVAILABLE,
                reasons.NO_ARTIFACT,
                f"no artifact available for include {name!r}",
                kind="waiting",
            )
        return artifact


def _move(include: GitRepositoryInclude, unpacked: Path, tree: Path) -> None:
    try:
        source = secure_join(unpacked, include.from_path)
        target = secure_join(tree, include.target_path)
    except ValueError as error:
        raise StepFailed(
            STORAGE_OPERATION_FAILED,
            reasons.ILLEGAL_PATH,
            f"path calculation for include {include.repository.name!r} failed: {error}",
        ) from error
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
    except OSError as error:
        raise _copy_failed(include, error) from error


def _copy_failed(include: GitRepositoryInclude, error: Exception) -> StepFailed:
    text = error.strerror if isinstance(error, OSError) else str(error)
    return StepFailed(
        STORAGE_OPERATION_FAILED,
        reasons.COPY_FAILURE,
        f"failed to copy {include.repository.name!r} include"
        f" from {include.from_path or '/'!r} to {include.target_path!r}: {text}",
    )
