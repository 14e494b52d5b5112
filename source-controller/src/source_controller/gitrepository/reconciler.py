"""What happens to one GitRepository, in order.

    read > deletion > finalizer > suspension > storage > includes > source > copy > archive

Every step works on the ``Run``; whatever happens, the status is written once at the end, plus
progress where something new is being built.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fluvial.api.codec import InvalidObject, decode
from fluvial.api.source import GitRepository
from fluvial.artifact.cache import remove_tree
from fluvial.artifact.storage import Storage
from fluvial.artifact.threads import in_thread
from fluvial.clock import Clock
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.kinds import GIT_REPOSITORY
from fluvial.log import Logger
from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime.events import EventRecorder
from fluvial.runtime.outcome import Ignored, Result, Stalled
from fluvial.runtime.patcher import StatusPatcher
from source_controller.gitrepository import reasons
from source_controller.gitrepository.fetching import SourceStep
from source_controller.gitrepository.finish import Finish
from source_controller.gitrepository.including import IncludeStep
from source_controller.gitrepository.run import Run, StatusWriter, StepFailed
from source_controller.gitrepository.storing import KIND, ArtifactStep, StorageStep
from source_controller.gitrepository.unsupported import refuse_unsupported

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["GitRepositoryReconciler"]


class GitRepositoryReconciler:
    """Reconciles GitRepository objects by key.

    Args:
        client: under the controller's own identity.
        patcher: of GitRepository.
        writer: the same, for runs.
        storage: of artifacts.
        storing: the first step.
        including: the include step.
        fetching: the source step.
        archiving: the last step.
        finish: reports.
        events: for deletions.
        clock: the time.
        log: the controller's.
        work: folder for what a run needs; emptied at the start of the process.
        forget: called when an object is gone, such as to drop its metrics.

    """

    def __init__(
        self,
        *,
        client: KubeClient,
        patcher: StatusPatcher,
        writer: StatusWriter,
        storage: Storage,
        storing: StorageStep,
        including: IncludeStep,
        fetching: SourceStep,
        archiving: ArtifactStep,
        finish: Finish,
        events: EventRecorder,
        clock: Clock,
        log: Logger,
        work: Path,
        forget: Callable[[ObjectKey], None] = lambda _: None,
    ) -> None:
        self._client = client
        self._patcher = patcher
        self._writer = writer
        self._storage = storage
        self._storing = storing
        self._including = including
        self._fetching = fetching
        self._archiving = archiving
        self._finish = finish
        self._events = events
        self._clock = clock
        self._log = log
        self._work = work
        self._forget = forget

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
        live = await self._client.get(GIT_REPOSITORY, key)
        if live["metadata"].get("deletionTimestamp"):
            return await self._delete(live, key)
        live = await self._patcher.add_finalizer(live)
        if live["metadata"].get("deletionTimestamp"):
            return await self._delete(live, key)
        try:
            repository = decode(live, GitRepository)
        except InvalidObject as error:
            # The CRD refuses such an object today; it was stored before the CRD did.
            raise Stalled(reasons.INVALID_SPEC, str(error)) from error
        run = Run.start(live, repository, self._clock)
        if repository.spec.suspend:
            return await self._finish.suspended(run)
        try:
            await self._steps(run)
        except StepFailed as failure:
            return await self._finish.failed(run, failure)
        return await self._finish.succeeded(run)

    async def _steps(self, run: Run) -> None:
        refuse_unsupported(run.live)
        await self._begin(run)
        await self._storing.run(run)
        await self._including.look_up(run)
        async with self._work_folder(run) as work:
            run.work = work
            await self._fetching.run(run)
            if run.checkout is not None and run.checkout.unchanged:
                self._keep(run)
                return
            await self._including.run(run, work / "tree")
            await self._archiving.run(run, work / "tree")

    async def _begin(self, run: Run) -> None:
        """Say that work begins; written at once only if somebody asked for this run."""
        old, new = run.repository.status.observed_generation, run.generation
        message = "reconciliation in progress"
        if old != new:
            message = f"processing object: new generation {old} -> {new}"
        run.progress(message, drift=False)
        if not run.quiet:
            await self._writer.write(run)

    def _keep(self, run: Run) -> None:
        """Nothing is new: the artifact stays, and is true of this generation too."""
        assert run.checkout is not None  # noqa: S101  # checked by the caller
        run.clear(reasons.ARTIFACT_OUTDATED, reasons.STORAGE_OPERATION_FAILED)
        run.set_true(
            reasons.ARTIFACT_IN_STORAGE,
            reasons.SUCCEEDED,
            f"stored artifact for revision '{run.checkout.revision}'",
        )

    async def _delete(self, live: JsonObject, key: ObjectKey) -> Result:
        await self._storage.remove_object(KIND, key)
        self._events.event(
            live,
            type="Trace",
            reason=reasons.GARBAGE_COLLECTION_SUCCEEDED,
            message="garbage collected artifacts for deleted resource",
        )
        await self._patcher.remove_finalizer(live)
        self._forget(key)
        return Result()

    @asynccontextmanager
    async def _work_folder(self, run: Run) -> AsyncIterator[Path]:
        # One folder for each namespace: a worker serves one, and is fenced into its folder.
        shared = self._work / run.key.namespace
        try:
            shared.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = Path(
                tempfile.mkdtemp(prefix=f"gitrepository-{run.key.name[:100]}-", dir=shared)
            )
        except OSError as error:
            raise StepFailed(
                reasons.STORAGE_OPERATION_FAILED,
                reasons.DIRECTORY_CREATION_FAILED,
                f"failed to create a temporary folder: {error.strerror}",
            ) from error
        try:
            yield folder
        finally:
            await in_thread(lambda _: remove_tree(folder))
