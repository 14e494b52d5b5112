"""Encrypted keys with certificates: such as computers open, and such as keep them busy for ever."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from clouds.hostile import HOSTILE, encrypted_safe, key_bag, mac, pfx
from fluvial.cloud.errors import InvalidIdentity
from fluvial.cloud.unlocking import Unlocking

_SECONDS = 0.2  # of computing, for what would take a quarter of an hour


@pytest.mark.slow
@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
async def test_endless_rounds_cost_a_moment_and_that_once(data: bytes) -> None:
    unlocking = Unlocking(seconds=_SECONDS)
    with pytest.raises(InvalidIdentity, match=r"not opened within 0\.2s of computing: .* rounds"):
        await unlocking.open(data, "pass")
    spent = time.process_time()
    with pytest.raises(InvalidIdentity, match="fewer rounds"):
        await unlocking.open(data, "pass")

    assert time.process_time() - spent < _SECONDS
    assert len(unlocking._refused) == 1


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [1, 2048])
async def test_rounds_are_what_the_hostile_files_differ_in(rounds: int) -> None:
    """With few rounds the same files are refused for what is in them, which is nothing."""
    safe = encrypted_safe(key_bag(rounds), b"pass", rounds)
    for data in (pfx(digest=mac(rounds)), pfx(safe)):
        with pytest.raises(InvalidIdentity, match="or its password cannot be used"):
            await Unlocking(seconds=10).open(data, "pass")


@pytest.fixture(scope="module")
def pair() -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    """A key and its certificate."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "app")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(7)
    builder = builder.not_valid_before(start).not_valid_after(start + timedelta(days=900))
    return key, builder.sign(key, hashes.SHA256())


def _packed(pair: tuple[rsa.RSAPrivateKey, x509.Certificate], kind: str) -> bytes:
    key, certificate = pair
    if kind == "pem":
        pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        text = key.private_bytes(pem, form, serialization.BestAvailableEncryption(b"pass"))
        return text + certificate.public_bytes(pem)
    builder = serialization.PrivateFormat.PKCS12.encryption_builder().kdf_rounds(600_000)
    lock = builder.build(b"pass")
    return pkcs12.serialize_key_and_certificates(b"app", key, certificate, None, lock)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["pem", "pkcs12"])
async def test_what_is_encrypted_as_is_usual_is_opened(
    pair: tuple[rsa.RSAPrivateKey, x509.Certificate], form: str
) -> None:
    data = _packed(pair, form)
    with pytest.raises(InvalidIdentity, match=r"read|cannot be used"):
        await Unlocking().open(data, "other")
    found = await Unlocking().open(data, "pass")
    key = load_pem_private_key(found.key.encode(), None)

    assert found.chain == (pair[1],)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.private_numbers() == pair[0].private_numbers()
    assert found.key not in repr(found)


@pytest.mark.parametrize("data", [b"", b"x" * 70_000], ids=["nothing", "too much"])
async def test_what_is_no_file_needs_no_process(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/nonexistent")
    with pytest.raises(InvalidIdentity, match=r"needs a client secret|too large"):
        await Unlocking().open(data, "pass")
