"""The steps at both ends: what is in storage already, and putting the new artifact there."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from fluvial.api.meta import Artifact
from fluvial.artifact import tar
from fluvial.artifact.errors import (
    ArtifactError,
    ArtifactNotFound,
    DigestMismatch,
    InvalidDigest,
    StorageUnusable,
)
from source_controller.source import reasons
from source_controller.source.run import Run, StatusWriter, StepFailed
from source_controller.source.tools import Tools

__all__ = ["ArtifactStep", "StorageStep"]


class StorageStep:
    """Collects garbage and checks that the artifact of the status is there and whole.

    Args:
        tools: storage and events.
        writer: for progress.
        kind: whose folder in the storage it is.
        link: name of the link to the newest artifact, where the kind has ``status.url``.

    """

    def __init__(self, tools: Tools, writer: StatusWriter, kind: str, *, link: str = "") -> None:
        self._storage = tools.storage
        self._events = tools.events
        self._writer = writer
        self._kind = kind
        self._link = link

    async def run(self, run: Run[Any]) -> None:
        """Forget an artifact that is missing or altered, so that it is made again."""
        await self._collect(run)
        missing = await self._check(run)
        if run.artifact is None:
            run.clear(reasons.ARTIFACT_IN_STORAGE)
            detail = ": disappeared from storage" if missing else ""
            run.progress(f"building artifact{detail}", drift=True)
            if missing or not run.quiet:
                await self._writer.progress(run)
            return
        run.set_artifact(self._storage.with_current_url(run.artifact))
        if self._link:
            path = self._storage.relative_path(self._kind, run.key, self._link)
            run.status["url"] = self._storage.url_for(path)

    async def _collect(self, run: Run[Any]) -> None:
        current = run.artifact.path if run.artifact else ""
        try:
            removed = await self._storage.collect_garbage(self._kind, run.key, current=current)
        except (OSError, StorageUnusable) as error:
            self._events.event(
                run.live,
                type="Trace",
                reason=reasons.GARBAGE_COLLECTION_FAILED,
                message=f"garbage collection failed: {_text(error)}",
            )
            return  # what is there can be used nevertheless
        if removed:
            self._events.event(
                run.live,
                type="Trace",
                reason=reasons.GARBAGE_COLLECTION_SUCCEEDED,
                message=f"garbage collected {len(removed)} artifacts",
            )

    async def _check(self, run: Run[Any]) -> bool:
        """Whether the artifact of the status has to be made again."""
        if run.artifact is None:
            return False
        if not self._storage.is_of(run.artifact, self._kind, run.key):
            run.set_artifact(None)  # forged: the file is another object's, and stays
            return True
        try:
            await self._storage.verify(run.artifact, fresh=run.requested)
        except ArtifactNotFound:
            run.set_artifact(None)
            return True
        except OSError as error:
            # Nobody knows whether it is there: consumers keep what they have.
            raise StepFailed(
                reasons.STORAGE_OPERATION_FAILED,
                reasons.STAT_OPERATION_FAILED,
                f"failed to check the stored artifact: {_text(error)}",
            ) from error
        except (DigestMismatch, InvalidDigest) as error:
            self._events.event(
                run.live,
                type="Warning",
                reason=reasons.ARTIFACT_VERIFICATION_FAILED,
                message=f"failed to verify integrity of artifact: {error}",
            )
            with contextlib.suppress(OSError):  # the new one replaces it
                await self._storage.remove(run.artifact)
            run.set_artifact(None)
            return True
        return False


class ArtifactStep:
    """Makes a tree or a file the object's artifact.

    Args:
        tools: storage and events.
        kind: whose folder in the storage it is.
        link: name of the link to the newest artifact, where the kind has ``status.url``.

    """

    def __init__(self, tools: Tools, kind: str, *, link: str = "") -> None:
        self._storage = tools.storage
        self._events = tools.events
        self._kind = kind
        self._link = link

    def up_to_date(self, run: Run[Any], revision: str) -> None:
        """Tell whoever asked for this run that what was fetched is what is stored."""
        if run.quiet:
            return
        self._events.event(
            run.live,
            type="Trace",
            reason=reasons.ARTIFACT_UP_TO_DATE,
            message=f"artifact up-to-date with remote revision: '{revision}'",
        )

    async def store_tree(
        self,
        run: Run[Any],
        tree: Path,
        *,
        revision: str,
        filename: str,
        keep_for: Callable[[Path], tar.Keep],
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Archive a folder; the caller then says so by ``run.stored``.

        Args:
            run: gets the artifact.
            tree: the folder.
            revision: what it holds.
            filename: of the archive, in the object's folder of the storage.
            keep_for: makes the filter from the folder, such as by ``ignore.source_filter``.
            metadata: what the source says about itself.

        Raises:
            StepFailed: ``ArchiveOperationFailed``; the old artifact stays.

        """
        await self._publish(
            run,
            lambda: self._storage.archive(
                tree,
                path=self._storage.relative_path(self._kind, run.key, filename),
                revision=revision,
                keep_for=keep_for,
                metadata=metadata,
            ),
            doing="archive artifact to storage",
        )

    async def store_file(
        self,
        run: Run[Any],
        file: Path,
        *,
        revision: str,
        filename: str,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Copy a file as it is; otherwise as ``store_tree``.

        Raises:
            StepFailed: ``ArchiveOperationFailed``; the old artifact stays.

        """
        await self._publish(
            run,
            lambda: self._storage.store_file(
                file,
                path=self._storage.relative_path(self._kind, run.key, filename),
                revision=revision,
                metadata=metadata,
            ),
            doing="save artifact to storage",
        )

    async def store_shared(
        self,
        run: Run[Any],
        file: Path,
        *,
        packed: tar.PackResult,
        revision: str,
        filename: str,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Give a finished file that several objects share this object's name too.

        Args:
            run: gets the artifact.
            file: nobody writes to it any more.
            packed: its size and digest.
            revision: what it holds.
            filename: in the object's folder of the storage.
            metadata: what the source says about itself.

        Raises:
            StepFailed: ``ArchiveOperationFailed``; the old artifact stays.

        """
        await self._publish(
            run,
            lambda: self._storage.share_file(
                file,
                packed,
                path=self._storage.relative_path(self._kind, run.key, filename),
                revision=revision,
                metadata=metadata,
            ),
            doing="save artifact to storage",
        )

    async def _publish(
        self, run: Run[Any], make: Callable[[], Awaitable[Artifact]], *, doing: str
    ) -> None:
        try:
            artifact = await make()
        except (OSError, ArtifactError) as error:
            raise StepFailed(
                reasons.STORAGE_OPERATION_FAILED,
                reasons.ARCHIVE_OPERATION_FAILED,
                f"unable to {doing}: {_text(error)}",
            ) from error
        run.set_artifact(artifact)
        if self._link:
            await self._point(run, artifact)

    async def _point(self, run: Run[Any], artifact: Artifact) -> None:
        try:
            run.status["url"] = await self._storage.link(artifact, self._link)
        except OSError as error:
            self._events.event(
                run.live,
                type="Trace",
                reason=reasons.SYMLINK_UPDATE_FAILED,
                message=f"failed to update status URL symlink: {error.strerror}",
            )


def _text(error: Exception) -> str:
    """What is wrong, without the path on this machine."""
    return (isinstance(error, OSError) and error.strerror) or str(error)
