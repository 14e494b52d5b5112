"""Manifests and indexes, OCI's and Docker's, read with nothing taken for granted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from fluvial.artifact.digest import Digest
from source_controller.oci.errors import ContentTooLarge, InvalidContent, InvalidReference, NoMatch
from source_controller.oci.limits import Limits
from source_controller.oci.reference import parse_digest

__all__ = [
    "ACCEPTED",
    "INDEX_TYPES",
    "MANIFEST_TYPES",
    "OCI_INDEX",
    "OCI_MANIFEST",
    "Descriptor",
    "Document",
    "Manifest",
    "choose_child",
    "parse_index",
    "parse_manifest",
]

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPES = frozenset({OCI_MANIFEST, "application/vnd.docker.distribution.manifest.v2+json"})
INDEX_TYPES = frozenset({OCI_INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"})
ACCEPTED = ", ".join(sorted(MANIFEST_TYPES | INDEX_TYPES))
"""Of every manifest request."""

_DEFAULT_PLATFORM = ("linux", "amd64")
_MAX_LAYERS = 1000
_MAX_ANNOTATIONS = 1000
_LARGEST = 1 << 50


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A pointer to content.

    Attributes:
        media_type: of the content.
        digest: of the content.
        size: in bytes.
        annotations: of this pointer.
        artifact_type: of a manifest; ``""`` if it says none.
        platform: operating system and architecture; ``None`` if it says none.

    """

    media_type: str
    digest: Digest
    size: int
    annotations: dict[str, str] = field(default_factory=dict)
    artifact_type: str = ""
    platform: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest or index as the registry has it: its bytes have the digest."""

    media_type: str
    digest: Digest
    body: bytes


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an image is made of."""

    digest: Digest
    artifact_type: str
    config: Descriptor | None
    layers: tuple[Descriptor, ...]
    annotations: dict[str, str]


def parse_manifest(document: Document) -> Manifest:
    """Read the manifest of an image.

    Raises:
        InvalidContent: it is none.

    """
    if document.media_type not in MANIFEST_TYPES:
        raise InvalidContent(f"unsupported media type {document.media_type[:100]!r} of a manifest")
    body = _object(document)
    layers = _list(body.get("layers"), "layers")
    if len(layers) > _MAX_LAYERS:
        raise ContentTooLarge(f"the manifest has more than {_MAX_LAYERS} layers")
    config = body.get("config")
    return Manifest(
        digest=document.digest,
        artifact_type=_text(body.get("artifactType")),
        config=_descriptor(config) if config is not None else None,
        layers=tuple(_descriptor(item) for item in layers),
        annotations=_annotations(body.get("annotations")),
    )


def parse_index(document: Document, limits: Limits) -> tuple[Descriptor, ...]:
    """The manifests that an index names.

    Raises:
        InvalidContent: it is no index.
        ContentTooLarge: it names too many.

    """
    manifests = _list(_object(document).get("manifests"), "manifests")
    if len(manifests) > limits.max_children:
        raise ContentTooLarge(f"the index names more than {limits.max_children} manifests")
    return tuple(_descriptor(item) for item in manifests)


def choose_child(children: tuple[Descriptor, ...]) -> Descriptor:
    """The first one for linux/amd64, which is also what one without a platform is taken for.

    Raises:
        NoMatch: there is none.

    """
    for child in children:
        if (child.platform or _DEFAULT_PLATFORM) == _DEFAULT_PLATFORM:
            return child
    raise NoMatch("the index has no manifest for the platform linux/amd64")


def _object(document: Document) -> dict[str, Any]:
    try:
        body = orjson.loads(document.body)
    except ValueError:
        raise InvalidContent("the manifest is not JSON") from None
    if not isinstance(body, dict):
        raise InvalidContent("the manifest is not a JSON object")
    named = body.get("mediaType")
    if named is not None and named != document.media_type:
        # One document must not be an index to one reader and a manifest to another.
        raise InvalidContent("the manifest's mediaType is not the one it was served with")
    if ("layers" in body or "config" in body) and "manifests" in body:
        raise InvalidContent("the manifest is both a manifest and an index")
    return body


def _list(value: object, name: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidContent(f"the manifest's {name!r} is not a list")
    return value


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _descriptor(value: object) -> Descriptor:
    if not isinstance(value, dict):
        raise InvalidContent("the manifest has a descriptor that is not an object")
    size = value.get("size")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size < _LARGEST:
        raise InvalidContent("the manifest has a descriptor without a valid size")
    try:
        digest = parse_digest(_text(value.get("digest")))
    except InvalidReference as error:
        raise InvalidContent(f"the manifest has a descriptor with an {error}") from error
    platform = value.get("platform")
    return Descriptor(
        media_type=_text(value.get("mediaType")),
        digest=digest,
        size=size,
        annotations=_annotations(value.get("annotations")),
        artifact_type=_text(value.get("artifactType")),
        platform=(_text(platform.get("os")), _text(platform.get("architecture")))
        if isinstance(platform, dict)
        else None,
    )


def _annotations(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > _MAX_ANNOTATIONS:
        raise InvalidContent("the manifest's annotations are not an object of texts")
    if not all(isinstance(item, str) for item in value.values()):
        raise InvalidContent("the manifest's annotations are not an object of texts")
    return dict(value)
