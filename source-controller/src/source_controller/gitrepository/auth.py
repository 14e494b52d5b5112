"""From a Secret and a URL to the credentials of a fetch."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit, urlunsplit

from source_controller.git.hostkeys import is_plain_host
from source_controller.git.model import Auth
from source_controller.source import reasons
from source_controller.source.run import StepFailed
from source_controller.source.secrets import auth_failed

__all__ = ["Address", "auth_from_secret", "parse_address"]

_OPENSSH = b"openssh-key-v1\0"
_CLIENT_CERTIFICATE = ("tls.crt", "tls.key", "certFile", "keyFile")


@dataclass(frozen=True, slots=True)
class Address:
    """A URL without its user information, and that information.

    Attributes:
        url: safe to show.
        scheme: ``http``, ``https`` or ``ssh``.
        user: from the URL, decoded.
        password: from the URL, decoded.

    """

    url: str
    scheme: str
    user: str
    password: str

    def __repr__(self) -> str:
        return f"Address({self.url!r})"


def parse_address(url: str) -> Address:
    """Take a URL apart.

    Raises:
        StepFailed: ``URLInvalid``, stalled: it is not a URL that can be fetched.

    """
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname
    except ValueError as error:
        raise _invalid_url("the host or port cannot be read") from error
    if parts.scheme not in {"http", "https", "ssh"} or not is_plain_host(host or ""):
        raise _invalid_url("it needs the scheme http, https or ssh, and a host")
    assert host is not None  # noqa: S101  # checked above
    if any(char.isspace() or ord(char) < 32 for char in url):
        raise _invalid_url("it contains white space or control characters")
    netloc = f"[{host}]" if ":" in host else host
    if port is not None:
        netloc = f"{netloc}:{port}"
    return Address(
        urlunsplit((parts.scheme, netloc, parts.path, parts.query, "")),
        parts.scheme,
        unquote(parts.username or ""),
        unquote(parts.password or ""),
    )


def auth_from_secret(address: Address, secret: Mapping[str, bytes]) -> Auth:
    """The credentials for an address.

    Args:
        address: its user information is the fallback for HTTP.
        secret: decoded values; empty if the object names no Secret.

    Raises:
        StepFailed: ``AuthenticationFailed`` with what is missing or contradictory, or
            ``UnsupportedField`` for a client certificate.

    """
    try:
        values = {key: value.decode() for key, value in secret.items()}
    except UnicodeDecodeError:
        raise _failed("a value of the Secret is not text") from None
    if address.scheme == "ssh":
        return _ssh(values)
    return _http(address, values)


def _http(address: Address, values: Mapping[str, str]) -> Auth:
    certificate = next((key for key in _CLIENT_CERTIFICATE if values.get(key)), None)
    if certificate is not None:
        raise StepFailed(
            reasons.FETCH_FAILED,
            reasons.UNSUPPORTED_FIELD,
            f"{certificate!r} in the Secret of spec.secretRef is not supported yet:"
            " client certificates cannot be used",
            kind="stalled",
        )
    ca = values.get("ca.crt") or values.get("caFile") or ""
    bearer = values.get("bearerToken", "").strip()
    if bearer:
        if address.user or address.password:
            raise _failed("a bearer token and user information in spec.url exclude each other")
        if not bearer.isprintable():
            raise _failed("the bearerToken contains characters that cannot be sent")
        return Auth(bearer=bearer, ca=ca)
    username = values.get("username", "")
    password = values.get("password", "")
    if not username and not password:
        username, password = address.user, address.password
    if password and not username:
        raise _failed("'password' is set without 'username'")
    return Auth(username=username, password=password, ca=ca)


def _ssh(values: Mapping[str, str]) -> Auth:
    for key in ("identity", "known_hosts"):
        if not values.get(key, "").strip():
            raise _failed(
                f"invalid 'ssh' auth option: '{key}' is required in the Secret of spec.secretRef"
            )
    identity, password = values["identity"], values.get("password", "")
    if _is_encrypted(identity) and not password:
        raise _failed("the SSH key 'identity' is encrypted, but there is no 'password'")
    return Auth(identity=identity, identity_password=password, known_hosts=values["known_hosts"])


def _is_encrypted(identity: str) -> bool:
    if "ENCRYPTED" in identity:
        return True
    lines = [line.strip() for line in identity.splitlines() if line.strip()]
    if not lines or "OPENSSH PRIVATE KEY" not in lines[0]:
        return False
    try:
        blob = base64.b64decode("".join(lines[1:-1]))
    except (binascii.Error, ValueError):
        return False
    cipher = blob[len(_OPENSSH) + 4 : len(_OPENSSH) + 8]
    return blob.startswith(_OPENSSH) and cipher != b"none"


def _failed(message: str) -> StepFailed:
    return auth_failed(f"failed to configure authentication options: {message}")


def _invalid_url(problem: str) -> StepFailed:
    return StepFailed(
        reasons.FETCH_FAILED,
        reasons.URL_INVALID,
        f"spec.url is not valid: {problem}",
        kind="stalled",
    )
