"""libgit2's process-wide settings, and the host-key check that pygit2 leaves out.

Only worker processes import this module. By itself pygit2 accepts every SSH host key and does not
show it; the C callback is registered here again. It answers "refused" if anything at all goes
wrong in it: an exception that escapes a callback would otherwise count as 0, which is "accepted".
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any, Protocol, cast

import pygit2
from pygit2.enums import ConfigLevel
from pygit2.ffi import C, ffi

from fluvial.workers.errors import WorkerError

__all__ = ["CertificateChecker", "configure", "set_timeouts", "stop_interrupting", "trust_ca"]

_REFUSED = -17  # GIT_ECERTIFICATE
_RAW_KEY = 1 << 3  # GIT_CERT_SSH_RAW
_MAPPED_BYTES = 256 << 20
_CONNECT_SECONDS = 30.0
_INTERRUPT_SECONDS = 0.05

_state: dict[str, str] = {}


class CertificateChecker(Protocol):
    """What the callbacks object of a connection must have."""

    def check_host(self, host: str) -> None:
        """Raise unless this is the host that was asked for."""
        ...

    def check_x509(self, *, valid: bool) -> None:
        """Raise unless the server's TLS certificate is good."""
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


def trust_ca(ca: str, folder: Path) -> None:
    """Trust the certificates of ``ca`` (PEM) beside the system's, until this process ends.

    Raises:
        WorkerError: code ``TrustDomain`` if this process trusts another CA already; such a call
            must go to another process.

    """
    if _state.setdefault("ca", ca) != ca:
        raise WorkerError("TrustDomain", "this worker serves another certificate authority")
    if not ca or _state.get("ca-loaded"):
        return
    path = folder / "ca.pem"
    path.write_text(ca)
    try:
        pygit2.settings.set_ssl_cert_locations(str(path), None)
    except pygit2.GitError as error:
        raise WorkerError("InvalidCA", "ca.crt holds no usable certificate") from error
    _state["ca-loaded"] = "yes"


def stop_interrupting() -> None:
    """Let waits be again, once a refused connection is closed."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def _interrupt_waits() -> None:
    """End the waits of this thread by a signal.

    Behind a proxy libgit2 closes a refused connection's socket first and then waits for it, to
    the time limit.
    """
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, _INTERRUPT_SECONDS, _INTERRUPT_SECONDS)


def _register_certificate_check() -> None:
    def callback(certificate: Any, valid: int, host: Any, payload: Any) -> int:
        checker = ffi.from_handle(payload)
        try:
            checker.check_host(ffi.string(host).decode())
            _check(cast("CertificateChecker", checker), certificate, valid=bool(valid))
        except Exception as error:  # noqa: BLE001  # raised again by pygit2 after the C call
            checker._stored_exception = error  # noqa: SLF001  # pygit2's own protocol
            _interrupt_waits()
            return _REFUSED
        return 0

    ffi.def_extern(name="_certificate_check_cb", error=_REFUSED)(callback)


def _check(checker: CertificateChecker, certificate: Any, *, valid: bool) -> None:
    kind = int(certificate.cert_type)
    if kind == C.GIT_CERT_X509:
        checker.check_x509(valid=valid)
    elif kind == C.GIT_CERT_HOSTKEY_LIBSSH2:
        checker.check_host_key(_raw_host_key(certificate))
    else:
        raise WorkerError("CertificateRefused", "the server shows no certificate")


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
