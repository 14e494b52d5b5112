"""What happens to one GitRepository, in order.

    (source.reconciler) > includes > fetch > copy includes > archive

Every step works on the ``GitRun``. Objects of a namespace whose wishes are equal share a fetch and an
archive, unless they include others.
"""

from __future__ import annotations

from fluvial.api.source import GitRepository
from fluvial.artifact.tar import UnpackLimits
from fluvial.cloud.identities import CloudIdentities
from fluvial.kube.kinds import GIT_REPOSITORY
from source_controller.git.client import GitClient
from source_controller.git.model import Checkout, Limits
from source_controller.gitrepository import reasons, triggers
from source_controller.gitrepository.fetching import SourceStep
from source_controller.gitrepository.including import IncludeStep
from source_controller.gitrepository.run import GitRun
from source_controller.gitrepository.sharing import Checkouts
from source_controller.gitrepository.storing import store
from source_controller.source.finish import Success
from source_controller.source.kind import SourceKind
from source_controller.source.reconciler import SourceReconciler
from source_controller.source.storing import ArtifactStep
from source_controller.source.tools import Tools
from source_controller.source.work import work_folder

__all__ = ["git_repository"]


def git_repository(
    tools: Tools, *, git: GitClient, identities: CloudIdentities, limits: Limits
) -> SourceKind:
    """The kind, ready to run.

    Args:
        tools: the process's.
        git: fetches.
        identities: credentials of providers.
        limits: of one repository.

    """
    writer = tools.writer(GIT_REPOSITORY, reasons.SUMMARY)
    unpack_limits = UnpackLimits(
        max_bytes=limits.max_tree_bytes,
        max_file_bytes=limits.max_file_bytes,
        max_entries=limits.max_entries,
    )
    including = IncludeStep(tools.client, tools.storage, writer, unpack_limits)
    checkouts = Checkouts(
        tools.work,
        git,
        clock=tools.clock,
        max_bytes=limits.max_tree_bytes,
        algorithm=tools.storage.algorithm,
    )
    fetching = SourceStep(tools, checkouts, identities=identities, writer=writer, limits=limits)
    storing = ArtifactStep(tools, GIT_REPOSITORY.kind)

    async def steps(run: GitRun) -> Success:
        await including.look_up(run)
        async with work_folder(tools.work, run) as work:
            fetched = await fetching.run(run)
            checkout = fetched.checkout
            if checkout.unchanged:
                run.stored(f"stored artifact for revision '{checkout.revision}'")
                return _unchanged(checkout)
            await including.run(run, work / "tree")
            await store(storing, run, fetched, work / "tree")
        return _success(checkout)

    reconciler = SourceReconciler(
        tools,
        writer,
        resource=GIT_REPOSITORY,
        model=GitRepository,
        run=GitRun,
        steps=steps,
        summary=reasons.SUMMARY,
    )
    return SourceKind(
        GIT_REPOSITORY, reconciler.reconcile, triggers.connect, indexes=triggers.INDEXES
    )


def _success(checkout: Checkout, unchanged: tuple[str, str] | None = None) -> Success:
    return Success(
        stored=f"stored artifact for commit '{checkout.message}'",
        recovered=f"stored artifact for revision '{checkout.revision}'",
        unchanged=unchanged,
    )


def _unchanged(checkout: Checkout) -> Success:
    message = f"no changes since last reconcilation: observed revision '{checkout.revision}'"
    return _success(checkout, (reasons.GIT_OPERATION_SUCCEEDED, message))
