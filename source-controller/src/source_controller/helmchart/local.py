"""A chart in a GitRepository or Bucket: unpacked, looked at, and packaged with its dependencies."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass

from fluvial.api.meta import Artifact
from fluvial.artifact.errors import ArtifactError, ArtifactNotFound, DigestMismatch, InvalidDigest
from fluvial.artifact.storage import Storage
from fluvial.artifact.tar import UnpackLimits
from fluvial.errors import FluvialError
from fluvial.kube.errors import ApiError
from fluvial.objects import ObjectKey
from source_controller.helm.building import Fetched, Found, Wish
from source_controller.helm.client import HelmJobs
from source_controller.helm.errors import InvalidChart, NoSuchChart
from source_controller.helm.metadata import Requirement
from source_controller.helmchart import reasons
from source_controller.helmchart.downloads import Room
from source_controller.helmchart.failing import build_failed, package_failed, reference_failed
from source_controller.helmchart.opening import Asker, Opener
from source_controller.helmchart.run import Build, ChartRun
from source_controller.source import reasons as common
from source_controller.source.run import StatusWriter, StepFailed

__all__ = ["LocalBuilder"]

_TREE, _PACKAGE = "source", "chart.tgz"
_SHORT = 12
_HASH = re.compile(r"(?:^|[@/:])([0-9a-fA-F]{12,})$")
_MAX_SEEN = 10_000


@dataclass(frozen=True, slots=True)
class _Seen:
    """What an artifact was found to make of an object, so that it need not be unpacked again."""

    path: str
    digest: str
    revision: str
    generation: int
    build: Build


class LocalBuilder:
    """Builds charts of GitRepositories and Buckets.

    Args:
        storage: has their artifacts.
        jobs: look at charts and package them.
        opener: of dependencies' repositories.
        writer: for progress.
        limits: of what is unpacked.
        max_file: bytes of one file in a chart.

    """

    def __init__(
        self,
        storage: Storage,
        jobs: HelmJobs,
        opener: Opener,
        writer: StatusWriter,
        *,
        limits: UnpackLimits,
        max_file: int,
    ) -> None:
        self._storage = storage
        self._jobs = jobs
        self._opener = opener
        self._writer = writer
        self._limits = limits
        self._max_file = max_file
        self._seen: OrderedDict[ObjectKey, _Seen] = OrderedDict()

    async def build(self, run: ChartRun, artifact: Artifact, room: Room) -> Build:
        """The chart, or the news that it is stored already.

        Raises:
            StepFailed: any of the kind's reasons.

        """
        seen = self._seen.get(run.key)
        if (
            seen is not None
            and not run.requested
            and seen == _seen(run, artifact, seen.build)
            and run.is_current(seen.build.name, seen.build.version)
        ):
            return run.unchanged(seen.build)
        await self._unpack(artifact, room)
        wish = self._wish(run, artifact)
        found = await self._inspect(wish, room)
        spec = run.obj.spec
        packaged = found.is_folder or bool(wish.metadata or spec.merged_files)
        build = Build(found.name, found.version, packaged)
        if run.is_current(build.name, build.version):
            made = run.unchanged(build)
        else:
            await run.announce(build, self._writer)
            made = await self._make(wish, found, build, room, run)
        self._remember(run.key, _seen(run, artifact, build))
        return made

    def _remember(self, key: ObjectKey, seen: _Seen) -> None:
        self._seen[key] = seen
        self._seen.move_to_end(key)
        while len(self._seen) > _MAX_SEEN:
            self._seen.popitem(last=False)

    async def _unpack(self, artifact: Artifact, room: Room) -> None:
        try:
            await self._storage.unpack(artifact, room.folder / _TREE, self._limits)
        except (ArtifactNotFound, DigestMismatch, InvalidDigest, OSError) as error:
            text = error.strerror if isinstance(error, OSError) else str(error)
            raise StepFailed(
                common.FETCH_FAILED,
                reasons.READ_OPERATION_FAILED,
                f"failed to open source artifact: {text}",
            ) from error
        except ArtifactError as error:
            raise StepFailed(
                common.FETCH_FAILED, reasons.FAILED, f"artifact untar error: {error}"
            ) from error

    def _wish(self, run: ChartRun, artifact: Artifact) -> Wish:
        spec = run.obj.spec
        parts = []
        if spec.reconcile_strategy == "Revision":
            parts.append(_short(artifact.revision))
        if spec.merged_files:
            parts.append(str(run.generation))
        return Wish(
            spec.chart,
            tree=_TREE,
            metadata=".".join(parts),
            values_files=spec.values_files if spec.merged_files else (),
            ignore_missing=spec.ignore_missing_values_files,
            max_file=self._max_file,
        )

    async def _inspect(self, wish: Wish, room: Room) -> Found:
        try:
            return await self._jobs.inspect(room.folder, wish, namespace=room.namespace)
        except (NoSuchChart, InvalidChart) as error:
            raise reference_failed(error) from error
        except FluvialError as error:
            raise package_failed(error) from error

    async def _make(
        self, wish: Wish, found: Found, build: Build, room: Room, run: ChartRun
    ) -> Build:
        if not build.packaged:
            file = room.folder / _TREE / found.path
            return Build(build.name, build.version, packaged=False, file=file)
        fetched = [
            Fetched(requirement, await self._fetch(requirement, number, room, run))
            for number, requirement in enumerate(found.missing)
            if not requirement.is_local
        ]
        try:
            packed = await self._jobs.package(
                room.folder, wish, tuple(fetched), target=_PACKAGE, namespace=room.namespace
            )
        except FluvialError as error:
            raise package_failed(error) from error
        return Build(
            name=packed.name,
            version=packed.version,
            packaged=True,
            values_files=packed.values_files,
            dependencies=len(found.missing),
            file=room.folder / _PACKAGE,
        )

    async def _fetch(self, requirement: Requirement, number: int, room: Room, run: ChartRun) -> str:
        """The name of the dependency's file."""
        asker = Asker(run.key.namespace, requirement.name, fresh=run.requested)
        name = f"dependency-{number}.tgz"
        try:
            charts = await self._opener.dependency(requirement.repository, asker, room)
            version = await charts.resolve(requirement.name, requirement.version, room)
            chart = await charts.fetch(version, room)
            await chart.copy_to(room.folder / name)
        except ApiError:
            raise
        except (FluvialError, OSError) as error:
            shown = requirement.name[:100]
            problem = InvalidChart(f"failed to add remote dependency '{shown}': {error}")
            raise build_failed(problem) from error
        return name


def _seen(run: ChartRun, artifact: Artifact, build: Build) -> _Seen:
    return _Seen(artifact.path, artifact.digest, artifact.revision, run.generation, build)


def _short(revision: str) -> str:
    """The first digits of the hash that a revision ends in."""
    found = _HASH.search(revision)
    return found[1][:_SHORT] if found else revision[:_SHORT]
