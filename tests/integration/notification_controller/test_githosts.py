"""The stand-ins for Git hosts, held to what the hosts have published; first what they refuse."""

from __future__ import annotations

from typing import Any

import aiohttp

from githosts.github import FakeGitHub
from githosts.hook import headers_of

COMMIT = "6dcb09b5b57875f334f61aebed695e2e4193db5e"
# "Code samples" of https://docs.github.com/rest/commits/statuses#create-a-commit-status
HEADERS = {
    "Accept": "application/vnd.github+json",
    "Authorization": "Bearer <YOUR-TOKEN>",
    "X-GitHub-Api-Version": "2022-11-28",
}
EXAMPLE = {
    "state": "success",
    "target_url": "https://example.com/build/status",
    "description": "The build succeeded!",
    "context": "continuous-integration/jenkins",
}


async def _send(
    github: FakeGitHub,
    body: Any = EXAMPLE,
    *,
    method: str = "POST",
    path: str = f"/api/v3/repos/org/app/statuses/{COMMIT}",
    **headers: str,
) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method,
            github.url + path,
            json=None if method == "GET" else body,
            headers=HEADERS | headers,
        ) as answer,
    ):
        return answer.status, await answer.json()


_UNDOCUMENTED: list[tuple[dict[str, Any], int]] = [
    ({"method": "PUT"}, 404),
    ({"path": f"/repos/org/app/statuses/{COMMIT}"}, 404),
    ({"path": f"/api/v3/repos/org/other/statuses/{COMMIT}"}, 404),
    ({"path": f"/api/v3/repos/org/app/statuses/{COMMIT[:12]}"}, 404),
    ({"path": f"/api/v3/repos/org/app/statuses/{'0' * 40}"}, 422),
    ({"path": f"/api/v3/repos/org/app/statuses/{COMMIT}?state=success"}, 404),
    ({"Authorization": "Bearer other"}, 401),
    ({"Authorization": ""}, 401),
    ({"Accept": "text/html"}, 415),
    ({"X-GitHub-Api-Version": "2020-01-01"}, 400),
    ({"User-Agent": ""}, 403),
    ({"body": []}, 422),
    ({"body": EXAMPLE | {"state": "succeeded"}}, 422),
    ({"body": {"context": "x"}}, 422),
    ({"body": EXAMPLE | {"sha": COMMIT}}, 422),
    ({"body": EXAMPLE | {"description": "x" * 141}}, 422),
    ({"body": EXAMPLE | {"context": 1}}, 422),
    ({"body": EXAMPLE | {"target_url": "ftp://example.com"}}, 422),
    ({"method": "GET", "path": f"/api/v3/repos/org/app/commits/{COMMIT}/status"}, 404),
    (
        {
            "method": "GET",
            "path": f"/api/v3/repos/org/app/commits/{COMMIT}/statuses?per_page=101",
        },
        422,
    ),
]


async def test_what_github_does_not_document_is_refused() -> None:
    async with FakeGitHub("<YOUR-TOKEN>", {COMMIT}.__contains__) as github:
        for change, status in _UNDOCUMENTED:
            found, document = await _send(github, **change)
            assert (found, github.statuses) == (status, []), change
            assert document["message"]

        assert len(github.refused) == len(_UNDOCUMENTED)


async def test_github_s_published_example_passes() -> None:
    """https://docs.github.com/rest/commits/statuses: what is sent, and the fields of the answer."""
    async with FakeGitHub("<YOUR-TOKEN>", {COMMIT}.__contains__) as github:
        status, document = await _send(github)
        listed = await _send(
            github, method="GET", path=f"/api/v3/repos/org/app/commits/{COMMIT}/statuses"
        )

        assert status == 201
        assert {name: document[name] for name in EXAMPLE} == EXAMPLE
        assert set(document) == {
            *("url", "avatar_url", "id", "node_id", "state", "description", "target_url"),
            *("context", "created_at", "updated_at", "creator"),
        }
        assert listed == (200, [document])
        assert github.refused == []


def test_github_s_published_signature() -> None:
    """https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries"""
    headers = headers_of(b"It's a Secret to Everybody", b"Hello, World!")

    assert headers["X-Hub-Signature-256"] == (
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    )
