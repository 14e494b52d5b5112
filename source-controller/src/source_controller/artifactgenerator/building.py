"""Making artifacts: expand, stage, store, hand out, and clean up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec

from fluvial.api.meta import Artifact
from fluvial.api.source_extensions import ExternalArtifactReference, OutputArtifact
from fluvial.artifact.errors import ArtifactError
from fluvial.artifact.threads import in_thread
from fluvial.build.pace import Pace
from fluvial.clock import format_time
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
_WORTH_COMPARING = 2  # artifacts; a change of the sources of one concerns that one


@dataclass(frozen=True, slots=True)
class _Making:
    """What the artifacts of one run are made with; see ``BuildStep.run``."""

    run: GeneratorRun
    work: Path
    trees: Mapping[str, Tree]
    sources: Mapping[str, ObservedSource]
    existing: Mapping[str, JsonObject]
    inventory: Mapping[str, ExternalArtifactReference]


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
        # Of each generator, by artifact: what it was last made of, and the file.
        self._made: dict[ObjectKey, dict[str, tuple[str, str]]] = {}

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
            making = _Making(run, work, trees, sources, existing, run.inventory)
            requests = await self._requests(making)
            inputs = await self._inputs(making, requests)
            for request, digest in zip(requests, inputs, strict=True):
                key = ObjectKey(run.key.namespace, request.output.name)
                async with self._outputs.lock(key):
                    live = existing.get(key.name) or await self._outputs.read(key)
                    self._outputs.check(run.obj, key, live)
                    artifact = await self._artifact(making, request.output, digest)
                    await self._hand_out(making, request, artifact, live)
                inventory.append(_reference(run.key.namespace, request.output.name, artifact))
        return inventory

    def forget(self, generator: ObjectKey) -> None:
        """A generator is gone."""
        self._made.pop(generator, None)

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

    async def _requests(self, making: _Making) -> Sequence[Request]:
        text = making.run.obj.spec.path_pattern
        outputs = making.run.obj.spec.artifacts
        if not text:
            return [Request(output) for output in outputs]
        alias, pattern = split_alias(text)
        try:
            found = await self._jobs.discover(
                making.work,
                making.trees,
                alias,
                pattern=pattern,
                namespace=making.run.key.namespace,
            )
            requests, pace = [], Pace()
            for request in pathpattern.render(pattern, outputs, found):
                requests.append(request)
                await pace.breathe()
        except (PathPatternError, BuildFailed) as error:
            is_final = isinstance(error, PathPatternError) or error.is_final
            raise _build_failed(
                f"failed to expand path pattern: {error}", kind="stalled" if is_final else "retry"
            ) from error
        return requests

    async def _inputs(self, making: _Making, requests: Sequence[Request]) -> Sequence[str]:
        """What each artifact is made of; ``""`` where it is put together in any case."""
        if len(requests) < _WORTH_COMPARING:
            return [""] * len(requests)
        copies = [request.output.copy for request in requests]
        try:
            return await self._jobs.inputs(
                making.work, making.trees, copies, namespace=making.run.key.namespace
            )
        except BuildFailed as error:
            raise _build_failed(str(error)) from error

    async def _artifact(self, making: _Making, output: OutputArtifact, inputs: str) -> Artifact:
        made = self._made.setdefault(making.run.key, {})
        was_made_of, filename = made.get(output.name, ("", ""))
        known = None
        if inputs and inputs == was_made_of:
            known = await self._known(making, output.name, filename)
        if known is None:
            known = await self._put_together(making, output)
            made[output.name] = (inputs, known.path.rpartition("/")[2])
        return _with_revisions(known, output, making.sources)

    async def _put_together(self, making: _Making, output: OutputArtifact) -> Artifact:
        key = ObjectKey(making.run.key.namespace, output.name)
        try:
            digest = await self._jobs.stage(
                making.work, making.trees, output.copy, namespace=key.namespace
            )
            filename = f"{digest}.tar.gz"
            known = await self._known(making, output.name, filename)
            return known or await self._storage.archive(
                making.work / _STAGED,
                path=self._storage.relative_path(EXTERNAL_ARTIFACT.kind, key, filename),
                revision="",
                keep_for=lambda _: content_filter,
            )
        except (BuildFailed, ArtifactError, OSError) as error:
            detail = error.strerror if isinstance(error, OSError) else str(error)
            raise _build_failed(f"{output.name} build failed: {detail}") from error

    async def _known(self, making: _Making, name: str, filename: str) -> Artifact | None:
        """The stored artifact with this very content, so that it is neither packed nor dated anew."""
        reference = making.inventory.get(name)
        if reference is None or reference.filename != filename:
            return None
        stored = stored_artifact(self._storage, reference)
        if stored is None or not await self._drift.is_stored(reference):
            return None
        path = self._storage.local_path(stored)
        try:
            size = (await in_thread(lambda _: path.stat())).st_size
        except OSError:
            return None
        return msgspec.structs.replace(
            stored, last_update_time=self._stored_at(making, reference), size=size
        )

    def _stored_at(self, making: _Making, reference: ExternalArtifactReference) -> str:
        """When a file was stored, as its ExternalArtifact says, or said before somebody changed it."""
        live = (making.existing.get(reference.name) or {}).get("status") or {}
        desired = self._outputs.remembered(ObjectKey(reference.namespace, reference.name))
        for said in (desired.artifact if desired else None, live.get("artifact")):
            if said and said.get("digest") == reference.digest and said.get("lastUpdateTime"):
                return str(said["lastUpdateTime"])
        return format_time(self._tools.clock.now())

    async def _hand_out(
        self, making: _Making, request: Request, artifact: Artifact, live: JsonObject | None
    ) -> None:
        run = making.run
        name = request.output.name
        desired = desired_for(run.obj, name, captured=request.labels, artifact=artifact)
        written = await self._outputs.write(run.obj, desired, live)
        old = making.inventory.get(name)
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
