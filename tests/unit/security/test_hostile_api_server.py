"""An API server that a tenant runs, or that is broken: every answer is an ``ApiError``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from aiohttp import web

from fluvial.apply import Masker
from fluvial.apply.failures import failure_of
from fluvial.kube import kinds
from fluvial.kube.connection import Connection
from fluvial.kube.discovery import NoMatch, RestMapper
from fluvial.kube.errors import ApiError, error_from_status
from fluvial.kube.http import HttpKubeClient
from fluvial.kube.retry import RetryPolicy
from fluvial.objects import GroupVersionKind, ObjectKey, ObjectRef

STRANGE: list[Any] = [
    {},
    {"details": []},
    {"details": "x"},
    {"details": {"causes": "x", "name": []}},
    {"details": {"causes": [1, None, {"message": 5}]}},
    {"details": {"causes": {"a": 1}, "kind": {}}},
    {"reason": ["Invalid"], "message": {"a": 1}},
    {"message": "x" * 900_000},
    {"message": None, "reason": None, "details": None},
]


@pytest.mark.parametrize("status", [400, 403, 404, 409, 410, 422, 429, 500])
@pytest.mark.parametrize("body", STRANGE, ids=lambda body: orjson.dumps(body).decode()[:40])
def test_strange_refusals_can_be_reported(status: int, body: dict[str, Any]) -> None:
    error = error_from_status(status, body)
    ref = ObjectRef("", "ConfigMap", "team", "x")
    secret = {"apiVersion": "v1", "kind": "Secret", "data": {"a": "aHVudGVyMjI="}}
    failure = failure_of(ref, error, masker=Masker(["x y"]), during="apply", objects=(secret,))

    assert len(failure.message) < 2_000
    assert all(isinstance(cause, dict) for cause in error.causes)


class Server:
    """Gives one answer to everything."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.body = b""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=self.body, status=self.status, content_type="application/json")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    one = Server()
    runner = web.ServerRunner(web.Server(one.answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    one.url = f"http://{host}:{port}"
    yield one
    await runner.cleanup()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[HttpKubeClient]:
    async with HttpKubeClient(
        Connection(server.url), user_agent="test", retry=RetryPolicy(budget=0.0)
    ) as one:
        yield one


ANSWERS: list[bytes] = [
    b"",
    b"null",
    b"[]",
    b'"x"',
    b"<html>",
    b"{",
    b"\xff\xfe",
    b'{"items": 5}',
    b'{"items": {"a": 1}}',
    b'{"items": [1, null]}',
    b'{"metadata": [], "items": []}',
    b'{"metadata": {"resourceVersion": 5}, "items": []}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", ANSWERS, ids=lambda body: repr(body[:30]))
async def test_strange_lists(server: Server, client: HttpKubeClient, body: bytes) -> None:
    server.body = body
    try:
        page = await client.list_all(kinds.CONFIG_MAP)
    except ApiError:
        return
    assert page.items == []


@pytest.mark.parametrize("body", [*ANSWERS, b'{"kind":"Status","status":"Failure"}'])
@pytest.mark.parametrize("status", [404, 500])
async def test_strange_refusals(
    server: Server, client: HttpKubeClient, body: bytes, status: int
) -> None:
    server.body, server.status = body, status

    for resource in (kinds.CONFIG_MAP, kinds.SECRET):
        with pytest.raises(ApiError):
            await client.get(resource, ObjectKey("team", "x"))


DISCOVERIES: list[Any] = [
    {},
    {"versions": ["v1"], "groups": [], "resources": []},
    {"versions": "v1", "groups": "x", "resources": "x"},
    {"groups": [1, {"name": 5, "versions": "x"}], "resources": [{"name": 5}], "versions": [None]},
    {"resources": [{"name": "../../x", "kind": "Evil", "namespaced": "yes"}], "versions": ["v1"]},
]


@pytest.mark.parametrize("body", DISCOVERIES, ids=lambda body: orjson.dumps(body).decode()[:40])
async def test_strange_discovery(server: Server, client: HttpKubeClient, body: object) -> None:
    server.body = orjson.dumps(body)

    with pytest.raises((ApiError, NoMatch)):
        await RestMapper(client).resource_for(GroupVersionKind("example.com", "v1", "Thing"))
