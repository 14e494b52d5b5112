"""A certificate authority and a client certificate for tests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Certificates:
    """PEM texts; ``other_key`` belongs to no certificate, ``locked_key`` has a password."""

    ca: bytes
    certificate: bytes
    key: bytes
    other_key: bytes
    locked_key: bytes


def make_certificates() -> Certificates:
    """Make a fresh set."""
    ca_key, key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    ca = _certificate("ca", ca_key, "ca", ca_key)
    leaf = _certificate("client", key, "ca", ca_key)
    password = serialization.BestAvailableEncryption(b"sesame")
    locked = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, password)
    return Certificates(
        ca.public_bytes(PEM), leaf.public_bytes(PEM), _plain(key), _plain(other), locked
    )


def _plain(key: ec.EllipticCurvePrivateKey) -> bytes:
    none = serialization.NoEncryption()
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, none)


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=36500))
        .add_extension(x509.BasicConstraints(ca=subject == "ca", path_length=None), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])
