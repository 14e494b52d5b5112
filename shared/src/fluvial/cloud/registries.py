"""Logins for the registries of clouds: ECR, ACR, Artifact Registry and Container Registry.

A cloud's credentials go to that cloud's registries and nowhere else, so the host is matched
against what the cloud itself hands out before anything is asked.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import orjson
from yarl import URL

from fluvial.cloud.aws import domain_of
from fluvial.cloud.errors import WrongHost
from fluvial.cloud.http import Answer, Question
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.model import DIRECT, Identity, Way
from fluvial.cloud.sigv4 import Signer

__all__ = ["RegistryLogin", "RegistryProvider", "check_registry", "registry_login"]

RegistryProvider = Literal["aws", "azure", "gcp"]

_REGION = r"[a-z]{2,3}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}"
_ECR = re.compile(
    rf"[0-9]{{12}}\.dkr\.ecr(?P<fips>-fips)?\.(?P<region>{_REGION})\."
    r"(?P<domain>amazonaws\.com(?:\.cn)?|sc2s\.sgov\.gov|c2s\.ic\.gov|csp\.hci\.ic\.gov"
    r"|cloud\.adc-e\.uk)"
)
_ECR_PUBLIC = "public.ecr.aws"
_ECR_PUBLIC_REGION = "us-east-1"
_ACR = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,4}azurecr\.(?P<cloud>io|cn|us)"  # regions, too
)
_GAR = re.compile(r"(?:[a-z0-9-]{1,63}\.)?gcr\.io|[a-z0-9-]{1,50}-docker\.pkg\.dev")
_HOSTS: Mapping[str, Callable[[str], bool]] = {
    "aws": lambda host: host == _ECR_PUBLIC or _ECR.fullmatch(host) is not None,
    "azure": lambda host: _ACR.fullmatch(host) is not None,
    "gcp": lambda host: _GAR.fullmatch(host) is not None,
}
_NAMES = {
    "aws": "<account>.dkr.ecr.<region>.amazonaws.com or public.ecr.aws",
    "azure": "<name>.azurecr.io",
    "gcp": "gcr.io, <region>.gcr.io or <region>-docker.pkg.dev",
}
# https://learn.microsoft.com/azure/azure-government/compare-azure-government-global-azure
_ACR_SCOPES = {
    "io": "https://management.azure.com/.default",
    "cn": "https://management.chinacloudapi.cn/.default",
    "us": "https://management.usgovcloudapi.net/.default",
}
_ACR_USER = "00000000-0000-0000-0000-000000000000"
_GCP_USER = "oauth2accesstoken"
_SHORT_SECONDS = 600


@dataclass(frozen=True, slots=True)
class RegistryLogin:
    """What opens a registry.

    Attributes:
        username: of the login.
        password: of it, or
        refresh_token: for the registry's own token service.
        expires_at: end of both.

    """

    username: str
    password: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    expires_at: datetime | None = None


def check_registry(provider: RegistryProvider, host: str) -> None:
    """Refuse a host that is not the provider's.

    Args:
        provider: of the cloud.
        host: of the registry, with its port if it has one.

    Raises:
        WrongHost: no credentials of that cloud are for it.

    """
    if not _HOSTS[provider](host):
        raise WrongHost(
            f"the provider {provider!r} logs in to {_NAMES[provider]} only, not to {host[:100]!r}"
        )


async def registry_login(
    identities: CloudIdentities,
    provider: RegistryProvider,
    *,
    host: str,
    identity: Identity,
    way: Way = DIRECT,
) -> RegistryLogin:
    """Log in to a registry.

    Args:
        identities: of the process.
        provider: of the cloud.
        host: of the registry.
        identity: that logs in.
        way: proxy and authorities for the cloud's services.

    Raises:
        WrongHost: the registry is not the provider's; nothing was asked.
        CloudError: see ``errors``.

    """
    check_registry(provider, host)
    if provider == "gcp":
        token = await identities.gcp(identity, way=way)
        return RegistryLogin(_GCP_USER, token.token, expires_at=token.expires_at)
    if provider == "azure":
        return await _azure(identities, host, identity, way)
    return await _aws(identities, host, identity, way)


# --- ECR ------------------------------------------------------------------------------------------
# https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html


async def _aws(
    identities: CloudIdentities, host: str, identity: Identity, way: Way
) -> RegistryLogin:
    found = _ECR.fullmatch(host)
    if found is None:
        region, service = _ECR_PUBLIC_REGION, "ecr-public"
        target = "SpencerFrontendService.GetAuthorizationToken"
        url = URL(f"https://api.ecr-public.{region}.{domain_of(region)}/")
    else:
        region, service = found["region"], "ecr"
        target = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
        name = "ecr-fips" if found["fips"] else "api.ecr"
        url = URL(f"https://{name}.{region}.{found['domain']}/")
    credentials = await identities.aws(identity, region=region, way=way)

    async def make() -> RegistryLogin:
        question = _signed(
            Signer(credentials, region, service), url, target, identities.clock.now()
        )
        return _ecr_login(await identities.http.ask(question, way=way))

    # The keys name whose login it is: new keys are a new login.
    parts = {"url": str(url), "access": credentials.access_key, "secret": credentials.secret_key}
    return await identities.cached("ecr", parts | {"token": credentials.session_token}, way, make)


def _signed(signer: Signer, url: URL, target: str, now: datetime) -> Question:
    body = b"{}"
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": target}
    sent = signer.sign("POST", url, now=now, headers=headers, body=body)
    return Question("POST", url, "a login for the registry", sent, body)


def _ecr_login(answer: Answer) -> RegistryLogin:
    data = answer.json().get("authorizationData")
    entry = data[0] if isinstance(data, list) and data else data
    if not isinstance(entry, dict):
        raise answer.unreadable()
    try:
        packed = answer.text_of(entry, "authorizationToken")
        username, colon, password = base64.b64decode(packed, validate=True).decode().partition(":")
        expires = datetime.fromtimestamp(float(entry["expiresAt"]), UTC)
    except (binascii.Error, ValueError, TypeError, KeyError, OverflowError, OSError):
        raise answer.unreadable() from None
    if not colon or not username or not password or not password.isprintable():
        raise answer.unreadable()
    return RegistryLogin(username, password, expires_at=expires)


# --- ACR ------------------------------------------------------------------------------------------
# https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md


async def _azure(
    identities: CloudIdentities, host: str, identity: Identity, way: Way
) -> RegistryLogin:
    found = _ACR.fullmatch(host)
    assert found is not None  # noqa: S101  # the host was checked
    token = await identities.azure(identity, scope=_ACR_SCOPES[found["cloud"]], way=way)

    async def make() -> RegistryLogin:
        asked = identities.clock.now()
        question = Question.form(
            URL(f"https://{host}/oauth2/exchange"),
            {"grant_type": "access_token", "service": host, "access_token": token.token},
            what="a refresh token of the registry",
            secrets=(token.token,),
        )
        answer = await identities.http.ask(question, way=way)
        refresh = answer.text_of(_acr_document(answer), "refresh_token")
        return RegistryLogin(
            _ACR_USER, refresh_token=refresh, expires_at=_expiry_of(refresh, asked)
        )

    return await identities.cached("acr", {"host": host, "token": token.token}, way, make)


def _acr_document(answer: Answer) -> dict[str, Any]:
    if answer.status in {401, 403}:
        raise answer.refused("", "the identity may need the role AcrPull on the registry")
    return answer.json()


def _expiry_of(token: str, asked: datetime) -> datetime:
    """When a token ends: what it says itself, else soon. Nothing is believed but for the cache."""
    soon = asked + timedelta(seconds=_SHORT_SECONDS)
    try:
        middle = token.split(".")[1]
        claims = orjson.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
        return datetime.fromtimestamp(int(claims["exp"]), UTC)
    except (IndexError, binascii.Error, ValueError, KeyError, TypeError, OverflowError, OSError):
        return soon
