"""Comments on change requests, by what each service documents; first what is not written."""

from __future__ import annotations

from typing import Any

import pytest

from harness.talks import PROVIDER, Talk, about
from notification_controller.provider.comments import COMMENT_TYPES
from notification_controller.provider.outgoing import SendFailed

GITHUB = "https://api.github.com"
ADDRESSES = {
    "githubpullrequestcomment": "https://github.com/octocat/Hello-World",
    "giteapullrequestcomment": "https://gitea.example.com/org/app",
    "gitlabmergerequestcomment": "https://gitlab.example.com/group/sub/app",
}
USERS = {
    "githubpullrequestcomment": f"{GITHUB}/user",
    "giteapullrequestcomment": "https://gitea.example.com/api/v1/user",
    "gitlabmergerequestcomment": "https://gitlab.example.com/api/v4/user",
}
PROJECT = "https://gitlab.example.com/api/v4/projects/group%2Fsub%2Fapp"
COMMENTS = {
    "githubpullrequestcomment": f"{GITHUB}/repos/octocat/Hello-World/issues/42/comments",
    "giteapullrequestcomment": "https://gitea.example.com/api/v1/repos/org/app/issues/42/comments",
    "gitlabmergerequestcomment": f"{PROJECT}/merge_requests/42/notes",
}
EDITS = {
    "githubpullrequestcomment": f"PATCH {GITHUB}/repos/octocat/Hello-World/issues/comments/7",
    "giteapullrequestcomment": (
        "PATCH https://gitea.example.com/api/v1/repos/org/app/issues/comments/7"
    ),
    "gitlabmergerequestcomment": f"PUT {PROJECT}/merge_requests/42/notes/7",
}
MARKERS = dict.fromkeys(COMMENTS, "flux-pr-comment-key") | {
    "gitlabmergerequestcomment": "flux-mr-comment-key"
}
TYPES = sorted(COMMENT_TYPES)


def key(type_: str) -> str:
    return f"<!-- {MARKERS[type_]}:{PROVIDER}/Kustomization/team/Shop -->"


def comment(type_: str, body: str, *, by: int = 1, number: int = 7, **more: Any) -> dict[str, Any]:
    author = "author" if type_ == "gitlabmergerequestcomment" else "user"
    return {"id": number, "body": body, author: {"id": by}} | more


def service(type_: str, *comments: Any) -> Talk:
    """A service where comments are, asked by the user 1."""
    size = "limit" if type_ == "giteapullrequestcomment" else "per_page"
    return Talk(
        {
            f"GET {USERS[type_]}": {"id": 1, "login": "octocat", "username": "octocat"},
            f"GET {COMMENTS[type_]}?{size}=100": list(comments),
            f"POST {COMMENTS[type_]}": {"id": 8},
            EDITS[type_]: {"id": 7},
        }
    )


async def told(talk: Talk, type_: str, **fields: Any) -> tuple[str, Any]:
    """Method and address of the last request, and its document."""
    given = {"address": ADDRESSES[type_]} | fields
    method, url, document = (await talk.tell(about(change_request="42"), type_, **given))[-1]
    return f"{method} {url}", document


# --- what is not written ------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("number", ["", "0", "-1", "4/2", "42/../43", "four", "4" * 19])
async def test_what_is_no_change_request(type_: str, number: str) -> None:
    talk = Talk()
    with pytest.raises(SendFailed, match="change_request"):
        await talk.tell(about(change_request=number), type_, address=ADDRESSES[type_])
    assert talk.sent == []


@pytest.mark.parametrize("type_", TYPES)
async def test_no_token(type_: str) -> None:
    with pytest.raises(SendFailed, match="needs token"):
        await told(Talk(), type_, token="")


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("user", [{}, {"id": None}, [], "x"])
async def test_nobody_s_token(type_: str, user: Any) -> None:
    talk = service(type_)
    talk.answers[f"GET {USERS[type_]}"] = user
    with pytest.raises(SendFailed, match=r"whose the token is|what it should not"):
        await told(talk, type_)
    assert all(request.method == "GET" for request in talk.sent)


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("change", ["author", "object", "inside", "no author"])
async def test_others_comments_are_not_edited(type_: str, change: str) -> None:
    there = {
        "author": comment(type_, key(type_), by=2),
        "object": comment(type_, key(type_).replace("Shop", "Shop2")),
        "inside": comment(type_, f"> {key(type_)}"),
        "no author": {"id": 7, "body": key(type_)},
    }[change]
    request, _ = await told(service(type_, there, "x", {}), type_)

    assert request == f"POST {COMMENTS[type_]}"


# --- what is ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", TYPES)
async def test_the_first_comment(type_: str) -> None:
    request, document = await told(service(type_), type_)

    assert request == f"POST {COMMENTS[type_]}"
    assert list(document) == ["body"]
    assert document["body"].splitlines()[0] == key(type_)


@pytest.mark.parametrize("type_", TYPES)
async def test_an_own_comment_is_edited(type_: str) -> None:
    other = comment(type_, "LGTM", by=2, number=6)
    request, document = await told(service(type_, other, comment(type_, key(type_))), type_)

    assert request == EDITS[type_]
    assert document["body"].startswith(key(type_))


@pytest.mark.parametrize("app", ["12", "Iv23client"])
async def test_an_app_knows_its_comments(app: str) -> None:
    """Tokens of installations may not ask for a user; comments say by which app they are."""
    type_ = "githubpullrequestcomment"
    by = {"id": 12, "client_id": "Iv23client"}
    own = comment(type_, key(type_), by=99, performed_via_github_app=by)
    other = comment(type_, key(type_), by=99, number=5, performed_via_github_app={"id": 13})
    talk = service(type_, other, own)
    request, _ = await told(talk, type_, app=app)

    assert request == EDITS[type_]
    assert f"GET {USERS[type_]}" not in {f"GET {one.url}" for one in talk.sent}


async def test_what_others_wrote_is_shown_as_it_is() -> None:
    """The message mentions everyone and would end a block of code."""
    _, document = await told(service("githubpullrequestcomment"), "githubpullrequestcomment")
    lines = document["body"].splitlines()

    assert lines[2] == (
        "### \N{WHITE HEAVY CHECK MARK} `Kustomization/Shop.team`: `ReconciliationSucceeded`"
    )
    assert lines[4:8] == ["````text", "Applied revision @everyone", "```", "````"]
    assert lines[9] == "- `change_request`: `42`"
