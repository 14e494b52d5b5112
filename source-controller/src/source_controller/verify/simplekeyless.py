"""Signatures of cosign 2 made without a key.

Such a signature comes with a certificate and with what the log promised when it took the signature
in. What has to hold together: the log's promise, which gives the time; the certificate at that
time, by an authority of the root, seen by a certificate log, for an identity that may sign; the log
entry, which is of this signature; and the signature over the payload.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.certificate_transparency import (
    LogEntryType,
    SignedCertificateTimestamp,
)
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
)
from cryptography.x509.verification import VerificationError as ChainError

from fluvial.artifact.digest import Digest
from source_controller.oci.errors import VerificationFailed
from source_controller.verify.found import SimpleSigning
from source_controller.verify.identities import Identity, identity_matches
from source_controller.verify.keys import is_supported, verifies
from source_controller.verify.statement import check_payload
from source_controller.verify.trustedroot import TrustedLog, TrustedRoot

__all__ = ["check_simple_keyless"]


@dataclass(frozen=True, slots=True)
class _Entry:
    """What the log took in, and when."""

    body: dict[str, Any]
    moment: datetime


def check_simple_keyless(
    simple: SimpleSigning, digest: Digest, identities: Sequence[Identity], root: TrustedRoot
) -> None:
    """Check one signature.

    Args:
        simple: as it was found.
        digest: of what it must be over.
        identities: who may have signed.
        root: whose word counts.

    Raises:
        VerificationFailed: something does not hold.

    """
    certificate = _certificate(simple)
    entry = _entry(simple, root.signature_logs)
    issuer = _issuer_at(certificate, root, entry.moment)
    _check_seen(certificate, issuer, root.certificate_logs)
    _check_use(certificate)
    if not identity_matches(certificate, identities):
        raise VerificationFailed("the signer is none of the identities that may sign")
    _check_entry(entry.body, simple, certificate)
    key = certificate.public_key()
    if not is_supported(key) or not verifies((key,), simple.signature, simple.payload):
        raise VerificationFailed("the signature is not by the key of its certificate")
    check_payload(simple.payload, digest)


def _certificate(simple: SimpleSigning) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(simple.certificate.encode())
    except ValueError:
        raise VerificationFailed("the signer's certificate cannot be read") from None


def _entry(simple: SimpleSigning, logs: Sequence[TrustedLog]) -> _Entry:
    """The log entry, whose promise holds."""
    try:
        document = orjson.loads(simple.rekor)
        promise = base64.b64decode(document["SignedEntryTimestamp"], validate=True)
        payload = document["Payload"]
        text, log_id = str(payload["body"]), str(payload["logID"])
        seconds, index = int(payload["integratedTime"]), int(payload["logIndex"])
        body = orjson.loads(base64.b64decode(text, validate=True))
        key_id = bytes.fromhex(log_id)
        moment = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, KeyError, TypeError, OverflowError, OSError, binascii.Error):
        raise VerificationFailed("the signature has no entry of a transparency log") from None
    promised = orjson.dumps(  # in the order of the names
        {"body": text, "integratedTime": seconds, "logID": log_id, "logIndex": index}
    )
    known = (log for log in logs if log.key_id == key_id and moment in log.period)
    if not any(verifies((log.key,), promise, promised) for log in known):
        raise VerificationFailed("no trusted transparency log has promised the entry")
    if not isinstance(body, dict):
        raise VerificationFailed("the log's entry is of no signature")
    return _Entry(body, moment)


def _issuer_at(
    certificate: x509.Certificate, root: TrustedRoot, moment: datetime
) -> x509.Certificate:
    authorities = root.authorities_at(moment)
    if not authorities:
        raise VerificationFailed("no authority of the trusted root counted when it was signed")
    uses = {"ca": ExtensionPolicy.webpki_defaults_ca(), "ee": ExtensionPolicy.webpki_defaults_ee()}
    ca, leaf = (  # clients' certificates are meant otherwise; what this one is for comes later
        policy.may_be_present(x509.ExtendedKeyUsage, Criticality.NON_CRITICAL, None)
        for policy in uses.values()
    )
    verifier = (
        PolicyBuilder()
        .store(Store(list(authorities)))
        .time(moment)
        .extension_policies(ca_policy=ca, ee_policy=leaf)
        .build_client_verifier()
    )
    try:
        chain = verifier.verify(certificate, []).chain
    except (ChainError, x509.UnsupportedGeneralNameType, ValueError) as error:
        raise VerificationFailed(
            "the signer's certificate is by no trusted authority, or was not in force"
        ) from error
    return chain[1]


def _check_seen(
    certificate: x509.Certificate, issuer: x509.Certificate, logs: Sequence[TrustedLog]
) -> None:
    """One trusted log has seen the certificate (RFC 6962 §3.2, §3.3)."""
    try:
        extension = certificate.extensions.get_extension_for_class(
            x509.PrecertificateSignedCertificateTimestamps
        )
    except (x509.ExtensionNotFound, ValueError):
        raise VerificationFailed("no log has seen the signer's certificate") from None
    spki = issuer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    issuer_key = hashlib.sha256(spki).digest()
    if not any(
        _was_seen(stamp, certificate, issuer_key, log) for stamp in extension.value for log in logs
    ):
        raise VerificationFailed("no trusted log has seen the signer's certificate")


def _was_seen(
    stamp: SignedCertificateTimestamp,
    certificate: x509.Certificate,
    issuer_key: bytes,
    log: TrustedLog,
) -> bool:
    moment = stamp.timestamp.replace(tzinfo=UTC)
    if (
        stamp.log_id != log.key_id
        or stamp.entry_type is not LogEntryType.PRE_CERTIFICATE
        or not isinstance(stamp.signature_hash_algorithm, hashes.SHA256)
        or moment not in log.period
    ):
        return False
    content = certificate.tbs_precertificate_bytes
    extensions = stamp.extension_bytes
    milliseconds = round(moment.timestamp() * 1000)
    signed = b"".join(
        (
            struct.pack("!BBQH", 0, 0, milliseconds, 1),
            issuer_key,
            struct.pack("!I", len(content))[1:],
            content,
            struct.pack("!H", len(extensions)),
            extensions,
        )
    )
    return verifies((log.key,), stamp.signature, signed)


def _check_use(certificate: x509.Certificate) -> None:
    try:
        extensions = certificate.extensions
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        uses = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        raise VerificationFailed("the signer's certificate does not say what it is for") from None
    if not usage.digital_signature or ExtendedKeyUsageOID.CODE_SIGNING not in uses:
        raise VerificationFailed("the signer's certificate is not for signing code")


def _check_entry(
    body: dict[str, Any], simple: SimpleSigning, certificate: x509.Certificate
) -> None:
    """The entry is of this payload, signature and certificate."""
    try:
        kind = (body["kind"], body["apiVersion"])
        hashed, signature = body["spec"]["data"]["hash"], body["spec"]["signature"]
        found = (
            (hashed["algorithm"], hashed["value"]),
            base64.b64decode(signature["content"], validate=True),
            x509.load_pem_x509_certificate(
                base64.b64decode(signature["publicKey"]["content"], validate=True)
            ),
        )
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise VerificationFailed("the log's entry is of no signature") from None
    expected = (
        ("sha256", hashlib.sha256(simple.payload).hexdigest()),
        simple.signature,
        certificate,
    )
    if kind != ("hashedrekord", "0.0.1") or found != expected:
        raise VerificationFailed("the log's entry is of another signature")
