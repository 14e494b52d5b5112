"""From a HelmRepository, or the address of a dependency, to a repository that can be asked."""

from __future__ import annotations

import itertools
import weakref
from dataclasses import dataclass
from pathlib import Path

import yarl

from fluvial.api.codec import InvalidObject, decode
from fluvial.api.meta import ObjectMeta
from fluvial.api.source import HelmRepository, HelmRepositorySpec
from fluvial.artifact import publishing, tar
from fluvial.artifact.digest import DEFAULT_ALGORITHM
from fluvial.artifact.threads import StopFlag, in_thread
from fluvial.clock import Clock
from fluvial.kube.client import KubeClient
from fluvial.kube.kinds import HELM_REPOSITORY
from fluvial.net.tls import InvalidTls
from fluvial.objects import ObjectKey
from source_controller.helm.client import HelmJobs
from source_controller.helm.index import InvalidIndex
from source_controller.helmchart import reasons
from source_controller.helmchart.access import RegistryAccesses
from source_controller.helmchart.downloads import Downloads, Room
from source_controller.helmchart.handing import handed
from source_controller.helmchart.http import HttpCharts, Indexes, IndexFile, domain_of
from source_controller.helmchart.registry import Answers, RegistryCharts
from source_controller.helmchart.repositories import ChartRepository, PullFailed, RefusedAccess
from source_controller.helmchart.sources import Sources
from source_controller.helmrepository.access import index_url, read_access
from source_controller.oci.access import DIRECT
from source_controller.oci.access import Access as RegistryAccess
from source_controller.oci.errors import InvalidReference
from source_controller.oci.reference import SCHEME, Repository
from source_controller.oci.registries import Registries
from source_controller.source import reasons as common
from source_controller.source.once import Once
from source_controller.source.run import StepFailed
from source_controller.web.access import Access, shown
from source_controller.web.client import AccessRefused, WebClient, WebError

__all__ = ["Asker", "Opener", "Shared"]

_INDEX_SECONDS = 60.0
_MAX_INDEXES = 16
_FOLDER = ".charts"
_TIMEOUT = "60s"


@dataclass(frozen=True, slots=True)
class Shared:
    """What all objects share.

    Attributes:
        client: under the controller's own identity.
        accesses: to registries.
        web: downloads over HTTP.
        registries: sessions.
        jobs: read indexes and charts.
        downloads: of packages.
        sources: have indexes.
        clock: ages answers.
        work: for indexes of dependencies.
        max_index_bytes: of one index.
        max_chart_bytes: of one package.

    """

    client: KubeClient
    accesses: RegistryAccesses
    web: WebClient
    registries: Registries
    jobs: HelmJobs
    downloads: Downloads
    sources: Sources
    clock: Clock
    work: Path
    max_index_bytes: int
    max_chart_bytes: int


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks.

    Attributes:
        namespace: of the object.
        chart: that is asked for.
        fresh: whether answers to somebody else do not count.

    """

    namespace: str
    chart: str
    fresh: bool = False


class Opener:
    """Opens repositories.

    Args:
        shared: see there.

    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._indexes = Indexes(shared.jobs, shared.clock)
        self._answers = Answers(shared.clock)
        self._numbers = itertools.count()
        self._fetched: Once[tuple[object, ...], IndexFile] = Once(
            shared.clock, keep=_INDEX_SECONDS, size=_MAX_INDEXES
        )

    async def registry(self, repository: HelmRepository, asker: Asker) -> RegistryCharts:
        """The charts of a HelmRepository in a registry.

        Raises:
            StepFailed: ``Failed``, stalled, or ``AuthenticationFailed``.

        """
        spec = repository.spec
        if not spec.url.startswith(SCHEME):
            raise _bad_client(f"the URL of a repository of type oci must begin with {SCHEME}")
        try:
            target = Repository.parse_url(f"{spec.url.rstrip('/')}/{asker.chart}")
        except InvalidReference as error:
            raise _bad_client(str(error)) from error
        access = await self._shared.accesses.read(asker.namespace, spec, target)
        return self._registry(spec.url, access, asker, spec.timeout_seconds)

    async def http(
        self, repository: HelmRepository, index: IndexFile | None, asker: Asker, room: Room
    ) -> HttpCharts:
        """The charts of a HelmRepository over HTTP.

        Args:
            repository: the object.
            index: that is stored; fetched if there is none.
            asker: see there.
            room: of the run.

        Raises:
            StepFailed: ``URLInvalid``, stalled, or ``AuthenticationFailed``.
            PullFailed: the index cannot be fetched.

        """
        spec = repository.spec
        _, address = index_url(spec.url)
        access = await read_access(self._shared.client, asker.namespace, spec, address)
        if index is None:
            index = await self._index(spec, access, room)
        return HttpCharts(
            yarl.URL(address.url),
            index,
            access,
            timeout=spec.timeout_seconds,
            indexes=self._indexes,
            downloads=self._shared.downloads,
            web=self._shared.web,
            registry=self._registry("", DIRECT, asker, spec.timeout_seconds),
            max_bytes=self._shared.max_chart_bytes,
        )

    async def dependency(self, url: str, asker: Asker, room: Room) -> ChartRepository:
        """Where the charts of an address are: by the namespace's HelmRepository of that address,
        with its credentials, or by nobody's.

        Raises:
            PullFailed: the address is none, or its index cannot be fetched.
            StepFailed: as ``registry`` and ``http``.

        """
        wanted = _normal(url)
        if not wanted.startswith(("http://", "https://", SCHEME)):
            name = url.rpartition("@")[2]  # nobody's user and password
            raise PullFailed(f"the repository {name[:200]!r} is no address: aliases are not known")
        found = await self._find(wanted, asker.namespace)
        if found is None:
            spec = HelmRepositorySpec(url=wanted, timeout=_TIMEOUT)
            found = HelmRepository(metadata=ObjectMeta(), spec=spec)
        if found.spec.url.startswith(SCHEME):
            return await self.registry(found, asker)
        key = ObjectKey(asker.namespace, found.metadata.name)
        artifact = self._shared.sources.stored(HELM_REPOSITORY, key, found.status.artifact)
        index = self._shared.sources.index_file(artifact) if artifact is not None else None
        return await self.http(found, index, asker, room)

    async def _find(self, wanted: str, namespace: str) -> HelmRepository | None:
        page = await self._shared.client.list_all(HELM_REPOSITORY, namespace=namespace)
        for live in sorted(page.items, key=lambda item: str(item["metadata"]["name"])):
            try:
                repository = decode(live, HelmRepository)
            except InvalidObject:
                continue
            if _normal(repository.spec.url) == wanted:
                return repository
        return None

    def _registry(
        self, url: str, access: RegistryAccess, asker: Asker, timeout: float
    ) -> RegistryCharts:
        shared = self._shared
        return RegistryCharts(
            url,
            access,
            namespace=asker.namespace,
            timeout=timeout,
            fresh=asker.fresh,
            registries=shared.registries,
            answers=self._answers,
            downloads=shared.downloads,
            max_bytes=shared.max_chart_bytes,
        )

    async def _index(self, spec: HelmRepositorySpec, access: Access, room: Room) -> IndexFile:
        """Fetched for a dependency; a namespace's own, for a minute."""
        url, _ = index_url(spec.url)
        shown_to = access.for_file(url)
        key = (room.namespace, str(url), domain_of(shown_to, room.namespace))

        async def fetch() -> IndexFile:
            number = next(self._numbers)
            names = f"index-{number}", f"index-{number}.json"
            source, written = (room.folder / name for name in names)
            await self._download(url, source, shown_to, spec.timeout_seconds)
            try:
                await self._shared.jobs.rewrite_index(
                    room.folder, source=names[0], target=names[1], namespace=room.namespace
                )
            except InvalidIndex as error:
                raise PullFailed(f"the index {shown(url)} cannot be read: {error}") from error
            target = self._shared.work / _FOLDER / names[1]

            def publish(stop: StopFlag) -> tar.PackResult:
                with handed(room.work, written) as path:
                    write = publishing.copy(path, algorithm=DEFAULT_ALGORITHM, max_bytes=0)
                    return publishing.publish(target, write, stop)

            index = IndexFile(target, str((await in_thread(publish)).digest))
            weakref.finalize(index, target.unlink, missing_ok=True)
            return index

        return await self._fetched.get(key, fetch)

    async def _download(self, url: yarl.URL, target: Path, access: Access, timeout: float) -> None:
        try:
            await self._shared.web.download(
                url,
                target,
                access=access,
                max_bytes=self._shared.max_index_bytes,
                timeout=timeout,
            )
        except (InvalidTls, AccessRefused) as error:
            raise RefusedAccess(str(error)) from error
        except WebError as error:
            raise PullFailed(str(error)) from error


def _normal(url: str) -> str:
    """So that two addresses of one repository are equal."""
    return url.rstrip("/")


def _bad_client(problem: str) -> StepFailed:
    return StepFailed(
        common.FETCH_FAILED,
        reasons.FAILED,
        f"failed to construct Helm client: {problem}",
        kind="stalled",
    )
