"""Digests of stored files: ``sha256:<hex>``, also sha384, sha512 and blake3."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from blake3 import blake3

from fluvial.artifact.errors import DigestMismatch, InvalidDigest

__all__ = ["ALGORITHMS", "DEFAULT_ALGORITHM", "Digest", "Hasher", "digest_file", "new_hasher"]

DEFAULT_ALGORITHM = "sha256"
_FORM = re.compile(r"([a-z0-9]+(?:[.+_-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)")
_BLOCK = 1 << 20


class Hasher(Protocol):
    """The part of hashlib's objects that is used."""

    def update(self, data: bytes, /) -> object:
        """Add bytes."""
        ...

    def hexdigest(self) -> str:
        """Hex of everything so far."""
        ...


ALGORITHMS: dict[str, Callable[[], Hasher]] = {
    "sha256": hashlib.sha256,
    "sha384": hashlib.sha384,
    "sha512": hashlib.sha512,
    "blake3": blake3,
}
"""The supported algorithms by name."""


@dataclass(frozen=True, slots=True)
class Digest:
    """Algorithm and lower-case hex."""

    algorithm: str
    hex: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read ``algorithm:hex``.

        Raises:
            InvalidDigest: the text has another form, an unsupported algorithm or a wrong length.

        """
        form = _FORM.fullmatch(text)
        if form is None:
            raise InvalidDigest(f"invalid digest {text[:100]!r}: expected <algorithm>:<hex>")
        length = len(new_hasher(form[1]).hexdigest())
        if not re.fullmatch(rf"[0-9a-f]{{{length}}}", form[2]):
            raise InvalidDigest(f"invalid digest {text[:200]!r}: {form[1]} has {length} hex digits")
        return cls(form[1], form[2])

    def check(self, actual: Digest, *, what: str) -> None:
        """Compare with what was computed.

        Raises:
            DigestMismatch: they differ; the message names ``what`` and both digests.

        """
        if not hmac.compare_digest(str(self), str(actual)):
            raise DigestMismatch(f"{what} has digest {actual}, but {self} is expected")


def new_hasher(algorithm: str) -> Hasher:
    """A fresh hasher.

    Raises:
        InvalidDigest: the algorithm is not supported; the message lists those that are.

    """
    try:
        return ALGORITHMS[algorithm]()
    except KeyError:
        known = ", ".join(ALGORITHMS)
        raise InvalidDigest(
            f"unsupported digest algorithm {algorithm!r}: use one of {known}"
        ) from None


def digest_file(path: Path, algorithm: str = DEFAULT_ALGORITHM) -> Digest:
    """Digest of a file's content; blocks, so call it in a thread."""
    hasher = new_hasher(algorithm)
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            hasher.update(block)
    return Digest(algorithm, hasher.hexdigest())
