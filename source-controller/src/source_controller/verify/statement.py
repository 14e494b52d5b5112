"""What a signature says: that this very digest was signed, as an image, and nothing else.

Both readers return nothing: they raise unless the signed bytes name the digest.
"""

from __future__ import annotations

import hmac
from typing import Any

import orjson

from fluvial.artifact.digest import Digest
from source_controller.oci.errors import VerificationFailed

__all__ = ["DSSE_TYPE", "SIGN_PREDICATE", "check_payload", "check_statement", "pre_authenticated"]

DSSE_TYPE = "application/vnd.in-toto+json"
SIGN_PREDICATE = "https://sigstore.dev/cosign/sign/v1"
_STATEMENTS = frozenset({"https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"})
_SIMPLE_TYPE = "cosign container image signature"


def check_payload(payload: bytes, digest: Digest) -> None:
    """Check a payload of cosign 2.

    Raises:
        VerificationFailed: it is over another digest, or of another type.

    """
    critical = _object(_object(_load(payload)).get("critical"))
    if critical.get("type") != _SIMPLE_TYPE:
        raise VerificationFailed("the signature is not one of an image")
    named = _object(critical.get("image")).get("docker-manifest-digest")
    _check_digest(named, digest)


def check_statement(payload: bytes, digest: Digest) -> None:
    """Check the statement in a bundle of cosign 3.

    Raises:
        VerificationFailed: it is over another digest, or says something else than that the image
            is signed: an attestation is no signature.

    """
    statement = _object(_load(payload))
    if statement.get("_type") not in _STATEMENTS:
        raise VerificationFailed("the signature is over no statement")
    if statement.get("predicateType") != SIGN_PREDICATE:
        raise VerificationFailed("the statement is an attestation, not a signature")
    subjects = statement.get("subject")
    if not isinstance(subjects, list) or len(subjects) != 1:
        raise VerificationFailed("the statement is not about one image")
    named = _object(_object(subjects[0]).get("digest")).get(digest.algorithm)
    _check_digest(f"{digest.algorithm}:{named}", digest)


def pre_authenticated(payload_type: str, payload: bytes) -> bytes:
    """The bytes that a DSSE signature is over (DSSE v1, "PAE")."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _check_digest(named: object, digest: Digest) -> None:
    if not isinstance(named, str) or not hmac.compare_digest(
        named.encode(errors="replace"), str(digest).encode()
    ):
        raise VerificationFailed("the signature is over another digest")


def _load(payload: bytes) -> object:
    try:
        return orjson.loads(payload)
    except ValueError:
        raise VerificationFailed("what was signed is not JSON") from None


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise VerificationFailed("what was signed has another form than cosign's")
    return value
