"""What happens to one HelmRepository, in order.

static? > (source.reconciler) > fetch > read > store

Fetching and reading are shared by objects whose trust and wishes are equal.
"""

from __future__ import annotations

from fluvial.api.source import HelmRepository
from fluvial.kube.kinds import HELM_REPOSITORY
from source_controller.helm.client import HelmJobs
from source_controller.helmrepository import reasons, triggers
from source_controller.helmrepository.fetching import FetchedIndex, SourceStep
from source_controller.helmrepository.sharing import Indexes
from source_controller.helmrepository.static import StaticRepositories
from source_controller.helmrepository.unsupported import REFUSED
from source_controller.source.finish import Success
from source_controller.source.kind import SourceKind
from source_controller.source.reconciler import SourceReconciler
from source_controller.source.run import Run
from source_controller.source.storing import ArtifactStep
from source_controller.source.tools import Tools
from source_controller.source.work import work_folder
from source_controller.web.client import WebClient

__all__ = ["helm_repository"]

_LINK = "index.yaml"


def helm_repository(
    tools: Tools, *, web: WebClient, jobs: HelmJobs, max_index_bytes: int
) -> SourceKind:
    """The kind, ready to run.

    Args:
        tools: the process's.
        web: downloads.
        jobs: read indexes.
        max_index_bytes: largest index.

    """
    writer = tools.writer(HELM_REPOSITORY, reasons.SUMMARY)
    indexes = Indexes(
        tools.work,
        web,
        jobs,
        clock=tools.clock,
        max_bytes=max_index_bytes,
        algorithm=tools.storage.algorithm,
    )
    fetching = SourceStep(tools.client, indexes, writer)
    storing = ArtifactStep(tools, HELM_REPOSITORY.kind, link=_LINK)

    async def steps(run: Run[HelmRepository]) -> Success:
        async with work_folder(tools.work, run):
            fetched = await fetching.run(run)
            if fetched.index is None:
                storing.up_to_date(run, fetched.revision)
            else:
                await storing.store_shared(
                    run,
                    fetched.index.file,
                    packed=fetched.index.packed,
                    revision=fetched.revision,
                    filename=f"index-{fetched.hex}.yaml",
                )
        run.stored(f"stored artifact: revision '{fetched.revision}'")
        return _success(run, fetched)

    reconciler = SourceReconciler(
        tools,
        writer,
        resource=HELM_REPOSITORY,
        model=HelmRepository,
        run=Run[HelmRepository],
        steps=steps,
        summary=reasons.SUMMARY,
        refused=REFUSED,
        link=_LINK,
        divert=StaticRepositories(tools, writer).divert,
    )
    return SourceKind(HELM_REPOSITORY, reconciler.reconcile, triggers.connect)


def _success(run: Run[HelmRepository], index: FetchedIndex) -> Success:
    size = run.artifact.size if run.artifact is not None else None
    known = f"size {_human(size)}" if size is not None else "unknown size"
    message = f"stored fetched index of {known} from '{index.url}'"
    return Success(stored=message, recovered=message)


def _human(size: float) -> str:
    """Bytes with four digits and a decimal unit, such as ``1.234MB``."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.4g}{unit}"
        size /= 1000
    return f"{size:.4g}GB"
