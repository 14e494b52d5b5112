"""What happens to one Bucket, in order.

(source.reconciler) > list > fetch and archive, once for equal ones > store
"""

from __future__ import annotations

from fluvial.api.source_bucket import Bucket
from fluvial.kube.kinds import BUCKET
from source_controller.bucket import reasons, triggers
from source_controller.bucket.fetching import Fetched, SourceStep
from source_controller.bucket.opening import Stores
from source_controller.bucket.sharing import Fetches
from source_controller.bucket.unsupported import REFUSED
from source_controller.source import reasons as common
from source_controller.source.finish import Success
from source_controller.source.kind import SourceKind
from source_controller.source.reconciler import SourceReconciler
from source_controller.source.run import Run
from source_controller.source.storing import ArtifactStep
from source_controller.source.tools import Tools

__all__ = ["bucket"]

_LINK = "latest.tar.gz"


def bucket(tools: Tools, *, stores: Stores) -> SourceKind:
    """The kind, ready to run.

    Args:
        tools: the process's.
        stores: opens storages.

    """
    writer = tools.writer(BUCKET, reasons.SUMMARY)
    algorithm = tools.storage.algorithm
    fetches = Fetches(
        tools.work, clock=tools.clock, algorithm=algorithm, max_bytes=stores.limits.max_total
    )
    fetching = SourceStep(tools.client, stores, fetches, writer, algorithm=algorithm)
    storing = ArtifactStep(tools, BUCKET.kind, link=_LINK)

    async def steps(run: Run[Bucket]) -> Success:
        fetched = await fetching.run(run)
        if fetched.archive is not None:
            await storing.store_shared(
                run,
                fetched.archive.file,
                packed=fetched.archive.packed,
                revision=str(fetched.revision),
                filename=f"{fetched.revision.hex}.tar.gz",
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


def _success(run: Run[Bucket], fetched: Fetched) -> Success:
    name = run.obj.spec.bucket_name
    message = f"stored artifact with {fetched.number} fetched files from '{name}' bucket"
    unchanged = f"artifact up-to-date with remote revision: '{fetched.revision}'"
    return Success(
        stored=message,
        recovered=message,
        unchanged=(common.ARTIFACT_UP_TO_DATE, unchanged) if fetched.archive is None else None,
    )
