"""``trusted_root.json``: whose word counts in one sigstore, and when.

Read here for the signatures of cosign 2 only; bundles are judged by the sigstore package.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

from fluvial.clock import parse_time
from source_controller.oci.errors import VerificationFailed
from source_controller.verify.keys import PublicKey, is_supported

__all__ = ["Period", "TrustedLog", "TrustedRoot"]

_MEDIA_TYPE = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"


@dataclass(frozen=True, slots=True)
class Period:
    """When something counts; ``None`` is open."""

    start: datetime | None
    end: datetime | None

    def __contains__(self, moment: datetime) -> bool:
        return (self.start is None or self.start <= moment) and (
            self.end is None or moment <= self.end
        )


@dataclass(frozen=True, slots=True)
class TrustedLog:
    """A log of certificates or of signatures."""

    key_id: bytes
    key: PublicKey
    period: Period


@dataclass(frozen=True, slots=True)
class TrustedRoot:
    """What is trusted.

    Attributes:
        authorities: certificates of those who certify identities.
        certificate_logs: that saw each such certificate.
        signature_logs: that saw each signature.

    """

    authorities: tuple[tuple[Period, tuple[x509.Certificate, ...]], ...]
    certificate_logs: tuple[TrustedLog, ...]
    signature_logs: tuple[TrustedLog, ...]

    @classmethod
    def parse(cls, raw: bytes) -> TrustedRoot:
        """Read the document.

        Raises:
            VerificationFailed: it is none.

        """
        try:
            document = orjson.loads(raw)
            media_type = document["mediaType"]
            root = cls(
                tuple(_authority(item) for item in document["certificateAuthorities"]),
                tuple(_logs(document.get("ctlogs"))),
                tuple(_logs(document.get("tlogs"))),
            )
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
            raise VerificationFailed("the trusted root cannot be read") from error
        if media_type != _MEDIA_TYPE:
            raise VerificationFailed("the trusted root is of an unknown form")
        return root

    def authorities_at(self, moment: datetime) -> tuple[x509.Certificate, ...]:
        """The certificates that count at a time."""
        return tuple(
            certificate
            for period, chain in self.authorities
            if moment in period
            for certificate in chain
        )


def _authority(item: dict[str, Any]) -> tuple[Period, tuple[x509.Certificate, ...]]:
    chain = tuple(
        x509.load_der_x509_certificate(base64.b64decode(one["rawBytes"], validate=True))
        for one in item["certChain"]["certificates"]
    )
    return _period(item.get("validFor")), chain


def _logs(items: list[dict[str, Any]] | None) -> Iterator[TrustedLog]:
    for item in items or ():
        public = item["publicKey"]
        try:
            key = load_der_public_key(base64.b64decode(public["rawBytes"], validate=True))
        except UnsupportedAlgorithm:
            continue
        if is_supported(key):
            key_id = base64.b64decode(item["logId"]["keyId"], validate=True)
            yield TrustedLog(key_id, key, _period(public.get("validFor")))


def _period(item: dict[str, Any] | None) -> Period:
    start, end = (item or {}).get("start"), (item or {}).get("end")
    return Period(
        parse_time(start) if start is not None else None,
        parse_time(end) if end is not None else None,
    )
