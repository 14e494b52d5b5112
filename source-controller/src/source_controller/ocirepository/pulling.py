"""From a digest to the file that becomes the artifact, once for all objects that want the same.

What is shared is the finished archive. It is given away as a further name of one file, so that a
thousand equal objects cost one pull and the disk space of one.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fluvial.artifact import publishing, tar
from fluvial.artifact.cache import remove_tree
from fluvial.artifact.digest import Digest
from fluvial.artifact.errors import ArtifactTooLarge
from fluvial.artifact.ignore import source_filter
from fluvial.artifact.threads import in_thread
from fluvial.clock import Clock
from source_controller.oci.errors import ContentTooLarge, OciError
from source_controller.oci.layers import extract, select_layer
from source_controller.oci.manifests import Manifest
from source_controller.oci.registry import RepositoryClient
from source_controller.source.once import Once
from source_controller.source.shared import SharedFile

__all__ = ["Content", "ContentRequest", "LayerFailed", "Pulls"]

_FOLDER = ".pulled"
_KEEP_SECONDS = 600.0
_MAX_KEPT = 64
_MAX_KEPT_BYTES = 1 << 30
_MAX_METADATA = 64 << 10


class LayerFailed(OciError):
    """The artifact was found, but not the layer, or it is not what can be extracted."""


@dataclass(frozen=True, slots=True)
class Content(SharedFile):
    """A finished archive.

    Attributes:
        metadata: annotations of the manifest.

    """

    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ContentRequest:
    """Everything that content depends on; equal requests get the same.

    Attributes:
        domain: see ``registries.trust_domain``.
        repository: ``<host>/<name>``.
        digest: of the manifest or index.
        media_type: of the wanted layer, ``""`` for the first.
        operation: ``extract`` or ``copy``.
        ignore: rules for ``extract``.

    """

    domain: tuple[str, str]
    repository: str
    digest: Digest
    media_type: str
    operation: str
    ignore: str | None


class Pulls:
    """Pulls, and remembers for a while what was pulled.

    Args:
        folder: for files; emptied at the start of the process.
        clock: ages what is remembered.
        limits: of what is extracted.
        algorithm: of the digests of archives.
        max_kept_bytes: of all files that are remembered; the newest one stays whatever its size.

    """

    def __init__(
        self,
        folder: Path,
        *,
        clock: Clock,
        limits: tar.UnpackLimits,
        algorithm: str,
        max_kept_bytes: int = _MAX_KEPT_BYTES,
    ) -> None:
        self._folder = folder / _FOLDER
        self._limits = limits
        self._algorithm = algorithm
        self._numbers = itertools.count()
        self._once: Once[ContentRequest, Content] = Once(
            clock,
            keep=_KEEP_SECONDS,
            size=_MAX_KEPT,
            valid=Content.is_whole,
            weigh=lambda content: content.packed.size,
            max_weight=max_kept_bytes,
        )
        self.count = 0

    async def get(self, client: RepositoryClient, request: ContentRequest) -> Content:
        """The archive for a request.

        Raises:
            LayerFailed: no such layer, or one that cannot be extracted.
            OciError: the pull failed.
            OSError: the disk is full.

        """
        return await self._once.get(request, lambda: self._pull(client, request))

    async def _pull(self, client: RepositoryClient, request: ContentRequest) -> Content:
        self.count += 1
        manifest = await client.manifest(request.digest)
        _check_metadata(manifest)
        work = self._folder / str(next(self._numbers))
        await in_thread(lambda _: work.mkdir(mode=0o700, parents=True))
        try:
            return await self._make(client, request, manifest, work)
        finally:
            await in_thread(lambda _: remove_tree(work))

    async def _make(
        self, client: RepositoryClient, request: ContentRequest, manifest: Manifest, work: Path
    ) -> Content:
        try:
            layer = select_layer(manifest, request.media_type)
        except OciError as error:
            raise LayerFailed(str(error)) from error
        blob, tree = work / "blob", work / "tree"
        await client.download(layer, blob)
        archive = work.with_suffix(".tar.gz")
        if request.operation == "copy":
            write = publishing.copy(blob, algorithm=self._algorithm, max_bytes=0)
        else:
            try:
                await extract(blob, tree, self._limits)
            except OciError as error:
                raise LayerFailed(f"cannot extract the layer: {error}") from error
            write = self._packer(tree, request.ignore)
        try:
            packed = await in_thread(lambda stop: publishing.publish(archive, write, stop))
        except ArtifactTooLarge as error:
            raise ContentTooLarge(str(error)) from error
        except asyncio.CancelledError:  # it may have been finished nevertheless
            archive.unlink(missing_ok=True)
            raise
        return Content(archive, packed, manifest.annotations)

    def _packer(self, tree: Path, ignore: str | None) -> publishing.Write:
        return lambda out, stop: tar.pack(
            tree,
            out,
            source_filter(tree, ignore),
            algorithm=self._algorithm,
            max_bytes=self._limits.max_bytes,
            stop=stop,
        )


def _check_metadata(manifest: Manifest) -> None:
    size = sum(len(name) + len(value) for name, value in manifest.annotations.items())
    if size > _MAX_METADATA:
        raise ContentTooLarge(f"the manifest's annotations have more than {_MAX_METADATA} bytes")
