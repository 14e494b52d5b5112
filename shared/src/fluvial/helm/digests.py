"""Digests by which it is known whether a release is still the one that was made.

A HelmRelease's status has them, and Flux's controllers must find them equal to their own: the
configuration's digest is made of YAML, the snapshot's of JSON, both byte for byte as Go writes
them (Flux: helm-controller 1.5 and later, snapshots of version v2).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import msgspec
from blake3 import blake3

from fluvial.api.helm import PostRenderer
from fluvial.api.kustomize import CommonMetadata
from fluvial.helm import gojson, goyaml
from fluvial.helm.errors import ChartVersionError
from fluvial.helm.release import Release, fields_of_hook, fields_of_info, fields_of_metadata
from fluvial.semver import InvalidVersion, Version

__all__ = [
    "ALGORITHMS",
    "CANONICAL",
    "common_metadata_digest",
    "config_digest",
    "config_digest_of",
    "config_matches",
    "is_digest",
    "observation",
    "post_renderers_digest",
    "release_digest",
    "release_matches",
    "track_chart",
]

CANONICAL: Final = "sha256"
_FORM: Final = re.compile(r"([a-z0-9]+):([0-9a-f]+)", re.ASCII)
_SHORT_DIGEST: Final = 12
_AT_ONCE: Final = 1024
"""Values that are written as YAML without a thread: some 3 ms."""

_TEXT: Final = 256
"""Characters of a text that count as a value more."""


class _Hash(Protocol):
    def update(self, data: bytes, /) -> object: ...

    def hexdigest(self) -> str: ...


ALGORITHMS: Final[dict[str, Callable[[], _Hash]]] = {
    "sha256": hashlib.sha256,
    "sha384": hashlib.sha384,
    "sha512": hashlib.sha512,
    "blake3": blake3,
}
"""What ``--snapshot-digest-algo`` may be."""


_KNOWN: Final[dict[str, Callable[[], _Hash]]] = {
    **ALGORITHMS,
    # Statuses of long ago have checksums of values in it.
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
}


def _digest(data: bytes, algorithm: str) -> str:
    hasher = _KNOWN[algorithm]()
    hasher.update(data)
    return f"{algorithm}:{hasher.hexdigest()}"


def is_digest(text: str) -> bool:
    """Whether a text is a digest that can be compared."""
    form = _FORM.fullmatch(text)
    if form is None or form[1] not in _KNOWN:
        return False
    return len(_KNOWN[form[1]]().hexdigest()) == len(form[2])


def _matches(text: str, data: bytes) -> bool:
    if not is_digest(text):
        return False
    return hmac.compare_digest(text, _digest(data, text.partition(":")[0]))


def config_digest(values: dict[str, Any], algorithm: str = CANONICAL) -> str:
    """Digest of values; that of no values is that of nothing at all.

    Args:
        values: as they are given to the chart.
        algorithm: a key of ``ALGORITHMS``.

    """
    return _digest(_config(values), algorithm)


async def config_digest_of(values: dict[str, Any], algorithm: str = CANONICAL) -> str:
    """Do the same as ``config_digest``; of large values, which take long to write, in a thread."""
    if _is_large(values):
        return await asyncio.to_thread(config_digest, values, algorithm)
    return config_digest(values, algorithm)


def _is_large(values: dict[str, Any]) -> bool:
    left: list[Any] = [values]
    seen = 0
    while left and seen <= _AT_ONCE:
        value = left.pop()
        seen += 1
        if isinstance(value, dict):
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)
        elif isinstance(value, str):
            seen += len(value) // _TEXT
    return seen > _AT_ONCE


def config_matches(digest: str, values: dict[str, Any], *, known: str = "") -> bool:
    """Whether a digest, of whichever algorithm, is that of the values.

    Args:
        digest: may be anything.
        values: as they are given to the chart.
        known: a digest of the values, which need not be made again where the algorithm is the same.

    """
    if known and digest.partition(":")[0] == known.partition(":")[0]:
        return hmac.compare_digest(digest.encode(), known.encode())
    return _matches(digest, _config(values))


def _config(values: dict[str, Any]) -> bytes:
    return goyaml.dumps(values) if values else b""


def observation(release: Release, *, oci_digest: str = "") -> bytes:
    """What a snapshot's digest is made of; tests are left out, whose runs are no change.

    Args:
        release: as it was read or written.
        oci_digest: digest of the chart's OCI artifact, which records do not have.

    """
    hooks = [fields_of_hook(hook) for hook in release.hooks if not hook.is_test]
    fields: dict[str, Any] = {
        "name": release.name,
        "version": release.version,
        "info": fields_of_info(release.info),
        "chartMetadata": fields_of_metadata(release.metadata),
        "config": gojson.as_read(release.config) if release.config else None,
        "manifest": release.manifest,
        "hooks": hooks or None,
        "namespace": release.namespace,
    }
    if oci_digest:
        fields["ociDigest"] = oci_digest
    return gojson.dumps(fields) + b"\n"


def release_digest(release: Release, *, oci_digest: str = "", algorithm: str = CANONICAL) -> str:
    """Digest of a revision for its snapshot."""
    return _digest(observation(release, oci_digest=oci_digest), algorithm)


def release_matches(digest: str, release: Release, *, oci_digest: str = "") -> bool:
    """Whether a snapshot's digest, of whichever algorithm, is that of the revision."""
    return _matches(digest, observation(release, oci_digest=oci_digest))


def post_renderers_digest(renderers: Iterable[PostRenderer]) -> str:
    """Digest of ``spec.postRenderers``; ``""`` where there are none."""
    listed = tuple(renderers)
    if not listed:
        return ""
    return _digest(_as_go([_post_renderer(one) for one in listed]), CANONICAL)


def common_metadata_digest(metadata: CommonMetadata | None) -> str:
    """Digest of ``spec.commonMetadata``; ``""`` where there is none."""
    if metadata is None:
        return ""
    fields: dict[str, Any] = {}
    if metadata.annotations:
        fields["annotations"] = gojson.as_read(metadata.annotations)
    if metadata.labels:
        fields["labels"] = gojson.as_read(metadata.labels)
    return _digest(_as_go(fields), CANONICAL)


def _as_go(value: Any) -> bytes:
    return gojson.dumps(value) + b"\n"


def _post_renderer(renderer: PostRenderer) -> dict[str, Any]:
    if renderer.kustomize is None:
        return {}
    fields: dict[str, Any] = {}
    if renderer.kustomize.patches:
        fields["patches"] = [
            {"patch": patch.patch}
            | ({} if patch.target is None else {"target": _in_order(patch.target, _SELECTOR)})
            for patch in renderer.kustomize.patches
        ]
    if renderer.kustomize.images:
        fields["images"] = [
            {"name": image.name} | _in_order(image, _IMAGE) for image in renderer.kustomize.images
        ]
    return {"kustomize": fields}


_SELECTOR = (
    "group",
    "version",
    "kind",
    "namespace",
    "name",
    "annotationSelector",
    "labelSelector",
)
_IMAGE = ("newName", "newTag", "digest")


def _in_order(value: msgspec.Struct, names: tuple[str, ...]) -> dict[str, Any]:
    fields = msgspec.to_builtins(value)
    return {name: fields[name] for name in names if fields.get(name)}


def track_chart(version: str, revision: str) -> tuple[str, str]:
    """The version under which a chart from an OCI artifact is released, and its digest.

    A tag may move, so the beginning of the artifact's digest becomes the version's build metadata
    (Flux: digest tracking).

    Args:
        version: the chart's own, such as ``1.2.3+build``, whose build metadata is replaced.
        revision: the artifact's: ``1.2.3@sha256:<hex>`` or ``sha256:<hex>``.

    Returns:
        Such as ``("1.2.3+0123456789ab", "sha256:0123456789ab…")``.

    Raises:
        ChartVersionError: the version is none, the tag is another one, or there is no digest.

    """
    own = _version(version)
    if own is None:
        raise ChartVersionError(f"invalid chart version {version[:100]!r}")
    tag, at, digest = revision.partition("@")
    tagged = _version(tag.replace("_", "+")) if at else _version(revision)
    if tagged is None:
        digest = revision
    elif not at or tagged != own:
        raise ChartVersionError(
            f"artifact revision {tag[:100]} does not match chart version {version[:100]}"
        )
    form = digest.split(":")
    if len(form) != 2 or len(form[1]) < _SHORT_DIGEST:
        raise ChartVersionError(f"artifact revision {revision[:200]!r} has no digest")
    numbers = f"{own.major}.{own.minor}.{own.patch}{'-' if own.pre else ''}{own.pre}"
    return f"{numbers}+{form[1][:_SHORT_DIGEST]}", digest


def _version(text: str) -> Version | None:
    try:
        return Version.parse(text)
    except InvalidVersion:
        return None
