"""Keys of issuers: anybody may be one, so nothing of what it publishes may cost time."""

from __future__ import annotations

import base64
import threading
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from notification_controller.proof.oidc import _keys_of

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def number(bits: int) -> str:
    """A long odd number, as keys have them."""
    data = ((1 << bits) - 12345).to_bytes(bits // 8, "big")
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def public(key: Any = KEY, **more: str) -> dict[str, Any]:
    algorithms = {rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm}
    kind = next((found for base, found in algorithms.items() if isinstance(key, base)), None)
    if kind is None:
        is_ec = isinstance(key, ec.EllipticCurvePrivateKey)
        kind = jwt.algorithms.ECAlgorithm if is_ec else jwt.algorithms.OKPAlgorithm  # type: ignore[assignment]  # another of its kind
    assert kind is not None
    return {**orjson.loads(kind.to_jwk(key.public_key())), **more}


def test_a_private_key_of_long_numbers_is_not_computed_with() -> None:
    hostile = {"kty": "RSA", "kid": "a", "alg": "RS256", "e": "AQAB"}
    hostile |= {"n": number(8192), "d": number(1 << 19)}
    found: list[Any] = []
    worker = threading.Thread(
        target=lambda: found.append(_keys_of({"keys": [hostile]})), name="keys", daemon=True
    )
    worker.start()
    worker.join(10)

    assert len(found) == 1, "it takes hours otherwise"


@pytest.mark.parametrize(
    "entry",
    [
        {"kty": "RSA", "kid": "a", "alg": "RS256", "n": number(1 << 17), "e": "AQAB"},
        {"kty": "RSA", "kid": "a", "alg": "RS256", "n": number(2048), "e": number(1 << 17)},
        {"kty": "oct", "kid": "a", "alg": "HS256", "k": "c2VjcmV0"},
        {"kty": "RSA", "kid": "a", "n": 5, "e": "AQAB"},
        {"kty": ["RSA"], "kid": "a"},
        "text",
        None,
    ],
)
def test_what_is_no_public_key_of_usual_length_is_left_out(entry: Any) -> None:
    assert list(_keys_of({"keys": [entry, public(kid="good", alg="RS256")]})) == ["good"]


def test_public_keys_of_every_kind_are_known() -> None:
    keys = [
        public(kid="rsa", alg="RS256"),
        public(kid="other", use="sig"),
        public(ec.generate_private_key(ec.SECP256R1()), kid="ec"),
        public(ed25519.Ed25519PrivateKey.generate(), kid="okp", alg="EdDSA"),
    ]
    assert set(_keys_of({"keys": keys})) == {"rsa", "other", "ec", "okp"}
    assert _keys_of({"keys": 5}) == {}
    assert len(_keys_of({"keys": [public(kid=str(at)) for at in range(200)]})) == 100
