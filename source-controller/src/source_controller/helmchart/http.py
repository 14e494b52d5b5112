"""Charts of a repository over HTTP: the index says where they are."""

from __future__ import annotations

import hashlib
import itertools
import re
import weakref
from dataclasses import astuple, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yarl

from fluvial.artifact import publishing
from fluvial.artifact.digest import DEFAULT_ALGORITHM, Digest
from fluvial.artifact.threads import in_thread
from fluvial.clock import Clock
from fluvial.net.tls import InvalidTls, Tls
from source_controller.helm.client import HelmJobs
from source_controller.helm.lookup import Chosen
from source_controller.helmchart.downloads import ChartFile, Download, Downloads, Room
from source_controller.helmchart.registry import RegistryCharts
from source_controller.helmchart.repositories import PullFailed, RefusedAccess, Version
from source_controller.source.once import Once
from source_controller.web.access import Access, shown
from source_controller.web.client import AccessRefused, WebClient, WebError

__all__ = ["HttpCharts", "IndexFile", "Indexes", "domain_of"]

_KEEP_SECONDS = 600.0
_MAX_KEPT = 10_000
_SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_MAX_COPIES = 16


@dataclass(frozen=True, slots=True, weakref_slot=True)
class IndexFile:
    """An index that was read and written again, and its digest."""

    path: Path
    digest: str


class Indexes:
    """Looks charts up in indexes, equal questions once.

    Args:
        jobs: read them.
        clock: ages answers.

    """

    def __init__(self, jobs: HelmJobs, clock: Clock) -> None:
        self._jobs = jobs
        self._numbers = itertools.count()
        self._copies: Once[IndexFile, IndexFile] = Once(
            clock, keep=_KEEP_SECONDS, size=_MAX_COPIES, valid=lambda copy: copy.path.is_file()
        )
        self._once: Once[tuple[str, ...], Chosen] = Once(clock, keep=_KEEP_SECONDS, size=_MAX_KEPT)

    async def look_up(self, index: IndexFile, name: str, version: str, room: Room) -> Chosen:
        """Which version of a chart is meant.

        Args:
            index: of a repository of the run's namespace: the path belongs to it.
            name: of the chart.
            version: or range.
            room: of the run.

        Raises:
            NoSuchChart: the index does not have it.
            ChartError, ArtifactError, OSError: the index cannot be read, or was altered.

        """
        key = (str(index.path), index.digest, name, version)
        return await self._once.get(key, lambda: self._ask(index, name, version, room))

    async def _ask(self, index: IndexFile, name: str, version: str, room: Room) -> Chosen:
        copy = await self._copies.get(index, lambda: self._copy(index, room))
        return await self._jobs.look_up(
            room.folder,
            index=copy.path.name,
            name=name,
            version=version,
            namespace=room.namespace,
        )

    async def _copy(self, index: IndexFile, room: Room) -> IndexFile:
        """A worker sees, and may change, its namespace's folder of the work and nothing else."""
        expected = Digest.parse(index.digest)
        target = room.folder.parent / f"index-{next(self._numbers)}.json"
        write = publishing.copy(index.path, algorithm=expected.algorithm, max_bytes=0)
        copy = IndexFile(target, index.digest)
        weakref.finalize(copy, target.unlink, missing_ok=True)
        packed = await in_thread(lambda stop: publishing.publish(target, write, stop))
        expected.check(packed.digest, what="the index")
        return copy


class HttpCharts:
    """The charts of one repository, as one object sees them.

    Args:
        url: of the repository, without user information.
        index: its index.
        access: what may be shown to its host.
        timeout: seconds.
        indexes: shared.
        downloads: shared.
        web: downloads.
        registry: charts that the index says are in a registry, without credentials.
        max_bytes: of one package.

    """

    def __init__(
        self,
        url: yarl.URL,
        index: IndexFile,
        access: Access,
        *,
        timeout: float,
        indexes: Indexes,
        downloads: Downloads,
        web: WebClient,
        registry: RegistryCharts,
        max_bytes: int,
    ) -> None:
        self.timeout = timeout
        self._url = url
        self._index = index
        self._access = access
        self._indexes = indexes
        self._downloads = downloads
        self._web = web
        self._registry = registry
        self._max_bytes = max_bytes

    async def resolve(self, name: str, version: str, room: Room) -> Version:
        """See ``ChartRepository``."""
        chosen = await self._indexes.look_up(self._index, name, version, room)
        return Version(name, chosen.version, chosen.url, chosen.digest)

    async def fetch(self, version: Version, room: Room) -> ChartFile:
        """See ``ChartRepository``."""
        if not version.address:
            raise PullFailed(f"chart '{version.name}' has no address in the index")
        if version.address.startswith("oci://"):
            there = await self._registry.at(version.name, version.address)
            return await self._registry.fetch(there, room)
        url = self._address(version.address)
        access = self._access.for_file(url)
        found = _SHA256.fullmatch(version.digest)
        digest = found[1] if found else ""
        # Without one a further index may mean a further package at the same address.
        known = digest or f"of {self._index.digest}"
        what = Download(domain_of(access, room.namespace), str(url), known)
        return await self._downloads.get(
            what, room, lambda target: self._download(url, target, access, digest)
        )

    async def _download(self, url: yarl.URL, target: Path, access: Access, digest: str) -> Digest:
        try:
            found = await self._web.download(
                url,
                target,
                access=access,
                max_bytes=self._max_bytes,
                timeout=self.timeout,
                algorithm=DEFAULT_ALGORITHM,
            )
        except (InvalidTls, AccessRefused) as error:
            raise RefusedAccess(str(error)) from error
        except WebError as error:
            raise PullFailed(str(error)) from error
        if digest and found.digest.hex != digest:
            raise PullFailed(f"{shown(url)} is not what the index describes: another digest")
        return found.digest

    def _address(self, reference: str) -> yarl.URL:
        """Where a package is; the repository's query counts for what is relative to it."""
        try:
            url = self._joined(reference)
            if url.scheme in {"http", "https"} and url.host:
                return url.with_user(None).with_fragment(None)
        except ValueError:
            pass
        raise PullFailed("the index has no valid address for the chart")

    def _joined(self, reference: str) -> yarl.URL:
        if urlsplit(reference).scheme:
            return yarl.URL(reference)
        path = self._url.raw_path.rstrip("/") + "/"
        base = self._url.with_path(path, encoded=True)
        return base.join(yarl.URL(reference)).with_query(self._url.query)


def domain_of(access: Access, namespace: str) -> tuple[str, str]:
    """Equal only if everything that decides about trust is; tells nothing about it."""
    hasher = hashlib.sha256()
    for value in (access.username, access.password, *astuple(access.tls)):
        data = str(value).encode()
        hasher.update(len(data).to_bytes(8, "big") + data)
    return (namespace if access.tls != Tls() else "", hasher.hexdigest())
