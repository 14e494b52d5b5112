"""From an address to a package that was looked at, once for all objects that want the same.

What is shared is the finished file, given away as a further name of it, so that a thousand equal
charts cost one download. The key holds everything that decides about trust.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from fluvial.artifact import publishing, tar
from fluvial.artifact.digest import Digest, digest_file
from fluvial.artifact.threads import StopFlag, in_thread
from fluvial.clock import Clock
from source_controller.helm.building import Wish
from source_controller.helm.client import HelmJobs
from source_controller.helmchart.handing import handed
from source_controller.source.once import Once
from source_controller.source.shared import SharedFile

__all__ = ["ChartFile", "Download", "Downloads", "Room"]

_FOLDER = ".charts"
_KEEP_SECONDS = 600.0
_MAX_KEPT = 128


@dataclass(frozen=True, slots=True)
class Room:
    """Where a run works.

    Attributes:
        folder: its own, in its namespace's.
        namespace: of the object.

    """

    folder: Path
    namespace: str

    @property
    def work(self) -> Path:
        """The folder of all namespaces, which no worker can change."""
        return self.folder.parent.parent


@dataclass(frozen=True, slots=True)
class Download:
    """Everything that a downloaded package depends on; equal ones get the same file.

    Attributes:
        domain: whose trust and credentials fetched it.
        address: URL of the file, or repository of a registry.
        digest: of the file as the index has it, or else of the index; or of the manifest.

    """

    domain: tuple[str, str]
    address: str
    digest: str


@dataclass(frozen=True, slots=True)
class ChartFile(SharedFile):
    """A package.

    Attributes:
        name: of the chart in it.
        version: of the chart in it.

    """

    name: str
    version: str

    async def copy_to(self, target: Path) -> None:
        """Write it again, for a worker, which may change what it gets.

        Raises:
            OSError: the disk is full.

        """
        await in_thread(lambda _: shutil.copyfile(self.file, target))


class Downloads:
    """Downloads packages, and remembers them for a while.

    Args:
        folder: for files; emptied at the start of the process.
        clock: ages what is remembered.
        jobs: look at packages.
        algorithm: of digests.
        max_file: bytes of one file in a chart.

    """

    def __init__(
        self, folder: Path, *, clock: Clock, jobs: HelmJobs, algorithm: str, max_file: int
    ) -> None:
        self._folder = folder / _FOLDER
        self._jobs = jobs
        self._algorithm = algorithm
        self._max_file = max_file
        self._numbers = itertools.count()
        self._once: Once[Download, ChartFile] = Once(
            clock, keep=_KEEP_SECONDS, size=_MAX_KEPT, valid=ChartFile.is_whole
        )
        self.count = 0

    async def get(
        self, what: Download, room: Room, fetch: Callable[[Path], Awaitable[Digest]]
    ) -> ChartFile:
        """The package.

        Args:
            what: see there.
            room: of the run, which does the work if nobody else does.
            fetch: writes the package to a new file; the digest of what it wrote.

        Raises:
            ChartError: it is no chart.
            OSError: the disk is full.
            FluvialError: as ``fetch``.

        """
        return await self._once.get(what, lambda: self._make(room, fetch))

    async def _make(self, room: Room, fetch: Callable[[Path], Awaitable[Digest]]) -> ChartFile:
        self.count += 1
        number = next(self._numbers)
        source = room.folder / f"download-{number}.tgz"
        digest = await fetch(source)
        wish = Wish(source.name, max_file=self._max_file)
        found = await self._jobs.inspect(room.folder, wish, namespace=room.namespace)
        target = self._folder / f"{number}.tgz"

        def publish(stop: StopFlag) -> tar.PackResult:
            with handed(room.work, source) as path:
                write = publishing.copy(path, algorithm=self._algorithm, max_bytes=0)
                packed = publishing.publish(target, write, stop)
            # The worker could write to the source; it is one namespace's, and this is everyone's.
            digest.check(digest_file(target, digest.algorithm), what="the package")
            return packed

        try:
            packed = await in_thread(publish)
        except BaseException:  # it may have been finished nevertheless
            target.unlink(missing_ok=True)
            raise
        source.unlink()
        return ChartFile(target, packed, found.name, found.version)
