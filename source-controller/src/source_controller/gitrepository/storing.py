"""The last step: what was checked out becomes the artifact."""

from __future__ import annotations

from pathlib import Path

from fluvial.artifact import tar
from fluvial.artifact.ignore import source_filter
from source_controller.gitrepository.run import GitRun
from source_controller.gitrepository.sharing import Fetched
from source_controller.source.storing import ArtifactStep

__all__ = ["store"]


async def store(storing: ArtifactStep, run: GitRun, fetched: Fetched, tree: Path) -> None:
    """Store the archive, or the tree, unless the artifact is the same revision made the same way.

    Raises:
        StepFailed: ``ArchiveOperationFailed``; the old artifact stays.

    """
    checkout, archive = fetched.checkout, fetched.archive
    revision, filename = checkout.revision, f"{checkout.commit}.tar.gz"
    if (
        run.artifact is not None
        and run.artifact.revision == revision
        and not run.content_config_changed()
    ):
        storing.up_to_date(run, revision)
    elif archive is not None:
        await storing.store_shared(
            run, archive.file, packed=archive.packed, revision=revision, filename=filename
        )
        run.observe_spec()
    else:
        ignore = run.obj.spec.ignore

        def keep_for(folder: Path) -> tar.Keep:
            return source_filter(folder, ignore)

        await storing.store_tree(
            run,
            tree,
            revision=revision,
            filename=filename,
            keep_for=keep_for,
        )
        run.observe_spec()
    run.stored(f"stored artifact for revision '{revision}'")
