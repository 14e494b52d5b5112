"""Notation's signature envelope in JWS (Notary Project signature specification)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from fluvial.clock import parse_time
from source_controller.oci.errors import VerificationFailed

__all__ = ["Envelope", "open_envelope"]

_SCHEME = "io.cncf.notary.signingScheme"
_EXPIRY = "io.cncf.notary.expiry"
_KNOWN_CRITICAL = frozenset({_SCHEME, _EXPIRY})
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


def open_envelope(raw: bytes) -> Envelope:
    """Read an envelope and check that its content is what its first certificate's key signed.

    Raises:
        VerificationFailed: it is malformed, needs something that is not known here, or was
            altered.

    """
    envelope = _object(raw)
    protected = _object(_decode(envelope.get("protected")))
    chain = _chain(envelope)
    _check_header(protected)
    signed = f"{envelope.get('protected')}.{envelope.get('payload')}".encode()
    _check_signature(chain[0], protected.get("alg"), _decode(envelope.get("signature")), signed)
    target = _object(_decode(envelope.get("payload"))).get("targetArtifact")
    if not isinstance(target, dict):
        raise VerificationFailed("the signature is over no artifact")
    return Envelope(target, chain, _expiry(protected))


def _check_header(protected: dict[str, Any]) -> None:
    critical = protected.get("crit")
    if not isinstance(critical, list) or _SCHEME not in critical:
        raise VerificationFailed("the signature does not protect its signing scheme")
    unknown = [name for name in critical if name not in _KNOWN_CRITICAL]
    if unknown:
        raise VerificationFailed(
            f"the signature needs {str(unknown[0])[:100]!r}, which is not supported"
        )
    if protected.get(_SCHEME) != "notary.x509":
        raise VerificationFailed("the signature's signing scheme is not supported")
    if _EXPIRY in protected and _EXPIRY not in critical:
        raise VerificationFailed("the signature does not protect its expiry")
    if protected.get("cty") != _PAYLOAD_TYPE:
        raise VerificationFailed("the signature is over content of an unknown type")


def _expiry(protected: dict[str, Any]) -> datetime | None:
    text = protected.get(_EXPIRY)
    if text is None:
        return None
    try:
        return parse_time(str(text))
    except ValueError:
        raise VerificationFailed("the signature's expiry is no time") from None


def _chain(envelope: dict[str, Any]) -> tuple[x509.Certificate, ...]:
    header = envelope.get("header")
    encoded = header.get("x5c") if isinstance(header, dict) else None
    if not isinstance(encoded, list) or not 0 < len(encoded) <= _MAX_CHAIN:
        raise VerificationFailed("the signature has no certificates, or too many")
    try:
        return tuple(
            x509.load_der_x509_certificate(base64.b64decode(str(item), validate=True))
            for item in encoded
        )
    except (ValueError, binascii.Error):
        raise VerificationFailed("the signature has a certificate that cannot be read") from None


def _check_signature(
    certificate: x509.Certificate, algorithm: object, signature: bytes, signed: bytes
) -> None:
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


def _decode(value: object) -> bytes:
    text = value if isinstance(value, str) else ""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise VerificationFailed(
            "the signature envelope is not base64 where it should be"
        ) from None


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(raw)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise VerificationFailed("the signature envelope is not a JSON object where it should be")
    return value
