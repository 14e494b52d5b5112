"""The steps at both ends: what is in storage already, and putting the new artifact there."""

from __future__ import annotations

from pathlib import Path

from fluvial.artifact import tar
from fluvial.artifact.errors import (
    ArtifactNotFound,
    ArtifactTooLarge,
    DigestMismatch,
    InvalidDigest,
)
from fluvial.artifact.ignore import source_filter
from fluvial.artifact.storage import Storage
from fluvial.runtime.events import EventRecorder
from source_controller.gitrepository import reasons
from source_controller.gitrepository.run import Run, StatusWriter, StepFailed

__all__ = ["KIND", "ArtifactStep", "StorageStep"]

KIND = "GitRepository"


class StorageStep:
    """Collects garbage and checks that the artifact of the status is there and whole."""

    def __init__(self, storage: Storage, events: EventRecorder, writer: StatusWriter) -> None:
        self._storage = storage
        self._events = events
        self._writer = writer

    async def run(self, run: Run) -> None:
        """Forget an artifact that is missing or altered, so that it is made again."""
        await self._collect(run)
        missing = await self._check(run)
        if run.artifact is None:
            run.clear(reasons.ARTIFACT_IN_STORAGE)
            detail = ": disappeared from storage" if missing else ""
            run.progress(f"building artifact{detail}", drift=True)
            if missing or not run.quiet:
                await self._writer.write(run)
            return
        run.set_artifact(self._storage.with_current_url(run.artifact))

    async def _collect(self, run: Run) -> None:
        current = run.artifact.path if run.artifact else ""
        removed = await self._storage.collect_garbage(KIND, run.key, current=current)
        if removed:
            self._events.event(
                run.live,
                type="Trace",
                reason=reasons.GARBAGE_COLLECTION_SUCCEEDED,
                message=f"garbage collected {len(removed)} artifacts",
            )

    async def _check(self, run: Run) -> bool:
        """Whether the artifact of the status has to be made again."""
        if run.artifact is None:
            return False
        if not self._storage.is_of(run.artifact, KIND, run.key):
            run.set_artifact(None)  # forged: the file is another object's, and stays
            return True
        try:
            await self._storage.verify(run.artifact)
        except ArtifactNotFound:
            run.set_artifact(None)
            return True
        except (DigestMismatch, InvalidDigest) as error:
            self._events.event(
                run.live,
                type="Warning",
                reason=reasons.ARTIFACT_VERIFICATION_FAILED,
                message=f"failed to verify integrity of artifact: {error}",
            )
            await self._storage.remove(run.artifact)
            run.set_artifact(None)
            return True
        return False


class ArtifactStep:
    """Archives the checked-out tree and makes it the object's artifact."""

    def __init__(self, storage: Storage, events: EventRecorder) -> None:
        self._storage = storage
        self._events = events

    async def run(self, run: Run, tree: Path) -> None:
        """Store the tree unless the artifact is the same revision made the same way.

        Raises:
            StepFailed: ``ArchiveOperationFailed``; the old artifact stays.

        """
        assert run.checkout is not None  # noqa: S101  # the source step came before
        revision = run.checkout.revision
        if self._is_current(run):
            self._events.event(
                run.live,
                type="Trace",
                reason=reasons.ARTIFACT_UP_TO_DATE,
                message=f"artifact up-to-date with remote revision: '{revision}'",
            )
        else:
            await self._store(run, tree)
        run.clear(reasons.ARTIFACT_OUTDATED, reasons.STORAGE_OPERATION_FAILED)
        run.set_true(
            reasons.ARTIFACT_IN_STORAGE,
            reasons.SUCCEEDED,
            f"stored artifact for revision '{revision}'",
        )

    def _is_current(self, run: Run) -> bool:
        assert run.checkout is not None  # noqa: S101  # checked by the caller
        return (
            run.artifact is not None
            and run.artifact.revision == run.checkout.revision
            and not run.content_config_changed()
        )

    async def _store(self, run: Run, tree: Path) -> None:
        assert run.checkout is not None  # noqa: S101  # checked by the caller
        ignore = run.repository.spec.ignore

        def keep_for(folder: Path) -> tar.Keep:
            return source_filter(folder, ignore)

        try:
            artifact = await self._storage.archive(
                tree,
                path=self._storage.relative_path(KIND, run.key, f"{run.checkout.commit}.tar.gz"),
                revision=run.checkout.revision,
                keep_for=keep_for,
            )
        except (OSError, ArtifactTooLarge) as error:
            text = error.strerror if isinstance(error, OSError) else str(error)
            raise StepFailed(
                reasons.STORAGE_OPERATION_FAILED,
                reasons.ARCHIVE_OPERATION_FAILED,
                f"unable to archive artifact to storage: {text}",
            ) from error
        run.set_artifact(artifact)
        run.observe()
