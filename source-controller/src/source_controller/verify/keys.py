"""Public keys, and signatures by them, as cosign makes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeGuard

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from source_controller.oci.errors import VerificationFailed
from source_controller.verify.ed25519 import verifies_ed25519

__all__ = ["PublicKey", "SlowChecks", "is_supported", "keys_from_secret", "verifies"]

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | Ed25519PublicKey

_SUFFIX = ".pub"
_MIN_RSA_BITS = 2048
_MAX_KEYS = 100
_CURVES: dict[str, tuple[hashes.HashAlgorithm, ...]] = {
    # cosign 2 hashes with SHA-256 whatever the curve, cosign 3 with the curve's own.
    "secp256r1": (hashes.SHA256(),),
    "secp384r1": (hashes.SHA384(), hashes.SHA256()),
    "secp521r1": (hashes.SHA512(), hashes.SHA256()),
}


def keys_from_secret(data: Mapping[str, bytes]) -> tuple[PublicKey, ...]:
    """The public keys under ``*.pub``.

    Entries that are no key are passed over: another one may fit.

    Raises:
        VerificationFailed: there is no usable key.

    """
    names = sorted(name for name in data if name.endswith(_SUFFIX))
    if not names:
        raise VerificationFailed(f"the Secret of spec.verify has no entry named *{_SUFFIX}")
    found = [key for name in names[:_MAX_KEYS] if (key := _load(data[name])) is not None]
    found.sort(key=lambda key: isinstance(key, Ed25519PublicKey))  # the slow ones come last
    if not found:
        raise VerificationFailed(
            "the Secret of spec.verify has no usable public key: PEM of an ECDSA key on P-256,"
            " P-384 or P-521, an RSA key of at least 2048 bits, or an Ed25519 key"
        )
    return tuple(found)


def is_supported(key: object) -> TypeGuard[PublicKey]:
    """Whether a key is of a kind, curve and length that counts."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.name in _CURVES
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size >= _MIN_RSA_BITS
    return isinstance(key, Ed25519PublicKey)


class SlowChecks:
    """How many checks of the slow kind are left to all signatures of one artifact together.

    Keys are the tenant's and signatures the registry's: their product is nobody's to choose.

    Args:
        left: number of checks, 3 ms of CPU time each.

    """

    def __init__(self, left: int = 128) -> None:
        self._left = left

    def spend(self) -> None:
        """Take one.

        Raises:
            VerificationFailed: there is none left.

        """
        if not self._left:
            raise VerificationFailed("there are too many Ed25519 keys and signatures to try")
        self._left -= 1


def verifies(
    keys: Iterable[PublicKey], signature: bytes, payload: bytes, *, slow: SlowChecks | None = None
) -> bool:
    """Whether one of the keys made a signature over a payload.

    Args:
        keys: to try.
        signature: of any length.
        payload: what was signed.
        slow: bounds pre-hashed Ed25519; ``None`` where the keys are few.

    Raises:
        VerificationFailed: ``slow`` is used up.

    """
    return any(_verifies(key, signature, payload, slow or SlowChecks()) for key in keys)


def _load(pem: bytes) -> PublicKey | None:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if is_supported(key) else None


def _verifies(key: PublicKey, signature: bytes, payload: bytes, slow: SlowChecks) -> bool:
    if isinstance(key, ec.EllipticCurvePublicKey):
        return any(
            _ecdsa(key, signature, payload, algorithm) for algorithm in _CURVES[key.curve.name]
        )
    if isinstance(key, Ed25519PublicKey):
        if _is_pure(key, signature, payload):
            return True
        slow.spend()
        return verifies_ed25519(key, signature, payload, prehashed=True)
    try:
        key.verify(signature, payload, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def _is_pure(key: Ed25519PublicKey, signature: bytes, payload: bytes) -> bool:
    try:
        key.verify(signature, payload)  # a hundred times as fast as ours
    except InvalidSignature:
        return False
    return True


def _ecdsa(
    key: ec.EllipticCurvePublicKey,
    signature: bytes,
    payload: bytes,
    algorithm: hashes.HashAlgorithm,
) -> bool:
    try:
        key.verify(signature, payload, ec.ECDSA(algorithm))
    except InvalidSignature:
        return False
    return True
