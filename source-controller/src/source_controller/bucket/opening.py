"""From a spec and what it names to a client of its storage, for as long as one run needs it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from yarl import URL

from fluvial.api.source_bucket import BucketSpec
from fluvial.artifact.threads import in_thread
from fluvial.clock import Clock
from fluvial.cloud.azure import AzureSecret
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.model import AccessToken, AwsCredentials, Identity, Way
from fluvial.net.dialer import Dialer
from fluvial.net.tls import tls_context
from source_controller.bucket import lending
from source_controller.bucket.access import BucketAccess, text_of
from source_controller.bucket.stores.azure import Authorize, AzureStore
from source_controller.bucket.stores.endpoint import InvalidEndpoint, parse_endpoint
from source_controller.bucket.stores.gcs import GcsStore, Token
from source_controller.bucket.stores.http import Requests
from source_controller.bucket.stores.ldap import assume_role
from source_controller.bucket.stores.model import Limits, Store
from source_controller.bucket.stores.s3 import Keys, S3Store
from source_controller.bucket.stores.sharedkey import account_of, decode_key, with_shared_key
from source_controller.oci.access import Access
from source_controller.oci.connect import open_session
from source_controller.source import reasons as common
from source_controller.source.address import parse_address
from source_controller.source.run import StepFailed
from source_controller.source.secrets import auth_failed

__all__ = ["Stores"]

_GCS_SCOPE = "https://www.googleapis.com/auth/devstorage.read_only"
_AWS_DEFAULT = "us-east-1"
_BUCKET = re.compile(r"[A-Za-z0-9_$-][A-Za-z0-9._:$-]{0,254}")


@dataclass(frozen=True, slots=True)
class _Opening:
    namespace: str
    spec: BucketSpec
    access: BucketAccess
    requests: Requests

    @property
    def way(self) -> Way:
        """How token services are reached: as the storage, but without its client certificate."""
        return Way(self.access.proxy, self.access.tls.ca)


class Stores:
    """Opens the storages of Buckets.

    Args:
        dialer: makes the connections.
        cloud: credentials of clouds.
        clock: for signatures and waits.
        limits: of every bucket.

    """

    def __init__(
        self, dialer: Dialer, cloud: CloudIdentities, *, clock: Clock, limits: Limits
    ) -> None:
        self._dialer = dialer
        self._cloud = cloud
        self._clock = clock
        self.limits = limits

    @asynccontextmanager
    async def open(
        self, namespace: str, spec: BucketSpec, access: BucketAccess
    ) -> AsyncIterator[Store]:
        """The storage of a Bucket; its connections are nobody else's and end with it.

        Args:
            namespace: the object's.
            spec: the object's.
            access: what it names.

        Raises:
            StepFailed: ``AuthenticationFailed`` or ``URLInvalid``.
            InvalidCredentials, CloudError, StoreError: see ``fetching``.

        """
        if not _BUCKET.fullmatch(spec.bucket_name):
            raise InvalidEndpoint("spec.bucketName is not valid: it is no name of a bucket")
        session = await self._session(access)
        try:
            requests = Requests(session, clock=self._clock, limits=self.limits)
            opening = _Opening(namespace, spec, access, requests)
            match spec.provider:
                case "gcp":
                    yield self._gcs(opening)
                case "azure":
                    yield self._azure(opening)
                case "generic" | "aws":
                    yield self._s3(opening)
        finally:
            await session.close()

    def _lent(self, opening: _Opening, place: URL) -> Identity:
        """Whose credentials are used, which are not the object's own."""
        spec = opening.spec
        identity = self._cloud.identity_of(opening.namespace, spec.service_account_name)
        lending.check_lent(spec, opening.access, place, identity)
        return identity

    async def _session(self, access: BucketAccess) -> aiohttp.ClientSession:
        tls = access.tls
        trust = Access(ca=tls.ca, certificate=tls.certificate, key=tls.key, proxy=access.proxy)
        return await open_session(trust, self._dialer)

    # --- S3 --------------------------------------------------------------------------------------

    def _s3(self, opening: _Opening) -> Store:
        spec = opening.spec
        endpoint = parse_endpoint(spec.endpoint, insecure=spec.insecure)
        return S3Store(
            opening.requests,
            endpoint=endpoint,
            bucket=spec.bucket_name,
            region=spec.region,
            keys=self._keys(opening, endpoint),
            clock=self._clock,
        )

    def _keys(self, opening: _Opening, place: URL) -> Keys:
        spec, access = opening.spec, opening.access
        if access.secret is not None:
            fixed = AwsCredentials(
                text_of(access.secret, "accesskey"), text_of(access.secret, "secretkey")
            )
            return _always(fixed)
        if spec.provider == "aws":
            return self._aws_keys(opening, place)
        if spec.sts is None:
            return _always(None)
        return self._ldap_keys(opening, _sts_url(spec.sts.endpoint))

    def _aws_keys(self, opening: _Opening, place: URL) -> Keys:
        spec = opening.spec
        identity = self._lent(opening, place)
        endpoint = str(_sts_url(spec.sts.endpoint)) if spec.sts is not None else ""

        async def keys() -> AwsCredentials | None:
            return await self._cloud.aws(
                identity,
                region=spec.region or _AWS_DEFAULT,
                sts_endpoint=endpoint,
                way=opening.way,
            )

        return keys

    def _ldap_keys(self, opening: _Opening, endpoint: URL) -> Keys:
        access, known = opening.access, list[AwsCredentials]()

        async def keys() -> AwsCredentials | None:
            if not known:
                username, password = access.sts_user
                found = await assume_role(
                    endpoint,
                    username=username,
                    password=password,
                    connector=await self._connector(access),
                    seconds=opening.spec.timeout_seconds,
                )
                known.append(found)
            return known[0]

        return keys

    async def _connector(self, access: BucketAccess) -> aiohttp.BaseConnector:
        context = await in_thread(lambda _: tls_context(access.sts_tls))
        return self._dialer.connector(tls=context, proxy=access.proxy)

    # --- Google ----------------------------------------------------------------------------------

    def _gcs(self, opening: _Opening) -> Store:
        spec = opening.spec
        endpoint = parse_endpoint(spec.endpoint, insecure=spec.insecure)
        return GcsStore(
            opening.requests,
            endpoint=endpoint,
            bucket=spec.bucket_name,
            token=self._google_token(opening, endpoint),
        )

    def _google_token(self, opening: _Opening, place: URL) -> Token:
        secret, scopes = opening.access.secret, (_GCS_SCOPE,)
        if secret is not None:
            key = secret.get("serviceaccount", b"")
            if not key.strip():
                raise auth_failed("the Secret of spec.secretRef needs 'serviceaccount'")
            return lambda: self._cloud.gcp_secret(key, scopes=scopes, way=opening.way)
        identity = self._lent(opening, place)
        return lambda: self._cloud.gcp(identity, scopes=scopes, way=opening.way)

    # --- Azure -----------------------------------------------------------------------------------

    def _azure(self, opening: _Opening) -> Store:
        spec, secret = opening.spec, opening.access.secret
        endpoint = parse_endpoint(spec.endpoint, insecure=spec.insecure, whole=True)
        sas = endpoint.raw_query_string
        authorize: Authorize = _nothing
        if secret is not None and secret.get("clientId"):
            authorize = _bearer(self._azure_token(opening, secret, endpoint))
        elif secret is not None and secret.get("accountKey"):
            authorize = _shared_key(endpoint, secret)
        elif secret is not None and secret.get("sasKey"):
            sas = _merged(sas, text_of(secret, "sasKey"))
        elif secret is not None:
            raise auth_failed(
                "the Secret of spec.secretRef needs 'clientId' (with 'tenantId' and"
                " 'clientSecret' or 'clientCertificate'), 'accountKey' or 'sasKey'"
            )
        elif not sas:
            authorize = _bearer(self._azure_identity(opening, endpoint))
        return AzureStore(
            opening.requests,
            endpoint=endpoint,
            sas=sas,
            container=spec.bucket_name,
            authorize=authorize,
            clock=self._clock,
        )

    def _azure_token(self, opening: _Opening, secret: Mapping[str, bytes], place: URL) -> Token:
        found = _azure_secret(secret)
        if not found.tenant_id:  # an identity of the machine, whoever names it
            lending.check_lent(opening.spec, opening.access, place)
        return lambda: self._cloud.azure_secret(found, way=opening.way)

    def _azure_identity(self, opening: _Opening, place: URL) -> Token:
        identity = self._lent(opening, place)
        return lambda: self._cloud.azure(identity, way=opening.way)


def _azure_secret(secret: Mapping[str, bytes]) -> AzureSecret:
    def optional(name: str) -> str:
        return text_of(secret, name) if secret.get(name) else ""

    found = AzureSecret(
        client_id=text_of(secret, "clientId"),
        tenant_id=optional("tenantId"),
        client_secret=optional("clientSecret"),
        certificate=secret.get("clientCertificate", b""),
        certificate_password=optional("clientCertificatePassword"),
        send_chain=optional("clientCertificateSendChain").lower() in {"1", "true", "t"},
        authority_host=optional("authorityHost"),
    )
    proof = bool(found.client_secret or found.certificate)
    if proof != bool(found.tenant_id):
        needs = "'tenantId'" if proof else "'clientSecret' or 'clientCertificate'"
        raise auth_failed(f"the Secret of spec.secretRef needs {needs}, too")
    return found


def _always(keys: AwsCredentials | None) -> Keys:
    async def give() -> AwsCredentials | None:
        return keys

    return give


async def _nothing(_method: str, _url: URL, headers: Mapping[str, str]) -> dict[str, str]:
    return dict(headers)


def _bearer(token: Token) -> Authorize:
    async def authorize(_method: str, _url: URL, headers: Mapping[str, str]) -> dict[str, str]:
        found: AccessToken = await token()
        return {**headers, "Authorization": f"Bearer {found.token}"}

    return authorize


def _shared_key(endpoint: URL, secret: Mapping[str, bytes]) -> Authorize:
    account, key = account_of(endpoint), decode_key(text_of(secret, "accountKey"))

    async def authorize(method: str, url: URL, headers: Mapping[str, str]) -> dict[str, str]:
        return with_shared_key(method, url, headers, account=account, key=key)

    return authorize


def _merged(query: str, sas: str) -> str:
    """The endpoint's query and the Secret's token, which wins."""
    fields: dict[str, str] = {}
    for pair in f"{query}&{sas.lstrip('?')}".split("&"):
        name, _, value = pair.partition("=")
        if name:
            fields[name] = value
    return "&".join(f"{name}={value}" for name, value in fields.items())


def _sts_url(endpoint: str) -> URL:
    try:
        return URL(parse_address(endpoint, schemes=("http", "https")).url)
    except StepFailed as error:
        message = str(error).replace("spec.url", "spec.sts.endpoint")
        raise StepFailed(
            common.FETCH_FAILED, common.URL_INVALID, message, kind="stalled"
        ) from error
