"""Clusters that a tenant describes in a ConfigMap instead of giving a kubeconfig.

``spec.kubeConfig.configMapRef``: the ConfigMap says whose cluster it is and how to get in, and has
no credentials. What it may say is read here, and the client is made here; who logs in, and where
an address is found that is not written down, is the work of a ``Clusters`` (``fluvial.cloud``).

The ConfigMap is a tenant's: its address is https, a host and a port, and nothing that the operator's
policy denies, checked when the name is resolved and again for each connection.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, cast, get_args
from urllib.parse import urlsplit

from fluvial.clock import Clock
from fluvial.errors import FluvialError
from fluvial.kube.auth import Auth
from fluvial.kube.connection import BadConnection, Connection, tls_context
from fluvial.kube.http import HttpKubeClient
from fluvial.kube.urls import UnsafeName, service_account_user
from fluvial.net.dialer import Dialer
from fluvial.net.errors import NetError
from fluvial.net.hosts import host_name, literal_address

__all__ = [
    "BadDescription",
    "Clusters",
    "Description",
    "Endpoint",
    "Provider",
    "canonical_address",
    "client_from_description",
    "read_description",
]

Provider = Literal["aws", "azure", "gcp", "generic"]

_PROVIDERS: Final = get_args(Provider)
_TIMEOUT = 30.0
_SHOWN = 60
_MAX_AUDIENCES = 16
_MAX_AUDIENCE = 1024
_MAX_CA = 256 * 1024


class BadDescription(FluvialError):
    """The ConfigMap cannot be used; the text begins with the key that is wrong."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a ConfigMap says.

    Attributes:
        namespace: the ConfigMap's, and that of the object that names it.
        provider: whose cluster it is; ``generic`` for any that trusts this one's tokens.
        cluster: the cloud's name for it; ``""`` where address and authority are enough.
        address: ``https://host:port`` in its canonical form, or ``""``.
        written_address: as the ConfigMap has it: what a token is for if no audience is named.
        ca: PEM of the authorities of its API server, or ``""``.
        audiences: of the service account's token; empty for what is usual.
        service_account: in the same namespace, who logs in; ``""`` for the default.

    """

    namespace: str
    provider: Provider
    cluster: str = ""
    address: str = ""
    written_address: str = ""
    ca: str = ""
    audiences: tuple[str, ...] = ()
    service_account: str = ""

    @property
    def digest(self) -> str:
        """Hex that is equal only if all of it is."""
        texts = (
            *(self.namespace, self.provider, self.cluster, self.address, self.written_address),
            *(self.ca, self.service_account, *self.audiences),
        )
        hasher = hashlib.sha256()
        for text in texts:
            data = text.encode()
            hasher.update(len(data).to_bytes(8, "big") + data)
        return hasher.hexdigest()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an API server is.

    Attributes:
        address: ``https://host:port``, canonical.
        ca: PEM of its authorities; ``""`` for those of the system.

    """

    address: str
    ca: str = field(default="", repr=False)


class Clusters(Protocol):
    """Finds described clusters and logs in to them."""

    @property
    def dialer(self) -> Dialer:
        """Whose policy says which addresses a described cluster may have."""
        ...

    async def endpoint(self, description: Description) -> Endpoint:
        """Where the cluster is, of now.

        Raises:
            FluvialError: it cannot be found out, or not by this description; the text has no
                secret.

        """
        ...

    def auth(self, description: Description) -> Auth:
        """Gives a token that is good now, for each request; asks for nothing yet."""
        ...


def read_description(namespace: str, data: Mapping[str, str]) -> Description:
    """What the data of a ConfigMap says. Parses certificates: use a thread.

    Args:
        namespace: of the ConfigMap.
        data: its ``data``; keys that mean nothing are passed over, as in Flux.

    Raises:
        BadDescription: a key is missing or has a value that cannot be used.

    """
    provider = data.get("provider", "").strip()
    if provider not in _PROVIDERS:
        problem = f"{_shown(provider)} is not known" if provider else "is needed and not set"
        raise BadDescription(f"provider: {problem}; it is aws, azure, gcp or generic")
    written = data.get("address", "").strip()
    found = Description(
        namespace=namespace,
        provider=cast("Provider", provider),
        cluster=data.get("cluster", "").strip(),
        address=canonical_address(written) if written else "",
        written_address=written,
        ca=_authorities(data.get("ca.crt", "")),
        audiences=_audiences(data.get("audiences", "")),
        service_account=data.get("serviceAccountName", "").strip(),
    )
    if provider == "generic" and not written:
        raise BadDescription("address: is needed and not set: the provider 'generic' looks up none")
    if found.service_account:
        try:
            service_account_user(namespace, found.service_account)
        except UnsafeName as error:
            raise BadDescription(f"serviceAccountName: {error}") from error
    return found


def canonical_address(text: str) -> str:
    """``https://host:port`` of an address, in lower case and always with the port.

    Args:
        text: with or without the scheme and the port.

    Raises:
        BadDescription: it is not https, or has more than a host and a port.

    """
    whole = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(whole)
        host, port = parts.hostname or "", parts.port or 443
        plain = parts.username is None and parts.path in {"", "/"} and not parts.query
        plain = plain and not parts.fragment and "?" not in whole and "#" not in whole
    except ValueError:
        raise BadDescription(f"address: {_shown(text)} is not a valid address") from None
    if parts.scheme != "https":
        raise BadDescription(f"address: {_shown(text)} must use https")
    if not host or not plain:
        raise BadDescription(f"address: {_shown(text)} must be https, a host and a port only")
    try:
        name = literal_address(host) or host_name(host).lower()
    except NetError as error:
        raise BadDescription(f"address: {error}") from error
    return f"https://[{name}]:{port}" if ":" in name else f"https://{name}:{port}"


async def client_from_description(
    endpoint: Endpoint,
    *,
    auth: Auth,
    dialer: Dialer,
    user_agent: str,
    clock: Clock | None = None,
) -> HttpKubeClient:
    """A client of a described cluster. Resolves its name, and opens no connection yet.

    Args:
        endpoint: what ``Clusters.endpoint`` has found.
        auth: gives the tokens.
        dialer: knows which addresses are allowed.
        user_agent: sent with every request.
        clock: the time.

    Raises:
        BadDescription: the address is denied or does not resolve, or the authority is none.

    """
    parts = urlsplit(endpoint.address)
    try:
        # The last word has the connection's own check; this one is asked for its words.
        await dialer.addresses(parts.hostname or "", parts.port or 443)
    except NetError as error:
        raise BadDescription(f"address: {error}") from error
    try:
        connection = Connection(
            server=endpoint.address,
            tls=await asyncio.to_thread(tls_context, ca=endpoint.ca.encode() or None),
            auth=auth,
            check_address=dialer.policy.check,
            trusted=False,
        )
    except BadConnection as error:
        raise BadDescription(f"ca.crt: {error}") from error
    return HttpKubeClient(
        connection, user_agent=user_agent, timeout=_TIMEOUT, max_connections=20, clock=clock
    )


def _authorities(text: str) -> str:
    pem = text.strip()
    if not pem:
        return ""
    if len(pem) > _MAX_CA:
        raise BadDescription(f"ca.crt: is longer than {_MAX_CA} characters")
    try:
        tls_context(ca=pem.encode())
    except BadConnection as error:
        raise BadDescription(f"ca.crt: {error}") from error
    return pem


def _audiences(text: str) -> tuple[str, ...]:
    found = tuple(filter(None, (line.strip() for line in text.splitlines())))
    if len(found) > _MAX_AUDIENCES:
        raise BadDescription(f"audiences: there are more than {_MAX_AUDIENCES}")
    if any(len(one) > _MAX_AUDIENCE or not one.isprintable() for one in found):
        raise BadDescription("audiences: one is too long, or has characters that none has")
    return found


def _shown(text: str) -> str:
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
