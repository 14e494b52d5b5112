"""Whether a commit or a tag was signed by one of the keys that a GitRepository trusts.

The kind of signature follows from its armour. OpenPGP is judged by Sequoia under its standard
policy, which refuses SHA-1 and keys that had expired or were revoked; SSH by ``sshsig``. Signatures
by X.509 certificates are not supported, and count as invalid.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import pysequoia

from source_controller.git.sshsig import SshSignatureError, authorized_keys, verify_ssh

__all__ = ["SignatureInvalid", "split_tag", "verify"]

_PGP = ("-----BEGIN PGP SIGNATURE-----", "-----BEGIN PGP MESSAGE-----")
_SSH = "-----BEGIN SSH SIGNATURE-----"
_X509 = "-----BEGIN SIGNED MESSAGE-----"
_KEY_BLOCK = re.compile(
    r"-----BEGIN PGP PUBLIC KEY BLOCK-----.*?-----END PGP PUBLIC KEY BLOCK-----", re.DOTALL
)
_SSH_SUFFIX = ".sshpub"
_MAX_KEYS = 1 << 20


class SignatureInvalid(Exception):
    """There is no signature that holds; the text says why, for a status."""


def verify(signature: str, payload: bytes, keys: Mapping[str, str]) -> str:
    """Check a signature against all keys of its kind.

    Args:
        signature: armored; ``""`` where the object is not signed.
        payload: the object's content without the signature.
        keys: data of the Secret, by name: ``*.sshpub`` are authorized keys of SSH, all others
            OpenPGP key rings.

    Returns:
        What identifies the key that signed: the id of an OpenPGP key in 16 hex digits, or the
        fingerprint of an SSH key.

    Raises:
        SignatureInvalid: see there.

    """
    kind = signature.lstrip()
    if not kind:
        raise SignatureInvalid("it is not signed")
    if kind.startswith(_SSH):
        return _verify_ssh(signature, payload, keys)
    if kind.startswith(_PGP):
        return _verify_pgp(signature, payload, keys)
    if kind.startswith(_X509):
        raise SignatureInvalid("signatures by X.509 certificates are not supported")
    raise SignatureInvalid("the signature is of an unknown kind")


def split_tag(raw: bytes) -> tuple[str, bytes]:
    """The signature and what it signs, of an annotated tag's raw content.

    Returns:
        ``("", raw)`` for a tag without a signature.

    """
    starts = [raw.rfind(b"\n" + begin.encode()) for begin in (*_PGP, _SSH, _X509)]
    start = max(starts) + 1
    if start == 0:
        return "", raw
    return raw[start:].decode("utf-8", errors="replace"), raw[:start]


def _verify_ssh(signature: str, payload: bytes, keys: Mapping[str, str]) -> str:
    texts = [text for name, text in keys.items() if name.endswith(_SSH_SUFFIX)]
    known = [key for text in texts for key in authorized_keys(text)]
    if not known:
        raise SignatureInvalid(
            "it is signed by an SSH key, and the Secret has none: put authorized keys into"
            f" an entry whose name ends in {_SSH_SUFFIX}"
        )
    try:
        return verify_ssh(signature, payload, known)
    except SshSignatureError as error:
        raise SignatureInvalid(str(error)) from error


def _verify_pgp(signature: str, payload: bytes, keys: Mapping[str, str]) -> str:
    certificates = _certificates(keys)
    if not certificates:
        raise SignatureInvalid(
            "it is signed by an OpenPGP key, and the Secret has none: put armored public keys"
            " into an entry whose name ends in .asc"
        )
    try:
        found = pysequoia.verify(
            bytes=payload,
            store=lambda _: certificates,
            signature=pysequoia.Sig.from_bytes(signature.encode()),
        )
    except Exception as error:  # the library raises plain Exception
        raise SignatureInvalid(
            "none of the OpenPGP keys of the Secret has signed this content"
        ) from error
    if not found.valid_sigs:
        raise SignatureInvalid("none of the OpenPGP keys of the Secret has signed this content")
    return str(found.valid_sigs[0].certificate)[-16:].upper()


def _certificates(keys: Mapping[str, str]) -> list[pysequoia.Cert]:
    """All key rings' certificates; one that cannot be read does not hide the others."""
    found: list[pysequoia.Cert] = []
    for name, text in keys.items():
        if name.endswith(_SSH_SUFFIX) or len(text) > _MAX_KEYS:
            continue
        for block in _KEY_BLOCK.findall(text):
            try:
                found += pysequoia.Cert.split_bytes(block.encode())
            except Exception:  # noqa: BLE001, S112  # the library raises plain Exception
                continue
    return found
