"""Signed assertions (RFC 7515, RFC 7519) by RSA keys, which every service here takes."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fluvial.cloud.errors import InvalidIdentity

__all__ = ["load_rsa_key", "sign_jwt", "timestamp"]

Algorithm = Literal["RS256", "PS256"]

_MAX_PEM = 32 << 10
_MAX_KEY = 8 << 10  # characters of the key alone; 8192 bits have 6,400
_SIZES = range(2048, 8193)


async def sign_jwt(
    claims: Mapping[str, Any],
    key: str,
    *,
    what: str,
    headers: Mapping[str, Any] | None = None,
    algorithm: Algorithm = "RS256",
) -> str:
    """A signed assertion.

    Args:
        claims: as JSON values.
        key: PEM of an RSA key, unencrypted.
        what: names the key in messages.
        headers: beside ``alg`` and ``typ``, such as ``kid``.
        algorithm: of the signature.

    Raises:
        InvalidIdentity: the key cannot be used.

    """
    head = {"alg": algorithm, "typ": "JWT", **(headers or {})}
    text = f"{_coded(orjson.dumps(head))}.{_coded(orjson.dumps(dict(claims)))}"
    # Checking a large key takes tenths of a second.
    signature = await asyncio.to_thread(_sign, text.encode(), key, what, algorithm)
    return f"{text}.{_coded(signature)}"


def load_rsa_key(pem: str, *, what: str, password: str = "") -> RSAPrivateKey:
    """A private key. Blocks: call it in a thread.

    Args:
        pem: PKCS #1 or PKCS #8; other blocks around it, such as certificates, do no harm.
        what: names it in messages.
        password: of an encrypted one, which may ask for endless rounds: ``unlocking`` only.

    Raises:
        InvalidIdentity: it is no RSA key of 2048 to 8192 bits.

    """
    # Checking a key takes longer by the cube of its length: seconds for one of the whole size.
    blocks = (block.partition("-----END")[0] for block in pem.split("-----BEGIN ")[1:])
    keys = (block for block in blocks if "PRIVATE KEY" in block.partition("-----")[0])
    if len(pem) > _MAX_PEM or any(len(key) > _MAX_KEY for key in keys):
        raise InvalidIdentity(f"{what} is larger than any key")
    try:
        key = load_pem_private_key(pem.encode(), password.encode() if password else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidIdentity(f"{what} is not a private key in PEM form that can be read") from None
    if not isinstance(key, RSAPrivateKey) or key.key_size not in _SIZES:
        raise InvalidIdentity(f"{what} must be an RSA key of 2048 to 8192 bits")
    return key


def timestamp(moment: datetime) -> int:
    """Seconds since 1970, as claims have times."""
    return int(moment.timestamp())


def _sign(text: bytes, pem: str, what: str, algorithm: Algorithm) -> bytes:
    key = load_rsa_key(pem, what=what)
    if algorithm == "RS256":
        return key.sign(text, padding.PKCS1v15(), hashes.SHA256())
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)
    return key.sign(text, pss, hashes.SHA256())


def _coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
