"""A certificate authority, and a serving certificate that is made at each start and never stored."""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from devcluster import clock

__all__ = [
    "Authority",
    "key_pem",
    "load_authority",
    "load_key",
    "make_authority",
    "server_context",
]

_LIFETIME = timedelta(days=365)
_CA_LIFETIME = timedelta(days=3650)  # a saved cluster keeps its authority


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA with its certificate in PEM and its key."""

    pem: bytes
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A key, unencrypted, for a file that only its owner can read."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """A key that was saved; ValueError when it is none."""
    found = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(found, ec.EllipticCurvePrivateKey):
        raise ValueError("the key is not one on an elliptic curve")  # noqa: TRY004 (bad data)
    return found


def load_authority(pem: bytes, key: bytes) -> Authority:
    """An authority that was saved; ValueError when the two are none."""
    return Authority(pem, x509.load_pem_x509_certificate(pem), load_key(key))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def make_authority() -> Authority:
    """A fresh self-signed CA on P-256."""
    key = ec.generate_private_key(ec.SECP256R1())
    start = clock.now() - timedelta(minutes=5)
    name = _name("devcluster-ca")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + _CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    return Authority(pem=pem, certificate=certificate, key=key)


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not ca,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def server_context(authority: Authority, *, host: str) -> ssl.SSLContext:
    """A TLS context that serves ``host``, localhost and the in-cluster service names."""
    key = ec.generate_private_key(ec.SECP256R1())
    start = clock.now() - timedelta(minutes=5)
    names: list[x509.GeneralName] = [
        x509.DNSName("localhost"),
        x509.DNSName("kubernetes"),
        x509.DNSName("kubernetes.default"),
        x509.DNSName("kubernetes.default.svc"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    if host not in {"127.0.0.1", "localhost"}:
        names.append(x509.IPAddress(ipaddress.ip_address(host)))
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name("devcluster"))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(issuer_id, critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The standard library loads keys from files only; the folder lives for this one call.
    with tempfile.TemporaryDirectory(prefix="devcluster-") as folder:
        chain = Path(folder) / "serving.pem"
        chain.touch(mode=0o600)
        chain.write_bytes(key_pem(key) + certificate.public_bytes(serialization.Encoding.PEM))
        context.load_cert_chain(chain)
    return context
