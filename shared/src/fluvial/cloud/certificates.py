"""Keys with their certificates, as Secrets hold them: PEM or PKCS #12 (RFC 7292)."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import pkcs12

from fluvial.cloud.errors import InvalidIdentity
from fluvial.cloud.jwt import load_rsa_key

__all__ = ["Certificate", "derives_keys", "open_certificate"]

WHAT = "the client certificate"
_MAX_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Certificate:
    """A key that can be used, and who it is.

    Attributes:
        key: PEM of an RSA key, unencrypted.
        chain: certificates, the key's own first.

    """

    key: str = field(repr=False)
    chain: tuple[x509.Certificate, ...]


def derives_keys(data: bytes, password: str) -> bool:
    """Whether opening it derives keys from a password, in as many rounds as the file says."""
    return 0 < len(data) <= _MAX_BYTES and (bool(password) or not _is_pem(data))


def open_certificate(data: bytes, password: str) -> Certificate:
    """Read a key and its certificates. Blocks: for ever, where the file asks for it.

    Args:
        data: PEM or PKCS #12.
        password: of it, or ``""``.

    Raises:
        InvalidIdentity: it cannot be used.

    """
    if not data:
        raise InvalidIdentity("an application needs a client secret or a client certificate")
    if len(data) > _MAX_BYTES:
        raise InvalidIdentity(f"{WHAT} is too large")
    try:
        key, chain = _read(data, password)
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidIdentity(f"{WHAT} or its password cannot be used") from None
    own = [item for item in chain if item.public_key() == key.public_key()]
    if not own:
        raise InvalidIdentity(f"{WHAT} does not belong to its key")
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Certificate(pem.decode(), (own[0], *(item for item in chain if item is not own[0])))


def _read(data: bytes, password: str) -> tuple[RSAPrivateKey, list[x509.Certificate]]:
    if _is_pem(data):
        key = load_rsa_key(data.decode(), what=WHAT, password=password)
        return key, x509.load_pem_x509_certificates(data)
    found, first, others = pkcs12.load_key_and_certificates(
        data, password.encode() if password else None
    )
    if not isinstance(found, RSAPrivateKey) or first is None:
        raise InvalidIdentity(f"{WHAT} must hold an RSA key and its certificate")
    return found, [first, *others]


def _is_pem(data: bytes) -> bool:
    return b"-----BEGIN " in data
