"""Certificates of code signers, good and bad, for signatures in the manner of Notation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["PrivateKey", "Signer", "make_key", "make_signer"]

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Signer:
    """A key and its certificates, the key's own first."""

    key: PrivateKey
    chain: tuple[x509.Certificate, ...]

    @property
    def key_pem(self) -> bytes:
        """The private key."""
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    @property
    def chain_pem(self) -> bytes:
        """All certificates."""
        return b"".join(item.public_bytes(serialization.Encoding.PEM) for item in self.chain)

    @property
    def root_pem(self) -> bytes:
        """The last certificate."""
        return self.chain[-1].public_bytes(serialization.Encoding.PEM)


def make_key(kind: str) -> PrivateKey:
    """A key such as ``rsa-2048`` or ``ecdsa-p256``."""
    if kind.startswith("rsa-"):
        return rsa.generate_private_key(65537, int(kind.removeprefix("rsa-")))
    curves: dict[str, ec.EllipticCurve] = {
        "ecdsa-p256": ec.SECP256R1(),
        "ecdsa-p384": ec.SECP384R1(),
        "ecdsa-p521": ec.SECP521R1(),
    }
    return ec.generate_private_key(curves[kind])


def make_signer(
    key: PrivateKey,
    now: datetime,
    *,
    self_signed: bool = False,
    days: int = 3650,
    uses: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.CODE_SIGNING,),
    revocable: bool = False,
    root_is_authority: bool = True,
) -> Signer:
    """A signer named ``CN=signer,O=Example,ST=WA,C=US`` with a root of its own.

    Args:
        key: of the signer.
        now: when the certificates begin.
        self_signed: without a root.
        days: life of the signer's certificate.
        uses: of the signer's key.
        revocable: the certificate names a list of what was revoked.
        root_is_authority: whether the root may issue certificates.

    """
    root_key = ec.generate_private_key(ec.SECP256R1())
    subject, root_name = _name("signer"), _name("root")
    leaf = _builder(subject, subject if self_signed else root_name, key.public_key(), now, days)
    leaf = leaf.add_extension(_usage(digital_signature=True), critical=True)
    if uses:
        leaf = leaf.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    if revocable:
        point = x509.DistributionPoint(
            [x509.UniformResourceIdentifier("http://crl.example/x")], None, None, None
        )
        leaf = leaf.add_extension(x509.CRLDistributionPoints([point]), critical=False)
    if self_signed:
        return Signer(key, (leaf.sign(key, hashes.SHA256()),))
    root = (
        _builder(root_name, root_name, root_key.public_key(), now, 3650)
        .add_extension(x509.BasicConstraints(ca=root_is_authority, path_length=None), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    return Signer(key, (leaf.sign(root_key, hashes.SHA256()), root))


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "WA"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Any, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(**on: bool) -> x509.KeyUsage:
    names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: on.get(name, False) for name in names})
