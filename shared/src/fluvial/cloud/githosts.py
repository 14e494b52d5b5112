"""Logins for the Git hosts of clouds: AWS CodeCommit and Azure DevOps."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from yarl import URL

from fluvial.cloud.errors import WrongHost
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.model import DIRECT, AccessToken, AwsCredentials, Identity, Way
from fluvial.cloud.sigv4 import Signer, canonical_request

__all__ = ["AZURE_DEVOPS_SCOPE", "GitPassword", "azure_devops", "codecommit", "codecommit_password"]

AZURE_DEVOPS_SCOPE = "499b84ac-1321-427f-aa17-267ca6975798/.default"
"""The resource is Azure DevOps itself, the same in every tenant."""

_CODECOMMIT = re.compile(
    r"(?:vpce-[a-z0-9-]{1,80}\.)?git-codecommit(?:-fips)?\."
    r"(?P<region>[a-z]{2,3}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2})\.(?:vpce\.)?amazonaws\.com(?:\.cn)?"
)
_DEVOPS = re.compile(r"dev\.azure\.com|[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.visualstudio\.com")
_PASSWORD_SECONDS = 900


@dataclass(frozen=True, slots=True)
class GitPassword:
    """For basic authentication."""

    username: str = field(repr=False)
    password: str = field(repr=False)
    expires_at: datetime | None = None


def codecommit_password(
    credentials: AwsCredentials, url: URL, *, region: str, now: datetime
) -> GitPassword:
    """The signature that CodeCommit takes as a password, for one repository.

    It signs the made-up method ``GIT`` on the path, with no payload, and a time without a zone:
    https://github.com/aws/git-remote-codecommit.

    Args:
        credentials: whose signature it is.
        url: of the repository.
        region: of the repository.
        now: aware; the password is good for a quarter of an hour.

    """
    canonical, _ = canonical_request(
        "GIT", url, {"host": url.raw_host or ""}, payload="", normalize=False
    )
    stamp = now.strftime("%Y%m%dT%H%M%S")
    signature = Signer(credentials, region, "codecommit").signature(canonical, stamp)
    token = f"%{credentials.session_token}" if credentials.session_token else ""
    until = now + timedelta(seconds=_PASSWORD_SECONDS)
    if credentials.expires_at is not None:
        until = min(until, credentials.expires_at)
    return GitPassword(f"{credentials.access_key}{token}", f"{stamp}Z{signature}", until)


async def codecommit(
    identities: CloudIdentities, url: URL, *, identity: Identity, way: Way = DIRECT
) -> GitPassword:
    """User and password for one repository of CodeCommit.

    Args:
        identities: of the process.
        url: of the repository; its host names the region.
        identity: that logs in.
        way: proxy and authorities.

    Raises:
        WrongHost: the host is not CodeCommit's, or it is not spoken to by https.
        CloudError: see ``errors``.

    """
    found = _CODECOMMIT.fullmatch(url.raw_host or "")
    if found is None or not _plain_https(url):
        raise WrongHost(
            "the provider 'aws' logs in to https://git-codecommit.<region>.amazonaws.com only"
        )
    region = found["region"]
    credentials = await identities.aws(identity, region=region, way=way)

    async def make() -> GitPassword:
        now = identities.clock.now()
        return codecommit_password(credentials, url, region=region, now=now)

    keys = (credentials.access_key, credentials.secret_key, credentials.session_token)
    digest = hashlib.sha256("\0".join(keys).encode()).hexdigest()
    return await identities.cached("codecommit", {"url": str(url), "keys": digest}, way, make)


async def azure_devops(
    identities: CloudIdentities, url: URL, *, identity: Identity, way: Way = DIRECT
) -> AccessToken:
    """A bearer token for Azure DevOps.

    Args:
        identities: of the process.
        url: of the repository.
        identity: that logs in.
        way: proxy and authorities.

    Raises:
        WrongHost: the host is not that of Azure DevOps, or it is not spoken to by https.
        CloudError: see ``errors``.

    """
    if not _DEVOPS.fullmatch(url.raw_host or "") or not _plain_https(url):
        raise WrongHost(
            "the provider 'azure' logs in to https://dev.azure.com"
            " and https://<organisation>.visualstudio.com only"
        )
    return await identities.azure(identity, scope=AZURE_DEVOPS_SCOPE, way=way)


def _plain_https(url: URL) -> bool:
    return url.scheme == "https" and url.port == 443 and url.user is None
