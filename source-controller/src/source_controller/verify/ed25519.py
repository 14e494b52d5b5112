"""Ed25519 signatures, pure and pre-hashed (RFC 8032 §5.1), for public keys only.

cosign signs with the pre-hashed form, which the cryptography package does not have. Nothing here
is secret, so that the time that it takes may tell anything.
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

__all__ = ["verifies_ed25519"]

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)
_PREHASHED = b"SigEd25519 no Ed25519 collisions\x01\x00"

_Point = tuple[int, int, int, int]
"""Extended coordinates: X, Y, Z, T with x = X/Z, y = Y/Z, xy = T/Z."""


def verifies_ed25519(
    key: Ed25519PublicKey, signature: bytes, message: bytes, *, prehashed: bool
) -> bool:
    """Whether a signature over a message is the key's.

    Args:
        key: public.
        signature: 64 bytes; any other length is no signature.
        message: what was signed, not yet hashed.
        prehashed: Ed25519ph with an empty context; else Ed25519.

    """
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    public = _decode(raw)
    s = int.from_bytes(signature[32:], "little")
    if public is None or len(signature) != 64 or s >= _ORDER:
        return False
    prefix = _PREHASHED if prehashed else b""
    content = hashlib.sha512(message).digest() if prehashed else message
    hashed = hashlib.sha512(prefix + signature[:32] + raw + content).digest()
    h = int.from_bytes(hashed, "little") % _ORDER
    x, y, z, t = public
    negated = (-x % _P, y, z, -t % _P)
    return _encode(_multiply(s, h, negated)) == signature[:32]


def _decode(raw: bytes) -> _Point | None:
    sign, y = raw[31] >> 7, int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return (x, y, 1, x * y % _P)


def _encode(point: _Point) -> bytes:
    inverse = pow(point[2], -1, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _add(one: _Point, other: _Point) -> _Point:
    a = (one[1] - one[0]) * (other[1] - other[0]) % _P
    b = (one[1] + one[0]) * (other[1] + other[0]) % _P
    c = 2 * one[3] * other[3] * _D % _P
    d = 2 * one[2] * other[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _double(point: _Point) -> _Point:
    a, b = point[0] * point[0] % _P, point[1] * point[1] % _P
    h = a + b
    e = h - (point[0] + point[1]) * (point[0] + point[1]) % _P
    g = a - b
    f = 2 * point[2] * point[2] + g
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _multiply(base: int, other: int, point: _Point) -> _Point:
    """The base point so many times, and another one so many times, in one go."""
    addends = (None, point, _BASE, _add(_BASE, point))
    result: _Point = (0, 1, 1, 0)
    for bit in range(max(base.bit_length(), other.bit_length()) - 1, -1, -1):
        result = _double(result)
        addend = addends[2 * (base >> bit & 1) + (other >> bit & 1)]
        if addend is not None:
            result = _add(result, addend)
    return result


def _base() -> _Point:
    found = _decode((4 * pow(5, -1, _P) % _P).to_bytes(32, "little"))
    assert found is not None  # noqa: S101  # a constant
    return found


_BASE = _base()
