"""Google Cloud: tokens of service accounts, by their keys, by federation, or of the machine.

After https://developers.google.com/identity/protocols/oauth2/service-account#httprest and
https://cloud.google.com/iam/docs/workload-identity-federation-with-kubernetes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import orjson
from yarl import URL

from fluvial.clock import Clock, parse_time
from fluvial.cloud.accounts import Account, Accounts
from fluvial.cloud.azure import token_of
from fluvial.cloud.errors import InvalidIdentity, NoIdentity
from fluvial.cloud.files import read_file
from fluvial.cloud.http import CloudHttp, Question
from fluvial.cloud.jwt import sign_jwt, timestamp
from fluvial.cloud.metadata import Metadata
from fluvial.cloud.model import AccessToken, Way
from fluvial.cloud.settings import GcpSettings

__all__ = ["PLATFORM_SCOPE", "GcpLogin"]

PLATFORM_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
EMAIL_ANNOTATION = "iam.gke.io/gcp-service-account"
PROVIDER_ANNOTATION = "gcp.auth.fluxcd.io/workload-identity-provider"

_STS = "https://sts.googleapis.com/v1/token"
_IMPERSONATION = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
_EXCHANGE_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
_BEARER_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  # a kind, no token
_JWT = "urn:ietf:params:oauth:token-type:jwt"
_EMAIL = re.compile(r"[a-zA-Z0-9-]{1,100}@[a-zA-Z0-9.-]{1,100}\.gserviceaccount\.com")
_PROVIDER = re.compile(
    r"(?:(?:https:)?//iam\.googleapis\.com/)?"
    r"(projects/\d{1,30}/locations/global/workloadIdentityPools/[^/\s]{1,100}/providers/[^/\s]{1,100})"
)
_TOKEN_HOSTS = frozenset({"oauth2.googleapis.com", "accounts.google.com", "www.googleapis.com"})
_GOOGLE = re.compile(r"(?:[a-z0-9-]{1,63}\.){0,4}googleapis\.com")
_LIFE_SECONDS = 3600


class GcpLogin:
    """Gets tokens; keeps none.

    Args:
        settings: the environment's.
        http: asks Google.
        metadata: asks the machine.
        accounts: of objects.
        clock: dates assertions.

    """

    def __init__(
        self,
        settings: GcpSettings,
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

    async def controller(self, *, scopes: tuple[str, ...], way: Way) -> AccessToken:
        """The controller's own: by the file of the environment, or the machine's.

        Raises:
            NoIdentity, InvalidIdentity, LoginRefused, LoginUnreachable: see ``errors``.

        """
        if not self.settings.credentials_file:
            return await self._machine(scopes)
        what = "GOOGLE_APPLICATION_CREDENTIALS"
        document = _document(await read_file(self.settings.credentials_file, what=what), what)
        if document.get("type") == "external_account":
            return await self._external(document, scopes=scopes, way=way)
        return await self.key(document, what=what, scopes=scopes, way=way)

    async def secret(self, data: bytes, *, scopes: tuple[str, ...], way: Way) -> AccessToken:
        """That of a service account whose key an object's Secret holds.

        No other kind of file is taken: one of a federation would name files of the controller.

        Args:
            data: the JSON file that Google gives for the key.
            scopes: that are wanted.
            way: proxy and authorities.

        Raises:
            InvalidIdentity, LoginRefused, LoginUnreachable: see ``errors``.

        """
        what = "the service account's JSON key"
        return await self.key(_document(data, what), what=what, scopes=scopes, way=way)

    async def key(
        self, document: Mapping[str, Any], *, what: str, scopes: tuple[str, ...], way: Way
    ) -> AccessToken:
        """That of a service account, by its key.

        Args:
            document: of type ``service_account``.
            what: names it in messages.
            scopes: that are wanted.
            way: proxy and authorities.

        Raises:
            InvalidIdentity, LoginRefused, LoginUnreachable: see ``errors``.

        """
        if document.get("type") != "service_account":
            raise InvalidIdentity(f"{what} must be of the type service_account")
        email, pem, target = (
            _text(document, name, what) for name in ("client_email", "private_key", "token_uri")
        )
        url = _google_url(target, what, extra=_TOKEN_HOSTS)
        asked = self._clock.now()
        now = timestamp(asked)
        claims = {
            "iss": email,
            "scope": " ".join(scopes),
            "aud": str(url),
            "iat": now,
            "exp": now + _LIFE_SECONDS,
        }
        key_id = document.get("private_key_id")
        headers = {"kid": key_id} if isinstance(key_id, str) and key_id else {}
        assertion = await sign_jwt(claims, pem, what=f"the private_key of {what}", headers=headers)
        question = Question.form(
            url,
            {"grant_type": _BEARER_GRANT, "assertion": assertion},
            what="a token of the service account",
            secrets=(assertion,),
        )
        return token_of(await self._http.ask(question, way=way), asked)

    async def account(self, account: Account, *, scopes: tuple[str, ...], way: Way) -> AccessToken:
        """That which a Kubernetes service account is federated to.

        Raises:
            NoIdentity: it names no provider, and the cluster is not one of GKE.
            InvalidIdentity, LoginRefused, LoginUnreachable: see ``errors``.

        """
        provider, email = self.federation_of(account)
        if provider:
            audience = pool = f"//iam.googleapis.com/{provider}"
        else:
            project, location, cluster = await self._metadata.gke_cluster()
            audience = f"{project}.svc.id.goog"
            pool = (
                f"identitynamespace:{audience}:https://container.googleapis.com/v1/projects/"
                f"{project}/locations/{location}/clusters/{cluster}"
            )
        token = await self._accounts.token(account, audience)
        found = await self._exchange(token, audience=pool, scopes=scopes, way=way)
        if not email:
            return found
        return await self._impersonate(f"{_IMPERSONATION}{email}", found, scopes=scopes, way=way)

    def federation_of(self, account: Account) -> tuple[str, str]:
        """Provider and Google service account of a Kubernetes one; ``""`` where it names none.

        Raises:
            InvalidIdentity: an annotation is malformed.

        """
        provider = account.annotation(PROVIDER_ANNOTATION, needed=False)
        email = account.annotation(EMAIL_ANNOTATION, needed=False)
        found = _PROVIDER.fullmatch(provider)
        if provider and found is None:
            raise _malformed(account, PROVIDER_ANNOTATION)
        if email and not _EMAIL.fullmatch(email):
            raise _malformed(account, EMAIL_ANNOTATION)
        return (found[1] if found else "", email)

    async def _machine(self, scopes: tuple[str, ...]) -> AccessToken:
        asked = self._clock.now()
        document = await self._metadata.gcp_token(scopes)
        token, seconds = document.get("access_token"), document.get("expires_in")
        if not isinstance(token, str) or not token or not isinstance(seconds, int):
            raise NoIdentity("the metadata service gave no token of a service account")
        return AccessToken(token, asked + timedelta(seconds=seconds))

    async def _external(
        self, document: Mapping[str, Any], *, scopes: tuple[str, ...], way: Way
    ) -> AccessToken:
        """Of a federation whose subject token is in a file; the operator wrote the document."""
        what = "GOOGLE_APPLICATION_CREDENTIALS"
        source = document.get("credential_source")
        if not isinstance(source, dict) or not isinstance(source.get("file"), str):
            raise InvalidIdentity(f"{what}: only a credential_source with a file is supported")
        token = _subject(await read_file(source["file"], what=what), source, what)
        found = await self._exchange(
            token,
            audience=_text(document, "audience", what),
            scopes=scopes,
            way=way,
            kind=_text(document, "subject_token_type", what),
            url=_google_url(_text(document, "token_url", what), what),
        )
        target = document.get("service_account_impersonation_url")
        if not isinstance(target, str) or not target:
            return found
        url = _google_url(target, what)
        base = str(url).removesuffix(":generateAccessToken")
        return await self._impersonate(base, found, scopes=scopes, way=way)

    async def _exchange(
        self,
        token: str,
        *,
        audience: str,
        scopes: tuple[str, ...],
        way: Way,
        kind: str = _JWT,
        url: URL | None = None,
    ) -> AccessToken:
        asked = self._clock.now()
        question = Question.form(
            url or URL(_STS),
            {
                "grant_type": _EXCHANGE_GRANT,
                "audience": audience,
                "scope": " ".join(scopes),
                "requested_token_type": _ACCESS_TOKEN,
                "subject_token": token,
                "subject_token_type": kind,
            },
            what="a federated token",
            secrets=(token,),
        )
        return token_of(await self._http.ask(question, way=way), asked)

    async def _impersonate(
        self, base: str, federated: AccessToken, *, scopes: tuple[str, ...], way: Way
    ) -> AccessToken:
        question = Question.json(
            URL(f"{base}:generateAccessToken"),
            {"scope": list(scopes), "lifetime": f"{_LIFE_SECONDS}s"},
            what="a token of the service account",
            headers={"Authorization": f"Bearer {federated.token}"},
            secrets=(federated.token,),
        )
        answer = await self._http.ask(question, way=way)
        document = answer.json()
        token = answer.text_of(document, "accessToken")
        try:
            return AccessToken(token, parse_time(str(document.get("expireTime"))))
        except ValueError:
            raise answer.unreadable() from None


def _document(data: bytes, what: str) -> dict[str, Any]:
    try:
        document = orjson.loads(data)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise InvalidIdentity(f"{what} is not a JSON object")
    return document


def _text(document: Mapping[str, Any], name: str, what: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidIdentity(f"{what} has no {name!r}")
    return value


def _google_url(text: str, what: str, *, extra: frozenset[str] = frozenset()) -> URL:
    """An address of Google's, which is all that a file of credentials may name."""
    try:
        url = URL(text)
        host = url.raw_host or ""
        valid = url.scheme == "https" and url.port == 443 and url.user is None
    except ValueError:
        valid, host, url = False, "", URL()
    if not valid or not (host in extra or _GOOGLE.fullmatch(host)):
        raise InvalidIdentity(f"{what} names an address that is not one of Google's token services")
    return url


def _subject(data: bytes, source: Mapping[str, Any], what: str) -> str:
    form = source.get("format") or {}
    if isinstance(form, dict) and form.get("type") == "json":
        document = _document(data, f"the token file of {what}")
        return _text(document, str(form.get("subject_token_field_name")), f"the file of {what}")
    token = data.decode("ascii", errors="replace").strip()
    if not token.isascii() or not token.isprintable() or not token:
        raise NoIdentity(f"the token file of {what} holds no token")
    return token


def _malformed(account: Account, annotation: str) -> InvalidIdentity:
    return InvalidIdentity(
        f"the annotation {annotation} of the service account {str(account.identity.key)!r}"
        " is malformed"
    )
