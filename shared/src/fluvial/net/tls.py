"""From PEM texts to what OpenSSL wants: the one place where TLS contexts are made for objects."""

from __future__ import annotations

import functools
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from fluvial.errors import FluvialError

__all__ = ["InvalidTls", "Tls", "is_encrypted", "tls_context", "tls_from_secret"]

_NAMES = {
    "ca": ("ca.crt", "caFile"),
    "certificate": ("tls.crt", "certFile"),
    "key": ("tls.key", "keyFile"),
}


@dataclass(frozen=True, slots=True)
class Tls:
    """Trust and identity, as PEM texts.

    Attributes:
        ca: authorities that are trusted beside the system's.
        certificate: of the client, with its chain.
        key: of that certificate.
        verify: whether the server's certificate has to be by one of the authorities.

    """

    ca: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    verify: bool = True

    def without_certificate(self) -> Tls:
        """For a host that the certificate is not for."""
        return Tls(ca=self.ca, verify=self.verify)


class InvalidTls(FluvialError):
    """A CA or client certificate that cannot be used; the text tells nothing of its content."""


def tls_from_secret(values: Mapping[str, bytes]) -> Tls:
    """The TLS part of a Secret; empty if it has none.

    Args:
        values: ``ca.crt``, or ``tls.crt`` and ``tls.key``, or all three; the older names
            ``caFile``, ``certFile`` and ``keyFile`` count where the newer ones are missing.

    Raises:
        InvalidTls: half a pair, or a value that is not text.

    """
    found: dict[str, str] = {}
    for part, names in _NAMES.items():
        name = next((name for name in names if values.get(name)), "")
        try:
            found[part] = values.get(name, b"").decode()
        except UnicodeDecodeError:
            raise InvalidTls(f"{name!r} is not text") from None
    if bool(found["certificate"]) != bool(found["key"]):
        has, lacks = ("tls.crt", "tls.key") if found["certificate"] else ("tls.key", "tls.crt")
        raise InvalidTls(f"{has!r} is set without {lacks!r}")
    return Tls(found["ca"], found["certificate"], found["key"])


def tls_context(tls: Tls) -> ssl.SSLContext:
    """How TLS is spoken; not to be changed. Reads the system's authorities: call it in a thread.

    Raises:
        InvalidTls: the CA or the client certificate cannot be used.

    """
    if tls == Tls():
        return _system_trust()
    context = _new_context()
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.ca:
        try:
            context.load_verify_locations(cadata=tls.ca)
        except (ssl.SSLError, ValueError):
            raise InvalidTls("'ca.crt' holds no certificate that can be used") from None
    if tls.certificate:
        _load_certificate(context, tls)
    return context


@functools.cache
def _system_trust() -> ssl.SSLContext:
    """The same for everybody who brings no trust of his own: it takes 20 ms to make."""
    return _new_context()


def _new_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def is_encrypted(pem: str) -> bool:
    """Whether a PEM text has something that is opened by a password.

    OpenSSL would derive a key from whatever it is given, in as many rounds as the text says, and
    cannot be interrupted meanwhile: such a text must not get there.
    """
    return "ENCRYPTED" in pem  # the label of PKCS #8, and the header of what was before it


def _load_certificate(context: ssl.SSLContext, tls: Tls) -> None:
    if is_encrypted(tls.key) or is_encrypted(tls.certificate):
        raise InvalidTls("'tls.key' is encrypted, and there is no password for it")
    # OpenSSL reads them from files only; this one has no name.
    descriptor = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(f"{tls.key}\n{tls.certificate}\n".encode())
        file.flush()
        try:
            # Without a password given here OpenSSL would ask for one on the terminal.
            context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=lambda: "")
        except (ssl.SSLError, ValueError, OSError):
            raise InvalidTls(
                "'tls.crt' and 'tls.key' are no certificate and key that belong together"
            ) from None
