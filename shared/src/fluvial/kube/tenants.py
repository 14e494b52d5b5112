"""The tenant's identity: who does everything that is done for an object of its.

Local: the controller's connection with ``Impersonate-User``. Remote: the kubeconfig's credentials,
or the tokens of whom a ConfigMap names (``described``), with the service account impersonated on
top where one is named. Where neither a service account nor a default is set, the controller's own
identity acts, as in Flux.

A connection to a remote cluster is shared by the objects that name the same key of the same
Secret, or the same ConfigMap, and closed when none of them uses it any more. A Secret or ConfigMap
that changes gives a new one; who is waiting for health over the old one keeps it until its next
attempt.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from fluvial.api.meta import KubeConfigReference
from fluvial.errors import FluvialError
from fluvial.kube import kinds
from fluvial.kube.auth import Auth
from fluvial.kube.client import KubeClient
from fluvial.kube.described import (
    Clusters,
    Description,
    client_from_description,
    read_description,
)
from fluvial.kube.discovery import RestMapper
from fluvial.kube.errors import ApiError, NotFound
from fluvial.kube.http import HttpKubeClient
from fluvial.kube.remote import KubeConfigRefused, client_from_kubeconfig
from fluvial.kube.resource import Resource
from fluvial.kube.urls import UnsafeName, service_account_user
from fluvial.objects import JsonObject, ObjectKey

__all__ = ["Actor", "Tenant", "TenantRefused", "TenantRules", "Tenants"]

_DEFAULT_KEYS = ("value", "value.yaml")


class TenantRefused(FluvialError):
    """The kubeconfig, or the ConfigMap in its place, is missing, unreadable or refused, nobody can
    log in by it, or the service account's name is none.
    """


@dataclass(frozen=True, slots=True)
class Actor:
    """What an object says about who acts for it.

    Attributes:
        owner: the object; its namespace is that of the service account and of the kubeconfig.
        service_account: ``spec.serviceAccountName``.
        kube_config: ``spec.kubeConfig``.

    """

    owner: ObjectKey
    service_account: str = ""
    kube_config: KubeConfigReference | None = None


@dataclass(frozen=True, slots=True)
class TenantRules:
    """What the operator allows: Flux's flags of the same names."""

    default_service_account: str = ""
    insecure_kubeconfig_exec: bool = False
    insecure_kubeconfig_tls: bool = False


@dataclass(frozen=True, slots=True)
class Tenant:
    """An identity on one cluster.

    Attributes:
        client: acts as the tenant.
        mapper: the cluster's discovery, shared by its tenants.
        watcher: for metadata-only watches, which are nothing but wake-ups.
        user: the impersonated user, or ``""``.
        remote: the objects are in another cluster.

    """

    client: KubeClient
    mapper: RestMapper
    watcher: KubeClient
    user: str
    remote: bool


_Name = tuple[str, ObjectKey, str | None]
"""The kind and name of what leads to a cluster, and the key in it."""


@dataclass(frozen=True, slots=True, eq=False)
class _Remote:
    source: ObjectKey
    version: str
    client: HttpKubeClient
    mapper: RestMapper


@dataclass(frozen=True, slots=True)
class _Described:
    """What was read of a version of a ConfigMap."""

    version: str
    description: Description
    auth: Auth = field(repr=False)


class Tenants:
    """Makes tenants; keeps the connections to remote clusters."""

    def __init__(
        self,
        client: KubeClient,
        mapper: RestMapper,
        *,
        rules: TenantRules,
        user_agent: str,
        guard: Callable[[KubeClient], KubeClient],
        clusters: Clusters | None = None,
    ) -> None:
        """``guard`` wraps clients of remote clusters, so that a lost lease stops their writes.

        Args:
            client: of this cluster, as the controller.
            mapper: of this cluster.
            rules: what the operator allows.
            user_agent: sent to remote clusters.
            guard: see above.
            clusters: finds what ConfigMaps describe; without it none of them is used.

        """
        self._client = client
        self._mapper = mapper
        self._rules = rules
        self._user_agent = user_agent
        self._guard = guard
        self._clusters = clusters
        self._latest: dict[_Name, _Remote] = {}
        self._described: dict[ObjectKey, _Described] = {}
        self._used: dict[ObjectKey, _Remote] = {}

    async def tenant_of(self, actor: Actor) -> Tenant:
        """The identity that acts for an object.

        Raises:
            TenantRefused: there is none.

        """
        client, mapper, remote = self._client, self._mapper, False
        if actor.kube_config is not None:
            found = await self._remote(actor.owner.namespace, actor.kube_config)
            await self._use(actor.owner, found)
            client, mapper, remote = self._guard(found.client), found.mapper, True
        else:
            await self.release(actor.owner)
        user = self.user_of(actor)
        acting = client.impersonate(user) if user else client
        return Tenant(acting, mapper, client, user, remote)

    def user_of(self, actor: Actor) -> str:
        """The impersonated user, or ``""``.

        Raises:
            TenantRefused: the name cannot be one of a service account.

        """
        name = self.service_account_of(actor)
        if not name:
            return ""
        try:
            return service_account_user(actor.owner.namespace, name)
        except UnsafeName as error:
            raise TenantRefused(f"spec.serviceAccountName: {error}") from error

    def service_account_of(self, actor: Actor) -> str:
        """The name of the service account, or ``""``."""
        return actor.service_account or self._rules.default_service_account

    async def account_is_gone(self, actor: Actor) -> bool:
        """Whether the local service account that would act does not exist any more.

        Raises:
            TenantRefused: the name cannot be one of a service account.
            ApiError: the API server does not say.

        """
        name = self.service_account_of(actor)
        if not name or actor.kube_config is not None:
            return False
        self.user_of(actor)
        try:
            await self._client.get(kinds.SERVICE_ACCOUNT, ObjectKey(actor.owner.namespace, name))
        except NotFound:
            return True
        return False

    @property
    def connections(self) -> tuple[ObjectKey, ...]:
        """The Secret or ConfigMap of each connection to a remote cluster."""
        return tuple(remote.source for remote in {*self._used.values(), *self._latest.values()})

    async def release(self, key: ObjectKey) -> None:
        """Say that an object uses no remote cluster any more."""
        remote = self._used.pop(key, None)
        if remote is not None:
            await self._close_unused(remote)

    async def aclose(self) -> None:
        """Close the connections to remote clusters."""
        remotes = {*self._used.values(), *self._latest.values()}
        self._used.clear()
        self._latest.clear()
        for remote in remotes:
            await remote.client.aclose()

    async def _use(self, key: ObjectKey, remote: _Remote) -> None:
        before = self._used.get(key)
        self._used[key] = remote
        if before is not None and before is not remote:
            await self._close_unused(before)

    async def _close_unused(self, remote: _Remote) -> None:
        if remote in self._used.values():
            return
        for name, latest in list(self._latest.items()):
            if latest is remote:
                del self._latest[name]
                if name[0] == kinds.CONFIG_MAP.kind:
                    self._described.pop(remote.source, None)
        await remote.client.aclose()

    async def _remote(self, namespace: str, config: KubeConfigReference) -> _Remote:
        if config.config_map_ref is not None:
            return await self._by_config_map(ObjectKey(namespace, config.config_map_ref.name))
        reference = config.secret_ref
        if not reference:
            raise TenantRefused("spec.kubeConfig needs secretRef or configMapRef, and has neither")
        key = ObjectKey(namespace, reference.name)
        secret = await self._read(kinds.SECRET, key)

        async def make() -> HttpKubeClient:
            return await client_from_kubeconfig(
                _kubeconfig_in(secret, reference.key),
                allow_exec=self._rules.insecure_kubeconfig_exec,
                allow_insecure_tls=self._rules.insecure_kubeconfig_tls,
                user_agent=self._user_agent,
            )

        name = (kinds.SECRET.kind, key, reference.key)
        try:
            return await self._connected(name, _version_of(secret), make)
        except KubeConfigRefused as error:
            raise TenantRefused(f"spec.kubeConfig: Secret '{key}': {error}") from error

    async def _by_config_map(self, key: ObjectKey) -> _Remote:
        """The cluster that a ConfigMap describes, once somebody has a token for it."""
        clusters = self._clusters
        if clusters is None:
            raise TenantRefused("spec.kubeConfig.configMapRef is switched off in this process")
        obj = await self._read(kinds.CONFIG_MAP, key)
        try:
            described = await self._describe(obj, key, clusters)
            endpoint = await clusters.endpoint(described.description)
            await described.auth.header()

            async def make() -> HttpKubeClient:
                return await client_from_description(
                    endpoint,
                    auth=described.auth,
                    dialer=clusters.dialer,
                    user_agent=self._user_agent,
                )

            ca = hashlib.sha256(endpoint.ca.encode()).hexdigest()
            version = f"{described.version} {endpoint.address} {ca}"
            return await self._connected((kinds.CONFIG_MAP.kind, key, None), version, make)
        except FluvialError as error:
            self._described.pop(key, None)
            raise TenantRefused(f"spec.kubeConfig: ConfigMap '{key}': {error}") from error

    async def _describe(self, obj: JsonObject, key: ObjectKey, clusters: Clusters) -> _Described:
        version = _version_of(obj)
        known = self._described.get(key)
        if known is not None and known.version == version:
            return known
        data = obj.get("data") or {}
        description = await asyncio.to_thread(read_description, key.namespace, data)
        found = _Described(version, description, clusters.auth(description))
        self._described[key] = found
        return found

    async def _read(self, resource: Resource, key: ObjectKey) -> JsonObject:
        what = f"spec.kubeConfig: {resource.kind} '{key}'"
        try:
            return await self._client.get(resource, key)
        except NotFound as error:
            raise TenantRefused(f"{what} does not exist") from error
        except (ApiError, UnsafeName) as error:
            raise TenantRefused(f"{what} cannot be read: {error}") from error

    async def _connected(
        self, name: _Name, version: str, make: Callable[[], Awaitable[HttpKubeClient]]
    ) -> _Remote:
        """The connection of a version; made if there is none yet."""
        known = self._latest.get(name)
        if known is not None and known.version == version:
            return known
        client = await make()
        known = self._latest.get(name)
        if known is not None and known.version == version:
            # Another run was faster.
            await client.aclose()
            return known
        remote = self._latest[name] = _Remote(name[1], version, client, RestMapper(client))
        return remote


def _version_of(obj: JsonObject) -> str:
    return f"{obj['metadata']['uid']}@{obj['metadata']['resourceVersion']}"


def _kubeconfig_in(secret: JsonObject, key: str | None) -> bytes:
    data: dict[str, str] = secret.get("data") or {}
    names = (key,) if key else _DEFAULT_KEYS
    for name in names:
        if name in data:
            return base64.b64decode(data[name])
    raise TenantRefused(
        f"spec.kubeConfig: Secret '{secret['metadata']['name']}' has no key "
        + " or ".join(repr(name) for name in names),
    )
