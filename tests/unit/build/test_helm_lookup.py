"""What a template's ``lookup`` may ask, and what it is told."""

from __future__ import annotations

from typing import Any, cast

import pytest

from fluvial.build.helm.lookup import (
    LookupAnswer,
    LookupQuery,
    answering,
    cluster_lookup,
)
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import ApiError, Forbidden, NotFound, ServerError, Unreachable


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/api/v1", LookupQuery("", "v1")),
        ("/apis/apps/v1", LookupQuery("apps", "v1")),
        ("/api/v1/nodes", LookupQuery("", "v1", "nodes")),
        ("/api/v1/nodes/n", LookupQuery("", "v1", "nodes", "", "n")),
        ("/api/v1/namespaces", LookupQuery("", "v1", "namespaces")),
        ("/api/v1/namespaces/n", LookupQuery("", "v1", "namespaces", "", "n")),
        ("/api/v1/namespaces/n/pods", LookupQuery("", "v1", "pods", "n")),
        ("/apis/apps/v1/namespaces/n/d/x", LookupQuery("apps", "v1", "d", "n", "x")),
        ("/api/v1/namespaces/n/pods/a%3Ab", LookupQuery("", "v1", "pods", "n", "a:b")),
    ],
)
def test_paths_of_lookups(path: str, query: LookupQuery) -> None:
    assert LookupQuery.parse(path) == query


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "/version", "/api", "/apis", "/apis/apps", "/healthz", "api/v1", "//api/v1"),
        *("/api/v1/namespaces/n/pods/p/log", "/api/v1/nodes/n/proxy", "/api/v1//x"),
    ],
)
def test_paths_of_no_lookup(path: str) -> None:
    assert LookupQuery.parse(path) is None


class Client:
    """Answers one thing, and keeps what it was asked."""

    def __init__(self, answer: dict[str, Any] | ApiError) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str]] = []

    async def request(self, method: str, path: str) -> dict[str, Any]:
        self.asked.append((method, path))
        if isinstance(self.answer, ApiError):
            raise self.answer
        return self.answer

    def lookup(self, query: LookupQuery) -> Any:
        return cluster_lookup(cast("KubeClient", self))(query)


class Pages:
    """A list in pages of one item; ``size`` is how large each item is."""

    def __init__(self, count: int, *, size: int = 1) -> None:
        self.left = count
        self.size = size
        self.asked: list[str] = []

    async def request(self, method: str, path: str) -> dict[str, Any]:
        self.asked.append(f"{method} {path}")
        self.left -= 1
        metadata = {"resourceVersion": "7"}
        if self.left:
            metadata |= {"continue": f"a b{self.left}", "remainingItemCount": "1"}
        items = [{"n": "x" * self.size}]
        return {"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": items}


async def test_lists_are_read_in_pages() -> None:
    pages = Pages(3)
    answer = await cluster_lookup(cast("KubeClient", pages))(LookupQuery("", "v1", "pods", "n"))

    assert answer == LookupAnswer(
        200,
        {
            "kind": "PodList",
            "apiVersion": "v1",
            "metadata": {"resourceVersion": "7"},
            "items": [{"n": "x"}] * 3,
        },
    )
    path = "GET /api/v1/namespaces/n/pods?limit=100"
    assert pages.asked == [path, f"{path}&continue=a%20b2", f"{path}&continue=a%20b1"]


async def test_a_list_that_is_too_large_is_refused_early() -> None:
    pages = Pages(1000, size=1 << 20)
    answer = await cluster_lookup(cast("KubeClient", pages))(LookupQuery("", "v1", "pods"))

    assert answer.status == 413
    assert len(pages.asked) == 16


async def test_a_render_looks_up_a_thousand_times_at_most() -> None:
    async def found(_: LookupQuery) -> LookupAnswer:
        return LookupAnswer(200, {})

    answer = answering(found)
    statuses = [(await answer({"get": "/api/v1/pods"}))["status"] for _ in range(1001)]

    assert statuses == [200] * 1000 + [400]


@pytest.mark.parametrize(
    ("query", "path"),
    [
        (LookupQuery("", "v1"), "/api/v1"),
        (LookupQuery("apps", "v1", "deployments"), "/apis/apps/v1/deployments?limit=100"),
        (LookupQuery("", "v1", "pods", "n"), "/api/v1/namespaces/n/pods?limit=100"),
        (LookupQuery("", "v1", "pods", "n", "p"), "/api/v1/namespaces/n/pods/p"),
        (LookupQuery("", "v1", "nodes", "", "x"), "/api/v1/nodes/x"),
    ],
)
async def test_a_cluster_is_asked_by_get(query: LookupQuery, path: str) -> None:
    client = Client({"kind": "X"})

    answer = await client.lookup(query)
    assert (answer.status, answer.body["kind"]) == (200, "X")
    assert client.asked == [("GET", path)]


@pytest.mark.parametrize(
    "query",
    [
        LookupQuery("", "v1", "secrets", "n", "../../kube-system/secrets/x"),
        LookupQuery("", "v1", "secrets", "..", "x"),
        LookupQuery("", "v1", "se/crets", "n", "x"),
        LookupQuery("..", "v1", "secrets", "n", "x"),
    ],
)
async def test_words_stay_in_their_place(query: LookupQuery) -> None:
    client = Client({})
    answer = await client.lookup(query)

    assert answer.status == 400
    assert client.asked == []


@pytest.mark.parametrize(
    ("error", "status"),
    [(NotFound("no", status=404, reason="NotFound"), 404), (Forbidden("no", status=403), 403)],
)
async def test_what_the_server_refuses_is_told(error: ApiError, status: int) -> None:
    answer = await Client(error).lookup(LookupQuery("", "v1"))

    assert (answer.status, answer.body["code"], answer.body["kind"]) == (status, status, "Status")


@pytest.mark.parametrize("error", [Unreachable("away"), ServerError("down", status=503)])
async def test_what_may_pass_is_raised(error: ApiError) -> None:
    with pytest.raises(type(error)):
        await Client(error).lookup(LookupQuery("", "v1"))


async def test_only_what_a_version_has_is_kept() -> None:
    async def found(query: LookupQuery) -> LookupAnswer:
        return LookupAnswer(404 if query.group else 200, {})

    answer = answering(found)

    assert (await answer({"get": "/api/v1"}))["resources"]
    assert not (await answer({"get": "/apis/x/v1"}))["resources"]
    assert not (await answer({"get": "/api/v1/pods"}))["resources"]
    assert (await answer({"get": "/version"}))["status"] == 404
    assert (await answer({}))["status"] == 404
