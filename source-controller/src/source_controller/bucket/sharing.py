"""From a list of objects to the archive that becomes the artifact, once for all who want the same.

Every Bucket lists its bucket by itself, which also proves that it may. What is shared is the
finished archive, among objects that list the same and have every input of trust in common; where
an object brings its own CA, client certificate, proxy, token service, identity or ``insecure``,
its namespace is one of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import BinaryIO

from fluvial.api.codec import encode
from fluvial.api.source_bucket import BucketSpec
from fluvial.artifact import publishing, tar
from fluvial.artifact.cache import remove_tree
from fluvial.artifact.digest import Digest
from fluvial.artifact.threads import StopFlag, in_thread
from fluvial.clock import Clock
from source_controller.bucket.access import BucketAccess
from source_controller.bucket.index import digest_of
from source_controller.bucket.stores.model import Item
from source_controller.source import reasons
from source_controller.source.once import Once
from source_controller.source.run import StepFailed
from source_controller.source.shared import SharedFile

__all__ = ["Archive", "Fetches", "Wanted", "trust_domain"]

_FOLDER = ".fetched"
_KEEP_SECONDS = 120.0
_MAX_KEPT = 64
_MAX_KEPT_BYTES = 512 << 20

Fill = Callable[[Path], Awaitable[dict[str, Item]]]
"""Writes the objects into an empty folder; gives the index of what came."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Everything that an archive depends on; equal ones are made once.

    Attributes:
        domain: see ``trust_domain``.
        listed: digest of the index as it was listed.
        rules: digest of the bucket's own file of rules, which is content, too.

    """

    domain: tuple[str, str]
    listed: str
    rules: str


@dataclass(frozen=True, slots=True)
class Archive(SharedFile):
    """A finished archive.

    Attributes:
        revision: digest of the index of what came.
        number: of objects.

    """

    revision: Digest
    number: int


class Fetches:
    """Makes archives, and remembers for a while what was made.

    Args:
        folder: for files; emptied at the start of the process.
        clock: ages what is remembered.
        algorithm: of digests.
        max_bytes: of one archive's content.

    """

    def __init__(self, folder: Path, *, clock: Clock, algorithm: str, max_bytes: int) -> None:
        self._folder = folder / _FOLDER
        self._algorithm = algorithm
        self._max_bytes = max_bytes
        self._numbers = itertools.count()
        self._once: Once[Wanted, Archive] = Once(
            clock,
            keep=_KEEP_SECONDS,
            size=_MAX_KEPT,
            valid=Archive.is_whole,
            weigh=lambda archive: archive.packed.size,
            max_weight=_MAX_KEPT_BYTES,
        )

    async def get(self, wanted: Wanted, fill: Fill) -> Archive:
        """The archive that is wanted.

        Args:
            wanted: see there.
            fill: fetches, if nobody else did.

        Raises:
            StepFailed: ``DirectoryCreationFailed``.
            StoreError: as ``fill``.
            ArtifactTooLarge, OSError: it cannot be written.

        """
        return await self._once.get(wanted, lambda: self._make(fill))

    async def _make(self, fill: Fill) -> Archive:
        work = self._folder / str(next(self._numbers))
        try:
            await in_thread(lambda _: work.mkdir(mode=0o700, parents=True))
        except OSError as error:
            raise StepFailed(
                reasons.STORAGE_OPERATION_FAILED,
                reasons.DIRECTORY_CREATION_FAILED,
                f"failed to create a temporary folder: {error.strerror}",
            ) from error
        try:
            index = await fill(work)
            return await self._pack(work, index)
        finally:
            await in_thread(lambda _: remove_tree(work))

    async def _pack(self, tree: Path, index: dict[str, Item]) -> Archive:
        file = tree.with_suffix(".tar.gz")
        try:
            packed = await in_thread(
                lambda stop: publishing.publish(file, self._writer(tree), stop)
            )
        except asyncio.CancelledError:  # it may have been finished nevertheless
            file.unlink(missing_ok=True)
            raise
        revision = await in_thread(lambda _: digest_of(index, self._algorithm))
        return Archive(file, packed, revision, len(index))

    def _writer(self, tree: Path) -> publishing.Write:
        def write(out: BinaryIO, stop: StopFlag) -> tar.PackResult:
            return tar.pack(
                tree,
                out,
                lambda _path, _is_folder: True,  # what is ignored has not been fetched
                algorithm=self._algorithm,
                max_bytes=self._max_bytes,
                stop=stop,
            )

        return write


def trust_domain(namespace: str, spec: BucketSpec, access: BucketAccess) -> tuple[str, str]:
    """A key that two Buckets have in common only if they may share what one of them fetched.

    Args:
        namespace: of the object.
        spec: where the bucket is and who is asked.
        access: what the spec names.

    """
    own = (
        bool(access.tls.ca or access.tls.certificate)
        or access.proxy is not None
        or spec.insecure
        or spec.sts is not None
        or bool(spec.service_account_name)
        # Whose identity is lent where none is named may depend on the namespace.
        or (access.secret is None and spec.provider != "generic")
    )
    hasher = hashlib.sha256()
    for part in _inputs(spec, access):
        data = str(part).encode()
        hasher.update(len(data).to_bytes(8, "big") + data)
    return (namespace if own else "", hasher.hexdigest())


def _inputs(spec: BucketSpec, access: BucketAccess) -> Iterator[str | int]:
    yield from (spec.provider, spec.endpoint, spec.bucket_name, spec.region, spec.insecure)
    yield spec.service_account_name
    yield repr(encode(spec.sts)) if spec.sts is not None else ""
    secret = access.secret
    yield "none" if secret is None else len(secret)
    for name, value in sorted((secret or {}).items()):
        yield from (name, value.hex())
    yield from (*astuple(access.tls), *access.sts_user, *astuple(access.sts_tls))
    if access.proxy is not None:
        yield from astuple(access.proxy)
