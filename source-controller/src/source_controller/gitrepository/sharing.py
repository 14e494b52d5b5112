"""One fetch for all objects of a namespace that want the same, and one archive.

What a Git process writes is for its namespace alone: one that was taken over by what a tenant had
it fetch could otherwise hand its own files to others.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from fluvial.artifact import publishing, tar
from fluvial.artifact.ignore import source_filter
from fluvial.artifact.threads import StopFlag, in_thread
from fluvial.clock import Clock
from fluvial.net.proxy import ProxyServer
from source_controller.git.client import GitClient
from source_controller.git.model import Checkout, CheckoutRequest
from source_controller.source.once import Once
from source_controller.source.shared import SharedFile

__all__ = ["Checkouts", "Fetched", "Wish"]

_FOLDER = ".checkouts"
_WINDOW_SECONDS = 2.0
_MAX_KEPT = 64
_MAX_KEPT_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Wish:
    """Everything that an archive depends on; equal ones get the same.

    Attributes:
        request: what to fetch, with all credentials; its folder and gateway do not count.
        namespace: of the object.
        proxy: of the object.
        ignore: rules of the spec.

    """

    request: CheckoutRequest
    namespace: str
    proxy: ProxyServer | None = None
    ignore: str | None = None

    def key(self) -> str:
        """Hex that is equal only if everything is; tells nothing about it."""
        request = msgspec.structs.replace(self.request, work="", gateway="")
        proxy = self.proxy
        way = (
            (proxy.scheme, proxy.host, proxy.port, proxy.username, proxy.password)
            if proxy is not None
            else None
        )
        everything = (request, self.namespace, way, self.ignore)
        return hashlib.sha256(msgspec.json.encode(everything, order="sorted")).hexdigest()


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was fetched.

    Attributes:
        checkout: says what it is.
        archive: of its files; ``None`` if nothing is new, or if it was not asked for.

    """

    checkout: Checkout
    archive: SharedFile | None = field(default=None, repr=False)


class Checkouts:
    """Fetches and archives.

    Args:
        folder: for files; emptied at the start of the process.
        git: fetches.
        clock: ages what is remembered.
        max_bytes: of an archive.
        algorithm: of its digest.

    """

    def __init__(
        self, folder: Path, git: GitClient, *, clock: Clock, max_bytes: int, algorithm: str
    ) -> None:
        self._folder = folder / _FOLDER
        self._git = git
        self._max_bytes = max_bytes
        self._algorithm = algorithm
        self._numbers = itertools.count()
        self._once: Once[str, Fetched] = Once(
            clock,
            keep=_WINDOW_SECONDS,
            size=_MAX_KEPT,
            valid=lambda found: found.archive is None or found.archive.is_whole(),
            weigh=lambda found: found.archive.packed.size if found.archive else 0,
            max_weight=_MAX_KEPT_BYTES,
        )

    async def own(self, wish: Wish) -> Fetched:
        """A fetch for one object alone, whose files are then in ``tree`` of its folder.

        Raises:
            GitError: as ``GitClient.checkout``.

        """
        return Fetched(await self._checkout(wish))

    async def shared(self, wish: Wish, *, max_age: float) -> Fetched:
        """A fetch for everybody with an equal wish, with its archive.

        Args:
            wish: see there.
            max_age: seconds that the answer to an equal one may be old; 0 for a new one.

        Raises:
            GitError: as ``GitClient.checkout``.
            ArtifactTooLarge: the archive exceeds its limit.
            OSError: the disk is full.

        """
        key = wish.key()
        return await self._once.get(key, lambda: self._fetch(wish), max_age=max_age)

    async def _checkout(self, wish: Wish) -> Checkout:
        return await self._git.checkout(wish.request, namespace=wish.namespace, proxy=wish.proxy)

    async def _fetch(self, wish: Wish) -> Fetched:
        checkout = await self._checkout(wish)
        if checkout.unchanged:
            return Fetched(checkout)
        target = self._folder / f"{next(self._numbers)}.tar.gz"

        def pack(stop: StopFlag) -> tar.PackResult:
            descriptor = _open_tree(wish.request.work)
            try:
                return publishing.publish(
                    target, self._write(Path(f"/proc/self/fd/{descriptor}"), wish.ignore), stop
                )
            finally:
                os.close(descriptor)

        try:
            packed = await in_thread(pack)
        except BaseException:  # it may have been finished nevertheless
            target.unlink(missing_ok=True)
            raise
        return Fetched(checkout, SharedFile(target, packed))

    def _write(self, tree: Path, ignore: str | None) -> publishing.Write:
        return lambda out, stop: tar.pack(
            tree,
            out,
            source_filter(tree, ignore),
            algorithm=self._algorithm,
            max_bytes=self._max_bytes,
            stop=stop,
        )


def _open_tree(work: str) -> int:
    """The tree itself: a worker could leave a link to a folder of ours in its place, or above it."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    folder = os.open(work, flags)
    try:
        return os.open("tree", flags, dir_fd=folder)
    finally:
        os.close(folder)
