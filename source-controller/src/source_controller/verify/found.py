"""What a repository holds that may be a cosign signature of a digest.

cosign 3 stores a bundle as a manifest that refers to the image; cosign 2 stores payloads and
signatures under the tag ``sha256-<hex>.sig``. Nothing of it is trusted here.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

from fluvial.artifact.digest import Digest
from source_controller.oci.errors import (
    ContentTooLarge,
    InvalidContent,
    NotFound,
    VerificationFailed,
)
from source_controller.oci.manifests import INDEX_TYPES, Descriptor, parse_manifest
from source_controller.oci.registry import RepositoryClient

__all__ = ["BUNDLE_TYPE", "SimpleSigning", "find_bundles", "find_simple"]

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle"
_SIMPLE_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
_SIGNATURE = "dev.cosignproject.cosign/signature"
_CERTIFICATE = "dev.sigstore.cosign/certificate"
_CHAIN = "dev.sigstore.cosign/chain"
_REKOR = "dev.sigstore.cosign/bundle"
_MAX_SIGNATURES = 50
_MAX_BYTES = 16 << 20
"""Of all signatures of one digest together: they are in memory at the same time."""


@dataclass(frozen=True, slots=True)
class SimpleSigning:
    """A signature of cosign 2.

    Attributes:
        payload: the signed bytes.
        signature: over them.
        certificate: PEM of the signer's, ``""`` if it was made with a key.
        chain: PEM of what signed that.
        rekor: JSON of its entry in the transparency log.

    """

    payload: bytes
    signature: bytes
    certificate: str = ""
    chain: str = field(default="", repr=False)
    rekor: str = field(default="", repr=False)


async def find_bundles(client: RepositoryClient, digest: Digest) -> list[bytes]:
    """The sigstore bundles that refer to a digest, as JSON text.

    Raises:
        VerificationFailed: there are more than anybody should have to check.
        RegistryError, RegistryUnreachable: the registry could not tell.

    """
    referrers = await client.referrers(digest)
    wanted = [item for item in referrers if item.artifact_type.startswith(BUNDLE_TYPE)]
    _check_count(len(wanted))
    found: list[bytes] = []
    for item in wanted:
        try:
            manifest = parse_manifest(await client.document(item.digest))
            layers = [one for one in manifest.layers if one.media_type.startswith(BUNDLE_TYPE)]
            _check_bytes(found, layers[:1])
            found += [await client.blob(layer) for layer in layers[:1]]
        except (NotFound, InvalidContent, ContentTooLarge):
            continue  # a broken one does not hide the next
    return found


async def find_simple(client: RepositoryClient, digest: Digest) -> list[SimpleSigning]:
    """The signatures of cosign 2 under the tag of a digest.

    Raises:
        VerificationFailed: there are more than anybody should have to check.
        RegistryError, RegistryUnreachable: the registry could not tell.

    """
    try:
        document = await client.document(f"{digest.algorithm}-{digest.hex}.sig")
    except NotFound:
        return []
    if document.media_type in INDEX_TYPES:
        return []
    try:
        manifest = parse_manifest(document)
    except (InvalidContent, ContentTooLarge):
        return []
    wanted = [layer for layer in manifest.layers if layer.media_type == _SIMPLE_TYPE]
    _check_count(len(wanted))
    found: list[SimpleSigning] = []
    for layer in wanted:
        try:
            _check_bytes([one.payload for one in found], [layer])
            found.append(await _simple(client, layer))
        except (NotFound, InvalidContent, ContentTooLarge, ValueError):
            continue
    return found


async def _simple(client: RepositoryClient, layer: Descriptor) -> SimpleSigning:
    try:
        signature = base64.b64decode(layer.annotations.get(_SIGNATURE, ""), validate=True)
    except binascii.Error as error:
        raise ValueError("the signature is not base64") from error
    return SimpleSigning(
        payload=await client.blob(layer),
        signature=signature,
        certificate=layer.annotations.get(_CERTIFICATE, ""),
        chain=layer.annotations.get(_CHAIN, ""),
        rekor=layer.annotations.get(_REKOR, ""),
    )


def _check_bytes(found: list[bytes], more: list[Descriptor]) -> None:
    if sum(map(len, found)) + sum(layer.size for layer in more) > _MAX_BYTES:
        raise VerificationFailed(f"the signatures have more than {_MAX_BYTES} bytes")


def _check_count(count: int) -> None:
    if count > _MAX_SIGNATURES:
        raise VerificationFailed(f"there are more than {_MAX_SIGNATURES} signatures")
