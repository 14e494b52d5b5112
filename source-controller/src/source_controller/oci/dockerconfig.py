"""Docker configuration files in Secrets, and whose credentials go to which repository.

An entry's key may be a host, with or without ``https://``, port, ``/v1/`` or ``/v2/``, a host with
the beginning of a repository's path, and each label of the host may have the wildcards of a shell.
The most special entry that fits wins, as in a kubelet. A path fits by whole parts: ``ghcr.io/org``
is no key to ``ghcr.io/organisation``.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import orjson

from source_controller.oci.errors import InvalidCredentials
from source_controller.oci.reference import DOCKER_HUB, Repository

__all__ = ["ANONYMOUS", "Credentials", "Keyring", "parse_pull_secret"]

_JSON_KEY = ".dockerconfigjson"
_LEGACY_KEY = ".dockercfg"
_JSON_TYPE = "kubernetes.io/dockerconfigjson"
_LEGACY_TYPE = "kubernetes.io/dockercfg"
_HUB_NAMES = frozenset({DOCKER_HUB, "docker.io", "registry-1.docker.io"})
_MAX_ENTRIES = 1000


@dataclass(frozen=True, slots=True)
class Credentials:
    """What proves who we are to one registry; all empty is nobody.

    Attributes:
        username: with ``password``, or alone.
        password: of the user.
        identity_token: refresh token for the registry's token service.
        registry_token: bearer token sent as it is.

    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        return any((self.username, self.password, self.identity_token, self.registry_token))


ANONYMOUS = Credentials()


@dataclass(frozen=True, slots=True)
class _Entry:
    host: str
    port: int | None
    path: str
    credentials: Credentials

    def fits(self, repository: Repository) -> bool:
        target = urlsplit(f"//{repository.registry}")
        if self.port != target.port:
            return False
        if self.path and not f"{repository.name}/".startswith(f"{self.path}/"):
            return False
        host = (target.hostname or "").lower()
        if host in _HUB_NAMES and self.host in _HUB_NAMES:
            return True
        patterns, labels = self.host.split("."), host.split(".")
        return len(patterns) == len(labels) and all(
            fnmatch.fnmatchcase(label, pattern)
            for label, pattern in zip(labels, patterns, strict=True)
        )


class Keyring:
    """The entries of all Secrets of an object.

    Args:
        entries: in the order of the Secrets.

    """

    def __init__(self, entries: Iterable[_Entry] = ()) -> None:
        # A longer path and a name without wildcards are more special; ties go to the first.
        self._entries = sorted(
            entries, key=lambda entry: (-len(entry.path), _wildcards(entry.host), -len(entry.host))
        )

    def __add__(self, other: Keyring) -> Keyring:
        return Keyring([*self._entries, *other._entries])

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, repository: Repository) -> Credentials:
        """The credentials for a repository, ``ANONYMOUS`` if no entry fits."""
        return next(
            (entry.credentials for entry in self._entries if entry.fits(repository)), ANONYMOUS
        )


def parse_pull_secret(kind: str, data: Mapping[str, bytes]) -> Keyring:
    """The entries of one Secret.

    Args:
        kind: its ``type``; one that is no pull secret has no entries, as in a kubelet.
        data: its decoded values.

    Raises:
        InvalidCredentials: the Secret is malformed; the message quotes no value.

    """
    if kind == _JSON_TYPE and data.get(_JSON_KEY):
        document = _load(data[_JSON_KEY])
        auths = document.get("auths", {})
    elif kind == _LEGACY_TYPE and data.get(_LEGACY_KEY):
        auths = _load(data[_LEGACY_KEY])
    else:
        return Keyring()
    if not isinstance(auths, dict) or len(auths) > _MAX_ENTRIES:
        raise InvalidCredentials("the pull secret's 'auths' is not an object of registries")
    return Keyring([_entry(key, value) for key, value in auths.items()])


def _load(raw: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(raw)
    except ValueError:
        raise InvalidCredentials("the pull secret is not JSON") from None
    if not isinstance(document, dict):
        raise InvalidCredentials("the pull secret is not a JSON object")
    return document


def _entry(key: str, value: object) -> _Entry:
    text = key if key.startswith(("https://", "http://")) else f"https://{key}"
    try:
        parts = urlsplit(text)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    if not host or parts.username is not None:
        raise InvalidCredentials("the pull secret has an entry whose key names no registry")
    path = parts.path
    if path.startswith(("/v1/", "/v2/")) or path in {"/v1", "/v2"}:
        path = path[3:]
    return _Entry(host, port, path.strip("/"), _credentials(key, value))


def _credentials(key: str, value: object) -> Credentials:
    if not isinstance(value, dict):
        raise InvalidCredentials(f"the pull secret's entry {key[:100]!r} is not an object")
    texts = {name: item for name, item in value.items() if isinstance(item, str)}
    username, password = texts.get("username", ""), texts.get("password", "")
    if texts.get("auth"):
        username, password = _basic(key, texts["auth"])
    found = Credentials(
        username, password, texts.get("identitytoken", ""), texts.get("registrytoken", "")
    )
    sent = (found.username, found.password, found.identity_token, found.registry_token)
    if not all(item.isprintable() for item in sent):
        raise InvalidCredentials(
            f"the pull secret's entry {key[:100]!r} has characters that cannot be sent"
        )
    return found


def _basic(key: str, auth: str) -> tuple[str, str]:
    try:
        packed = "".join(auth.split())
        text = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidCredentials(
            f"the pull secret's entry {key[:100]!r} has an 'auth' that is not base64"
        ) from None
    username, colon, password = text.partition(":")
    if not colon:
        raise InvalidCredentials(
            f"the pull secret's entry {key[:100]!r} has an 'auth' without a colon"
        )
    return username, password.strip("\0")


def _wildcards(host: str) -> int:
    return sum(host.count(char) for char in "*?[")
