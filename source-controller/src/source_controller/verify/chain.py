"""Certificate chains of code signers, as the Notary Project's specification wants them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from source_controller.oci.errors import VerificationFailed

__all__ = ["check_chain", "is_revocable", "is_trusted", "is_valid_at", "load_certificates"]

_MAX_CERTIFICATES = 100
_FOREIGN_USES = frozenset(
    {
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.EMAIL_PROTECTION,
        ExtendedKeyUsageOID.TIME_STAMPING,
        ExtendedKeyUsageOID.OCSP_SIGNING,
    }
)
_WEAK = (hashes.MD5, hashes.SHA1)


def load_certificates(pems: Iterable[bytes]) -> tuple[x509.Certificate, ...]:
    """All certificates of some PEM files.

    Raises:
        VerificationFailed: there is none, or one cannot be read.

    """
    found: list[x509.Certificate] = []
    for pem in pems:
        try:
            found += x509.load_pem_x509_certificates(pem)
        except ValueError:
            raise VerificationFailed("a trusted certificate cannot be read") from None
    if not found or len(found) > _MAX_CERTIFICATES:
        raise VerificationFailed("there are no trusted certificates, or too many")
    return tuple(found)


def check_chain(chain: Sequence[x509.Certificate]) -> None:
    """Check that each certificate signed the one before it, and that each may do what it does.

    Times are not looked at.

    Raises:
        VerificationFailed: it is no chain of a code signer.

    """
    for certificate in chain:
        if isinstance(certificate.signature_hash_algorithm, _WEAK):
            raise VerificationFailed("a certificate of the signer is signed with a broken hash")
    _check_leaf(chain[0], alone=len(chain) == 1)
    for depth, (certificate, issuer) in enumerate(zip(chain, [*chain[1:], chain[-1]], strict=True)):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            raise VerificationFailed(
                "the signer's certificates are no chain up to a root"
            ) from None
        if depth:
            _check_authority(certificate, below=depth - 1)


def is_trusted(chain: Sequence[x509.Certificate], trusted: Sequence[x509.Certificate]) -> bool:
    """Whether a certificate of the chain is one of the trusted ones, byte for byte."""
    known = {certificate.public_bytes(Encoding.DER) for certificate in trusted}
    return any(certificate.public_bytes(Encoding.DER) in known for certificate in chain)


def is_valid_at(chain: Sequence[x509.Certificate], now: datetime) -> bool:
    """Whether all certificates are in force."""
    return all(
        certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
        for certificate in chain
    )


def is_revocable(chain: Sequence[x509.Certificate]) -> bool:
    """Whether a certificate says where to ask if it was revoked; a root need not."""
    for certificate in chain[:-1]:
        for kind in (x509.CRLDistributionPoints, x509.AuthorityInformationAccess):
            try:
                certificate.extensions.get_extension_for_class(kind)
            except x509.ExtensionNotFound:
                continue
            return True
    return False


def _check_leaf(leaf: x509.Certificate, *, alone: bool) -> None:
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    except (x509.ExtensionNotFound, ValueError):
        raise VerificationFailed("the signer's certificate does not say what it is for") from None
    if not usage.value.digital_signature or (usage.value.key_cert_sign and not alone):
        raise VerificationFailed("the signer's certificate is not for signatures")
    if _is_authority(leaf):
        raise VerificationFailed("the signer's certificate is one of an authority")
    try:
        uses = set(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return
    if ExtendedKeyUsageOID.CODE_SIGNING not in uses or uses & _FOREIGN_USES:
        raise VerificationFailed("the signer's certificate is not for signing code")


def _check_authority(certificate: x509.Certificate, *, below: int) -> None:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        raise VerificationFailed("an issuer of the signer is no authority") from None
    too_long = constraints.path_length is not None and below > constraints.path_length
    if not constraints.ca or not usage.key_cert_sign or too_long:
        raise VerificationFailed("an issuer of the signer may not issue that certificate")


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
