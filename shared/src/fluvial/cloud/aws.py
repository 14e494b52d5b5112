"""AWS: keys of the environment, of roles, of containers and of instances."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from xml.etree import ElementTree as ET

from yarl import URL

from fluvial.clock import Clock, parse_time
from fluvial.cloud.accounts import Account, Accounts
from fluvial.cloud.errors import InvalidIdentity, LoginUnreachable, NoIdentity
from fluvial.cloud.files import read_token_file
from fluvial.cloud.http import Answer, CloudHttp, Question
from fluvial.cloud.metadata import Metadata
from fluvial.cloud.model import AwsCredentials, Way
from fluvial.cloud.settings import AwsSettings

__all__ = [
    "AUDIENCE",
    "ROLE_ANNOTATION",
    "AwsLogin",
    "check_region",
    "check_sts_endpoint",
    "domain_of",
]

AUDIENCE = "sts.amazonaws.com"
ROLE_ANNOTATION = "eks.amazonaws.com/role-arn"

_REGION = re.compile(r"[a-z]{2,3}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}")
_ROLE = re.compile(r"arn:aws[a-z-]{0,20}:iam::[0-9]{1,30}:role/[\x21-\x7e]{1,200}")
_STS_ENDPOINT = re.compile(
    r"https://(?:[a-z0-9-]{1,63}\.){0,6}sts(?:-fips)?(?:\.[a-z0-9-]{1,63}){0,3}(?:\.vpce)?"
    r"\.amazonaws\.com/?"
)
_SESSION_CHARS = re.compile(r"[^\w+=,.@-]", re.ASCII)
_DOMAINS = (
    ("cn-", "amazonaws.com.cn"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
)
_NAMESPACE = "{https://sts.amazonaws.com/doc/2011-06-15/}"


def check_region(region: str) -> str:
    """The region, which becomes part of a host name.

    Raises:
        InvalidIdentity: it is not the name of one.

    """
    if not _REGION.fullmatch(region):
        raise InvalidIdentity(f"{region[:60]!r} is not the name of an AWS region")
    return region


def domain_of(region: str) -> str:
    """The domain that the services of a region are in."""
    return next((name for start, name in _DOMAINS if region.startswith(start)), "amazonaws.com")


def check_sts_endpoint(endpoint: str) -> str:
    """The address of an STS endpoint of AWS, such as one in a private network.

    Raises:
        InvalidIdentity: it is not AWS's.

    """
    if not _STS_ENDPOINT.fullmatch(endpoint):
        raise InvalidIdentity("the STS endpoint must be https and one of AWS's")
    return endpoint.rstrip("/")


class AwsLogin:
    """Gets keys; keeps none.

    Args:
        settings: the environment's.
        http: asks STS.
        metadata: asks agents and instances.
        accounts: of objects.
        clock: for the names of sessions.

    """

    def __init__(
        self,
        settings: AwsSettings,
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

    async def controller(self, *, region: str, endpoint: str = "", way: Way) -> AwsCredentials:
        """The controller's own, by the first that is set up: keys, role, container, instance.

        Raises:
            NoIdentity: nothing is.
            InvalidIdentity, LoginRefused, LoginUnreachable: see ``errors``.

        """
        settings = self.settings
        if settings.access_key and settings.secret_key:
            return AwsCredentials(settings.access_key, settings.secret_key, settings.session_token)
        if settings.role_arn and settings.web_identity_token_file:
            token = await read_token_file(
                settings.web_identity_token_file, what="AWS_WEB_IDENTITY_TOKEN_FILE"
            )
            name = settings.role_session_name or f"fluvial-{int(self._clock.now().timestamp())}"
            return await self._assume(
                settings.role_arn, token, name, region=region, endpoint=endpoint, way=way
            )
        if settings.container_relative_uri or settings.container_full_uri:
            return self._from_document(
                await self._metadata.aws_container(
                    relative=settings.container_relative_uri,
                    full=settings.container_full_uri,
                    token=await self._container_token(),
                )
            )
        if settings.metadata_disabled:
            raise NoIdentity(
                "the controller has no AWS credentials: give its service account a role,"
                " or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        return self._from_document(await self._metadata.aws_instance())

    async def account(
        self, account: Account, *, region: str, endpoint: str = "", way: Way
    ) -> AwsCredentials:
        """Those of the role that a service account's annotation names.

        Raises:
            InvalidIdentity, LoginRefused, LoginUnreachable: see ``errors``.

        """
        role = self.role_of(account)
        token = await self._accounts.token(account, AUDIENCE)
        identity = account.identity
        name = (
            f"{identity.name}.{identity.namespace}.{region}.fluxcd.io"  # as Flux: roles' policies
        )
        return await self._assume(role, token, name, region=region, endpoint=endpoint, way=way)

    def role_of(self, account: Account) -> str:
        """The role of a service account.

        Raises:
            InvalidIdentity: the annotation is missing or names no role.

        """
        role = account.annotation(ROLE_ANNOTATION)
        if not _ROLE.fullmatch(role):
            raise InvalidIdentity(
                f"the annotation {ROLE_ANNOTATION} of the service account"
                f" {str(account.identity.key)!r} is not the ARN of a role"
            )
        return role

    async def _assume(
        self, role: str, token: str, name: str, *, region: str, endpoint: str, way: Way
    ) -> AwsCredentials:
        base = endpoint or f"https://sts.{check_region(region)}.{domain_of(region)}"
        question = Question.form(
            URL(f"{base}/"),
            {
                "Action": "AssumeRoleWithWebIdentity",
                "Version": "2011-06-15",
                "RoleArn": role,
                "RoleSessionName": _SESSION_CHARS.sub("-", name)[:64],
                "WebIdentityToken": token,
            },
            what="credentials of the role",
            secrets=(token,),
            accept="text/xml",  # STS answers in JSON to those who ask for it, in no documented form
        )
        return _credentials(await self._http.ask(question, way=way))

    async def _container_token(self) -> str:
        settings = self.settings
        if settings.container_token_file:
            return await read_token_file(
                settings.container_token_file, what="AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
            )
        return settings.container_token

    def _from_document(self, document: Mapping[str, Any]) -> AwsCredentials:
        values = [document.get(name) for name in ("AccessKeyId", "SecretAccessKey", "Token")]
        access, secret, token = (value if isinstance(value, str) else "" for value in values)
        if not access or not secret:
            raise LoginUnreachable("the metadata service of AWS answered without credentials")
        expiration = document.get("Expiration")
        try:
            expires = parse_time(str(expiration)) if expiration else None
        except ValueError:
            raise LoginUnreachable("the metadata service of AWS gave an invalid time") from None
        return AwsCredentials(access, secret, token, expires)


def _credentials(answer: Answer) -> AwsCredentials:
    """Of the answer of AssumeRoleWithWebIdentity."""
    root = _xml(answer)
    if answer.status != 200:
        raise answer.refused(_text(root, "Code"), _text(root, "Message"))
    access, secret, token, expiration = (
        _text(root, name)
        for name in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
    )
    if not (access and secret and token):
        raise answer.unreadable()
    try:
        expires: datetime = parse_time(expiration)
    except ValueError:
        raise answer.unreadable() from None
    return AwsCredentials(access, secret, token, expires)


def _xml(answer: Answer) -> ET.Element | None:
    """``None`` for an error that is not XML."""
    root = None
    if b"<!" not in answer.body:  # no entity is declared, so none can expand
        with contextlib.suppress(ET.ParseError, ValueError):
            root = ET.fromstring(answer.body)  # noqa: S314  # small, and without declarations
    if root is None and answer.status == 200:
        raise answer.unreadable()
    return root


def _text(root: ET.Element | None, name: str) -> str:
    if root is None:
        return ""
    found = next((item for item in root.iter() if item.tag in {name, _NAMESPACE + name}), None)
    return "" if found is None else (found.text or "").strip()
