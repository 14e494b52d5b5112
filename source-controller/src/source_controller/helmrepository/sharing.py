"""One download and one reading of an index for all objects that want the same.

What is shared is the finished file, given away as a further name of it. Everything shared lies
where no worker can write, for a worker is one namespace's, and this is everyone's. For the same
reason what a worker made of an index is for its namespace alone: one that was taken over by what a
tenant had it read could otherwise hand its own index to others. Where two made the same bytes, one
file is kept.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import weakref
from dataclasses import dataclass, field
from pathlib import Path

import yarl

from fluvial.artifact import publishing, tar
from fluvial.artifact.errors import ArtifactNotFound
from fluvial.artifact.opening import open_file
from fluvial.artifact.threads import StopFlag, in_thread
from fluvial.clock import Clock
from fluvial.net.tls import Tls
from source_controller.helm.client import HelmJobs
from source_controller.helm.index import InvalidIndex
from source_controller.source.once import Once
from source_controller.source.shared import SharedFile
from source_controller.web.access import Access
from source_controller.web.client import WebClient

__all__ = ["IndexRequest", "Indexes"]

_FOLDER = ".indexes"
_WINDOW_SECONDS = 2.0
_KEEP_SECONDS = 600.0
_MAX_KEPT = 64
_MAX_KEPT_BYTES = 256 << 20
_DOWNLOADED, _REWRITTEN = "index", "index.json"


@dataclass(frozen=True, slots=True)
class IndexRequest:
    """Everything that an index depends on; equal requests get the same.

    Attributes:
        url: of the index.
        access: what is shown to its host.
        namespace: of the object; counts where the object brings its own trust.
        timeout: seconds for the download.

    """

    url: yarl.URL
    access: Access = field(repr=False)
    namespace: str
    timeout: float

    @property
    def domain(self) -> tuple[str, str]:
        """Equal only for objects that may share what one of them fetched."""
        tls = self.access.tls
        namespace = "" if tls == Tls() else self.namespace
        hasher = hashlib.sha256()
        for value in (
            *(str(self.access.home), self.access.username, self.access.password),
            *(tls.ca, tls.certificate, tls.key, str(tls.verify)),
        ):
            data = value.encode()
            hasher.update(len(data).to_bytes(8, "big") + data)
        return namespace, hasher.hexdigest()


class Indexes:
    """Fetches and reads indexes.

    Args:
        folder: for files; emptied at the start of the process.
        web: downloads.
        jobs: read them.
        clock: ages what is remembered.
        max_bytes: of an index.
        algorithm: of digests.

    """

    def __init__(
        self,
        folder: Path,
        web: WebClient,
        jobs: HelmJobs,
        *,
        clock: Clock,
        max_bytes: int,
        algorithm: str,
    ) -> None:
        self._folder = folder / _FOLDER
        self._web = web
        self._jobs = jobs
        self._max_bytes = max_bytes
        self._algorithm = algorithm
        self._numbers = itertools.count()
        self._files: weakref.WeakValueDictionary[tuple[object, ...], SharedFile] = (
            weakref.WeakValueDictionary()
        )
        self._downloads: Once[tuple[object, ...], SharedFile] = Once(
            clock,
            keep=_WINDOW_SECONDS,
            size=_MAX_KEPT,
            valid=SharedFile.is_whole,
            weigh=_weight,
            max_weight=_MAX_KEPT_BYTES,
        )
        self._read: Once[tuple[object, ...], SharedFile] = Once(
            clock,
            keep=_KEEP_SECONDS,
            size=_MAX_KEPT,
            valid=SharedFile.is_whole,
            weigh=_weight,
            max_weight=_MAX_KEPT_BYTES,
        )

    async def download(self, request: IndexRequest, *, max_age: float) -> SharedFile:
        """The index as it is served.

        Args:
            request: see there.
            max_age: seconds that the answer to an equal request may be old; 0 for a new one.

        Raises:
            WebError, InvalidTls: as ``WebClient.download``.
            OSError: the disk is full.

        """
        key = (request.domain, request.url, request.timeout)
        return await self._downloads.get(key, lambda: self._download(request), max_age=max_age)

    async def read(self, request: IndexRequest, served: SharedFile, folder: Path) -> SharedFile:
        """The index as it is stored.

        Args:
            request: by which it was downloaded.
            served: what was downloaded.
            folder: of the run, for the worker that reads it.

        Raises:
            InvalidIndex: it is none.
            OSError: the disk is full.

        """
        key = (request.namespace, request.domain, served.packed.digest)
        return await self._read.get(key, lambda: self._rewrite(served, folder, request))

    async def _download(self, request: IndexRequest) -> SharedFile:
        target = await self._new_file()
        try:
            found = await self._web.download(
                request.url,
                target,
                access=request.access,
                max_bytes=self._max_bytes,
                timeout=request.timeout,
                algorithm=self._algorithm,
            )
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        return SharedFile(target, tar.PackResult(found.size, found.digest, ()))

    async def _rewrite(self, served: SharedFile, folder: Path, request: IndexRequest) -> SharedFile:
        await in_thread(lambda _: shutil.copyfile(served.file, folder / _DOWNLOADED))
        await self._jobs.rewrite_index(
            folder, source=_DOWNLOADED, target=_REWRITTEN, namespace=request.namespace
        )
        target = await self._new_file()

        def publish(stop: StopFlag) -> tar.PackResult:
            # The worker can put anything in its place, such as a link to a file of ours.
            descriptor = open_file(folder, [_REWRITTEN])
            try:
                source = Path(f"/proc/self/fd/{descriptor}")
                write = publishing.copy(source, algorithm=self._algorithm, max_bytes=0)
                return publishing.publish(target, write, stop)
            finally:
                os.close(descriptor)

        try:
            packed = await in_thread(publish)
        except ArtifactNotFound as error:
            raise InvalidIndex("the Helm worker failed: it wrote no file") from error
        except BaseException:  # it may have been finished nevertheless
            target.unlink(missing_ok=True)
            raise
        key = (request.domain, packed.digest)
        same = self._files.get(key)
        if same is not None and same.is_whole():
            target.unlink(missing_ok=True)
            return same
        made = self._files[key] = SharedFile(target, packed)
        return made

    async def _new_file(self) -> Path:
        await in_thread(lambda _: self._folder.mkdir(mode=0o700, parents=True, exist_ok=True))
        return self._folder / str(next(self._numbers))


def _weight(index: SharedFile) -> int:
    return index.packed.size
