"""Names of repositories, tags and digests, read as go-containerregistry reads them.

``docker.io`` is short for ``index.docker.io``, a first part without dot, port or ``localhost`` is
no host but the beginning of a repository there, and a single word there means ``library/<word>``.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from fluvial.artifact.digest import Digest
from fluvial.artifact.errors import InvalidDigest
from source_controller.oci.errors import InvalidReference

__all__ = ["DOCKER_HUB", "SCHEME", "Repository", "check_tag", "parse_digest"]

SCHEME = "oci://"
DOCKER_HUB = "index.docker.io"
_HUB_ALIAS = "docker.io"
_HUB_NAMESPACE = "library/"
_REPOSITORY = re.compile(r"[a-z0-9_\-./]{1,255}")
_PART = re.compile(r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*")
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?)*"
    r"|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_PRIVATE = tuple(
    ipaddress.ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
)


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of a registry.

    Attributes:
        registry: host, with ``:port`` where one is given.
        name: path below it, without slashes at the ends.

    """

    registry: str
    name: str

    def __str__(self) -> str:
        return f"{self.registry}/{self.name}"

    @classmethod
    def parse_url(cls, url: str) -> Repository:
        """Read ``oci://<host>/<name>``, as ``spec.url`` has it.

        Raises:
            InvalidReference: it is no such URL, or it has a tag or digest.

        """
        if not url.startswith(SCHEME):
            raise InvalidReference(f"the URL must begin with {SCHEME}")
        text = url[len(SCHEME) :]
        if "@" in text:
            raise InvalidReference(
                "the URL must name a repository only: put a digest into spec.ref.digest,"
                " credentials into a Secret"
            )
        host, slash, rest = text.partition("/")
        if not slash and "." in host:
            raise InvalidReference("the URL names a registry, but no repository on it")
        if ":" in rest or (not slash and ":" in host):
            raise InvalidReference(
                "the URL must name a repository only: put a tag into spec.ref.tag"
            )
        return cls.parse(text)

    @classmethod
    def parse(cls, text: str) -> Repository:
        """Read ``[<host>/]<name>``.

        Raises:
            InvalidReference: it is not the name of a repository.

        """
        first, slash, rest = text.partition("/")
        if slash and ("." in first or ":" in first or first == "localhost"):
            registry, name = first, rest
        else:
            registry, name = DOCKER_HUB, text
        if registry == _HUB_ALIAS:
            registry = DOCKER_HUB
        _check_host(registry)
        if registry == DOCKER_HUB and "/" not in name:
            name = _HUB_NAMESPACE + name
        if not _REPOSITORY.fullmatch(name) or not all(map(_PART.fullmatch, name.split("/"))):
            raise InvalidReference(f"invalid repository name {name[:100]!r}")
        return cls(registry, name)

    @property
    def host(self) -> str:
        """The host without its port; IPv6 addresses without brackets."""
        return urlsplit(f"//{self.registry}").hostname or ""

    @property
    def is_local(self) -> bool:
        """Whether plain HTTP is tried without being asked for: on this machine or network."""
        host = self.host
        if host == "localhost" or host.endswith((".local", ".localhost")):
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return address.is_loopback or (
            address.version == 4 and any(address in network for network in _PRIVATE)
        )


def _check_host(registry: str) -> None:
    try:
        port = urlsplit(f"//{registry}").port
        valid = _HOST.fullmatch(registry) is not None and port != 0
    except ValueError:
        valid = False
    if not valid:
        raise InvalidReference(f"invalid registry host {registry[:100]!r}")


def check_tag(tag: str) -> str:
    """The tag, if it is one.

    Raises:
        InvalidReference: it has characters that no tag has, or too many.

    """
    if not _TAG.fullmatch(tag):
        raise InvalidReference(f"invalid tag {tag[:140]!r}")
    return tag


def parse_digest(text: str) -> Digest:
    """A digest.

    Raises:
        InvalidReference: it is malformed or of an unsupported algorithm.

    """
    try:
        return Digest.parse(text)
    except InvalidDigest as error:
        raise InvalidReference(str(error)) from error
