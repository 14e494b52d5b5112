"""What happens to one ArtifactGenerator, in order.

    read > deletion > finalizer > suspension > validation > sources > drift? > build > garbage

Whatever happens, the status is written once at the end, plus progress where artifacts are made.
"""

from __future__ import annotations

from fluvial.api.codec import InvalidObject, decode
from fluvial.api.meta import Artifact
from fluvial.api.source_extensions import (
    FINALIZER,
    ArtifactGenerator,
    ExternalArtifactReference,
)
from fluvial.kube.errors import NotFound
from fluvial.kube.kinds import ARTIFACT_GENERATOR, EXTERNAL_ARTIFACT
from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime.outcome import Ignored, Result, Stalled
from fluvial.runtime.patcher import StatusPatcher
from source_controller.artifactgenerator import reasons, triggers
from source_controller.artifactgenerator.building import BuildStep
from source_controller.artifactgenerator.client import GeneratorJobs
from source_controller.artifactgenerator.drift import DriftCheck, stored_artifact
from source_controller.artifactgenerator.finish import Finish, StatusWriter
from source_controller.artifactgenerator.outputs import Outputs
from source_controller.artifactgenerator.run import GeneratorRun
from source_controller.artifactgenerator.sources import SourceLookup, digest_of
from source_controller.artifactgenerator.trees import SourceTrees
from source_controller.artifactgenerator.validation import validate
from source_controller.source.kind import SourceKind, Wiring
from source_controller.source.run import StepFailed
from source_controller.source.tools import FIELD_MANAGER, Tools

__all__ = ["ArtifactGeneratorReconciler", "artifact_generator"]

_CONCURRENCY = 10
"""As Flux has it: one may wait a minute for somebody's slow server, and keep nobody else waiting.
What needs the processor is limited by the number of worker processes."""


def artifact_generator(
    tools: Tools,
    *,
    lookup: SourceLookup,
    trees: SourceTrees,
    jobs: GeneratorJobs,
    cross_namespace: bool,
) -> SourceKind:
    """The kind, ready to run.

    Args:
        tools: the process's.
        lookup: finds sources.
        trees: their content.
        jobs: the work on files.
        cross_namespace: sources in other namespaces may be named.

    """
    outputs = Outputs(tools.client, tools.clock)
    reconciler = ArtifactGeneratorReconciler(
        tools,
        lookup=lookup,
        trees=trees,
        jobs=jobs,
        outputs=outputs,
        cross_namespace=cross_namespace,
    )

    def connect(wiring: Wiring) -> None:
        triggers.connect(wiring, lookup=lookup, outputs=outputs)

    return SourceKind(
        ARTIFACT_GENERATOR,
        reconciler.reconcile,
        connect,
        indexes=triggers.INDEXES,
        stored_as=EXTERNAL_ARTIFACT,
        concurrency=_CONCURRENCY,
    )


class ArtifactGeneratorReconciler:
    """Reconciles generators by key; see ``artifact_generator``."""

    def __init__(
        self,
        tools: Tools,
        *,
        lookup: SourceLookup,
        trees: SourceTrees,
        jobs: GeneratorJobs,
        outputs: Outputs,
        cross_namespace: bool,
    ) -> None:
        self._tools = tools
        self._lookup = lookup
        self._outputs = outputs
        self._cross_namespace = cross_namespace
        self._drift = DriftCheck(tools.storage, outputs)
        self._build = BuildStep(tools, jobs=jobs, trees=trees, outputs=outputs, drift=self._drift)
        self._patcher = StatusPatcher(
            tools.client,
            ARTIFACT_GENERATOR,
            field_manager=FIELD_MANAGER,
            owned=reasons.OWNED,
            clock=tools.clock,
            finalizer=FINALIZER,
        )
        self._finish = Finish(tools, StatusWriter(self._patcher))

    async def reconcile(self, key: ObjectKey) -> Result:
        """One run.

        Raises:
            Stalled, Waiting, Failed, Ignored: see ``runtime.outcome``.
            ApiError: the API server could not be asked or refused; tried again under backoff.

        """
        try:
            return await self._reconcile(key)
        except NotFound as error:
            self._forget(key)
            raise Ignored("the object is gone") from error

    async def _reconcile(self, key: ObjectKey) -> Result:
        live = await self._tools.client.get(ARTIFACT_GENERATOR, key)
        if not live["metadata"].get("deletionTimestamp"):
            live = await self._patcher.add_finalizer(live)
        if live["metadata"].get("deletionTimestamp"):
            return await self._delete(live)
        try:
            obj = decode(live, ArtifactGenerator)
        except InvalidObject as error:
            # The CRD refuses such an object today; it was stored before the CRD did.
            raise Stalled(reasons.VALIDATION_FAILED, str(error)) from error
        run = GeneratorRun.start(live, obj, self._tools.clock)
        if obj.is_disabled:
            return await self._finish.disabled(run)
        try:
            return await self._steps(run)
        except StepFailed as failure:
            return await self._finish.failed(run, failure)

    async def _steps(self, run: GeneratorRun) -> Result:
        validate(run.obj, cross_namespace=self._cross_namespace)
        sources = await self._lookup.observe(run.obj, fresh=run.requested)
        sources_digest = digest_of(sources)
        existing = await self._outputs.of(run.obj)
        why = await self._drift.reason(run, sources_digest, existing)
        if not why:
            return await self._finish.unchanged(run)
        await self._finish.begin(run, why)
        inventory = await self._build.run(run, sources, existing)
        names = {item.name for item in inventory}
        await self._collect(run, {*existing, *run.inventory} - names)
        for item in inventory:
            await self._collect_old(run, item)
        run.generated(inventory, sources_digest)
        return await self._finish.generated(run)

    async def _delete(self, live: JsonObject) -> Result:
        # Whatever the spec says: it must not keep an object from being deleted.
        obj = decode({**live, "spec": {"sources": [], "artifacts": []}}, ArtifactGenerator)
        run = GeneratorRun.start(live, obj, self._tools.clock)
        existing = await self._outputs.of(run.obj)
        await self._collect(run, {*existing, *run.inventory})
        await self._patcher.remove_finalizer(run.live)
        self._forget(run.key)
        return Result()

    async def _collect(self, run: GeneratorRun, names: set[str]) -> None:
        """Delete what is no longer generated, the object before its files."""
        for name in sorted(names):
            key = ObjectKey(run.key.namespace, name)
            async with self._outputs.lock(key):
                if await self._outputs.delete(run.obj, name):
                    await self._tools.storage.remove_object(EXTERNAL_ARTIFACT.kind, key)
        if names:
            self._tools.events.event(
                run.live,
                type="Trace",
                reason=reasons.GARBAGE_COLLECTION_SUCCEEDED,
                message=f"garbage collected {len(names)} external artifact(s)",
            )

    async def _collect_old(self, run: GeneratorRun, item: ExternalArtifactReference) -> None:
        """Delete old files of what is generated."""
        current: Artifact | None = stored_artifact(self._tools.storage, item)
        await self._tools.storage.collect_garbage(
            EXTERNAL_ARTIFACT.kind,
            ObjectKey(run.key.namespace, item.name),
            current=current.path if current else "",
        )

    def _forget(self, key: ObjectKey) -> None:
        self._outputs.forget(key)
        self._build.forget(key)
        self._tools.forget(ARTIFACT_GENERATOR.kind, key)
