"""Azure: tokens of Entra ID for applications, workloads and managed identities.

After https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow and
https://learn.microsoft.com/entra/identity-platform/certificate-credentials.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from yarl import URL

from fluvial.clock import Clock
from fluvial.cloud.accounts import Account, Accounts
from fluvial.cloud.errors import InvalidIdentity, NoIdentity
from fluvial.cloud.files import read_file, read_token_file
from fluvial.cloud.http import Answer, CloudHttp, Question
from fluvial.cloud.jwt import sign_jwt, timestamp
from fluvial.cloud.metadata import Metadata
from fluvial.cloud.model import AccessToken, Way
from fluvial.cloud.settings import AzureSettings
from fluvial.cloud.unlocking import Unlocking

__all__ = ["AUDIENCE", "AzureLogin", "AzureSecret", "token_of"]

AUDIENCE = "api://AzureADTokenExchange"
TENANT_ANNOTATION = "azure.workload.identity/tenant-id"
CLIENT_ANNOTATION = "azure.workload.identity/client-id"

_AUTHORITY = "https://login.microsoftonline.com/"
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TENANT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,200}[A-Za-z0-9])?")
_ASSERTION_SECONDS = 600


@dataclass(frozen=True, slots=True)
class AzureSecret:
    """An application that an object's Secret names.

    Attributes:
        tenant_id: id or domain of the directory.
        client_id: of the application; alone it names a managed identity of the machine.
        client_secret: its password, or
        certificate: its key and certificates, PEM or PKCS #12,
        certificate_password: of that,
        send_chain: whether the certificates are sent along.
        authority_host: of the cloud, such as ``https://login.microsoftonline.us/``; ``""`` for
            the public one.

    """

    client_id: str
    tenant_id: str = ""
    client_secret: str = field(default="", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    certificate_password: str = field(default="", repr=False)
    send_chain: bool = False
    authority_host: str = ""


class AzureLogin:
    """Gets tokens; keeps none.

    Args:
        settings: the environment's.
        http: asks Entra ID.
        metadata: asks the machine.
        accounts: of objects.
        clock: dates assertions.

    """

    def __init__(
        self,
        settings: AzureSettings,
        *,
        http: CloudHttp,
        metadata: Metadata,
        accounts: Accounts,
        clock: Clock,
    ) -> None:
        self.settings = settings
        self._http = http
        self._metadata = metadata
        self._accounts = accounts
        self._clock = clock
        self._unlocking = Unlocking()

    async def controller(self, *, scope: str, way: Way) -> AccessToken:
        """The controller's own, by the first that is set up: application, workload, machine.

        Raises:
            NoIdentity, InvalidIdentity, LoginRefused, LoginUnreachable: see ``errors``.

        """
        settings = self.settings
        if settings.tenant_id and settings.client_id:
            if settings.client_secret or settings.certificate_path:
                return await self.application(await self._own_secret(), scope=scope, way=way)
            if settings.federated_token_file:
                token = await read_token_file(
                    settings.federated_token_file, what="AZURE_FEDERATED_TOKEN_FILE"
                )
                return await self._ask(
                    settings.tenant_id,
                    {**_assertion(token), "client_id": settings.client_id},
                    scope=scope,
                    way=way,
                )
        return await self.machine(scope=scope, client_id=settings.client_id)

    async def account(self, account: Account, *, scope: str, way: Way) -> AccessToken:
        """That of the application that a service account's annotations name.

        Raises:
            InvalidIdentity, LoginRefused, LoginUnreachable: see ``errors``.

        """
        tenant, client = self.application_of(account)
        token = await self._accounts.token(account, AUDIENCE)
        fields = {**_assertion(token), "client_id": client}
        return await self._ask(tenant, fields, scope=scope, way=way)

    def application_of(self, account: Account) -> tuple[str, str]:
        """Tenant and client id of a service account.

        Raises:
            InvalidIdentity: an annotation is missing or is no id.

        """
        found = []
        for name, form in ((TENANT_ANNOTATION, _TENANT), (CLIENT_ANNOTATION, _UUID)):
            value = account.annotation(name)
            if not form.fullmatch(value):
                raise InvalidIdentity(
                    f"the annotation {name} of the service account"
                    f" {str(account.identity.key)!r} is not an id"
                )
            found.append(value)
        return found[0], found[1]

    async def application(self, secret: AzureSecret, *, scope: str, way: Way) -> AccessToken:
        """That of an application, by its password or certificate.

        Raises:
            InvalidIdentity, LoginRefused, LoginUnreachable: see ``errors``.

        """
        if not secret.tenant_id or not secret.client_id:
            raise InvalidIdentity("an application needs both a tenant id and a client id")
        authority = secret.authority_host
        fields = {"client_id": secret.client_id}
        if secret.client_secret:
            fields["client_secret"] = secret.client_secret
        else:
            endpoint = _endpoint(authority, secret.tenant_id)
            fields |= _assertion(await self._signed(secret, endpoint))
        return await self._ask(
            secret.tenant_id, fields, scope=scope, way=way, authority=authority or _AUTHORITY
        )

    async def machine(self, *, scope: str, client_id: str = "") -> AccessToken:
        """That of a managed identity of the machine.

        Raises:
            NoIdentity: the machine has none.
            LoginRefused, LoginUnreachable: see ``errors``.

        """
        resource = scope.removesuffix("/.default")
        document = await self._metadata.azure_token(resource, client_id=client_id)
        token, expires = document.get("access_token"), document.get("expires_on")
        if not isinstance(token, str) or not token:
            raise NoIdentity("the machine gave no token of a managed identity")
        try:
            until = datetime.fromtimestamp(int(str(expires)), UTC)
        except (ValueError, OverflowError, OSError):
            until = None
        return AccessToken(token, until)

    async def _own_secret(self) -> AzureSecret:
        settings = self.settings
        certificate = b""
        if not settings.client_secret:
            certificate = await read_file(
                settings.certificate_path, what="AZURE_CLIENT_CERTIFICATE_PATH"
            )
        return AzureSecret(
            settings.client_id,
            settings.tenant_id,
            settings.client_secret,
            certificate,
            settings.certificate_password,
            authority_host=settings.authority_host,
        )

    async def _ask(
        self,
        tenant: str,
        fields: Mapping[str, str],
        *,
        scope: str,
        way: Way,
        authority: str = "",
    ) -> AccessToken:
        asked = self._clock.now()
        question = Question.form(
            URL(_endpoint(authority or self.settings.authority_host, tenant)),
            {"grant_type": "client_credentials", "scope": scope, **fields},
            what="a token of the application",
            secrets=tuple(fields.get(name, "") for name in ("client_secret", "client_assertion")),
        )
        return token_of(await self._http.ask(question, way=way), asked)

    async def _signed(self, secret: AzureSecret, endpoint: str) -> str:
        own = await self._unlocking.open(secret.certificate, secret.certificate_password)
        now = timestamp(self._clock.now())
        claims = {
            "aud": endpoint,
            "iss": secret.client_id,
            "sub": secret.client_id,
            "jti": secrets.token_hex(16),
            "nbf": now,
            "exp": now + _ASSERTION_SECONDS,
        }
        digest = base64.urlsafe_b64encode(own.chain[0].fingerprint(hashes.SHA256()))
        headers: dict[str, Any] = {"x5t#S256": digest.rstrip(b"=").decode()}
        if secret.send_chain:
            headers["x5c"] = [
                base64.b64encode(item.public_bytes(serialization.Encoding.DER)).decode()
                for item in own.chain
            ]
        return await sign_jwt(
            claims, own.key, what="the key of the certificate", headers=headers, algorithm="PS256"
        )


def token_of(answer: Answer, asked: datetime) -> AccessToken:
    """The token of an OAuth 2 answer (RFC 6749 §5.1).

    Args:
        answer: of any status.
        asked: when its life began.

    Raises:
        LoginRefused, LoginUnreachable: it has none.

    """
    document = answer.json()
    token = answer.text_of(document, "access_token")
    try:
        seconds = min(max(int(document.get("expires_in") or 0), 0), 86400)
    except (ValueError, TypeError):
        raise answer.unreadable() from None
    return AccessToken(token, asked + timedelta(seconds=seconds))


def _assertion(token: str) -> dict[str, str]:
    return {"client_assertion_type": _ASSERTION_TYPE, "client_assertion": token}


def _endpoint(authority: str, tenant: str) -> str:
    base = authority or _AUTHORITY
    try:
        parts = urlsplit(base)
        valid = parts.scheme == "https" and bool(parts.hostname) and parts.username is None
        valid = valid and parts.path in {"", "/"} and not parts.query and not parts.fragment
    except ValueError:
        valid = False
    if not valid:
        raise InvalidIdentity("the authority host must be an https address without a path")
    if not _TENANT.fullmatch(tenant):
        raise InvalidIdentity("the tenant id is neither an id nor a domain")
    return f"{base.rstrip('/')}/{tenant}/oauth2/v2.0/token"
