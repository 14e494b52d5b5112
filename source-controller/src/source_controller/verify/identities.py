"""Whom a certificate of a sigstore was given to, and whether that is somebody who counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import re2
from cryptography import x509
from cryptography.hazmat import asn1

from source_controller.oci.errors import VerificationFailed

__all__ = ["Identity", "identity_matches", "parse_identities"]

_ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_OLD_ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_USERNAME = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.7")
_MAX_PATTERN = 4096
_MAX_IDENTITIES = 100


@dataclass(frozen=True, slots=True)
class Identity:
    """Who may sign; both expressions must be found somewhere in the certificate's values."""

    issuer: re2.Pattern
    subject: re2.Pattern


def parse_identities(matches: Iterable[tuple[str, str]]) -> tuple[Identity, ...]:
    """The identities of a spec.

    Args:
        matches: pairs of expressions (RE2) for the issuer and the subject.

    Raises:
        VerificationFailed: there is none: a signature by anybody says nothing. Or an expression
            cannot be read.

    """
    found = tuple(Identity(_compile(issuer), _compile(subject)) for issuer, subject in matches)
    if not found:
        raise VerificationFailed(
            "spec.verify.matchOIDCIdentity must say who may sign: anybody can get a certificate"
        )
    if len(found) > _MAX_IDENTITIES:
        raise VerificationFailed(f"there are more than {_MAX_IDENTITIES} identities")
    return found


def identity_matches(certificate: x509.Certificate, identities: Sequence[Identity]) -> bool:
    """Whether a certificate was given to one of the identities."""
    issuer, subjects = _issuer(certificate), _subjects(certificate)
    return any(
        identity.issuer.search(issuer) is not None and identity.subject.search(subject) is not None
        for identity in identities
        for subject in subjects
        if issuer and subject
    )


def _compile(pattern: str) -> re2.Pattern:
    if not pattern or len(pattern) > _MAX_PATTERN:
        raise VerificationFailed(
            "an expression of spec.verify.matchOIDCIdentity is empty or too long"
        )
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options=options)
    except re2.error as error:
        raise VerificationFailed(
            "an expression of spec.verify.matchOIDCIdentity is not a valid RE2 expression"
        ) from error


def _issuer(certificate: x509.Certificate) -> str:
    new, old = _extension(certificate, _ISSUER), _extension(certificate, _OLD_ISSUER)
    if new is not None:
        return _utf8(new)
    return (old or b"").decode(errors="replace")


def _extension(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> bytes | None:
    try:
        value = certificate.extensions.get_extension_for_oid(oid).value
    except x509.ExtensionNotFound:
        return None
    return value.value if isinstance(value, x509.UnrecognizedExtension) else None


def _subjects(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    found: list[str] = []
    for name in names:
        if isinstance(name, (x509.RFC822Name, x509.UniformResourceIdentifier)):
            found.append(name.value)
        elif isinstance(name, x509.OtherName) and name.type_id == _USERNAME:
            found.append(_utf8(name.value))
    return found


def _utf8(der: bytes) -> str:
    try:
        return asn1.decode_der(str, der)
    except ValueError:
        return ""
