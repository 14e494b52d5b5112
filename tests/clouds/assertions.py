"""Assertions, read and verified by a library that is not ours."""

from __future__ import annotations

from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import load_pem_private_key

__all__ = ["verified_claims"]


def verified_claims(
    token: str, private_key: str, *, algorithm: str = "RS256", audience: str | None = None
) -> dict[str, Any]:
    """The claims of an assertion that a key has signed; its times are the test's to judge."""
    key = load_pem_private_key(private_key.encode(), None).public_key()
    pem = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    claims: dict[str, Any] = jwt.decode(
        token,
        pem,
        algorithms=[algorithm],
        audience=audience,
        options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
    )
    return claims
