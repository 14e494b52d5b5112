"""Fixtures for tests that want an API server: ``devcluster`` and ``kube_api``.

Use them by ``pytest_plugins = ["devcluster_fixtures"]`` in a conftest, or by importing the names.
Each test gets its own cluster in its own event loop; starting one takes some 20 ms.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
import pytest

from devcluster import DevCluster, Options

__all__ = ["Answer", "KubeApi", "devcluster", "kube_api", "trusting"]


@dataclass(frozen=True, slots=True)
class Answer:
    """One response, read to its end."""

    status: int
    body: Any
    headers: Mapping[str, str]


def trusting(cluster: DevCluster) -> ssl.SSLContext:
    """A client context that trusts the cluster's own CA and nothing else."""
    return ssl.create_default_context(cadata=cluster.ca_pem.decode())


class KubeApi:
    """Raw requests with a bearer token; bodies and answers are JSON."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request; ``params`` are query parameters."""
        data = orjson.dumps(body) if body is not None else None
        sent = {"Content-Type": content_type} if data is not None else {}
        async with self.session.request(
            method, self.url + path, data=data, params=params, headers={**sent, **(headers or {})}
        ) as response:
            raw = await response.read()
            plain = not response.content_type.endswith("json")
            answer = raw.decode() if plain else orjson.loads(raw)
            return Answer(response.status, answer, dict(response.headers))

    async def get(self, path: str, **params: str) -> Any:
        """The body of a GET that must succeed."""
        answer = await self.call("GET", path, params=params)
        assert answer.status == 200, answer
        return answer.body

    async def post(self, path: str, body: Any, **params: str) -> Any:
        """The body of a POST that must succeed."""
        answer = await self.call("POST", path, body, params=params)
        assert answer.status in {200, 201}, answer
        return answer.body

    async def apply(self, path: str, body: Any, *, manager: str = "test", force: str = "") -> Any:
        """The body of a server-side apply that must succeed."""
        params = {"fieldManager": manager} | ({"force": force} if force else {})
        answer = await self.call(
            "PATCH", path, body, content_type="application/apply-patch+yaml", params=params
        )
        assert answer.status in {200, 201}, answer
        return answer.body

    async def delete(self, path: str, **params: str) -> Any:
        """The body of a DELETE that must succeed."""
        answer = await self.call("DELETE", path, params=params)
        assert answer.status in {200, 202}, answer
        return answer.body


@pytest.fixture
async def devcluster() -> AsyncIterator[DevCluster]:
    """A fresh cluster in this process."""
    async with DevCluster(Options()) as cluster:
        yield cluster


@pytest.fixture
async def kube_api(devcluster: DevCluster) -> AsyncIterator[KubeApi]:
    """Raw requests as the admin."""
    headers = {"Authorization": f"Bearer {devcluster.admin_token}"}
    connector = aiohttp.TCPConnector(ssl=trusting(devcluster))
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        yield KubeApi(session, devcluster.url)
