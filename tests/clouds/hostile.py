"""Files with keys that nobody opens in a lifetime, written byte by byte: no library makes them.

RFC 7292 (PKCS #12), RFC 8018 (PBES2), RFC 5958 (encrypted keys).
"""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

__all__ = ["ENDLESS", "HOSTILE", "encrypted_safe", "key_bag", "locked_pem", "mac", "pfx"]

ENDLESS = 2**31 - 1
"""Rounds that take a quarter of an hour and more."""

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


def pfx(*safes: bytes, digest: bytes = b"") -> bytes:
    """A PFX."""
    return _sequence(_number(3), _content(_DATA, _octets(_sequence(*safes))), digest)


def key_bag(rounds: int) -> bytes:
    """SafeContents with one key that is encrypted for itself."""
    return _sequence(_sequence(_id(_SHROUDED_KEY), _der(0xA0, _locked_key(rounds))))


def encrypted_safe(plain: bytes, password: bytes, rounds: int) -> bytes:
    """A safe that is encrypted as a whole, so that nobody sees what is in it."""
    key = hashlib.pbkdf2_hmac("sha256", password, _SALT, rounds, 32)
    pad = 16 - len(plain) % 16
    cipher = Cipher(algorithms.AES(key), modes.CBC(_IV)).encryptor()
    data = cipher.update(plain + bytes((pad,)) * pad) + cipher.finalize()
    inner = _sequence(_id(_DATA), _scheme(rounds), _der(0x80, data))
    return _content(_ENCRYPTED, _sequence(_number(0), inner))


def mac(rounds: int) -> bytes:
    """A digest of the whole file, by a key that is derived."""
    digest = _sequence(_sequence(_id(_SHA256), _der(0x05)), _octets(bytes(32)))
    return _sequence(digest, _octets(_SALT), _number(rounds))


def locked_pem(rounds: int) -> bytes:
    """A key of its own, in PEM; whatever the password, there is none in it."""
    text = base64.encodebytes(_locked_key(rounds)).decode()
    label = "ENCRYPTED PRIVATE KEY"
    return f"-----BEGIN {label}-----\n{text}-----END {label}-----\n".encode()


HOSTILE = {
    "the file's own digest": pfx(digest=mac(ENDLESS)),
    "an encrypted safe": pfx(_content(_ENCRYPTED, _sequence(_number(0), _sequence(
        _id(_DATA), _scheme(ENDLESS), _der(0x80, bytes(32)))))),
    "a key": pfx(_content(_DATA, _octets(key_bag(ENDLESS)))),
    "a key in an encrypted safe": pfx(encrypted_safe(key_bag(ENDLESS), b"pass", 10)),
    "a key in PEM": locked_pem(ENDLESS),
}  # fmt: skip
