"""A folder for what one run needs, gone when the run is."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from fluvial.artifact.cache import remove_tree
from fluvial.artifact.threads import in_thread
from source_controller.source import reasons
from source_controller.source.run import Run, StepFailed

__all__ = ["make_folder", "work_folder"]

_LONGEST_NAME = 100


@asynccontextmanager
async def work_folder(root: Path, run: Run[Any]) -> AsyncIterator[Path]:
    """Make an empty folder, also as ``run.work``, and remove it with everything in it.

    Args:
        root: ``Tools.work``. Each namespace has one folder in it: a worker serves one namespace,
            and is fenced into its folder.
        run: of any kind.

    Raises:
        StepFailed: ``DirectoryCreationFailed``.

    """
    prefix = f"{run.live['kind'].lower()}-{run.key.name}"
    async with AsyncExitStack() as stack:
        try:
            folder = await stack.enter_async_context(
                make_folder(root, run.key.namespace, prefix=prefix)
            )
        except OSError as error:
            raise StepFailed(
                reasons.STORAGE_OPERATION_FAILED,
                reasons.DIRECTORY_CREATION_FAILED,
                f"failed to create a temporary folder: {error.strerror}",
            ) from error
        run.work = folder
        try:
            yield folder
        finally:
            run.work = None


@asynccontextmanager
async def make_folder(root: Path, namespace: str, *, prefix: str) -> AsyncIterator[Path]:
    """Make an empty folder, and remove it with everything in it.

    Args:
        root: ``Tools.work``.
        namespace: of the object.
        prefix: of the folder's name; cut where it is long.

    Raises:
        OSError: it cannot be made.

    """
    shared = root / namespace
    shared.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{prefix[:_LONGEST_NAME]}-", dir=shared))
    try:
        yield folder
    finally:
        await in_thread(lambda _: remove_tree(folder))
