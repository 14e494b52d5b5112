"""Making artifacts: expand, stage, store, hand out, and clean up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from fluvial.api.meta import Artifact
from fluvial.api.source_extensions import ExternalArtifactReference, OutputArtifact
from fluvial.artifact.errors import ArtifactError
from fluvial.errors import FluvialError
from fluvial.kube.kinds import EXTERNAL_ARTIFACT
from fluvial.objects import JsonObject, ObjectKey
from source_controller.artifactgenerator import pathpattern, reasons
from source_controller.artifactgenerator.client import BuildFailed, GeneratorJobs
from source_controller.artifactgenerator.desired import desired_for
from source_controller.artifactgenerator.drift import DriftCheck, stored_artifact
from source_controller.artifactgenerator.job import content_filter
from source_controller.artifactgenerator.outputs import Outputs
from source_controller.artifactgenerator.pathpattern import PathPatternError, Request
from source_controller.artifactgenerator.run import GeneratorRun
from source_controller.artifactgenerator.sources import ObservedSource
from source_controller.artifactgenerator.staging import split_alias
from source_controller.artifactgenerator.trees import SourceTrees, Tree
from source_controller.source.run import FailureClass, StepFailed
from source_controller.source.tools import Tools
from source_controller.source.work import make_folder

__all__ = ["BuildStep"]

_ORIGIN_REVISION = "org.opencontainers.image.revision"
_STAGED = "staged"


class BuildStep:
    """Makes the artifacts of one generator after the other.

    Args:
        tools: storage, events, log.
        jobs: the work on files.
        trees: the sources' content.
        outputs: the ExternalArtifacts.
        drift: tells what is stored already.

    """

    def __init__(
        self,
        tools: Tools,
        *,
        jobs: GeneratorJobs,
        trees: SourceTrees,
        outputs: Outputs,
        drift: DriftCheck,
    ) -> None:
        self._tools = tools
        self._storage = tools.storage
        self._jobs = jobs
        self._trees = trees
        self._outputs = outputs
        self._drift = drift

    async def run(
        self,
        run: GeneratorRun,
        sources: Mapping[str, ObservedSource],
        existing: Mapping[str, JsonObject],
    ) -> list[ExternalArtifactReference]:
        """Make everything that the spec says; the new inventory.

        Args:
            run: of the generator.
            sources: by alias.
            existing: its ExternalArtifacts now, by name.

        Raises:
            StepFailed: ``SourceFetchFailed``, ``BuildFailed`` or ``ReconciliationFailed``.

        """
        inventory = []
        async with AsyncExitStack() as stack:
            trees = await self._open(stack, sources)
            work = await self._folder(stack, run)
            for request in await self._requests(run, work, trees):
                artifact = await self._artifact(
                    run, work, request.output, trees=trees, sources=sources, existing=existing
                )
                await self._hand_out(run, request, artifact, existing)
                inventory.append(_reference(run.key.namespace, request.output.name, artifact))
        return inventory

    async def _open(
        self, stack: AsyncExitStack, sources: Mapping[str, ObservedSource]
    ) -> dict[str, Tree]:
        trees = {}
        for alias, source in sources.items():
            try:
                trees[alias] = await stack.enter_async_context(self._trees.open(source))
            except (FluvialError, OSError) as error:
                detail = error.strerror if isinstance(error, OSError) else str(error)
                raise StepFailed(
                    "",
                    reasons.SOURCE_FETCH_FAILED,
                    f"fetch sources failed: {source.kind} '{source.key}': {detail}",
                    kind="waiting",
                ) from error
        return trees

    async def _folder(self, stack: AsyncExitStack, run: GeneratorRun) -> Path:
        try:
            return await stack.enter_async_context(
                make_folder(
                    self._tools.work, run.key.namespace, prefix=f"artifactgenerator-{run.key.name}"
                )
            )
        except OSError as error:
            raise _build_failed(f"failed to create a temporary folder: {error.strerror}") from error

    async def _requests(
        self, run: GeneratorRun, work: Path, trees: Mapping[str, Tree]
    ) -> Sequence[Request]:
        text = run.obj.spec.path_pattern
        outputs = run.obj.spec.artifacts
        if not text:
            return [Request(output) for output in outputs]
        alias, pattern = split_alias(text)
        try:
            found = await self._jobs.discover(
                work, trees[alias], pattern, namespace=run.key.namespace
            )
            return pathpattern.render(pattern, outputs, found)
        except (PathPatternError, BuildFailed) as error:
            is_final = isinstance(error, PathPatternError) or error.is_final
            raise _build_failed(
                f"failed to expand path pattern: {error}", kind="stalled" if is_final else "retry"
            ) from error

    async def _artifact(
        self,
        run: GeneratorRun,
        work: Path,
        output: OutputArtifact,
        *,
        trees: Mapping[str, Tree],
        sources: Mapping[str, ObservedSource],
        existing: Mapping[str, JsonObject],
    ) -> Artifact:
        key = ObjectKey(run.key.namespace, output.name)
        used = {split_alias(copy.from_)[0] for copy in output.copy}
        try:
            digest = await self._jobs.stage(
                work,
                {alias: tree for alias, tree in trees.items() if alias in used} or trees,
                output.copy,
                namespace=key.namespace,
            )
            filename = f"{digest}.tar.gz"
            known = await self._known(run, output.name, filename, existing)
            artifact = known or await self._storage.archive(
                work / _STAGED,
                path=self._storage.relative_path(EXTERNAL_ARTIFACT.kind, key, filename),
                revision="",
                keep_for=lambda _: content_filter,
            )
        except (BuildFailed, ArtifactError, OSError) as error:
            detail = error.strerror if isinstance(error, OSError) else str(error)
            raise _build_failed(f"{output.name} build failed: {detail}") from error
        return _with_revisions(artifact, output, sources)

    async def _known(
        self, run: GeneratorRun, name: str, filename: str, existing: Mapping[str, JsonObject]
    ) -> Artifact | None:
        """The stored artifact with this very content, so that it is neither packed nor dated anew."""
        reference = run.inventory.get(name)
        if reference is None or reference.filename != filename:
            return None
        stored = stored_artifact(self._storage, reference)
        if stored is None or not await self._drift.is_stored(reference):
            return None
        live = ((existing.get(name) or {}).get("status") or {}).get("artifact") or {}
        if live.get("digest") != stored.digest or not isinstance(live.get("size"), int):
            return None
        return msgspec.structs.replace(
            stored, last_update_time=str(live["lastUpdateTime"]), size=live["size"]
        )

    async def _hand_out(
        self,
        run: GeneratorRun,
        request: Request,
        artifact: Artifact,
        existing: Mapping[str, JsonObject],
    ) -> None:
        name = request.output.name
        desired = desired_for(run.obj, name, captured=request.labels, artifact=artifact)
        live = existing.get(name) or await self._outputs.read(desired.key)
        written = await self._outputs.write(run.obj, desired, live)
        old = run.inventory.get(name)
        if written and (old is None or old.digest != artifact.digest):
            self._tools.events.event(
                run.live,
                type="Trace",
                reason=reasons.READY,
                message=f"ExternalArtifact/{desired.key.namespace}/{name} reconciled with revision"
                f" {artifact.revision}",
            )


def _with_revisions(
    artifact: Artifact, output: OutputArtifact, sources: Mapping[str, ObservedSource]
) -> Artifact:
    revision = f"latest@{artifact.digest}"
    source = sources.get((output.revision or "").removeprefix("@"))
    if source is not None:
        revision = source.artifact.revision
    metadata = {}
    origin = sources.get((output.origin_revision or "").removeprefix("@"))
    if origin is not None:
        metadata[_ORIGIN_REVISION] = origin.origin_revision or origin.artifact.revision
    return msgspec.structs.replace(artifact, revision=revision, metadata=metadata)


def _reference(namespace: str, name: str, artifact: Artifact) -> ExternalArtifactReference:
    return ExternalArtifactReference(
        name=name,
        namespace=namespace,
        digest=artifact.digest,
        filename=artifact.path.rpartition("/")[2],
    )


def _build_failed(message: str, *, kind: FailureClass = "retry") -> StepFailed:
    return StepFailed("", reasons.BUILD_FAILED, message, kind=kind)
