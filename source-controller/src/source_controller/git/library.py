"""libgit2's process-wide settings, and the host-key check that pygit2 leaves out.

Only worker processes import this module. By itself pygit2 accepts every SSH host key and does not
show it; the C callback is registered here again. It answers "refused" if anything at all goes
wrong in it: an exception that escapes a callback would otherwise count as 0, which is "accepted".
"""

from __future__ import annotations

from typing import Any, Protocol, cast

import pygit2
from pygit2.enums import ConfigLevel
from pygit2.ffi import C, ffi

from fluvial.workers.errors import WorkerError

__all__ = ["CertificateChecker", "configure", "set_timeouts"]

_REFUSED = -17  # GIT_ECERTIFICATE
_RAW_KEY = 1 << 3  # GIT_CERT_SSH_RAW
_MAPPED_BYTES = 256 << 20
_CONNECT_SECONDS = 30.0


class CertificateChecker(Protocol):
    """What the callbacks object of a connection must have."""

    def check_host(self, host: str) -> None:
        """Raise unless this is the host that was asked for."""
        ...

    def check_host_key(self, blob: bytes) -> None:
        """Raise unless the server's SSH host key is known."""
        ...


def configure() -> None:
    """Set once what no repository may change: no user's configuration, bounded mappings."""
    for level in (ConfigLevel.SYSTEM, ConfigLevel.GLOBAL, ConfigLevel.XDG, ConfigLevel.PROGRAMDATA):
        pygit2.settings.search_path[level] = ""
    pygit2.settings.mwindow_mapped_limit = _MAPPED_BYTES
    pygit2.settings.user_agent_product = "git/2.0 (fluvial source-controller)"
    _register_certificate_check()


def set_timeouts(seconds: float) -> None:
    """Bound connecting and every wait for the server; the deadline itself is checked elsewhere."""
    pygit2.settings.server_connect_timeout = int(min(seconds, _CONNECT_SECONDS) * 1000)
    pygit2.settings.server_timeout = int(seconds * 1000)


def _register_certificate_check() -> None:
    def callback(certificate: Any, _valid: int, host: Any, payload: Any) -> int:
        checker = ffi.from_handle(payload)
        try:
            checker.check_host(ffi.string(host).decode())
            _check(cast("CertificateChecker", checker), certificate)
        except Exception as error:  # noqa: BLE001  # raised again by pygit2 after the C call
            checker._stored_exception = error  # noqa: SLF001  # pygit2's own protocol
            return _REFUSED
        return 0

    ffi.def_extern(name="_certificate_check_cb", error=_REFUSED)(callback)


def _check(checker: CertificateChecker, certificate: Any) -> None:
    if int(certificate.cert_type) != C.GIT_CERT_HOSTKEY_LIBSSH2:
        raise WorkerError("CertificateRefused", "TLS is the relay's, not the library's")
    checker.check_host_key(_raw_host_key(certificate))


def _raw_host_key(certificate: Any) -> bytes:
    """The key itself, from libgit2's ``git_cert_hostkey``.

    pygit2 declares an old, shorter form of the struct. Its fields are: kind (int), flags (int),
    md5 (16 bytes), sha1 (20), sha256 (32), kind of key (int), pointer, length (size_t).
    """
    start = ffi.cast("char *", certificate)
    flags = ffi.cast("int *", start + 4)[0]
    if not flags & _RAW_KEY:
        raise WorkerError("CertificateRefused", "the server's host key cannot be read")
    pointer = ffi.cast("char **", start + 80)[0]
    length = ffi.cast("size_t *", start + 88)[0]
    return bytes(ffi.buffer(pointer, length))
