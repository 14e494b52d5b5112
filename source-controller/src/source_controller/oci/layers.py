"""From a manifest to the one layer that becomes the artifact, and from its bytes to files."""

from __future__ import annotations

from pathlib import Path

from fluvial.artifact import tar
from fluvial.artifact.errors import ArtifactError, ArtifactTooLarge
from fluvial.artifact.threads import in_thread
from source_controller.oci.errors import ContentTooLarge, InvalidContent, NoMatch
from source_controller.oci.manifests import Descriptor, Manifest

__all__ = ["extract", "select_layer"]


def select_layer(manifest: Manifest, media_type: str) -> Descriptor:
    """The first layer with a media type, the first of all if none is asked for.

    Raises:
        NoMatch: there is none.

    """
    for layer in manifest.layers:
        if not media_type or layer.media_type == media_type:
            return layer
    if not manifest.layers:
        raise NoMatch("the artifact has no layers")
    raise NoMatch(f"the artifact has no layer with the media type {media_type!r}")


async def extract(blob: Path, target: Path, limits: tar.UnpackLimits) -> tar.UnpackResult:
    """Unpack a layer, a tar.gz, into a new folder; links are left out.

    Raises:
        InvalidContent: it is no such archive, or one with entries that escape.
        ContentTooLarge: its content exceeds a limit.
        OSError: the disk is full.

    """
    try:
        with blob.open("rb") as stream:
            return await in_thread(lambda stop: tar.unpack(stream, target, limits, stop=stop))
    except ArtifactTooLarge as error:
        raise ContentTooLarge(str(error)) from error
    except ArtifactError as error:
        raise InvalidContent(str(error)) from error
