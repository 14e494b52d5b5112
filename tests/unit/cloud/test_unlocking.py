"""Encrypted keys with certificates: such as computers open, and such as keep them busy for ever.

The hostile files are written here byte by byte (RFC 7292, RFC 8018): no library makes them.
"""

from __future__ import annotations

import base64
import hashlib
import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from fluvial.cloud.errors import InvalidIdentity
from fluvial.cloud.unlocking import Unlocking

_ENDLESS = 2**31 - 1
_SECONDS = 0.2  # of computing, for what would take a quarter of an hour
_DATA, _ENCRYPTED = "1.2.840.113549.1.7.1", "1.2.840.113549.1.7.6"
_SHROUDED_KEY = "1.2.840.113549.1.12.10.1.2"
_PBES2, _PBKDF2 = "1.2.840.113549.1.5.13", "1.2.840.113549.1.5.12"
_HMAC_SHA256, _SHA256 = "1.2.840.113549.2.9", "2.16.840.1.101.3.4.2.1"
_AES_256_CBC = "2.16.840.1.101.3.4.1.42"
_SALT, _IV = b"salt" * 4, bytes(16)


def _der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    if len(body) < 128:
        return bytes((tag, len(body))) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + body


def _sequence(*parts: bytes) -> bytes:
    return _der(0x30, *parts)


def _octets(data: bytes) -> bytes:
    return _der(0x04, data)


def _number(value: int) -> bytes:
    return _der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _id(text: str) -> bytes:
    first, second, *others = map(int, text.split("."))
    body = bytes((first * 40 + second,))
    for number in others:
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.insert(0, number & 0x7F | 0x80)
        body += bytes(digits)
    return _der(0x06, body)


def _scheme(rounds: int) -> bytes:
    function = _sequence(_id(_HMAC_SHA256), _der(0x05))
    derivation = _sequence(_id(_PBKDF2), _sequence(_octets(_SALT), _number(rounds), function))
    return _sequence(_id(_PBES2), _sequence(derivation, _sequence(_id(_AES_256_CBC), _octets(_IV))))


def _locked_key(rounds: int) -> bytes:
    """An EncryptedPrivateKeyInfo."""
    return _sequence(_scheme(rounds), _octets(bytes(32)))


def _content(kind: str, inner: bytes) -> bytes:
    return _sequence(_id(kind), _der(0xA0, inner))


def _file(*safes: bytes, mac: bytes = b"") -> bytes:
    """A PFX."""
    return _sequence(_number(3), _content(_DATA, _octets(_sequence(*safes))), mac)


def _key_bag(rounds: int) -> bytes:
    """SafeContents with one key that is encrypted for itself."""
    return _sequence(_sequence(_id(_SHROUDED_KEY), _der(0xA0, _locked_key(rounds))))


def _encrypted(plain: bytes, password: bytes, rounds: int) -> bytes:
    """A safe that is encrypted as a whole, so that nobody sees what is in it."""
    key = hashlib.pbkdf2_hmac("sha256", password, _SALT, rounds, 32)
    pad = 16 - len(plain) % 16
    cipher = Cipher(algorithms.AES(key), modes.CBC(_IV)).encryptor()
    data = cipher.update(plain + bytes((pad,)) * pad) + cipher.finalize()
    inner = _sequence(_id(_DATA), _scheme(rounds), _der(0x80, data))
    return _content(_ENCRYPTED, _sequence(_number(0), inner))


def _mac(rounds: int) -> bytes:
    digest = _sequence(_sequence(_id(_SHA256), _der(0x05)), _octets(bytes(32)))
    return _sequence(digest, _octets(_SALT), _number(rounds))


def _pem_of(label: str, data: bytes) -> bytes:
    text = base64.encodebytes(data)
    return f"-----BEGIN {label}-----\n".encode() + text + f"-----END {label}-----\n".encode()


_HOSTILE = {
    "the file's own digest": _file(mac=_mac(_ENDLESS)),
    "an encrypted safe": _file(_content(_ENCRYPTED, _sequence(_number(0), _sequence(
        _id(_DATA), _scheme(_ENDLESS), _der(0x80, bytes(32)))))),
    "a key": _file(_content(_DATA, _octets(_key_bag(_ENDLESS)))),
    "a key in an encrypted safe": _file(_encrypted(_key_bag(_ENDLESS), b"pass", 10)),
    "a key in PEM": _pem_of("ENCRYPTED PRIVATE KEY", _locked_key(_ENDLESS)),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("data", _HOSTILE.values(), ids=_HOSTILE.keys())
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
    safe = _encrypted(_key_bag(rounds), b"pass", rounds)
    for data in (_file(mac=_mac(rounds)), _file(safe)):
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
