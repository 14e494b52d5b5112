"""Statuses of commits, by what each service documents; first what is not written."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from harness.talks import COMMIT, Talk, about
from notification_controller.provider.commits import COMMIT_TYPES
from notification_controller.provider.outgoing import Reply, SendFailed
from notification_controller.provider.settings import Settings

NAME = "kustomization/shop/0c9c2e41"
KEY = hashlib.sha1(NAME.encode(), usedforsecurity=False).hexdigest()
ADDRESSES = {
    "github": "https://github.com/octocat/Hello-World",
    "gitlab": "https://gitlab.example.com/group/sub/app.git",
    "gitea": "https://gitea.example.com/org/app",
    "bitbucket": "https://bitbucket.org/my-workspace/my-repo",
    "bitbucketserver": "https://bitbucket.example.com/ctx/scm/PRJ/app.git",
    "azuredevops": "https://dev.azure.com/fabrikam/My%20Project/_git/app",
}
LISTS = {
    "github": f"https://api.github.com/repos/octocat/Hello-World/commits/{COMMIT}/statuses?per_page=50",
    "gitlab": "https://gitlab.example.com/api/v4/projects/group%2Fsub%2Fapp/repository/commits/"
    f"{COMMIT}/statuses?name={NAME}&per_page=50&sort=desc",
    "gitea": f"https://gitea.example.com/api/v1/repos/org/app/commits/{COMMIT}/statuses"
    "?limit=50&sort=highestindex",
    "bitbucket": "https://api.bitbucket.org/2.0/repositories/my-workspace/my-repo/commit/"
    f"{COMMIT}/statuses/build/{KEY}",
    "bitbucketserver": "https://bitbucket.example.com/ctx/rest/api/latest/projects/PRJ/repos/app/"
    f"commits/{COMMIT}/builds?key={KEY}",
    "azuredevops": "https://dev.azure.com/fabrikam/My%20Project/_apis/git/repositories/app/commits/"
    f"{COMMIT}/statuses?api-version=6.0&top=50&latestOnly=true",
}
WRITES = {
    "github": f"https://api.github.com/repos/octocat/Hello-World/statuses/{COMMIT}",
    "gitlab": "https://gitlab.example.com/api/v4/projects/group%2Fsub%2Fapp/statuses/" + COMMIT,
    "gitea": f"https://gitea.example.com/api/v1/repos/org/app/statuses/{COMMIT}",
    "bitbucket": "https://api.bitbucket.org/2.0/repositories/my-workspace/my-repo/commit/"
    f"{COMMIT}/statuses/build",
    "bitbucketserver": "https://bitbucket.example.com/ctx/rest/api/latest/projects/PRJ/repos/app/"
    f"commits/{COMMIT}/builds",
    "azuredevops": "https://dev.azure.com/fabrikam/My%20Project/_apis/git/repositories/app/commits/"
    f"{COMMIT}/statuses?api-version=6.0",
}
TOKENS = {"bitbucket": "jdoe:app-password"}
DESCRIPTION = "reconciliation succeeded"
TITLE = "kustomization/shop"
BUILD = {"key": KEY, "name": TITLE, "state": "SUCCESSFUL", "description": DESCRIPTION}
SITE = "https://bitbucket.example.com/ctx/projects/PRJ/repos/app/commits/"
WRITTEN: dict[str, Any] = {
    "github": {"state": "success", "context": NAME, "description": DESCRIPTION},
    "gitlab": {"state": "success", "name": NAME, "description": DESCRIPTION},
    "gitea": {"state": "success", "context": NAME, "description": DESCRIPTION},
    "bitbucket": BUILD | {"url": "https://bitbucket.org"},
    "bitbucketserver": BUILD | {"url": SITE + COMMIT, "name": f"{TITLE} [{DESCRIPTION}]"},
    "azuredevops": {
        "state": "succeeded",
        "description": DESCRIPTION,
        "context": {"name": NAME, "genre": "fluxcd"},
    },
}
TYPES = sorted(COMMIT_TYPES)


def settings(type_: str, **more: Any) -> dict[str, Any]:
    return {"address": ADDRESSES[type_], "token": TOKENS.get(type_, "s3cr3t")} | more


def listed(type_: str, *found: dict[str, Any]) -> Any:
    """What a service answers to a list; found are in its own words, the newest first."""
    if type_.startswith("bitbucket"):
        return found[0] if found else 404
    if type_ == "azuredevops":
        return {"value": list(found)}
    return list(found)


def as_listed(type_: str, **more: Any) -> dict[str, Any]:
    """A status as its service lists it; GitLab and Gitea call the state otherwise there."""
    one = dict(WRITTEN[type_])
    if type_ in {"gitlab", "gitea"}:
        one["status"] = one.pop("state")
    return one | {"id": 1} | more


# --- what is not written ------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", TYPES)
async def test_an_event_without_a_commit(type_: str) -> None:
    for facts in ({"commit": ""}, {"revision": "main@sha1:abc"}, {"originRevision": "6.1.0"}):
        with pytest.raises(SendFailed, match="names no commit") as caught:
            await Talk().tell(about(error=True, **facts), type_, **settings(type_))
        assert not caught.value.again


@pytest.mark.parametrize("type_", TYPES)
async def test_no_token(type_: str) -> None:
    with pytest.raises(SendFailed, match="needs token"):
        await Talk().tell(about(), type_, **settings(type_, token=""))


@pytest.mark.parametrize("token", ["jdoe", "jdoe:", ":password"])
async def test_a_token_of_bitbucket_is_user_and_password(token: str) -> None:
    with pytest.raises(SendFailed, match="<user>:<app password>") as caught:
        await Talk().tell(about(), "bitbucket", **settings("bitbucket", token=token))
    assert "jdoe" not in str(caught.value)
    assert "password" not in str(caught.value).replace("<app password>", "")


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize(
    "address",
    [
        "",
        "secret",
        "https://git.example.com",
        "https://git.example.com/secret",
        "https://git.example.com/../secret",
        "https://git.example.com/a//secret",
        "https://git.example.com/a/%2e%2e",
        "https://git.example.com/a/b%2Fsecret",
        "https://git.example.com/a/b%3Fsecret",
        "https://git.example.com/a%2Fsecret",
        "ftp://git.example.com/a/secret",
    ],
)
async def test_an_address_that_is_no_repository_is_not_repeated(type_: str, address: str) -> None:
    talk = Talk()
    with pytest.raises(SendFailed, match="address") as caught:
        await talk.tell(about(), type_, **settings(type_, address=address))
    assert "secret" not in str(caught.value)
    assert talk.sent == []


@pytest.mark.parametrize(
    ("type_", "address"),
    [
        ("github", "https://github.com/a/b/c"),
        ("gitea", "https://gitea.example.com/a/b/c"),
        ("bitbucketserver", "https://bitbucket.example.com/projects/a/b"),
        ("azuredevops", "https://dev.azure.com/org/project/app"),
    ],
)
async def test_paths_that_are_others_repositories(type_: str, address: str) -> None:
    with pytest.raises(SendFailed, match="must be"):
        await Talk().tell(about(), type_, **settings(type_, address=address))


@pytest.mark.parametrize("type_", [one for one in TYPES if one != "gitea"])
async def test_what_goes_on_is_no_status(type_: str) -> None:
    assert await Talk().tell(about("Progressing"), type_, **settings(type_)) == []


@pytest.mark.parametrize("type_", TYPES)
async def test_what_is_said_already_is_not_said_again(type_: str) -> None:
    talk = Talk({f"GET {LISTS[type_]}": listed(type_, as_listed(type_))})

    requests = await talk.tell(about(), type_, **settings(type_))
    assert [method for method, _, _ in requests] == ["GET"]


@pytest.mark.parametrize("type_", TYPES)
async def test_a_service_that_does_not_know_the_token_writes_nothing(type_: str) -> None:
    """Azure DevOps answers such tokens by a page to sign in, and by success."""
    talk = Talk({f"GET {LISTS[type_]}": 401})
    with pytest.raises(SendFailed, match="401"):
        await talk.tell(about(), type_, **settings(type_))
    assert len(talk.sent) == 1
    assert "token" in talk.sent[0].problem(Reply(203, b"<html>"))


def test_secrets_are_known_in_their_parts() -> None:
    found = Settings(
        type="bitbucket", address="https://u:p%40ss@git.example.com/a/b", token="jdoe:app-pass"
    ).secrets

    assert {"p@ss", "p%40ss", "jdoe:app-pass", "app-pass"} <= set(found)


# --- what is ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("found", ["nothing", "another", "older", "differs"])
async def test_a_status_that_is_new(type_: str, found: str) -> None:
    """Of the forms that the pages in ``commits`` show."""
    other = {"github": "context", "gitlab": "name", "gitea": "context"}.get(type_, "key")
    change: dict[str, Any] = {other: "another"}
    if type_ == "azuredevops":
        change = {"context": {"name": NAME, "genre": "fluxcd:another"}}
    there = {
        "nothing": [],
        "another": [as_listed(type_, **change)],
        "older": [as_listed(type_, description="failed"), as_listed(type_)],
        "differs": [as_listed(type_, description="failed")],
    }[found]
    talk = Talk({f"GET {LISTS[type_]}": listed(type_, *there), f"POST {WRITES[type_]}": {"id": 2}})

    requests = await talk.tell(about(), type_, **settings(type_))
    assert requests[1:] == [("POST", WRITES[type_], WRITTEN[type_])]


@pytest.mark.parametrize("type_", TYPES)
async def test_a_failure(type_: str) -> None:
    states = {
        "github": "failure",
        "gitlab": "failed",
        "gitea": "failure",
        "bitbucket": "FAILED",
        "bitbucketserver": "FAILED",
        "azuredevops": "error",
    }
    talk = Talk({f"GET {LISTS[type_]}": listed(type_), f"POST {WRITES[type_]}": {}})

    requests = await talk.tell(about("HealthCheckFailed", error=True), type_, **settings(type_))
    assert requests[1][2]["state"] == states[type_]
    assert requests[1][2]["description"] == "health check failed"


async def test_gitea_shows_what_goes_on() -> None:
    talk = Talk({f"GET {LISTS['gitea']}": [], f"POST {WRITES['gitea']}": {}})

    requests = await talk.tell(about("Progressing"), "gitea", **settings("gitea"))
    assert requests[1][2]["state"] == "pending"


async def test_azure_devops_names_the_summary() -> None:
    type_ = "azuredevops"
    talk = Talk({f"GET {LISTS[type_]}": listed(type_), f"POST {WRITES[type_]}": {}})

    requests = await talk.tell(about(summary="production"), type_, **settings(type_))
    assert requests[1][2]["context"]["genre"] == "fluxcd:production"


@pytest.mark.parametrize(
    ("type_", "name", "value"),
    [
        ("github", "Authorization", "Bearer s3cr3t"),
        ("gitlab", "PRIVATE-TOKEN", "s3cr3t"),
        ("gitea", "Authorization", "token s3cr3t"),
        ("bitbucket", "Authorization", "Basic amRvZTphcHAtcGFzc3dvcmQ="),
        ("bitbucketserver", "Authorization", "Bearer s3cr3t"),
        ("azuredevops", "Authorization", "Basic OnMzY3IzdA=="),
    ],
)
async def test_who_asks_and_writes(type_: str, name: str, value: str) -> None:
    talk = Talk({f"GET {LISTS[type_]}": listed(type_), f"POST {WRITES[type_]}": {}})
    await talk.tell(about(), type_, **settings(type_))

    assert [request.headers[name] for request in talk.sent] == [value, value]
    assert all("s3cr3t" not in repr(request) for request in talk.sent)


@pytest.mark.parametrize("type_", ["github", "gitlab", "gitea"])
async def test_a_password_is_a_token_as_well(type_: str) -> None:
    talk = Talk({f"GET {LISTS[type_]}": listed(type_), f"POST {WRITES[type_]}": {}})
    given = settings(type_, token="", username="robot", password="s3cr3t")
    await talk.tell(about(), type_, **given)

    assert "s3cr3t" in "".join(talk.sent[1].headers.values())


async def test_bitbucket_server_by_user_and_password() -> None:
    type_ = "bitbucketserver"
    talk = Talk({f"GET {LISTS[type_]}": 404, f"POST {WRITES[type_]}": {}})
    await talk.tell(about(), type_, **settings(type_, username="robot", password="pass"))

    assert talk.sent[1].headers["Authorization"] == "Basic cm9ib3Q6cGFzcw=="
    assert talk.sent[1].headers["X-Atlassian-Token"] == "no-check"


@pytest.mark.parametrize(
    ("address", "base"),
    [
        ("https://github.com/a/b.git", "https://api.github.com/repos/a/b"),
        ("https://github.com/a/b/", "https://api.github.com/repos/a/b"),
        ("https://user:pw@github.com/a/b", "https://api.github.com/repos/a/b"),
        ("ssh://git@github.com:22/a/b", "https://api.github.com/repos/a/b"),
        ("git@github.com:a/b.git", "https://api.github.com/repos/a/b"),
        ("https://ghes.example.com:8443/a/b", "https://ghes.example.com:8443/api/v3/repos/a/b"),
    ],
)
async def test_addresses_of_github(address: str, base: str) -> None:
    listing = f"{base}/commits/{COMMIT}/statuses?per_page=50"
    talk = Talk({f"GET {listing}": [], f"POST {base}/statuses/{COMMIT}": {}})

    assert len(await talk.tell(about(), "github", address=address)) == 2


@pytest.mark.parametrize(
    "facts",
    [
        {"commit": COMMIT, "revision": "main@sha1:" + "0" * 40},
        {"originRevision": f"main@sha1:{COMMIT}", "revision": "6.1.0+1"},
    ],
)
async def test_the_commit_that_is_meant(facts: dict[str, Any]) -> None:
    talk = Talk({f"GET {LISTS['github']}": [], f"POST {WRITES['github']}": {}})
    await talk.tell(about(**facts), "github", **settings("github"))

    assert str(talk.sent[1].url).endswith(COMMIT)
