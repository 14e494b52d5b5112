"""SSH signatures, as ``git commit -S`` makes them with ``gpg.format=ssh``.

The format is OpenSSH's PROTOCOL.sshsig; the namespace is ``git``. Ed25519, ECDSA and RSA keys (with
SHA-2 only) and the first two on a security token (PROTOCOL.u2f), whose user must have been present.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
from collections.abc import Iterator

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

__all__ = ["SshSignatureError", "authorized_keys", "fingerprint", "verify_ssh"]

BEGIN, END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_MAGIC, _VERSION = b"SSHSIG", (1).to_bytes(4, "big")
_NAMESPACE = b"git"
_HASHES = {b"sha256": hashlib.sha256, b"sha512": hashlib.sha512}
_RSA_HASHES: dict[bytes, HashAlgorithm] = {b"rsa-sha2-256": SHA256(), b"rsa-sha2-512": SHA512()}
_CURVE_HASHES: dict[str, HashAlgorithm] = {
    "secp256r1": SHA256(),
    "secp384r1": SHA384(),
    "secp521r1": SHA512(),
}
_TOKEN = b"@openssh.com"
_USER_PRESENT = 1
_MIN_RSA_BITS = 2048


class SshSignatureError(Exception):
    """The signature does not hold; the text says why."""


def authorized_keys(text: str) -> list[bytes]:
    """The keys of an ``authorized_keys`` file, in their wire form; what is no key is left out."""
    found: list[bytes] = []
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        for kind, encoded in itertools.pairwise(words):
            try:
                blob = base64.b64decode(encoded, validate=True)
                if next(_strings(blob)) == kind.encode():
                    found.append(blob)
                    break
            except (binascii.Error, ValueError, StopIteration):
                continue
    return found


def verify_ssh(armored: str, payload: bytes, keys: list[bytes]) -> str:
    """Check a signature.

    Args:
        armored: with its BEGIN and END lines.
        payload: what was signed.
        keys: those that may have signed, in wire form.

    Returns:
        The fingerprint of the key, ``SHA256:...``.

    Raises:
        SshSignatureError: it is malformed, over something else, for another purpose, or by another
            key.

    """
    try:
        key, namespace, reserved, algorithm, signature = _take(_unarmor(armored), 5)
        hasher = _HASHES[algorithm]
        kind, *parts = _take(signature, 2, rest=True)
    except (binascii.Error, KeyError, ValueError):
        raise SshSignatureError("the SSH signature is malformed") from None
    if namespace != _NAMESPACE:
        raise SshSignatureError("the SSH signature was not made for git")
    if key not in keys:
        raise SshSignatureError(f"it is signed by the unknown SSH key {fingerprint(key)}")
    digest = hasher(payload).digest()
    signed = _MAGIC + b"".join(_pack(item) for item in (namespace, reserved, algorithm, digest))
    try:
        _check(key, kind, parts, signed)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, LookupError):
        raise SshSignatureError(
            f"the signature of the SSH key {fingerprint(key)} does not fit the content"
        ) from None
    return fingerprint(key)


def fingerprint(key: bytes) -> str:
    """``SHA256:<base64>`` as ``ssh-keygen -l`` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def _check(key: bytes, kind: bytes, parts: list[bytes], signed: bytes) -> None:
    """Verify by the kind of key.

    Raises:
        InvalidSignature, UnsupportedAlgorithm, ValueError, LookupError: it does not hold.

    """
    raw, tail = parts
    fields = list(_strings(key))
    if kind.endswith(_TOKEN):
        if fields[0] != kind or len(tail) != 5 or not tail[0] & _USER_PRESENT:
            raise ValueError
        signed = hashlib.sha256(fields[-1]).digest() + tail + hashlib.sha256(signed).digest()
        kind = kind.removeprefix(b"sk-").removesuffix(_TOKEN)
        fields = [kind, *fields[1:-1]]
    elif tail:
        raise ValueError
    public = load_ssh_public_key(fields[0] + b" " + base64.b64encode(b"".join(map(_pack, fields))))
    if isinstance(public, ed25519.Ed25519PublicKey) and kind == fields[0]:
        public.verify(raw, signed)
    elif isinstance(public, ec.EllipticCurvePublicKey) and kind == fields[0]:
        r, s = (int.from_bytes(part, "big") for part in _strings(raw))
        algorithm = ec.ECDSA(_CURVE_HASHES[public.curve.name])
        public.verify(encode_dss_signature(r, s), signed, algorithm)
    elif isinstance(public, rsa.RSAPublicKey) and public.key_size >= _MIN_RSA_BITS:
        public.verify(raw, signed, padding.PKCS1v15(), _RSA_HASHES[kind])
    else:
        raise ValueError


def _unarmor(armored: str) -> bytes:
    """What follows magic and version.

    Raises:
        ValueError: it is no SSH signature of version 1.

    """
    lines = armored.strip().splitlines()
    if not lines or lines[0].strip() != BEGIN or lines[-1].strip() != END:
        raise ValueError
    blob = base64.b64decode("".join(line.strip() for line in lines[1:-1]), validate=True)
    if not blob.startswith(_MAGIC + _VERSION):
        raise ValueError
    return blob[len(_MAGIC + _VERSION) :]


def _pack(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _take(data: bytes, count: int, *, rest: bool = False) -> list[bytes]:
    """The first strings of wire-format data; with ``rest`` the last item is what follows them.

    Raises:
        ValueError: there are fewer, or more without ``rest``.

    """
    found: list[bytes] = []
    for _ in range(count):
        length = int.from_bytes(data[:4], "big")
        if len(data) < 4 + length:
            raise ValueError
        found.append(data[4 : 4 + length])
        data = data[4 + length :]
    if rest:
        return [*found, data]
    if data:
        raise ValueError
    return found


def _strings(data: bytes) -> Iterator[bytes]:
    """All strings of wire-format data.

    Raises:
        ValueError: it is cut.

    """
    while data:
        item, data = _take(data, 1, rest=True)
        yield item
