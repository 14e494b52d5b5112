"""Loads artifacts for consumers, once per digest, and gives them as read-only trees.

Knowing a digest is no right to its content: a tree that is in the cache is handed to an object
only after that object's own artifact URL has answered HEAD with an ETag equal to the digest. An
ETag is no more than a claim, so it counts only from a server that has itself delivered these very
bytes before; any other server, and one without such ETags, costs a download that proves the same.

Addresses come from statuses, and those of ExternalArtifacts from whoever may write one. So every
connection is the dialer's, which refuses what only the machine itself should reach, however the
address is spelled or resolved; redirects are not followed, and no proxy is asked.
"""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, TypeVar
from weakref import WeakValueDictionary

import aiohttp
from yarl import URL

from fluvial.api.meta import Artifact
from fluvial.artifact import tar
from fluvial.artifact.cache import CacheEntry, TreeCache, remove_tree
from fluvial.artifact.digest import Digest, new_hasher
from fluvial.artifact.errors import (
    ArtifactNotFound,
    ArtifactTooLarge,
    ArtifactUnreachable,
    DigestMismatch,
)
from fluvial.artifact.threads import in_thread
from fluvial.clock import Clock
from fluvial.net.dialer import Dialer
from fluvial.net.errors import AddressDenied, net_error
from fluvial.net.policy import parse_networks

__all__ = ["ExtractedTree", "Fetcher", "open_fetcher"]

T = TypeVar("T")

_BLOCK = 1 << 18
_DEADLINE = 300.0
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 10.0
_TIMEOUT = aiohttp.ClientTimeout(total=300, sock_connect=10, sock_read=30)
_HEADERS = {"Accept-Encoding": "identity"}
_ANYWHERE = parse_networks("0.0.0.0/0,::/0")


@dataclass(frozen=True, slots=True)
class ExtractedTree:
    """An artifact's content.

    Attributes:
        path: folder with the files; read-only and shared, valid while the context is open.
        digest: of the archive, as the artifact names it.
        revision: as the artifact names it.
        dropped_links: links of the source that are not in the tree, as relative paths.

    """

    path: Path
    digest: str
    revision: str
    dropped_links: tuple[str, ...]


class _Again(Exception):  # a signal between two functions
    """The attempt failed in a way that another may not."""


@asynccontextmanager
async def open_fetcher(
    cache_dir: Path,
    *,
    dialer: Dialer,
    max_cache_bytes: int,
    max_artifact_bytes: int,
    retries: int,
    clock: Clock,
    host_override: str = "",
    deadline: float = _DEADLINE,
) -> AsyncIterator[Fetcher]:
    """A controller's fetcher, with connections of its own, while the context is open.

    Args:
        cache_dir: as for ``Fetcher``, like all that is not named here.
        max_cache_bytes: see there.
        max_artifact_bytes: see there.
        dialer: the process's; decides what may be reached.
        retries: see there.
        clock: see there.
        host_override: see there. The operator names it, so it may be wherever the API server is
            not; nothing else is connected to then.
        deadline: see there.

    """
    if host_override:
        dialer = dialer.under(replace(dialer.policy, allowed=_ANYWHERE))
    async with aiohttp.ClientSession(
        connector=dialer.connector(), cookie_jar=aiohttp.DummyCookieJar()
    ) as http:
        yield Fetcher(
            cache_dir,
            max_cache_bytes=max_cache_bytes,
            max_artifact_bytes=max_artifact_bytes,
            http=http,
            retries=retries,
            clock=clock,
            host_override=host_override,
            deadline=deadline,
        )


class Fetcher:
    """Fetches, verifies, extracts and caches. Made by ``open_fetcher``.

    Args:
        cache_dir: folder for the cache, nobody else's; emptied on the first use.
        max_cache_bytes: bound on extracted trees that nobody uses.
        max_artifact_bytes: largest archive, and largest content of one.
        http: session for the requests; its connector decides what may be reached.
        retries: attempts after the first on connection errors and on 429 and 5xx.
        clock: for the waits in between, 0.5 s doubled up to 10 s.
        host_override: host and port used instead of the URL's own, for running outside a cluster.
        deadline: seconds for all attempts together, so that a slow server holds nobody for long.

    """

    def __init__(
        self,
        cache_dir: Path,
        *,
        max_cache_bytes: int,
        max_artifact_bytes: int,
        http: aiohttp.ClientSession,
        retries: int,
        clock: Clock,
        host_override: str = "",
        deadline: float = _DEADLINE,
    ) -> None:
        limits = tar.UnpackLimits(max_bytes=max_artifact_bytes, max_file_bytes=max_artifact_bytes)
        self._cache = TreeCache(cache_dir, max_bytes=max_cache_bytes, limits=limits)
        self._max_bytes = max_artifact_bytes
        self._http = http
        self._retries = retries
        self._clock = clock
        self._host = host_override
        self._deadline = deadline
        # By origin too: who asks a slow server must not hold up who asks another one.
        self._locks: WeakValueDictionary[tuple[str, Digest], asyncio.Lock] = WeakValueDictionary()
        self._starting = asyncio.Lock()
        self.downloads = 0

    @asynccontextmanager
    async def fetch(self, artifact: Artifact) -> AsyncIterator[ExtractedTree]:
        """The content of an artifact, while the context is open.

        Raises:
            ArtifactNotFound: the address answers 404; wait for a new artifact.
            ArtifactUnreachable: no usable answer after all attempts; try again later.
            DigestMismatch: the server has other content; wait for a new artifact or try again.
            InvalidDigest, ArtifactTooLarge, UnsafeArchive: do not repeat.

        """
        digest = Digest.parse(artifact.digest)
        async with self._starting:
            await self._cache.start()
        url = self._url(artifact)
        try:
            async with asyncio.timeout(self._deadline):
                entry = await self._pinned(url, digest)
        except TimeoutError as error:
            raise ArtifactUnreachable(
                f"cannot fetch the artifact: it took longer than {self._deadline:g}s"
            ) from error
        try:
            yield ExtractedTree(entry.path, str(digest), artifact.revision, entry.dropped_links)
        finally:
            await self._cache.unpin(digest)

    async def read(self, artifact: Artifact, *, max_bytes: int) -> bytes:
        """The archive of an artifact as it is, verified; for small ones, such as charts.

        Args:
            artifact: which one.
            max_bytes: the largest that is taken.

        Raises:
            ArtifactNotFound, ArtifactUnreachable, DigestMismatch, InvalidDigest,
            ArtifactTooLarge: as for ``fetch``.

        """
        digest, url = Digest.parse(artifact.digest), self._url(artifact)
        out = io.BytesIO()

        async def attempt() -> None:
            out.seek(0)
            out.truncate()
            await self._receive(url, digest, out, max_bytes=max_bytes)

        try:
            async with asyncio.timeout(self._deadline):
                await self._persist(attempt)
        except TimeoutError as error:
            raise ArtifactUnreachable(
                f"cannot fetch the artifact: it took longer than {self._deadline:g}s"
            ) from error
        self.downloads += 1
        return out.getvalue()

    async def _pinned(self, url: URL, digest: Digest) -> CacheEntry:
        """The tree, shared by all who ask at once; each proves its own right by its own URL."""
        async with self._locks.setdefault((str(url.origin()), digest), asyncio.Lock()):
            entry = self._cache.pin(digest)
            if entry is None:
                return await self._download(url, digest, keep=True)
        try:
            is_known = str(url.origin()) in entry.origins
            if not (is_known and await self._persist(lambda: self._head_matches(url, digest))):
                await self._download(url, digest, keep=False)
        except BaseException:
            await self._cache.unpin(digest)
            raise
        return entry

    async def _download(self, url: URL, digest: Digest, *, keep: bool) -> CacheEntry:
        folder = self._cache.temporary()
        archive = folder / "archive"
        try:
            await self._persist(lambda: self._get(url, digest, archive))
            self.downloads += 1
            if keep:
                entry = await self._cache.add(digest, archive)
            else:
                found = self._cache.pin(digest)
                assert found is not None  # noqa: S101  # the caller holds a pin
                entry = found
                entry.pins -= 1
            entry.origins.add(str(url.origin()))
            return entry
        finally:
            await in_thread(lambda _: remove_tree(folder))

    async def _head_matches(self, url: URL, digest: Digest) -> bool:
        async with self._http.head(
            url, headers=_HEADERS, allow_redirects=False, timeout=_TIMEOUT
        ) as response:
            if response.status in {405, 501}:
                return False
            _check_status(response)
            return response.headers.get("ETag") == f'"{digest}"'

    async def _get(self, url: URL, digest: Digest, target: Path) -> None:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            await self._receive(url, digest, out, max_bytes=self._max_bytes)

    async def _receive(self, url: URL, digest: Digest, out: BinaryIO, *, max_bytes: int) -> None:
        hasher, size = new_hasher(digest.algorithm), 0
        async with self._http.get(
            url, headers=_HEADERS, allow_redirects=False, timeout=_TIMEOUT
        ) as response:
            _check_status(response)
            _check_size(response.content_length or 0, max_bytes)
            async for block in response.content.iter_chunked(_BLOCK):
                size += len(block)
                _check_size(size, max_bytes)
                hasher.update(block)
                out.write(block)
        if hasher.hexdigest() != digest.hex:
            # Whoever names an address must not learn, by its digest, what is there.
            raise DigestMismatch(f"the content at the artifact's address is not {digest}")

    async def _persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Repeat an attempt while it may get better, with waits."""
        wait = _FIRST_WAIT
        for left in range(self._retries, -1, -1):
            try:
                return await attempt()
            except (aiohttp.ClientError, TimeoutError, _Again) as error:
                if not left or _is_final(error):
                    raise ArtifactUnreachable(
                        f"cannot fetch the artifact: {_reason(error)}"
                    ) from error
            await self._clock.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)
        raise AssertionError("unreachable")

    def _url(self, artifact: Artifact) -> URL:
        try:
            url = URL(artifact.url, encoded=True)
            valid = url.scheme in {"http", "https"} and bool(url.host)
        except ValueError:
            raise ArtifactUnreachable(f"invalid artifact URL {artifact.url!r}") from None
        if not valid:
            raise ArtifactUnreachable(f"invalid artifact URL {artifact.url!r}")
        if self._host:
            override = URL(f"http://{self._host}")
            url = url.with_scheme("http").with_host(override.host or "").with_port(override.port)
        return url


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise ArtifactTooLarge(f"the artifact has more than {max_bytes} bytes")


def _check_status(response: aiohttp.ClientResponse) -> None:
    status = response.status
    if status == 404:
        raise ArtifactNotFound(f"no artifact at {response.url}")
    if status == 429 or status >= 500:
        raise _Again(f"the artifact server answered {status}")
    if status != 200:
        raise ArtifactUnreachable(f"the artifact server answered {status}")


def _is_final(error: Exception) -> bool:
    """Whether another attempt would end in the same way."""
    return isinstance(error, aiohttp.InvalidURL) or isinstance(net_error(error), AddressDenied)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    refused = net_error(error)
    if isinstance(refused, AddressDenied):
        return str(refused)
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect to {error.host}:{error.port}"
    return str(error) or type(error).__name__
