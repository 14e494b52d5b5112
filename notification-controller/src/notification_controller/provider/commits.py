"""Git hosts that show the state of a commit.

A status is written where the newest of its name says something else: the statuses are listed first.

GitHub: https://docs.github.com/rest/commits/statuses, GitLab:
https://docs.gitlab.com/api/commits/#commit-status, Gitea: https://docs.gitea.com/api/
(``/repos/{owner}/{repo}/statuses/{sha}``), Bitbucket:
https://developer.atlassian.com/cloud/bitbucket/rest/api-group-commit-statuses/, Bitbucket Data
Center: https://developer.atlassian.com/server/bitbucket/rest/ (``builds`` of a commit), Azure
DevOps: https://learn.microsoft.com/rest/api/azure/devops/git/statuses.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from yarl import URL

from notification_controller.provider import hosts
from notification_controller.provider.message import Message
from notification_controller.provider.outgoing import (
    Exchange,
    Outgoing,
    Reply,
    SendFailed,
    json_request,
)
from notification_controller.provider.repositories import repository
from notification_controller.provider.settings import Settings

__all__ = ["COMMIT_TYPES"]

_PROGRESSING = "Progressing"
_LISTED = 50
_ROOM = 2 << 20
_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_BITBUCKET = URL("https://api.bitbucket.org/2.0/repositories")


@dataclass(frozen=True, slots=True)
class _Status:
    """What is said of a commit.

    Attributes:
        name: of the status, the same for every event of an object by one Provider.
        title: of the object, for people.
        state: ``success``, ``failure`` or ``pending``.

    """

    commit: str
    name: str
    title: str
    state: str
    description: str

    @property
    def key(self) -> str:
        """The name in 40 characters."""
        return hashlib.sha1(self.name.encode(), usedforsecurity=False).hexdigest()


async def github(message: Message, to: Settings, exchange: Exchange) -> None:
    """A status of GitHub or GitHub Enterprise."""
    status = _status(message)
    if status is None:
        return
    host = hosts.github(to)
    base = host.repository
    listed = await _listed(
        exchange,
        (base / "commits" / status.commit / "statuses").with_query(per_page=_LISTED),
        host.headers,
    )
    if _says(listed, status, state=status.state, names=("context", "state")):
        return
    document = {
        "state": status.state,
        "context": status.name,
        "description": status.description,
    }
    await exchange(json_request(base / "statuses" / status.commit, document, headers=host.headers))


async def gitlab(message: Message, to: Settings, exchange: Exchange) -> None:
    """A status of GitLab."""
    status = _status(message)
    if status is None:
        return
    host = hosts.gitlab(to)
    state = {"success": "success", "failure": "failed"}[status.state]
    query = {"name": status.name, "per_page": str(_LISTED), "sort": "desc"}
    listing = host.repository / "repository/commits" / status.commit / "statuses"
    listed = await _listed(exchange, listing.with_query(query), host.headers)
    if _says(listed, status, state=state, names=("name", "status")):
        return
    document = {"state": state, "name": status.name, "description": status.description}
    url = host.repository / "statuses" / status.commit
    await exchange(json_request(url, document, headers=host.headers))


async def gitea(message: Message, to: Settings, exchange: Exchange) -> None:
    """A status of Gitea or Forgejo, which show what goes on as well."""
    status = _status(message, shows_progress=True)
    if status is None:
        return
    host = hosts.gitea(to)
    query = {"limit": str(_LISTED), "sort": "highestindex"}
    listing = host.repository / "commits" / status.commit / "statuses"
    listed = await _listed(exchange, listing.with_query(query), host.headers)
    if _says(listed, status, state=status.state, names=("context", "status")):
        return
    document = {
        "state": status.state,
        "context": status.name,
        "description": status.description,
    }
    url = host.repository / "statuses" / status.commit
    await exchange(json_request(url, document, headers=host.headers))


async def bitbucket(message: Message, to: Settings, exchange: Exchange) -> None:
    """A build status of Bitbucket Cloud."""
    status = _status(message)
    if status is None:
        return
    found = repository(to, form="https://bitbucket.org/<workspace>/<repository>")
    user, colon, password = to.need("token").partition(":")
    if not (colon and user and password):
        raise SendFailed("the token of a Provider of type bitbucket is <user>:<app password>",
                         again=False)  # fmt: skip
    headers = hosts.basic(user, password)
    base = _BITBUCKET.joinpath(*found.path) / "commit" / status.commit / "statuses"
    listed = await _build_there(exchange, base / "build" / status.key, headers)
    document = _build(status) | {"url": "https://bitbucket.org"}
    if _says(listed, status, state=document["state"], names=("key", "state"), name=status.key):
        return
    await exchange(json_request(base / "build", document, headers=headers))


async def bitbucketserver(message: Message, to: Settings, exchange: Exchange) -> None:
    """A build status of Bitbucket Data Center."""
    status = _status(message)
    if status is None:
        return
    found = repository(to, least=3, most=9, form="https://<host>/scm/<project>/<repository>.git")
    if found.path[-3] != "scm":
        raise SendFailed(
            "the address of a Provider of type bitbucketserver must be that for cloning by http:"
            " https://<host>/scm/<project>/<repository>.git",
            again=False,
        )
    headers = {**_server_login(to), "X-Atlassian-Token": "no-check"}
    site = found.host.joinpath(*found.path[:-3])
    commit = URL.build(path="projects") / found.path[-2] / "repos" / found.path[-1]
    commit = commit / "commits" / status.commit
    url = site / "rest/api/latest" / commit.path / "builds"
    document = _build(status) | {"url": str(site / commit.path)}
    # Its pages show nothing but the name.
    document["name"] = f"{status.title} [{status.description}]"
    listed = await _build_there(exchange, url.with_query(key=status.key), headers)
    if _says(listed, status, state=document["state"], names=("key", "state"), name=status.key):
        return
    await exchange(json_request(url, document, headers=headers))


async def azuredevops(message: Message, to: Settings, exchange: Exchange) -> None:
    """A status of Azure DevOps."""
    status = _status(message)
    if status is None:
        return
    found = repository(to, least=3, most=9, form="https://<host>/<…>/<project>/_git/<repository>")
    if found.path[-2] != "_git":
        raise SendFailed(
            "the address of a Provider of type azuredevops must be that of a repository:"
            " https://dev.azure.com/<organization>/<project>/_git/<repository>",
            again=False,
        )
    headers = hosts.basic("", to.need("token")) if not to.bearer else _bearer(to.bearer)
    base = found.host.joinpath(*found.path[:-2]) / "_apis/git/repositories" / found.path[-1]
    url = (base / "commits" / status.commit / "statuses").with_query({"api-version": "6.0"})
    summary = message.event.metadata.get("summary", "")
    context = {"name": status.name, "genre": f"fluxcd:{summary}" if summary else "fluxcd"}
    state = {"success": "succeeded", "failure": "error"}[status.state]
    listed = _values(
        await _listed(exchange, url.extend_query(top=_LISTED, latestOnly="true"), headers)
    )
    mine = [one for one in listed if one.get("context") == context]
    flat = [{**one, "name": status.name} for one in mine]
    if _says(flat, status, state=state, names=("name", "state")):
        return
    document = {"state": state, "description": status.description, "context": context}
    await exchange(json_request(url, document, headers=headers, problem=_signed_out))


COMMIT_TYPES: Mapping[str, Callable[[Message, Settings, Exchange], Awaitable[None]]] = {
    "azuredevops": azuredevops,
    "bitbucket": bitbucket,
    "bitbucketserver": bitbucketserver,
    "gitea": gitea,
    "github": github,
    "gitlab": gitlab,
}
"""The types that set the status of a commit."""


def _status(message: Message, *, shows_progress: bool = False) -> _Status | None:
    """What a message says of a commit, ``None`` for nothing.

    Raises:
        SendFailed: it names no commit.

    """
    event = message.event
    if event.reason == _PROGRESSING and not shows_progress:
        return None
    commit = event.commit()
    if not commit:
        raise SendFailed("the event names no commit", again=False)
    state = "failure" if event.is_error else "success"
    if event.reason == _PROGRESSING:
        state = "pending"
    obj = event.involved_object
    title = f"{obj.kind}/{obj.name}".lower()
    name = message.status_name or f"{title}/{message.provider.split('-', 1)[0]}".lower()
    return _Status(commit, name, title, state, " ".join(_WORDS.findall(event.reason)).lower())


def _build(status: _Status) -> dict[str, str]:
    return {
        "key": status.key,
        "state": {"success": "SUCCESSFUL", "failure": "FAILED"}[status.state],
        "name": status.title,
        "description": status.description,
    }


async def _build_there(
    exchange: Exchange, url: URL, headers: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The build status of a key, if there is one."""
    asking = Outgoing("GET", url, b"", headers, problem=_signed_out, room=_ROOM, absent=True)
    reply = await exchange(asking)
    one = reply.json() if reply.status != 404 else None
    return [one] if isinstance(one, dict) else []


async def _listed(exchange: Exchange, url: URL, headers: Mapping[str, str]) -> Any:
    """What is there, as JSON."""
    request = Outgoing("GET", url, b"", headers, problem=_signed_out, room=_ROOM)
    return (await exchange(request)).json()


def _values(page: Any) -> list[dict[str, Any]]:
    """The items of a page."""
    found = page.get("value") if isinstance(page, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _says(
    listed: Any, status: _Status, *, state: str, names: tuple[str, str], name: str = ""
) -> bool:
    """Whether the newest status of the name says the same already.

    Args:
        listed: newest first.
        status: that is to be written.
        state: of it, in the words of the service.
        names: of the fields of name and state.
        name: of the status, where it is not that of ``status``.

    """
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict) and one.get(names[0]) == (name or status.name):
            return one.get(names[1]) == state and one.get("description") == status.description
    return False


def _server_login(to: Settings) -> dict[str, str]:
    if to.username and to.password:
        return hosts.basic(to.username, to.password)
    return _bearer(to.need("token"))


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _signed_out(reply: Reply) -> str:
    """Azure DevOps answers 203 and a page to a token that it does not know."""
    return (
        ""
        if reply.status == 404 or reply.json() is not None
        else "the service answers by no JSON: check the token"
    )
