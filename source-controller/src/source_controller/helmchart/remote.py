"""A chart of a HelmRepository: which version, is it signed, is it new, and then its package."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

import re2

from fluvial.errors import FluvialError
from fluvial.objects import ObjectKey
from fluvial.semver import InvalidVersion
from source_controller.helm.building import Wish
from source_controller.helm.choosing import with_metadata
from source_controller.helm.client import HelmJobs
from source_controller.helm.errors import VersionFailed
from source_controller.helmchart.downloads import ChartFile, Room
from source_controller.helmchart.failing import package_failed, pull_failed, reference_failed
from source_controller.helmchart.opening import Asker, Opener
from source_controller.helmchart.registry import RegistryCharts
from source_controller.helmchart.repositories import ChartRepository, PullFailed, Version
from source_controller.helmchart.run import Build, ChartRun
from source_controller.helmchart.sources import Source, Sources
from source_controller.helmchart.verifying import VerifyStep, verification_failed
from source_controller.source import reasons as common
from source_controller.source.run import StatusWriter, StepFailed

__all__ = ["RemoteBuilder"]

_NAME = re2.compile(r"(?:[-a-z0-9]+/?\.?)+")
_MAX_NAME = 1024
_MAX_MADE = 10_000
_PACKAGE, _SOURCE = "chart.tgz", "source.tgz"


class RemoteBuilder:
    """Builds charts of HelmRepositories.

    Args:
        opener: of repositories.
        sources: have indexes.
        verifying: signatures.
        jobs: package.
        writer: for progress.
        max_file: bytes of one file in a chart.

    """

    def __init__(
        self,
        opener: Opener,
        sources: Sources,
        verifying: VerifyStep,
        jobs: HelmJobs,
        writer: StatusWriter,
        *,
        max_file: int,
    ) -> None:
        self._opener = opener
        self._sources = sources
        self._verifying = verifying
        self._jobs = jobs
        self._writer = writer
        self._max_file = max_file
        # Of verified charts: what the artifact was made of, which must be what was verified.
        self._made: OrderedDict[ObjectKey, tuple[str, str]] = OrderedDict()

    async def build(self, run: ChartRun, source: Source, room: Room) -> Build:
        """The chart, or the news that it is stored already.

        Raises:
            StepFailed: any of the kind's reasons.

        """
        spec = run.obj.spec
        if len(spec.chart) > _MAX_NAME or not _NAME.fullmatch(spec.chart):
            raise reference_failed(f"invalid chart name {spec.chart[:100]!r}")
        charts = await self._open(run, source, room)
        try:
            version = await charts.resolve(spec.chart, spec.version, room)
        except StepFailed:
            raise
        except (FluvialError, OSError) as error:
            raise pull_failed(error) from error
        verified = await self._verify(run, charts, version)
        build = self._planned(run, version)
        made = (version.address, version.digest)
        if run.is_current(build.name, build.version) and (
            spec.verify is None or self._made.get(run.key) == made
        ):
            build = run.unchanged(build)
        else:
            await run.announce(build, self._writer)
            made_now = await self._make(run, charts, version, build, room)
            build = replace(made_now, origin=made if spec.verify is not None else None)
        if verified:
            message = f"verified signature of version {build.version}"
            run.set_true(common.SOURCE_VERIFIED, common.SUCCEEDED, message)
        elif spec.verify is not None:  # the trust policy lets it pass, and that is no verification
            run.clear(common.SOURCE_VERIFIED)
        return build

    def stored(self, key: ObjectKey, build: Build) -> None:
        """Note what the artifact of an object was made of, once it is in storage.

        Args:
            key: of the object.
            build: that was stored; one that was stored already changes nothing.

        """
        if not build.is_new:
            return
        self._made.pop(key, None)
        if build.origin is not None:
            self._made[key] = build.origin
        while len(self._made) > _MAX_MADE:
            self._made.popitem(last=False)

    async def _open(self, run: ChartRun, source: Source, room: Room) -> ChartRepository:
        repository = source.repository
        assert repository is not None  # noqa: S101  # the caller looked
        asker = Asker(run.key.namespace, run.obj.spec.chart, fresh=run.requested)
        if source.artifact is None:
            return await self._opener.registry(repository, asker)
        index = self._sources.index_file(source.artifact)
        return await self._opener.http(repository, index, asker, room)

    async def _verify(self, run: ChartRun, charts: ChartRepository, version: Version) -> bool:
        if run.obj.spec.verify is None:
            return False
        if not isinstance(charts, RegistryCharts):
            problem = PullFailed("charts of a repository over HTTP cannot be verified")
            raise verification_failed(run, problem)
        return await self._verifying.run(run, charts, version)

    def _planned(self, run: ChartRun, version: Version) -> Build:
        packaged = bool(run.obj.spec.merged_files)
        try:
            text = with_metadata(version.version, str(run.generation) if packaged else "")
        except InvalidVersion as error:
            raise package_failed(VersionFailed(str(error))) from error
        return Build(version.name, text, packaged)

    async def _make(
        self,
        run: ChartRun,
        charts: ChartRepository,
        version: Version,
        build: Build,
        room: Room,
    ) -> Build:
        try:
            chart = await charts.fetch(version, room)
        except StepFailed:
            raise
        except (FluvialError, OSError) as error:
            raise pull_failed(error) from error
        if not build.packaged:
            return Build(build.name, build.version, packaged=False, shared=chart)
        return await self._package(run, chart, build, room)

    async def _package(self, run: ChartRun, chart: ChartFile, build: Build, room: Room) -> Build:
        spec = run.obj.spec
        wish = Wish(
            _SOURCE,
            metadata=str(run.generation),
            values_files=spec.values_files,
            ignore_missing=spec.ignore_missing_values_files,
            max_file=self._max_file,
        )
        try:
            await chart.copy_to(room.folder / _SOURCE)
            packed = await self._jobs.package(
                room.folder, wish, (), target=_PACKAGE, namespace=room.namespace
            )
        except (FluvialError, OSError) as error:
            raise package_failed(error) from error
        return Build(
            name=build.name,
            version=build.version,
            packaged=True,
            values_files=packed.values_files,
            file=room.folder / _PACKAGE,
        )
