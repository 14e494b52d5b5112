"""One comment on a change request for each object and Provider, which is kept up to date.

GitHub: https://docs.github.com/rest/issues/comments, Gitea: https://docs.gitea.com/api/
(``/repos/{owner}/{repo}/issues/{index}/comments``), GitLab:
https://docs.gitlab.com/api/notes/#merge-requests.
"""

from __future__ import annotations

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
from notification_controller.provider.settings import Settings

__all__ = ["COMMENT_TYPES"]

_LISTED = 100
_ROOM = 8 << 20
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_TICKS = re.compile(r"`+")
_LONGEST = 60_000


@dataclass(frozen=True, slots=True)
class _Place:
    """Where comments of one change request are.

    Attributes:
        comments: lists them, and takes new ones.
        author: field of a comment with who wrote it.
        edited: from the id of a comment to where it is edited.
        method: by which.
        size: field of a query with the number of comments that are wanted.

    """

    comments: URL
    author: str
    edited: Callable[[int], URL]
    method: str
    headers: Mapping[str, str]
    size: str = "per_page"


async def githubpullrequestcomment(message: Message, to: Settings, exchange: Exchange) -> None:
    """A comment on a pull request of GitHub."""
    host = hosts.github(to)
    issues = host.repository / "issues"
    place = _Place(
        issues / _request(message) / "comments",
        "user",
        lambda number: issues / "comments" / str(number),
        "PATCH",
        host.headers,
    )
    is_own = _by_app(to.app) if to.app else await _by_user(exchange, host.api / "user", place)
    await _tell(message, place, exchange, is_own=is_own, marker="flux-pr-comment-key")


async def giteapullrequestcomment(message: Message, to: Settings, exchange: Exchange) -> None:
    """A comment on a pull request of Gitea or Forgejo."""
    host = hosts.gitea(to)
    issues = host.repository / "issues"
    place = _Place(
        issues / _request(message) / "comments",
        "user",
        lambda number: issues / "comments" / str(number),
        "PATCH",
        host.headers,
        "limit",
    )
    is_own = await _by_user(exchange, host.api / "user", place)
    await _tell(message, place, exchange, is_own=is_own, marker="flux-pr-comment-key")


async def gitlabmergerequestcomment(message: Message, to: Settings, exchange: Exchange) -> None:
    """A note on a merge request of GitLab."""
    host = hosts.gitlab(to)
    notes = host.repository / "merge_requests" / _request(message) / "notes"
    place = _Place(notes, "author", lambda number: notes / str(number), "PUT", host.headers)
    is_own = await _by_user(exchange, host.api / "user", place)
    await _tell(message, place, exchange, is_own=is_own, marker="flux-mr-comment-key")


COMMENT_TYPES: Mapping[str, Callable[[Message, Settings, Exchange], Awaitable[None]]] = {
    "giteapullrequestcomment": giteapullrequestcomment,
    "githubpullrequestcomment": githubpullrequestcomment,
    "gitlabmergerequestcomment": gitlabmergerequestcomment,
}
"""The types that comment on a change request."""


async def _tell(
    message: Message,
    place: _Place,
    exchange: Exchange,
    *,
    is_own: Callable[[Mapping[str, Any]], bool],
    marker: str,
) -> None:
    """Edit the comment that is there, else write one."""
    obj = message.event.involved_object
    key = f"<!-- {marker}:{message.provider}/{obj.kind}/{obj.namespace}/{obj.name} -->"
    listing = place.comments.with_query({place.size: _LISTED})
    there = await _asked(exchange, listing, place.headers, kind=list)
    document = {"body": f"{key}\n\n{_text(message)}"}
    for one in there[:_LISTED]:
        if isinstance(one, dict) and _has(one, key) and is_own(one):
            url = place.edited(one["id"])
            await exchange(json_request(url, document, method=place.method, headers=place.headers))
            return
    await exchange(json_request(place.comments, document, headers=place.headers))


def _has(comment: Mapping[str, Any], key: str) -> bool:
    body = comment.get("body")
    return isinstance(comment.get("id"), int) and isinstance(body, str) and body.startswith(key)


async def _by_user(
    exchange: Exchange, url: URL, place: _Place
) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a comment is by the user of the token: others may copy a marker."""
    user = await _asked(exchange, url, place.headers, kind=dict)
    own = user.get("id")
    if not isinstance(own, int):
        raise SendFailed("the service does not say whose the token is", again=False)

    def is_own(comment: Mapping[str, Any]) -> bool:
        author = comment.get(place.author)
        return isinstance(author, dict) and author.get("id") == own

    return is_own


def _by_app(app: str) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a comment is by a GitHub App, which has no user to ask for."""

    def is_own(comment: Mapping[str, Any]) -> bool:
        by = comment.get("performed_via_github_app")
        return isinstance(by, dict) and app in {str(by.get("id")), by.get("client_id")}

    return is_own


async def _asked(exchange: Exchange, url: URL, headers: Mapping[str, str], *, kind: type) -> Any:
    def problem(reply: Reply) -> str:
        return "" if isinstance(reply.json(), kind) else "the service answers what it should not"

    request = Outgoing("GET", url, b"", headers, problem=problem, room=_ROOM)
    return (await exchange(request)).json()


def _request(message: Message) -> str:
    """The number of the change request.

    Raises:
        SendFailed: there is none.

    """
    number = message.event.metadata.get("change_request", "")
    if not _NUMBER.fullmatch(number):
        raise SendFailed(
            "the event's change_request is not a number of a change request", again=False
        )
    return number


def _text(message: Message) -> str:
    """The comment; what others wrote is code in it, so that it mentions and embeds nothing."""
    event = message.event
    sign = "\N{CROSS MARK}" if event.is_error else "\N{WHITE HEAVY CHECK MARK}"
    lines = [f"### {sign} {_inline(message.title)}: {_inline(event.reason)}", ""]
    lines += [_block(event.message[:_LONGEST]), ""]
    lines += [f"- {_inline(name)}: {_inline(value)}" for name, value in message.facts]
    return "\n".join(lines).rstrip()[: _LONGEST + 4000]


def _block(text: str) -> str:
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}text\n{text}\n{fence}"


def _inline(text: str) -> str:
    ticks = "`" * (_longest_run(text) + 1)
    pad = " " if ticks != "`" else ""
    return f"{ticks}{pad}{' '.join(text.split())}{pad}{ticks}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in _TICKS.findall(text)), default=0)
