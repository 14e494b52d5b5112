"""What happens to one HelmChart, in order.

    (source.reconciler) > source > version > verify > fetch > package > store

Looking charts up and fetching them is shared by objects whose trust and wishes are equal;
verification and packaging are each object's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fluvial.api.source_helmchart import HelmChart
from fluvial.artifact.tar import UnpackLimits
from fluvial.cloud.identities import CloudIdentities
from fluvial.kube.kinds import HELM_CHART
from fluvial.runtime.conditions import get_condition
from source_controller.helm.client import HelmJobs
from source_controller.helm.errors import InvalidChart
from source_controller.helmchart import reasons, triggers
from source_controller.helmchart.access import RegistryAccesses
from source_controller.helmchart.downloads import Downloads, Room
from source_controller.helmchart.failing import package_failed
from source_controller.helmchart.handing import handed
from source_controller.helmchart.local import LocalBuilder
from source_controller.helmchart.opening import Opener, Shared
from source_controller.helmchart.remote import RemoteBuilder
from source_controller.helmchart.run import Build, ChartRun
from source_controller.helmchart.sources import Source, Sources
from source_controller.helmchart.unsupported import REFUSED
from source_controller.helmchart.verifying import VerifyStep
from source_controller.oci.registries import Registries
from source_controller.source import reasons as common
from source_controller.source.finish import Success
from source_controller.source.kind import SourceKind
from source_controller.source.reconciler import SourceReconciler
from source_controller.source.run import StepFailed
from source_controller.source.storing import ArtifactStep
from source_controller.source.tools import Tools
from source_controller.source.work import work_folder
from source_controller.web.client import WebClient

__all__ = ["ChartLimits", "helm_chart"]

_LINK = "latest.tar.gz"
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class ChartLimits:
    """How large charts may be; in bytes.

    Attributes:
        index: of a repository.
        package: of a chart.
        file: in a chart.
        source: what the artifact of a GitRepository or Bucket unpacks to.

    """

    index: int = 50 * _MIB
    package: int = 10 * _MIB
    file: int = 5 * _MIB
    source: UnpackLimits = field(default_factory=UnpackLimits)


def helm_chart(
    tools: Tools,
    *,
    web: WebClient,
    registries: Registries,
    identities: CloudIdentities,
    jobs: HelmJobs,
    limits: ChartLimits,
) -> SourceKind:
    """The kind, ready to run.

    Args:
        tools: the process's.
        web: downloads over HTTP.
        registries: sessions with registries.
        identities: logins of providers.
        jobs: read indexes and charts.
        limits: of what is fetched and unpacked.

    """
    writer = tools.writer(HELM_CHART, reasons.SUMMARY)
    sources = Sources(tools.client, tools.storage)
    downloads = Downloads(
        tools.work,
        clock=tools.clock,
        jobs=jobs,
        algorithm=tools.storage.algorithm,
        max_file=limits.file,
    )
    opener = Opener(
        Shared(
            client=tools.client,
            accesses=RegistryAccesses(tools.client, identities),
            web=web,
            registries=registries,
            jobs=jobs,
            downloads=downloads,
            sources=sources,
            clock=tools.clock,
            work=tools.work,
            max_index_bytes=limits.index,
            max_chart_bytes=limits.package,
        )
    )
    remote = RemoteBuilder(
        opener, sources, VerifyStep(tools.client), jobs, writer, max_file=limits.file
    )
    local = LocalBuilder(
        tools.storage, jobs, opener, writer, limits=limits.source, max_file=limits.file
    )
    steps = _Steps(tools, sources, remote, local)
    reconciler = SourceReconciler(
        tools,
        writer,
        resource=HELM_CHART,
        model=HelmChart,
        run=ChartRun,
        steps=steps.run,
        summary=reasons.SUMMARY,
        refused=REFUSED,
        link=_LINK,
    )
    return SourceKind(HELM_CHART, reconciler.reconcile, triggers.connect, triggers.INDEXES)


class _Steps:
    """The kind's steps, in order."""

    def __init__(
        self, tools: Tools, sources: Sources, remote: RemoteBuilder, local: LocalBuilder
    ) -> None:
        self._tools = tools
        self._sources = sources
        self._remote = remote
        self._local = local
        self._storing = ArtifactStep(tools, HELM_CHART.kind, link=_LINK)

    async def run(self, run: ChartRun) -> Success:
        try:
            return await self._run(run)
        except StepFailed as failure:
            # What failed before is not what is wrong now.
            if failure.condition == reasons.BUILD_FAILED:
                run.clear(common.FETCH_FAILED)
            elif failure.condition == common.FETCH_FAILED:
                run.clear(reasons.BUILD_FAILED)
            raise

    async def _run(self, run: ChartRun) -> Success:
        verified = get_condition(run.conditions, common.SOURCE_VERIFIED)
        if run.obj.spec.verify is None or (verified is not None and verified.status == "False"):
            run.clear(common.SOURCE_VERIFIED)
        source = await self._sources.find(run)
        async with work_folder(self._tools.work, run) as folder:
            build = await self._build(run, source, Room(folder, run.key.namespace))
            run.clear(common.FETCH_FAILED, reasons.BUILD_FAILED)
            await self._store(run, build)
        self._remote.stored(run.key, build)
        run.stored(build.summary, reason=build.reason)
        return self._success(run, build)

    async def _build(self, run: ChartRun, source: Source, room: Room) -> Build:
        if source.repository is not None:
            return await self._remote.build(run, source, room)
        assert source.artifact is not None  # noqa: S101  # only repositories have none
        return await self._local.build(run, source.artifact, room)

    async def _store(self, run: ChartRun, build: Build) -> None:
        if build.shared is not None:
            chart = build.shared
            await self._storing.store_shared(
                run,
                chart.file,
                packed=chart.packed,
                revision=build.version,
                filename=build.filename,
            )
        elif build.file is not None:
            await self._take(run, build, build.file)
        else:
            return
        ignoring = run.obj.spec.ignore_missing_values_files
        run.observe(
            observedChartName=build.name,
            observedValuesFiles=list(build.values_files) if ignoring else None,
        )

    async def _take(self, run: ChartRun, build: Build, file: Path) -> None:
        try:
            with handed(self._tools.work, file) as path:
                await self._storing.store_file(
                    run, path, revision=build.version, filename=build.filename
                )
        except (InvalidChart, OSError) as error:
            raise package_failed(error) from error

    def _success(self, run: ChartRun, build: Build) -> Success:
        if build.dependencies:
            self._tools.events.event(
                run.live,
                type="Trace",
                reason=reasons.RESOLVED_DEPENDENCIES,
                message=f"resolved {build.dependencies} chart dependencies",
            )
        unchanged = f"artifact up-to-date with remote revision: '{build.version}'"
        return Success(
            stored=build.summary,
            recovered=build.summary,
            unchanged=None if build.is_new else (common.ARTIFACT_UP_TO_DATE, unchanged),
            new_reason=build.reason,
            recovered_reason=build.reason,
        )
