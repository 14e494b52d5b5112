"""GitHub Apps: from an app's key to a token of one installation.

After https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta

from yarl import URL

from fluvial.clock import parse_time
from fluvial.cloud.errors import InvalidIdentity, LoginRefused
from fluvial.cloud.http import Answer, Question
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.jwt import sign_jwt, timestamp
from fluvial.cloud.model import DIRECT, AccessToken, Way

__all__ = ["GIT_USER", "GitHubApp", "installation_token"]

GIT_USER = "x-access-token"
"""The user whose password is the token."""

_API = "https://api.github.com"
_NUMBER = re.compile(r"[0-9]{1,20}")
_APP = re.compile(r"[A-Za-z0-9._-]{1,64}")  # an id, or a client id
_OWNER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,98}[A-Za-z0-9])?")
_BACK_SECONDS = 30
_LIFE_SECONDS = 120


@dataclass(frozen=True, slots=True)
class GitHubApp:
    """An app's installation, as a Secret names it.

    Attributes:
        app_id: of the app.
        private_key: of the app, PEM.
        installation_id: of the installation, or
        owner: the organisation or user that has it.
        base_url: of the API of a GitHub Enterprise server; ``""`` for github.com.

    """

    app_id: str
    private_key: str = field(repr=False)
    installation_id: str = ""
    owner: str = ""
    base_url: str = ""

    def check(self) -> URL:
        """The base of the API.

        Raises:
            InvalidIdentity: a value is missing or malformed; the message names its key.

        """
        if not _APP.fullmatch(self.app_id):
            raise InvalidIdentity("'githubAppID' must be the id of a GitHub App")
        if not self.private_key.strip():
            raise InvalidIdentity("'githubAppPrivateKey' is empty")
        if bool(self.installation_id) == bool(self.owner):
            raise InvalidIdentity(
                "exactly one of 'githubAppInstallationOwner' and 'githubAppInstallationID'"
                " is needed"
            )
        if self.installation_id and not _NUMBER.fullmatch(self.installation_id):
            raise InvalidIdentity("'githubAppInstallationID' must be a number")
        if self.owner and not _OWNER.fullmatch(self.owner):
            raise InvalidIdentity("'githubAppInstallationOwner' must be an organisation or user")
        try:
            url = URL(self.base_url.rstrip("/") or _API)
            valid = url.scheme == "https" and bool(url.host) and url.user is None
            valid = valid and not url.query_string and not url.fragment
        except ValueError:
            valid, url = False, URL()
        if not valid:
            raise InvalidIdentity("'githubAppBaseURL' must be an https address")
        return url


async def installation_token(
    identities: CloudIdentities, app: GitHubApp, *, way: Way = DIRECT, refused: str = ""
) -> AccessToken:
    """A token for the repositories of an installation, to be sent as ``GIT_USER``'s password.

    Args:
        identities: of the process.
        app: of a Secret.
        way: proxy and authorities, such as those of a GitHub Enterprise server.
        refused: a token that GitHub has refused before its time, because it was revoked or the
            app's key or installation changed; another one is fetched, at most once a minute.

    Raises:
        InvalidIdentity: the Secret is incomplete or malformed.
        LoginRefused, LoginUnreachable: see ``errors``.

    """
    base = app.check()
    parts = {
        "app": app.app_id,
        "key": app.private_key,
        "installation": app.installation_id,
        "owner": app.owner,
        "base": str(base),
    }
    return await identities.cached(
        "github",
        parts,
        way,
        lambda: _token(identities, app, base, way),
        refused=(lambda kept: kept.token == refused) if refused else None,
    )


async def _token(identities: CloudIdentities, app: GitHubApp, base: URL, way: Way) -> AccessToken:
    issued = identities.clock.now() - timedelta(seconds=_BACK_SECONDS)
    claims = {
        "iss": app.app_id,
        "iat": timestamp(issued),
        "exp": timestamp(issued) + _LIFE_SECONDS,
    }
    jwt = await sign_jwt(claims, app.private_key, what="'githubAppPrivateKey'")
    asking = _Asking(identities, jwt, way)
    installation = app.installation_id or await _installation(asking, app, base)
    answer = await asking.ask("POST", base / "app/installations" / installation / "access_tokens")
    if answer.status == 404:
        raise LoginRefused(
            f"{base.host} knows no installation {installation} of the app {app.app_id}:"
            " check 'githubAppInstallationID'",
            status=404,
        )
    document = answer.json()
    token = answer.text_of(document, "token")
    try:
        return AccessToken(token, parse_time(str(document.get("expires_at"))))
    except ValueError:
        raise answer.unreadable() from None


async def _installation(asking: _Asking, app: GitHubApp, base: URL) -> str:
    """The id of the installation of an owner, who may be an organisation or a user."""
    for kind in ("orgs", "users"):
        answer = await asking.ask("GET", base / kind / app.owner / "installation")
        if answer.status != 404:
            found = answer.json().get("id")
            if not isinstance(found, int):
                raise answer.unreadable()
            return str(found)
    raise LoginRefused(
        f"the app {app.app_id} is not installed for {app.owner!r} on {base.host}:"
        " check 'githubAppInstallationOwner', or install the app",
        status=404,
    )


@dataclass(frozen=True, slots=True)
class _Asking:
    identities: CloudIdentities
    jwt: str = field(repr=False)
    way: Way

    async def ask(self, method: str, url: URL) -> Answer:
        headers = {
            "Authorization": f"Bearer {self.jwt}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        what = "a token of the installation"
        question = Question(method, url, what, headers, secrets=(self.jwt,))
        answer = await self.identities.http.ask(question, way=self.way)
        if answer.status == 401:
            raise answer.refused(
                "", "check that 'githubAppID' and 'githubAppPrivateKey' belong to one app"
            )
        return answer
