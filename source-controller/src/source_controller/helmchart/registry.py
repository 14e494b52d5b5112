"""Charts of a repository in a registry: tags are versions, a layer is the package."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from fluvial.artifact.digest import Digest
from fluvial.artifact.threads import in_thread
from fluvial.clock import Clock
from fluvial.net.errors import NetError
from source_controller.helm.choosing import Candidate, choose, is_concrete
from source_controller.helm.errors import NoSuchChart
from source_controller.helmchart.downloads import ChartFile, Download, Downloads, Room
from source_controller.helmchart.repositories import PullFailed, RefusedAccess, Verifier, Version
from source_controller.oci.access import DIRECT, Access
from source_controller.oci.errors import (
    Denied,
    InvalidCredentials,
    InvalidReference,
    NoMatch,
    OciError,
)
from source_controller.oci.layers import select_layer
from source_controller.oci.manifests import Descriptor, Manifest
from source_controller.oci.reference import Repository, check_tag, parse_digest
from source_controller.oci.registries import Registries, trust_domain
from source_controller.oci.registry import RepositoryClient
from source_controller.oci.tags import HELM_CHART_LAYER
from source_controller.source.once import Once

__all__ = ["Answers", "RegistryCharts"]

_LEGACY_LAYER = "application/tar+gzip"
_WINDOW_SECONDS = 2.0
_MAX_KEPT = 1000


class Answers:
    """What registries said a moment ago, for equal questions of about the same time.

    Args:
        clock: ages answers.

    """

    def __init__(self, clock: Clock) -> None:
        self.versions: Once[tuple[object, ...], str] = Once(
            clock, keep=_WINDOW_SECONDS, size=_MAX_KEPT
        )
        self.digests: Once[tuple[object, ...], Digest] = Once(
            clock, keep=_WINDOW_SECONDS, size=_MAX_KEPT
        )


class RegistryCharts:
    """The charts below one address of a registry, as one object sees them.

    Args:
        url: ``oci://<host>/<path>``; ``""`` where every chart has an address of its own.
        access: of the repository.
        namespace: of the object.
        timeout: seconds.
        fresh: whether no answer to somebody else counts.
        registries: sessions.
        answers: shared.
        downloads: shared.
        max_bytes: of one package.

    """

    def __init__(
        self,
        url: str,
        access: Access = DIRECT,
        *,
        namespace: str,
        timeout: float,
        fresh: bool,
        registries: Registries,
        answers: Answers,
        downloads: Downloads,
        max_bytes: int,
    ) -> None:
        self.timeout = timeout
        self._url = url
        self._access = access
        self._namespace = namespace
        self._fresh = fresh
        self._registries = registries
        self._answers = answers
        self._downloads = downloads
        self._max_bytes = max_bytes

    async def resolve(self, name: str, version: str, room: Room) -> Version:  # noqa: ARG002  # a protocol
        """See ``ChartRepository``; a version with all three numbers is taken as it is."""
        repository = _repository(f"{self._url.rstrip('/')}/{name}")
        async with self._asking(repository.registry), self._client(repository) as client:
            tag = _tag(version) if is_concrete(version) else await self._choose(client, version)
            digest = await self._digest(client, tag)
        return Version(name, _version(tag), str(repository), str(digest))

    async def at(self, name: str, address: str) -> Version:
        """What is at ``oci://<host>/<path>:<tag>``.

        Raises:
            PullFailed: it could not be asked.

        """
        path, colon, tag = address.rpartition(":")
        if not colon or "/" in tag:
            raise PullFailed("the address of the chart has no tag")
        repository = _repository(path)
        async with self._asking(repository.registry), self._client(repository) as client:
            digest = await self._digest(client, tag)
        return Version(name, _version(tag), str(repository), str(digest))

    async def verify(self, version: Version, verify: Verifier) -> bool:
        """Whether the manifest of a version has a signature that counts.

        Raises:
            FluvialError, OSError: as ``verify``, or the registry could not be asked.

        """
        async with self._client(Repository.parse(version.address)) as client:
            return await verify(client, parse_digest(version.digest))

    async def fetch(self, version: Version, room: Room) -> ChartFile:
        """See ``ChartRepository``."""
        domain = trust_domain(self._access, self._namespace)
        what = Download(domain, version.address, version.digest)
        async with self._asking(version.address.partition("/")[0]):
            return await self._downloads.get(what, room, lambda target: self._pull(version, target))

    async def _pull(self, version: Version, target: Path) -> Digest:
        async with self._client(Repository.parse(version.address)) as client:
            manifest = await client.manifest(parse_digest(version.digest))
            layer = _layer(manifest)
            if layer.size > self._max_bytes:
                raise PullFailed(
                    f"the chart has {layer.size} bytes, more than the {self._max_bytes} allowed"
                )
            await client.download(layer, target)
            return layer.digest

    async def _choose(self, client: RepositoryClient, version: str) -> str:
        async def ask() -> str:
            tags = await client.tags()
            # A repository may have a hundred thousand of them.
            place = await in_thread(
                lambda _: choose((Candidate(_version(tag)) for tag in tags), version)
            )
            return tags[place]

        return await self._answers.versions.get(self._key(client, version), ask, max_age=self._age)

    async def _digest(self, client: RepositoryClient, tag: str) -> Digest:
        key = self._key(client, check_tag(tag))
        return await self._answers.digests.get(key, lambda: client.resolve(tag), max_age=self._age)

    def _key(self, client: RepositoryClient, what: str) -> tuple[object, ...]:
        return (trust_domain(self._access, self._namespace), client.repository, what)

    @property
    def _age(self) -> float | None:
        return 0.0 if self._fresh else None

    def _client(self, repository: Repository) -> AbstractAsyncContextManager[RepositoryClient]:
        return self._registries.client(repository, self._access, namespace=self._namespace)

    @asynccontextmanager
    async def _asking(self, registry: str) -> AsyncIterator[None]:
        """A deadline, and the errors of this room; outside of what several objects share."""
        try:
            async with asyncio.timeout(self.timeout):
                yield
        except (Denied, InvalidCredentials) as error:
            raise RefusedAccess(str(error)) from error
        except (OciError, NetError, NoSuchChart) as error:
            raise PullFailed(str(error)) from error
        except TimeoutError as error:
            raise PullFailed(
                f"{registry} did not give what was asked for within {self.timeout:g}s"
            ) from error


def _repository(url: str) -> Repository:
    try:
        return Repository.parse_url(url)
    except InvalidReference as error:
        raise PullFailed(str(error)) from error


def _layer(manifest: Manifest) -> Descriptor:
    try:
        return select_layer(manifest, HELM_CHART_LAYER)
    except NoMatch:
        return select_layer(manifest, _LEGACY_LAYER)


def _tag(version: str) -> str:
    """Tags cannot have a plus."""
    return version.replace("+", "_")


def _version(tag: str) -> str:
    return tag.replace("_", "+")
