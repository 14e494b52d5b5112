"""How the APIs of GitHub, GitLab and Gitea are asked about one repository."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from yarl import URL

from notification_controller.provider.outgoing import SendFailed
from notification_controller.provider.repositories import repository
from notification_controller.provider.settings import Settings

__all__ = ["Host", "basic", "gitea", "github", "gitlab"]

_GITHUB = "github.com"
_DEEPEST_GROUP = 32


@dataclass(frozen=True, slots=True)
class Host:
    """A repository of an API.

    Attributes:
        api: the base of all requests.
        repository: the base of those about the repository.
        headers: that log in.

    """

    api: URL
    repository: URL
    headers: Mapping[str, str] = field(repr=False)


def github(to: Settings) -> Host:
    """GitHub, or a GitHub Enterprise server.

    Raises:
        SendFailed: the address is no repository, or there is no token.

    """
    found = repository(to, form="https://github.com/<owner>/<repository>")
    api = URL("https://api.github.com")
    if found.host.host != _GITHUB:
        api = found.host / "api/v3"
    headers = {
        "Authorization": f"Bearer {_token(to)}",
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
    }
    return Host(api, (api / "repos").joinpath(*found.path), headers)


def gitlab(to: Settings) -> Host:
    """GitLab; projects may be in groups of groups.

    Raises:
        SendFailed: the address is no project, or there is no token.

    """
    found = repository(to, most=_DEEPEST_GROUP, form="https://gitlab.com/<group>/<project>")
    project = quote("/".join(found.path), safe="")
    api = found.host / "api/v4"
    return Host(
        api,
        URL(f"{api}/projects/{project}", encoded=True),
        {"PRIVATE-TOKEN": _token(to)},
    )


def gitea(to: Settings) -> Host:
    """Gitea or Forgejo.

    Raises:
        SendFailed: the address is no repository, or there is no token.

    """
    found = repository(to, form="https://<host>/<owner>/<repository>")
    api = found.host / "api/v1"
    headers = {"Authorization": f"token {_token(to)}", "Accept": "application/json"}
    return Host(api, (api / "repos").joinpath(*found.path), headers)


def basic(username: str, password: str) -> dict[str, str]:
    """The header for user and password."""
    both = base64.b64encode(f"{username}:{password}".encode()).decode()
    return {"Authorization": f"Basic {both}"}


def _token(to: Settings) -> str:
    """The token, which older Secrets have as a password."""
    token = to.token or to.password or to.need("token")
    if not (token.isascii() and token.isprintable()):
        raise SendFailed("the token has characters that no token has", again=False)
    return token
