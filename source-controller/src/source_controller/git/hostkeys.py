"""``known_hosts``: which host keys may be believed. Pure, and fails closed.

Entries may be plain, hashed, with wildcards and negations. A key that is ``@revoked`` is refused
whatever else says; certificate authorities are not supported and count for nothing. A host on
another port than 22 needs an entry ``[host]:port``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass

from fluvial.artifact.ignore import glob_match

__all__ = [
    "HostKey",
    "check_host_key",
    "fingerprint",
    "keys_for",
    "preference_file",
]

SSH_PORT = 22
_MAX_LINE = 64 << 10


@dataclass(frozen=True, slots=True)
class HostKey:
    """One key of a matching line."""

    kind: str
    blob: bytes
    revoked: bool


def keys_for(known_hosts: str, host: str, port: int) -> list[HostKey]:
    """The keys whose lines match a host and port."""
    name = _address(host, port)
    return [key for patterns, key in _lines(known_hosts) if _matches(patterns, name)]


def check_host_key(known_hosts: str, host: str, port: int, blob: bytes) -> str:
    """Decide about a key that a server has shown.

    Returns:
        ``""`` if the key is known for this host and port, otherwise why it is refused, with the
        key's fingerprint.

    """
    keys = keys_for(known_hosts, host, port)
    shown = f"{_address(host, port)} shows the key {fingerprint(blob)}"
    if any(key.revoked and key.blob == blob for key in keys):
        return f"host key revoked: {shown}, which known_hosts marks as revoked"
    good = [key for key in keys if not key.revoked]
    if any(hmac.compare_digest(key.blob, blob) for key in good):
        return ""
    if good:
        known = ", ".join(fingerprint(key.blob) for key in good)
        return f"host key mismatch: {shown}, but known_hosts has {known}"
    return f"host key unknown: {shown}, and known_hosts has no entry for this host"


def fingerprint(blob: bytes) -> str:
    """``SHA256:<base64>``, as ``ssh-keygen -l`` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def preference_file(known_hosts: str, host: str, port: int, *, names: str) -> str:
    """A ``known_hosts`` for libgit2, which picks the kind of key to ask the server for by it.

    Args:
        known_hosts: what is trusted.
        host: the real host.
        port: its port.
        names: how libgit2 calls it.

    """
    lines = [
        f"{names} {key.kind} {base64.b64encode(key.blob).decode()}\n"
        for key in keys_for(known_hosts, host, port)
        if not key.revoked
    ]
    return "".join(lines)


def _address(host: str, port: int) -> str:
    host = host.strip("[]").lower()
    return host if port == SSH_PORT else f"[{host}]:{port}"


def _lines(known_hosts: str) -> Iterator[tuple[str, HostKey]]:
    for line in known_hosts.splitlines():
        parts = line.split() if len(line) <= _MAX_LINE else []
        if not parts or parts[0].startswith("#"):
            continue
        marker = parts.pop(0) if parts[0].startswith("@") else ""
        if len(parts) < 3 or marker not in {"", "@revoked"}:
            continue
        try:
            blob = base64.b64decode(parts[2], validate=True)
        except (binascii.Error, ValueError):
            continue
        if _kind_of(blob) == parts[1]:
            yield parts[0], HostKey(parts[1], blob, revoked=bool(marker))


def _kind_of(blob: bytes) -> str:
    """The kind of key that a blob says it is: a length-prefixed name comes first (RFC 4253)."""
    length = int.from_bytes(blob[:4], "big")
    return blob[4 : 4 + length].decode("ascii", errors="replace")


def _matches(patterns: str, name: str) -> bool:
    if patterns.startswith("|1|"):
        return _matches_hash(patterns, name)
    found = False
    for pattern in patterns.lower().split(","):
        if _wildcard(pattern.removeprefix("!"), name):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def _matches_hash(hashed: str, name: str) -> bool:
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in hashed[3:].split("|"))
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), digest)


def _wildcard(pattern: str, name: str) -> bool:
    """``*`` and ``?`` only; the other special characters of ``glob_match`` are taken literally."""
    return glob_match(re.sub(r"([\\\[])", r"\\\1", pattern), name)
