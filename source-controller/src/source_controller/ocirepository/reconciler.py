"""What happens to one OCIRepository, in order.

    (source.reconciler) > access > resolve > verify > pull > archive

Resolving and pulling are shared by objects whose trust and wishes are equal; verification is each
object's own.
"""

from __future__ import annotations

from fluvial.api.source_oci import OCIRepository
from fluvial.artifact.tar import UnpackLimits
from fluvial.cloud.identities import CloudIdentities
from fluvial.kube.kinds import OCI_REPOSITORY
from source_controller.oci.registries import Registries
from source_controller.ocirepository import reasons, triggers
from source_controller.ocirepository.fetching import Fetched, SourceStep
from source_controller.ocirepository.pulling import Pulls
from source_controller.ocirepository.run import OCIRun
from source_controller.source import reasons as common
from source_controller.source.finish import Success
from source_controller.source.kind import SourceKind
from source_controller.source.reconciler import SourceReconciler
from source_controller.source.storing import ArtifactStep
from source_controller.source.tools import Tools

__all__ = ["oci_repository"]

_LINK = "latest.tar.gz"
_ORIGIN_SOURCE = "org.opencontainers.image.source"
_ORIGIN_REVISION = "org.opencontainers.image.revision"


def oci_repository(
    tools: Tools, *, registries: Registries, identities: CloudIdentities, limits: UnpackLimits
) -> SourceKind:
    """The kind, ready to run.

    Args:
        tools: the process's.
        registries: sessions with registries.
        identities: logins of providers.
        limits: of what is extracted.

    """
    writer = tools.writer(OCI_REPOSITORY, reasons.SUMMARY)
    pulls = Pulls(tools.work, clock=tools.clock, limits=limits, algorithm=tools.storage.algorithm)
    fetching = SourceStep(
        tools.client, registries, pulls, identities=identities, clock=tools.clock, writer=writer
    )
    storing = ArtifactStep(tools, OCI_REPOSITORY.kind, link=_LINK)

    async def steps(run: OCIRun) -> Success:
        fetched = await fetching.run(run)
        revision = fetched.resolved.revision
        if fetched.content is not None:
            await storing.store_shared(
                run,
                fetched.content.file,
                packed=fetched.content.packed,
                revision=revision,
                filename=f"{fetched.resolved.digest}.tar.gz",
                metadata=fetched.content.metadata,
            )
            run.observe_spec()
        run.stored(f"stored artifact for digest '{revision}'")
        return _success(run, fetched)

    reconciler = SourceReconciler(
        tools,
        writer,
        resource=OCI_REPOSITORY,
        model=OCIRepository,
        run=OCIRun,
        steps=steps,
        summary=reasons.SUMMARY,
        link=_LINK,
    )
    return SourceKind(OCI_REPOSITORY, reconciler.reconcile, triggers.connect)


def _success(run: OCIRun, fetched: Fetched) -> Success:
    revision = fetched.resolved.revision
    stored = f"stored artifact with revision '{revision}' from '{run.obj.spec.url}'"
    metadata = run.artifact.metadata if run.artifact is not None else {}
    source, origin = metadata.get(_ORIGIN_SOURCE), metadata.get(_ORIGIN_REVISION)
    if source and origin:
        stored += f", origin source '{source}', origin revision '{origin}'"
    unchanged = f"artifact up-to-date with remote revision: '{revision}'"
    return Success(
        stored=stored,
        recovered=f"stored artifact for revision '{revision}'",
        unchanged=(common.ARTIFACT_UP_TO_DATE, unchanged) if fetched.content is None else None,
    )
