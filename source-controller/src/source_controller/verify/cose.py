"""Notation's signature envelope in COSE (Notary Project signature specification; RFC 9052)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from source_controller.oci.errors import VerificationFailed
from source_controller.verify.cbor import InvalidCbor, Tagged, read_cbor, write_array
from source_controller.verify.envelope import (
    EXPIRY,
    SCHEME,
    Envelope,
    Header,
    check_header,
    check_signature,
    load_chain,
    target_of,
)

__all__ = ["open_cose"]

_SIGN1 = 18
_ALGORITHM, _CRITICAL, _CONTENT_TYPE, _CHAIN = 1, 2, 3, 33
_EPOCH = 1
_NAMES = {
    -37: "PS256",
    -38: "PS384",
    -39: "PS512",
    -7: "ES256",
    -35: "ES384",
    -36: "ES512",
}
_LAST_SECOND = 253402300799  # of the year 9999


def open_cose(raw: bytes) -> Envelope:
    """Read an envelope and check that its content is what its first certificate's key signed.

    Raises:
        VerificationFailed: it is malformed, needs something that is not known here, or was
            altered.

    """
    protected, unprotected, payload, signature = _parts(raw)
    header = _read(protected)
    if not isinstance(header, dict) or not isinstance(unprotected, dict):
        raise VerificationFailed("the signature envelope has no header where it should be")
    chain = load_chain(_certificates(unprotected.get(_CHAIN)))
    critical = header.get(_CRITICAL)
    check_header(
        Header(
            critical=critical if isinstance(critical, list) else [],
            scheme=header.get(SCHEME),
            content_type=header.get(_CONTENT_TYPE),
            has_expiry=EXPIRY in header,
        )
    )
    algorithm = header.get(_ALGORITHM)
    name = _NAMES.get(algorithm, "") if isinstance(algorithm, int) else ""
    signed = write_array("Signature1", protected, b"", payload)
    check_signature(chain[0], name, signature, signed)
    return Envelope(target_of(payload), chain, _expiry(header.get(EXPIRY)))


def _parts(raw: bytes) -> tuple[bytes, Any, bytes, bytes]:
    message = _read(raw)
    if not isinstance(message, Tagged) or message.tag != _SIGN1:
        raise VerificationFailed("the signature envelope is no COSE_Sign1")
    parts = message.value
    if not isinstance(parts, list) or len(parts) != 4:
        raise VerificationFailed("the signature envelope does not have four parts")
    protected, unprotected, payload, signature = parts
    if not all(isinstance(part, bytes) for part in (protected, payload, signature)):
        raise VerificationFailed("the signature envelope has parts that are no bytes")
    return protected, unprotected, payload, signature


def _certificates(value: object) -> list[bytes]:
    found = [value] if isinstance(value, bytes) else value
    if not isinstance(found, list) or not all(isinstance(item, bytes) for item in found):
        raise VerificationFailed("the signature has no certificates")
    return found


def _expiry(value: object) -> datetime | None:
    if value is None:
        return None
    seconds = value.value if isinstance(value, Tagged) and value.tag == _EPOCH else None
    if type(seconds) is not int or not 0 <= seconds <= _LAST_SECOND:
        raise VerificationFailed("the signature's expiry is no time")
    return datetime.fromtimestamp(seconds, UTC)


def _read(raw: bytes) -> Any:
    try:
        return read_cbor(raw)
    except InvalidCbor:
        raise VerificationFailed("the signature envelope is not CBOR as it should be") from None
