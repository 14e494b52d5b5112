"""Credentials of clouds for the controller and for objects: what others use of this room.

Each answer is cached under a key of all that it depends on; a service account and its annotations
are read anew before the cache is asked, so what is taken from it is never had again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from fluvial.clock import Clock
from fluvial.cloud.accounts import Account, Accounts, account_in
from fluvial.cloud.aws import AwsLogin, check_region, check_sts_endpoint
from fluvial.cloud.azure import AzureLogin, AzureSecret
from fluvial.cloud.errors import IdentityDisabled, InvalidIdentity, LoginUnreachable, NoIdentity
from fluvial.cloud.files import read_token_file
from fluvial.cloud.gcp import PLATFORM_SCOPE, GcpLogin
from fluvial.cloud.http import CloudHttp
from fluvial.cloud.metadata import Metadata
from fluvial.cloud.model import (
    CONTROLLER,
    DIRECT,
    AccessToken,
    AwsCredentials,
    Identity,
    ServiceAccount,
    Way,
)
from fluvial.cloud.settings import CloudSettings
from fluvial.cloud.tokens import Expiring, TokenCache, cache_key
from fluvial.kube.client import KubeClient

__all__ = ["GATE_OFF", "CloudIdentities"]

GATE_OFF = (
    "spec.serviceAccountName with a provider needs the feature gate ObjectLevelWorkloadIdentity,"
    " which this controller runs without"
)
_OWN_TOKEN_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105  # a path
_AZURE_STORAGE = "https://storage.azure.com/.default"

ExpiringT = TypeVar("ExpiringT", bound=Expiring)


class CloudIdentities:
    """Logs in to AWS, Azure and Google Cloud.

    Args:
        http: asks their public services, by the dialer.
        client: reads service accounts and creates their tokens, as the controller.
        clock: the time.
        cache: of everything that is got.
        settings: what the environment says about the controller's own identities.
        object_level: the feature gate ``ObjectLevelWorkloadIdentity``.
        default_account: service account of objects that name none; needs the gate.
        metadata: the machine's services.
        own_token_file: where the pod's own token is mounted; it says who the controller is.

    """

    def __init__(
        self,
        http: CloudHttp,
        client: KubeClient,
        *,
        clock: Clock,
        cache: TokenCache | None = None,
        settings: CloudSettings | None = None,
        object_level: bool = False,
        default_account: str = "",
        metadata: Metadata | None = None,
        own_token_file: str = _OWN_TOKEN_FILE,
    ) -> None:
        settings = settings or CloudSettings()
        metadata = metadata or Metadata()
        self.http = http
        self.clock = clock
        self.cache = TokenCache(clock) if cache is None else cache  # an empty one is false
        self._object_level = object_level
        self._default_account = default_account
        self._own_token_file = own_token_file
        self._accounts = Accounts(client)
        self._aws = AwsLogin(
            settings.aws, http=http, metadata=metadata, accounts=self._accounts, clock=clock
        )
        self._azure = AzureLogin(
            settings.azure, http=http, metadata=metadata, accounts=self._accounts, clock=clock
        )
        self._gcp = GcpLogin(
            settings.gcp, http=http, metadata=metadata, accounts=self._accounts, clock=clock
        )

    def identity_of(self, namespace: str, service_account: str = "") -> Identity:
        """Whose identity an object of a namespace uses.

        Args:
            namespace: the object's; no other one's service account is ever used.
            service_account: ``spec.serviceAccountName``.

        Raises:
            IdentityDisabled: it names one while the feature gate is off: a stall, not a retry,
                under the reason ``FeatureGateDisabled``.

        """
        if service_account and not self._object_level:
            raise IdentityDisabled(GATE_OFF)
        name = service_account or (self._default_account if self._object_level else "")
        return ServiceAccount(namespace, name) if name else CONTROLLER

    async def aws(
        self, identity: Identity, *, region: str = "", sts_endpoint: str = "", way: Way = DIRECT
    ) -> AwsCredentials:
        """Keys of AWS, to be used with ``sigv4.Signer``.

        Args:
            identity: from ``identity_of``.
            region: of the service they are for; ``""`` for that of the environment.
            sts_endpoint: of AWS, instead of the region's own.
            way: proxy and authorities.

        Raises:
            NoIdentity, InvalidIdentity, LoginRefused, LoginUnreachable: see ``errors``.

        """
        found = region or self._aws.settings.region
        if not found:
            raise NoIdentity("no AWS region is known: set AWS_REGION for the controller")
        check_region(found)
        endpoint = check_sts_endpoint(sts_endpoint) if sts_endpoint else ""
        more = {"region": found, "endpoint": endpoint}
        if not isinstance(identity, ServiceAccount):
            return await self.cached(
                "aws",
                more,
                way,
                lambda: self._aws.controller(region=found, endpoint=endpoint, way=way),
            )
        account = await self._accounts.read(identity)
        more |= {"role": self._aws.role_of(account)}
        return await self.cached(
            "aws",
            {**more, **_of(account)},
            way,
            lambda: self._aws.account(account, region=found, endpoint=endpoint, way=way),
        )

    async def azure(
        self, identity: Identity, *, scope: str = _AZURE_STORAGE, way: Way = DIRECT
    ) -> AccessToken:
        """A token of Entra ID.

        Args:
            identity: from ``identity_of``.
            scope: such as ``https://storage.azure.com/.default``.
            way: proxy and authorities.

        Raises:
            NoIdentity, InvalidIdentity, LoginRefused, LoginUnreachable: see ``errors``.

        """
        if not isinstance(identity, ServiceAccount):
            return await self.cached(
                "azure",
                {"scope": scope},
                way,
                lambda: self._azure.controller(scope=scope, way=way),
            )
        account = await self._accounts.read(identity)
        tenant, client = self._azure.application_of(account)
        parts = {"scope": scope, "tenant": tenant, "client": client}
        return await self.cached(
            "azure",
            {**parts, **_of(account)},
            way,
            lambda: self._azure.account(account, scope=scope, way=way),
        )

    async def gcp(
        self, identity: Identity, *, scopes: tuple[str, ...] = (PLATFORM_SCOPE,), way: Way = DIRECT
    ) -> AccessToken:
        """A token of Google Cloud.

        Args:
            identity: from ``identity_of``.
            scopes: that are wanted.
            way: proxy and authorities.

        Raises:
            NoIdentity, InvalidIdentity, LoginRefused, LoginUnreachable: see ``errors``.

        """
        wanted = " ".join(scopes)
        if not isinstance(identity, ServiceAccount):
            return await self.cached(
                "gcp",
                {"scopes": wanted},
                way,
                lambda: self._gcp.controller(scopes=scopes, way=way),
            )
        account = await self._accounts.read(identity)
        provider, email = self._gcp.federation_of(account)
        parts = {"scopes": wanted, "provider": provider, "email": email}
        return await self.cached(
            "gcp",
            {**parts, **_of(account)},
            way,
            lambda: self._gcp.account(account, scopes=scopes, way=way),
        )

    @property
    def azure_authority(self) -> str:
        """The authority of the environment, which tells Azure's clouds apart; ``""`` if unset."""
        return self._azure.settings.authority_host

    async def kubernetes(
        self, identity: Identity, *, audience: str, about: str = "", renew: bool = False
    ) -> AccessToken:
        """A token of a service account of this cluster, for those who trust its tokens.

        Args:
            identity: from ``identity_of``; the controller is the account of its pod.
            audience: where the identity names none.
            about: what it is for, as a part of its key.
            renew: the one that is kept was refused.

        Raises:
            NoIdentity, InvalidIdentity, LoginUnreachable: see ``errors``.

        """
        if not isinstance(identity, ServiceAccount):
            what = "the pod's own service account"
            identity = account_in(await read_token_file(self._own_token_file, what=what))
        account = await self._accounts.read(identity)
        parts = {"audience": audience, "about": about, **_of(account)}

        async def make() -> AccessToken:
            found = await self._accounts.issue(account, audience)
            if found.expires_at is None:
                raise LoginUnreachable("the API server gave a token that has no end")
            return found

        return await self.cached("kubernetes", parts, DIRECT, make, renew=renew)

    async def azure_secret(
        self, secret: AzureSecret, *, scope: str = _AZURE_STORAGE, way: Way = DIRECT
    ) -> AccessToken:
        """A token of the application or managed identity that an object's Secret names.

        Args:
            secret: with only a client id it names a managed identity of the machine; not where
                there is a default service account, for then no object gets the controller's.
            scope: that is wanted.
            way: proxy and authorities.

        Raises:
            NoIdentity, InvalidIdentity, LoginRefused, LoginUnreachable: see ``errors``.

        """
        parts = {
            "scope": scope,
            "tenant": secret.tenant_id,
            "client": secret.client_id,
            "secret": secret.client_secret,
            "certificate": secret.certificate.hex(),
            "password": secret.certificate_password,
            "chain": str(secret.send_chain),
            "authority": secret.authority_host,
        }

        async def make() -> AccessToken:
            if secret.client_secret or secret.certificate or secret.tenant_id:
                return await self._azure.application(secret, scope=scope, way=way)
            if self._object_level and self._default_account:
                raise InvalidIdentity(
                    "a client id alone names an identity of the controller's machine, which"
                    " --default-service-account keeps from objects: use spec.serviceAccountName"
                )
            return await self._azure.machine(scope=scope, client_id=secret.client_id)

        return await self.cached("azure-secret", parts, way, make)

    async def gcp_secret(
        self, key: bytes, *, scopes: tuple[str, ...] = (PLATFORM_SCOPE,), way: Way = DIRECT
    ) -> AccessToken:
        """A token of the service account whose JSON key an object's Secret holds.

        Args:
            key: the file as Google gives it.
            scopes: that are wanted.
            way: proxy and authorities.

        Raises:
            InvalidIdentity, LoginRefused, LoginUnreachable: see ``errors``.

        """
        parts = {"key": key.hex(), "scopes": " ".join(scopes)}
        return await self.cached(
            "gcp-secret",
            parts,
            way,
            lambda: self._gcp.secret(key, scopes=scopes, way=way),
        )

    async def cached(
        self,
        kind: str,
        parts: Mapping[str, str],
        way: Way,
        make: Callable[[], Awaitable[ExpiringT]],
        *,
        renew: bool = False,
        refused: Callable[[ExpiringT], bool] | None = None,
    ) -> ExpiringT:
        """Something that is made once for all who have equal parts, and kept while it is good.

        Args:
            kind: of what is made; kinds share nothing.
            parts: everything that it depends on, secrets and whose identity it is included.
            way: on which it is got; a part, too.
            make: gets it.
            renew: what is kept is dropped: somebody refused it.
            refused: what is kept is dropped if it is this one; at most once a minute.

        Raises:
            LoginUnreachable: what came has expired already.

        """
        key = cache_key(kind, {**parts, **_way(way)})
        if renew:
            self.cache.forget(key)
        if refused is not None:
            self.cache.refuse(key, refused)
        found = await self.cache.get(key, make)
        if found.expires_at is not None and found.expires_at <= self.clock.now():
            raise LoginUnreachable("the service gave credentials that have expired already")
        return found


def _of(account: Account) -> dict[str, str]:
    """The parts of a key that make a credential one service account's and nobody else's."""
    identity = account.identity
    return {
        "namespace": identity.namespace,
        "name": identity.name,
        "uid": account.uid,
        "audiences": " ".join(identity.audiences),
    }


def _way(way: Way) -> dict[str, str]:
    proxy = way.proxy
    if proxy is None:
        return {"ca": way.ca}
    texts = (proxy.scheme, proxy.host, str(proxy.port), proxy.username, proxy.password)
    return {"ca": way.ca} | {f"proxy{place}": text for place, text in enumerate(texts)}
