"""Images to push: their blobs and manifests, made here byte by byte."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

__all__ = [
    "FLUX_CONFIG",
    "FLUX_CONTENT",
    "INDEX",
    "MANIFEST",
    "Image",
    "descriptor",
    "digest_of",
    "image_of",
    "index_of",
    "tarball",
]

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
FLUX_CONTENT = "application/vnd.cncf.flux.content.v1.tar+gzip"
FLUX_CONFIG = "application/vnd.cncf.flux.config.v1+json"


def digest_of(data: bytes) -> str:
    """``sha256:<hex>``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Image:
    """A manifest or index and everything that it needs.

    Attributes:
        body: bytes of the manifest.
        media_type: of the manifest.
        blobs: by digest.
        children: the manifests of an index.

    """

    body: bytes
    media_type: str = MANIFEST
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    children: tuple[Image, ...] = ()

    @property
    def digest(self) -> str:
        """Of the manifest."""
        return digest_of(self.body)


def descriptor(data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    """A descriptor of some content."""
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **more}


def tarball(files: Mapping[str, str | bytes]) -> bytes:
    """A tar.gz; a name that ends in a slash is a folder."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile("", "wb", fileobj=packed, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as archive,
    ):
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            data = content.encode() if isinstance(content, str) else content
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
            info.size = 0 if name.endswith("/") else len(data)
            archive.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def image_of(
    layers: Sequence[tuple[str, bytes]] | Mapping[str, str],
    *,
    annotations: Mapping[str, str] | None = None,
    subject: Image | None = None,
    artifact_type: str = "",
    layer_annotations: Mapping[str, str] | None = None,
    config: tuple[str, bytes] = (FLUX_CONFIG, b"{}"),
) -> Image:
    """An image.

    Args:
        layers: media types and bytes; or files, which become one layer as Flux pushes it.
        annotations: of the manifest.
        subject: what it refers to.
        artifact_type: of the manifest.
        layer_annotations: of every layer.
        config: media type and bytes.

    """
    if isinstance(layers, Mapping):
        layers = [(FLUX_CONTENT, tarball(layers))]
    more = {"annotations": dict(layer_annotations)} if layer_annotations else {}
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(config[1], config[0]),
        "layers": [descriptor(data, kind, **more) for kind, data in layers],
    }
    if annotations:
        manifest["annotations"] = dict(annotations)
    if artifact_type:
        manifest["artifactType"] = artifact_type
    if subject is not None:
        manifest["subject"] = descriptor(subject.body, subject.media_type)
    blobs = {digest_of(data): data for _, data in layers} | {digest_of(config[1]): config[1]}
    return Image(orjson.dumps(manifest), MANIFEST, blobs)


def index_of(children: Sequence[tuple[Image, Mapping[str, Any]]]) -> Image:
    """An index; with each child what its descriptor says beside, such as a platform."""
    body = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [descriptor(child.body, child.media_type, **more) for child, more in children],
    }
    return Image(orjson.dumps(body), INDEX, {}, tuple(child for child, _ in children))


def gunzip(data: bytes) -> bytes:
    """The content of a gzip file."""
    return gzip.decompress(data)
