"""Ed25519 in our own hand, beside OpenSSL's."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from source_controller.oci.errors import VerificationFailed
from source_controller.verify.ed25519 import verifies_ed25519
from source_controller.verify.keys import SlowChecks, verifies

ORDER = 2**252 + 27742317777372353535851937790883648493

# RFC 8032 §7.3, the test vector of Ed25519ph
PUBLIC = "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf"
SIGNATURE = (
    "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae41"
    "31f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406"
)


def test_the_vector_of_the_standard() -> None:
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(PUBLIC))
    signature = bytes.fromhex(SIGNATURE)

    assert verifies_ed25519(key, signature, b"abc", prehashed=True)
    assert not verifies_ed25519(key, signature, b"abd", prehashed=True)
    assert not verifies_ed25519(key, signature, b"abc", prehashed=False)


@given(st.binary(max_size=200), st.integers(0, 64 * 8 - 1))
@settings(max_examples=10, deadline=None)
def test_agrees_with_openssl(message: bytes, bit: int) -> None:
    private = Ed25519PrivateKey.generate()
    signature = private.sign(message)
    changed = bytearray(signature)
    changed[bit // 8] ^= 1 << bit % 8

    assert verifies_ed25519(private.public_key(), signature, message, prehashed=False)
    assert not verifies_ed25519(private.public_key(), bytes(changed), message, prehashed=False)


@pytest.mark.parametrize("length", [0, 32, 63, 65])
def test_other_lengths(length: int) -> None:
    key = Ed25519PrivateKey.generate().public_key()

    assert not verifies_ed25519(key, bytes(length), b"", prehashed=True)


def test_a_second_form_of_the_same_signature() -> None:
    private = Ed25519PrivateKey.generate()
    signature = private.sign(b"x")
    shifted = int.from_bytes(signature[32:], "little") + ORDER

    again = signature[:32] + shifted.to_bytes(32, "little")
    assert not verifies_ed25519(private.public_key(), again, b"x", prehashed=False)


def test_keys_that_are_no_point() -> None:
    for raw in (b"\x02" + bytes(31), b"\xff" * 32, b"\x01" + bytes(30) + b"\x80"):
        key = Ed25519PublicKey.from_public_bytes(raw)
        assert not verifies_ed25519(key, bytes(64), b"x", prehashed=True)


def test_keys_times_signatures_are_bounded() -> None:
    """A hundred keys and fifty signatures would be five thousand checks of milliseconds."""
    keys = [Ed25519PrivateKey.generate().public_key() for _ in range(3)]
    slow = SlowChecks(5)

    assert not verifies(keys, bytes(64), b"x", slow=slow)
    with pytest.raises(VerificationFailed, match="too many Ed25519 keys"):
        verifies(keys, bytes(64), b"x", slow=slow)


def test_what_openssl_can_check_is_not_counted() -> None:
    private = Ed25519PrivateKey.generate()
    signature = private.sign(b"x")

    assert verifies([private.public_key()], signature, b"x", slow=SlowChecks(0))
