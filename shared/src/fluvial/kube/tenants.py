"""The tenant's identity: who does everything that is done for an object of its.

Local: the controller's connection with ``Impersonate-User``. Remote: the kubeconfig's credentials,
with the service account impersonated on top where one is named. Where neither a service account
nor a default is set, the controller's own identity acts, as in Flux.

A connection to a remote cluster is shared by the objects that name the same key of the same
Secret, and closed when none of them uses it any more. A Secret that changes gives a new one; who is
waiting for health over the old one keeps it until its next attempt.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass

from fluvial.api.meta import KubeConfigReference
from fluvial.errors import FluvialError
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.discovery import RestMapper
from fluvial.kube.errors import ApiError, NotFound
from fluvial.kube.http import HttpKubeClient
from fluvial.kube.remote import KubeConfigRefused, client_from_kubeconfig
from fluvial.kube.urls import UnsafeName, service_account_user
from fluvial.objects import JsonObject, ObjectKey

__all__ = ["Actor", "Tenant", "TenantRefused", "TenantRules", "Tenants"]

_DEFAULT_KEYS = ("value", "value.yaml")


class TenantRefused(FluvialError):
    """The kubeconfig is missing, unreadable or refused, or the service account's name is none."""


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


@dataclass(frozen=True, slots=True, eq=False)
class _Remote:
    secret: ObjectKey
    version: str
    client: HttpKubeClient
    mapper: RestMapper


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
    ) -> None:
        """``guard`` wraps clients of remote clusters, so that a lost lease stops their writes."""
        self._client = client
        self._mapper = mapper
        self._rules = rules
        self._user_agent = user_agent
        self._guard = guard
        self._latest: dict[tuple[ObjectKey, str | None], _Remote] = {}
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
        """The Secret of each connection to a remote cluster."""
        return tuple(remote.secret for remote in {*self._used.values(), *self._latest.values()})

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
        await remote.client.aclose()

    async def _remote(self, namespace: str, config: KubeConfigReference) -> _Remote:
        reference = config.secret_ref
        if not reference:
            raise TenantRefused("spec.kubeConfig.secretRef is needed and not set")
        key = ObjectKey(namespace, reference.name)
        try:
            secret = await self._client.get(kinds.SECRET, key)
        except NotFound as error:
            raise TenantRefused(f"spec.kubeConfig: Secret '{key}' does not exist") from error
        except (ApiError, UnsafeName) as error:
            raise TenantRefused(
                f"spec.kubeConfig: Secret '{key}' cannot be read: {error}"
            ) from error
        version = f"{secret['metadata']['uid']}@{secret['metadata']['resourceVersion']}"
        name = (key, reference.key)
        known = self._latest.get(name)
        if known is not None and known.version == version:
            return known
        remote = await self._connect(key, version, _kubeconfig_in(secret, reference.key))
        known = self._latest.get(name)
        if known is not None and known.version == version:
            # Another run was faster.
            await remote.client.aclose()
            return known
        self._latest[name] = remote
        return remote

    async def _connect(self, key: ObjectKey, version: str, kubeconfig: bytes) -> _Remote:
        try:
            client = await client_from_kubeconfig(
                kubeconfig,
                allow_exec=self._rules.insecure_kubeconfig_exec,
                allow_insecure_tls=self._rules.insecure_kubeconfig_tls,
                user_agent=self._user_agent,
            )
        except KubeConfigRefused as error:
            raise TenantRefused(f"spec.kubeConfig: Secret '{key}': {error}") from error
        return _Remote(key, version, client, RestMapper(client))


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
