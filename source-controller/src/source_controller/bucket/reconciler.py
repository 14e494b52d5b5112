"""What happens to one Bucket, in order.

(source.reconciler) > list > fetch > archive
"""

from __future__ import annotations

from pathlib import Path

from fluvial.api.source_bucket import Bucket
from fluvial.artifact import tar
from fluvial.kube.kinds import BUCKET
from source_controller.bucket import reasons, triggers
from source_controller.bucket.fetching import Fetched, SourceStep
from source_controller.bucket.opening import Stores
from source_controller.bucket.unsupported import REFUSED
from source_controller.source import reasons as common
from source_controller.source.finish import Success
from source_controller.source.kind import SourceKind
from source_controller.source.reconciler import SourceReconciler
from source_controller.source.run import Run
from source_controller.source.storing import ArtifactStep
from source_controller.source.tools import Tools
from source_controller.source.work import work_folder

__all__ = ["bucket"]

_LINK = "latest.tar.gz"


def bucket(tools: Tools, *, stores: Stores) -> SourceKind:
    """The kind, ready to run.

    Args:
        tools: the process's.
        stores: opens storages.

    """
    writer = tools.writer(BUCKET, reasons.SUMMARY)
    fetching = SourceStep(tools.client, stores, writer, algorithm=tools.storage.algorithm)
    storing = ArtifactStep(tools, BUCKET.kind, link=_LINK)

    async def steps(run: Run[Bucket]) -> Success:
        async with work_folder(tools.work, run):
            fetched = await fetching.run(run)
            if fetched.tree is not None:
                await storing.store_tree(
                    run,
                    fetched.tree,
                    revision=str(fetched.revision),
                    filename=f"{fetched.revision.hex}.tar.gz",
                    keep_for=_everything,
                )
        run.observe(observedIgnore=run.obj.spec.ignore)
        run.stored(f"stored artifact: revision '{fetched.revision}'")
        return _success(run, fetched)

    reconciler = SourceReconciler(
        tools,
        writer,
        resource=BUCKET,
        model=Bucket,
        run=Run[Bucket],
        steps=steps,
        summary=reasons.SUMMARY,
        refused=REFUSED,
        link=_LINK,
    )
    return SourceKind(BUCKET, reconciler.reconcile, triggers.connect)


def _everything(_: Path) -> tar.Keep:
    """What is ignored has not been fetched."""
    return lambda _path, _is_folder: True


def _success(run: Run[Bucket], fetched: Fetched) -> Success:
    name = run.obj.spec.bucket_name
    message = f"stored artifact with {fetched.number} fetched files from '{name}' bucket"
    unchanged = f"artifact up-to-date with remote revision: '{fetched.revision}'"
    return Success(
        stored=message,
        recovered=message,
        unchanged=(common.ARTIFACT_UP_TO_DATE, unchanged) if fetched.tree is None else None,
    )
