"""What Notation's envelopes have in common, in JWS and in COSE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from source_controller.oci.errors import VerificationFailed

__all__ = [
    "EXPIRY",
    "SCHEME",
    "Envelope",
    "Header",
    "check_header",
    "check_signature",
    "load_chain",
    "target_of",
]

SCHEME = "io.cncf.notary.signingScheme"
EXPIRY = "io.cncf.notary.expiry"
_KNOWN_CRITICAL = frozenset({SCHEME, EXPIRY})
_PAYLOAD_TYPE = "application/vnd.cncf.notary.payload.v1+json"
_MAX_CHAIN = 10
_RSA: dict[int, tuple[str, hashes.HashAlgorithm]] = {
    2048: ("PS256", hashes.SHA256()),
    3072: ("PS384", hashes.SHA384()),
    4096: ("PS512", hashes.SHA512()),
}
_EC: dict[str, tuple[str, hashes.HashAlgorithm]] = {
    "secp256r1": ("ES256", hashes.SHA256()),
    "secp384r1": ("ES384", hashes.SHA384()),
    "secp521r1": ("ES512", hashes.SHA512()),
}


@dataclass(frozen=True, slots=True)
class Envelope:
    """An envelope whose signature is the leaf's; nobody is trusted yet.

    Attributes:
        target: descriptor of what was signed, as JSON.
        chain: certificates, the signer's first.
        expiry: when the signature ends, by the signer's word; ``None`` for never.

    """

    target: dict[str, Any]
    chain: tuple[x509.Certificate, ...]
    expiry: datetime | None


@dataclass(frozen=True, slots=True)
class Header:
    """What is protected beside the content, as it was read; nothing of it is checked.

    Attributes:
        critical: names of what a reader must understand.
        scheme: how it was signed.
        content_type: of the payload.
        has_expiry: whether it says when it ends.

    """

    critical: Sequence[object]
    scheme: object
    content_type: object
    has_expiry: bool


def check_header(header: Header) -> None:
    """Check that there is nothing in it that counts and is not known.

    Raises:
        VerificationFailed: there is, or something is missing.

    """
    if SCHEME not in header.critical:
        raise VerificationFailed("the signature does not protect its signing scheme")
    unknown = [name for name in header.critical if name not in _KNOWN_CRITICAL]
    if unknown:
        raise VerificationFailed(
            f"the signature needs {str(unknown[0])[:100]!r}, which is not supported"
        )
    if header.scheme != "notary.x509":
        raise VerificationFailed("the signature's signing scheme is not supported")
    if header.has_expiry and EXPIRY not in header.critical:
        raise VerificationFailed("the signature does not protect its expiry")
    if header.content_type != _PAYLOAD_TYPE:
        raise VerificationFailed("the signature is over content of an unknown type")


def load_chain(encoded: Sequence[bytes]) -> tuple[x509.Certificate, ...]:
    """The certificates of an envelope, from DER; the signer's is the first.

    Raises:
        VerificationFailed: there are none, too many, or one that cannot be read.

    """
    if not 0 < len(encoded) <= _MAX_CHAIN:
        raise VerificationFailed("the signature has no certificates, or too many")
    try:
        return tuple(x509.load_der_x509_certificate(item) for item in encoded)
    except ValueError:
        raise VerificationFailed("the signature has a certificate that cannot be read") from None


def target_of(payload: bytes) -> dict[str, Any]:
    """The descriptor of what was signed.

    Raises:
        VerificationFailed: there is none.

    """
    try:
        content = orjson.loads(payload)
    except ValueError:
        content = None
    target = content.get("targetArtifact") if isinstance(content, dict) else None
    if not isinstance(target, dict):
        raise VerificationFailed("the signature is over no artifact")
    return target


def check_signature(
    certificate: x509.Certificate, algorithm: object, signature: bytes, signed: bytes
) -> None:
    """Check that a certificate's key made a signature.

    Args:
        certificate: of the signer.
        algorithm: its name in JWS, as the envelope has it: the one that belongs to the key.
        signature: raw; of ECDSA both numbers one after the other.
        signed: what was signed.

    Raises:
        VerificationFailed: it did not, or not in the way that its kind of key has to.

    """
    key = certificate.public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey) and key.key_size in _RSA:
            name, hash_ = _RSA[key.key_size]
            _check_name(name, algorithm)
            pss = padding.PSS(padding.MGF1(hash_), padding.PSS.DIGEST_LENGTH)
            key.verify(signature, signed, pss, hash_)
        elif isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _EC:
            name, hash_ = _EC[key.curve.name]
            _check_name(name, algorithm)
            key.verify(_der(signature, key), signed, ec.ECDSA(hash_))
        else:
            raise VerificationFailed("the signer's key is of an unsupported kind")
    except (InvalidSignature, ValueError):
        raise VerificationFailed("the signature is not over this content") from None


def _check_name(expected: str, algorithm: object) -> None:
    if algorithm != expected:
        raise VerificationFailed("the signature's algorithm is not the one of its key")


def _der(signature: bytes, key: ec.EllipticCurvePublicKey) -> bytes:
    size = (key.curve.key_size + 7) // 8
    if len(signature) != 2 * size:
        raise InvalidSignature
    r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
    return encode_dss_signature(r, s)
