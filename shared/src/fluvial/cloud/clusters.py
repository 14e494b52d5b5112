"""The clusters that ConfigMaps describe: found, and logged in to, each by its own provider.

A ``fluvial.kube.described.Clusters``. Who logs in is a service account of the ConfigMap's namespace,
behind the feature gate, or the controller. What the controller shows of itself goes to clusters
that the cloud itself points to, or is a token that is good for the described address alone:
whoever may write a ConfigMap must not get a token of the controller for any other place.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Final

from fluvial.clock import Clock
from fluvial.cloud import aks, eks, gke
from fluvial.cloud.errors import (
    CloudError,
    IdentityDisabled,
    InvalidIdentity,
    LoginUnreachable,
)
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.model import DIRECT, AccessToken, Identity, ServiceAccount
from fluvial.cloud.places import Places
from fluvial.kube.auth import CredentialsError, bearer
from fluvial.kube.described import Description, Endpoint
from fluvial.kube.errors import ApiError, Unreachable
from fluvial.net.dialer import Dialer

__all__ = ["CloudClusters", "ClusterAuth"]

_PLACES_SECONDS: Final = 900.0
_HELD_SECONDS: Final = 10.0
_RENEWAL_SECONDS: Final = 60.0


class CloudClusters:
    """Finds described clusters and logs in to them.

    Args:
        identities: of the process; its default service account is that of remote clusters.
        dialer: whose policy says which addresses a described cluster may have.

    """

    def __init__(self, identities: CloudIdentities, dialer: Dialer) -> None:
        self._identities = identities
        self._dialer = dialer

    @property
    def dialer(self) -> Dialer:
        """See above."""
        return self._dialer

    def auth(self, description: Description) -> ClusterAuth:
        """Gives a token that is good now, for each request; asks for nothing yet."""
        return ClusterAuth(self, description, clock=self._identities.clock)

    async def endpoint(self, description: Description) -> Endpoint:
        """Where the cluster is; a cloud is asked again after a quarter of an hour at most.

        Raises:
            CloudError: see ``errors``; the text begins with the key that is wrong, if one is.

        """
        identity = self._identity(description)
        written = Endpoint(description.address, description.ca)
        if description.provider == "generic":
            return written
        if description.provider == "aws" or description.cluster:
            _check_cluster(description)
        if isinstance(identity, ServiceAccount) and written.address and written.ca:
            return written
        _check_cluster(description)
        parts = {"about": description.digest, "who": repr(identity)}
        places = await self._identities.cached(
            "cluster", parts, DIRECT, lambda: self._describe(description, identity)
        )
        return _chosen(description, places.all, may_differ=isinstance(identity, ServiceAccount))

    async def token(self, description: Description, *, renew: bool = False) -> AccessToken:
        """A token that the cluster takes; never one of another namespace's account.

        A token of AKS or GKE that is refused is not got anew before its time.

        Args:
            description: which cluster, and who logs in.
            renew: the one that is kept was refused.

        Raises:
            CloudError: see ``errors``.

        """
        identity = self._identity(description)
        match description.provider:
            case "generic":
                return await self._identities.kubernetes(
                    identity,
                    audience=_audience(description, identity),
                    about=description.digest,
                    renew=renew,
                )
            case "aws":
                return await eks.token(
                    self._identities,
                    description.cluster,
                    identity=identity,
                    about=description.digest,
                    renew=renew,
                )
            case "azure":
                return await aks.token(self._identities, identity=identity)
            case "gcp":
                return await gke.token(self._identities, identity=identity)

    def _identity(self, description: Description) -> Identity:
        """Who logs in.

        Raises:
            IdentityDisabled: a service account is named while the feature gate is off.
            InvalidIdentity: audiences are named for the controller's own token.

        """
        try:
            found = self._identities.identity_of(description.namespace, description.service_account)
        except IdentityDisabled:
            raise IdentityDisabled(
                "serviceAccountName: needs the feature gate ObjectLevelWorkloadIdentity,"
                " which this controller runs without"
            ) from None
        if isinstance(found, ServiceAccount):
            return replace(found, audiences=description.audiences)
        if description.audiences:
            raise InvalidIdentity(
                "audiences: are for the token of a service account, and serviceAccountName is not"
                " set; a token of the controller is for the address alone"
            )
        return found

    async def _describe(self, description: Description, identity: Identity) -> Places:
        until = self._identities.clock.now() + timedelta(seconds=_PLACES_SECONDS)
        ask = {"aws": eks.describe, "azure": aks.describe, "gcp": gke.describe}
        found = await ask[description.provider](
            self._identities, description.cluster, identity=identity
        )
        return Places(found, until)


class ClusterAuth:
    """The ``Authorization`` of requests to a described cluster.

    Who logs in is looked at anew every ten seconds, and the token is renewed by the cache before
    it ends: a wait may last longer than any token. Where the API server or a cloud cannot be
    reached, the token that is there goes on while it is good; one that may not be used any more
    is not used.
    """

    def __init__(self, clusters: CloudClusters, description: Description, *, clock: Clock) -> None:
        self._clusters = clusters
        self._description = description
        self._clock = clock
        self._lock = asyncio.Lock()
        self._held: AccessToken | None = None
        self._until = 0.0
        self._renewed_at: float | None = None

    async def header(self) -> str:
        """The header's value now.

        Raises:
            CredentialsError: nobody can log in; the text has no secret.

        """
        async with self._lock:
            if self._held is None or self._clock.monotonic() >= self._until:
                await self._look()
            return bearer(self._held.token if self._held else "")

    async def refresh(self) -> bool:
        """The server refused the token: get another, once a minute at most."""
        async with self._lock:
            now, before = self._clock.monotonic(), self._held
            if self._renewed_at is not None and now - self._renewed_at < _RENEWAL_SECONDS:
                return False
            self._renewed_at = now
            await self._look(renew=True)
            return self._held != before

    async def _look(self, *, renew: bool = False) -> None:
        try:
            self._held = await self._clusters.token(self._description, renew=renew)
        except CloudError as error:
            if renew or not _passes(error) or not self._is_good():
                self._held = None
                raise CredentialsError(str(error)) from error
        self._until = self._clock.monotonic() + _HELD_SECONDS

    def _is_good(self) -> bool:
        held = self._held
        if held is None or held.expires_at is None:
            return False
        return held.expires_at - self._clock.now() > timedelta(seconds=_HELD_SECONDS)


def _passes(error: CloudError) -> bool:
    """Whether it says nothing about who may log in."""
    cause = error.__cause__
    busy = isinstance(cause, ApiError) and (cause.status >= 500 or cause.status == 429)
    return isinstance(error, LoginUnreachable) or isinstance(cause, Unreachable) or busy


def _audience(description: Description, identity: Identity) -> str:
    """Whom a token is for that names nobody else: the address, as it is written.

    A bare name could be something else to others, so none is in a token of the controller.
    """
    written = description.written_address
    if isinstance(identity, ServiceAccount) or "://" in written:
        return written
    return description.address


def _check_cluster(description: Description) -> None:
    """Refuse a name that is not one of the provider's clusters, before anybody is asked."""
    if not description.cluster:
        raise InvalidIdentity(
            f"cluster: is needed and not set: the provider {description.provider!r} looks it up"
        )
    check = {"aws": eks.parse_arn, "azure": aks.check_id, "gcp": gke.check_name}
    check[description.provider](description.cluster)


def _chosen(
    description: Description, places: tuple[Endpoint, ...], *, may_differ: bool
) -> Endpoint:
    """The address that is described among those that the cloud has, with its authority.

    ``may_differ``: whether the ConfigMap's authority counts instead of the cloud's; that of a
    cluster to which the controller shows itself must be the cloud's.
    """
    wanted = description.address
    found = next((place for place in places if wanted in {"", place.address}), None)
    if found is None:
        known = ", ".join(place.address for place in places)
        raise InvalidIdentity(f"address: {wanted} is none of the cluster's: {known}")
    if not description.ca:
        return found
    if not may_differ and description.ca.split() != found.ca.split():
        raise InvalidIdentity(
            "ca.crt: is not the cluster's; leave it out, or set serviceAccountName: the controller"
            " does not show itself to servers that only a ConfigMap vouches for"
        )
    return Endpoint(found.address, description.ca)
