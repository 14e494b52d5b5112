"""Keys that sign, and such as do not."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from clouds.assertions import verified_claims
from fluvial.cloud.errors import InvalidIdentity
from fluvial.cloud.jwt import load_rsa_key, sign_jwt


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, password: bytes = b"") -> str:
    encryption = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    ).decode()


_SMALL = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  # refused


@pytest.mark.parametrize(
    ("pem", "text"),
    [
        ("", "not a private key"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMA==\n-----END RSA PRIVATE KEY-----", "not a private"),
        ("x" * 40_000, "larger than any key"),
        (_pem(ec.generate_private_key(ec.SECP256R1())), "must be an RSA key"),
        (_pem(_SMALL), "2048 to 8192"),
    ],
    ids=["empty", "malformed", "endless", "another kind", "too small"],
)
async def test_what_does_not_sign(pem: str, text: str) -> None:
    with pytest.raises(InvalidIdentity, match=f"the app's key .*{text}"):
        await sign_jwt({}, pem, what="the app's key")


def test_a_password_opens_an_encrypted_key(rsa_pem: str) -> None:
    key = load_rsa_key(rsa_pem, what="the key")
    locked = _pem(key, b"pass")
    for wrong in ("", "other"):
        with pytest.raises(InvalidIdentity, match="can be read"):
            load_rsa_key(locked, what="the key", password=wrong)

    opened = load_rsa_key(locked, what="the key", password="pass")
    assert opened.private_numbers() == key.private_numbers()


async def test_a_signature_is_of_the_key(rsa_pem: str) -> None:
    token = await sign_jwt({"iss": "7"}, rsa_pem, what="the key", headers={"kid": "k"})

    assert verified_claims(token, rsa_pem) == {"iss": "7"}


def test_a_key_that_takes_long_to_check_is_not_looked_at(rsa_pem: str) -> None:
    """Certificates around a key may be long, the key itself may not."""
    around = "-----BEGIN CERTIFICATE-----\n" + "A" * 20_000 + "\n-----END CERTIFICATE-----\n"
    assert load_rsa_key(rsa_pem + around, what="it").key_size >= 2048
    assert load_rsa_key(around + rsa_pem, what="it").key_size >= 2048
    body = "A" * 8193
    long = f"-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----\n"
    for pem in (long, f"PRIVATE KEY-----\n-----END\n{long}", rsa_pem + long):
        with pytest.raises(InvalidIdentity, match="larger than any key"):
            load_rsa_key(pem, what="it")
