"""Who logs in, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from fluvial.net.proxy import ProxyServer
from fluvial.objects import ObjectKey

__all__ = [
    "CONTROLLER",
    "DIRECT",
    "AccessToken",
    "AwsCredentials",
    "ControllerIdentity",
    "Credential",
    "Identity",
    "ServiceAccount",
    "Way",
]


@dataclass(frozen=True, slots=True)
class ControllerIdentity:
    """The controller's own: what its environment, its pod or its machine gives it."""


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """An object's own identity: a service account of its namespace.

    Attributes:
        namespace: the object's.
        name: of the service account.
        audiences: of the token that is exchanged; empty for the usual one of the provider.

    """

    namespace: str
    name: str
    audiences: tuple[str, ...] = ()

    @property
    def key(self) -> ObjectKey:
        """Namespace and name."""
        return ObjectKey(self.namespace, self.name)


Identity = ControllerIdentity | ServiceAccount
CONTROLLER: Final = ControllerIdentity()


@dataclass(frozen=True, slots=True)
class Way:
    """How the services of a cloud are reached. Metadata services are asked directly, always.

    Attributes:
        proxy: of the object, through which the public services are asked.
        ca: PEM of authorities that are trusted beside the system's.

    """

    proxy: ProxyServer | None = None
    ca: str = field(default="", repr=False)


DIRECT: Final = Way()


@dataclass(frozen=True, slots=True)
class AwsCredentials:
    """Keys for requests to AWS, to be used with ``sigv4``.

    Attributes:
        access_key: its id; no secret.
        secret_key: that signs.
        session_token: sent along with temporary keys; ``""`` for permanent ones.
        expires_at: ``None`` for permanent ones.

    """

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A bearer token."""

    token: str = field(repr=False)
    expires_at: datetime | None = None


Credential = AwsCredentials | AccessToken
