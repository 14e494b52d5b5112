"""Notation's signature envelope in JWS (Notary Project signature specification)."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Any

import orjson

from fluvial.clock import parse_time
from source_controller.oci.errors import VerificationFailed
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

__all__ = ["open_jws"]


def open_jws(raw: bytes) -> Envelope:
    """Read an envelope and check that its content is what its first certificate's key signed.

    Raises:
        VerificationFailed: it is malformed, needs something that is not known here, or was
            altered.

    """
    envelope = _object(raw)
    protected = _object(_decode(envelope.get("protected")))
    chain = load_chain(_certificates(envelope))
    critical = protected.get("crit")
    check_header(
        Header(
            critical=critical if isinstance(critical, list) else [],
            scheme=protected.get(SCHEME),
            content_type=protected.get("cty"),
            has_expiry=EXPIRY in protected,
        )
    )
    signed = f"{envelope.get('protected')}.{envelope.get('payload')}".encode()
    check_signature(chain[0], protected.get("alg"), _decode(envelope.get("signature")), signed)
    return Envelope(target_of(_decode(envelope.get("payload"))), chain, _expiry(protected))


def _expiry(protected: dict[str, Any]) -> datetime | None:
    text = protected.get(EXPIRY)
    if text is None:
        return None
    try:
        return parse_time(str(text))
    except ValueError:
        raise VerificationFailed("the signature's expiry is no time") from None


def _certificates(envelope: dict[str, Any]) -> list[bytes]:
    header = envelope.get("header")
    encoded = header.get("x5c") if isinstance(header, dict) else None
    if not isinstance(encoded, list):
        raise VerificationFailed("the signature has no certificates, or too many")
    try:
        return [base64.b64decode(str(item), validate=True) for item in encoded]
    except (ValueError, binascii.Error):
        raise VerificationFailed("the signature has a certificate that cannot be read") from None


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
