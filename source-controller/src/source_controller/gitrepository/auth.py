"""From a Secret and a URL to the credentials of a fetch."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from fluvial.net.tls import InvalidTls, Tls, tls_from_secret
from source_controller.git.model import Auth
from source_controller.source.address import Address
from source_controller.source.run import StepFailed
from source_controller.source.secrets import auth_failed

__all__ = ["SCHEMES", "auth_from_secret"]

SCHEMES = ("http", "https", "ssh")
"""Of the addresses that are understood."""

_OPENSSH = b"openssh-key-v1\0"


def auth_from_secret(address: Address, secret: Mapping[str, bytes]) -> Auth:
    """The credentials for an address.

    Args:
        address: its user information is the fallback for HTTP.
        secret: decoded values; empty if the object names no Secret.

    Raises:
        StepFailed: ``AuthenticationFailed`` with what is missing or contradictory.

    """
    try:
        values = {key: value.decode() for key, value in secret.items()}
    except UnicodeDecodeError:
        raise _failed("a value of the Secret is not text") from None
    if address.scheme == "ssh":
        return _ssh(values)
    return _http(address, values)


def _http(address: Address, values: Mapping[str, str]) -> Auth:
    try:
        tls = tls_from_secret({key: value.encode() for key, value in values.items()})
    except InvalidTls as error:
        raise _failed(str(error)) from error
    bearer = values.get("bearerToken", "").strip()
    if bearer:
        if address.user or address.password:
            raise _failed("a bearer token and user information in spec.url exclude each other")
        if not bearer.isprintable():
            raise _failed("the bearerToken contains characters that cannot be sent")
        return _auth(tls, bearer=bearer)
    username = values.get("username", "")
    password = values.get("password", "")
    if not username and not password:
        username, password = address.user, address.password
    if password and not username:
        raise _failed("'password' is set without 'username'")
    return _auth(tls, username=username, password=password)


def _auth(tls: Tls, *, bearer: str = "", username: str = "", password: str = "") -> Auth:
    return Auth(
        username=username,
        password=password,
        bearer=bearer,
        ca=tls.ca,
        certificate=tls.certificate,
        certificate_key=tls.key,
    )


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
