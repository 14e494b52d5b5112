"""A tenant's kubeconfig that leads to internal services instead of an API server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from fluvial.kube import kinds
from fluvial.kube.errors import ApiError
from fluvial.kube.http import HttpKubeClient
from fluvial.kube.remote import client_from_kubeconfig
from fluvial.kube.retry import RetryPolicy
from fluvial.objects import ObjectKey

_SECRET = "internal-token-4711"
_TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"


class Internal:
    """What a tenant must not see; keeps what it was asked and with what."""

    def __init__(self) -> None:
        self.url = ""
        self.text = _SECRET
        self.status = 403
        self.content_type = "text/plain"
        self.asked: list[web.BaseRequest] = []

    async def answer(self, request: web.BaseRequest) -> web.Response:
        self.asked.append(request)
        headers = {"Location": f"{self.url}/elsewhere"} if self.status == 302 else {}
        return web.Response(
            text=self.text, status=self.status, content_type=self.content_type, headers=headers
        )


@pytest.fixture
async def internal() -> AsyncIterator[Internal]:
    service = Internal()
    runner = web.ServerRunner(web.Server(service.answer), shutdown_timeout=0.1)  # takes CONNECT too
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    service.url = f"http://{host}:{port}"
    yield service
    await runner.cleanup()


async def client(cluster: dict[str, Any], user: dict[str, Any] | None = None) -> HttpKubeClient:
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": cluster}],
        "users": [{"name": "u", "user": user or {}}],
    }
    return await client_from_kubeconfig(
        json.dumps(document).encode(),
        allow_exec=False,
        allow_insecure_tls=True,
        user_agent="test",
        retry=RetryPolicy(budget=0.0),
    )


async def refusal(remote: HttpKubeClient) -> str:
    async with remote:
        with pytest.raises(ApiError) as caught:
            await remote.get(kinds.CONFIG_MAP, ObjectKey("team", "x"))
    return str(caught.value)


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 500])
@pytest.mark.parametrize("content_type", ["text/plain", "application/json"])
async def test_what_an_internal_service_says_is_not_told(
    internal: Internal, status: int, content_type: str
) -> None:
    internal.status, internal.content_type = status, content_type

    assert _SECRET not in await refusal(await client({"server": internal.url}))
    assert all("elsewhere" not in request.path for request in internal.asked)


@pytest.mark.parametrize("status", [200, 403, 407, 500])
async def test_a_proxy_that_is_none_tells_nothing(internal: Internal, status: int) -> None:
    internal.status = status
    cluster = {"server": "https://kubernetes.default.svc", "proxy-url": internal.url}

    assert _SECRET not in await refusal(await client(cluster))


async def test_nothing_of_the_controllers_is_sent(internal: Internal) -> None:
    """No token of its own, and nobody but the tenant's own service account is impersonated."""
    user = {"as": "system:admin", "as-groups": ["system:masters"], "as-uid": "0"}
    remote = (await client({"server": internal.url}, user)).impersonate(
        "system:serviceaccount:team:deployer"
    )
    await refusal(remote)
    await remote._transport.aclose()

    (request,) = internal.asked
    assert "Authorization" not in request.headers
    assert {name: request.headers.getall(name) for name in request.headers if "mpers" in name} == {
        "Impersonate-User": ["system:serviceaccount:team:deployer"]
    }


@pytest.mark.parametrize("status", [400, 401, 403, 409, 422, 500])
async def test_a_server_that_repeats_the_token_tells_nobody(
    internal: Internal, status: int
) -> None:
    """Its refusal is a Status, which is quoted; the token that it was shown is not in it."""
    internal.status, internal.content_type = status, "application/json"
    internal.text = json.dumps(
        {
            "kind": "Status",
            "status": "Failure",
            "reason": f"Bad {_TOKEN}",
            "message": f"who sends {_TOKEN}?",
            "details": {"causes": [{"message": _TOKEN, "field": _TOKEN}]},
        }
    )
    refused = await refusal(await client({"server": internal.url}, {"token": _TOKEN}))

    assert _TOKEN not in refused
    assert internal.asked[0].headers["Authorization"] == f"Bearer {_TOKEN}"


async def test_nor_does_one_that_has_it_in_its_objects(internal: Internal) -> None:
    """What a health message or a diff would tell of them."""
    internal.status, internal.content_type = 200, "application/json"
    internal.text = json.dumps({"kind": "ConfigMap", "data": {"a": f"b {_TOKEN} c"}})
    async with await client({"server": internal.url}, {"token": _TOKEN}) as remote:
        found = await remote.get(kinds.CONFIG_MAP, ObjectKey("team", "x"))

    assert found["data"] == {"a": "b *** c"}
