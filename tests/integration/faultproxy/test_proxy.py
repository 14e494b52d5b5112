"""Each fault as a client meets it, and that nothing else changes on the way."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest

from controlplane.start import ControlPlane
from devcluster import DevCluster
from devcluster_fixtures import Answer, KubeApi, devcluster
from faultproxy import Fault, FaultProxy, Match
from faultproxy.faults import (
    answer,
    conflict,
    delay,
    hang,
    redirect,
    reset,
    slow,
    truncate,
    unauthorized,
    watch,
)

__all__ = ["devcluster"]

_MAPS = "/api/v1/namespaces/default/configmaps"
_WRITES = Match(verb="create")


def _map(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


@asynccontextmanager
async def client_of(proxy: FaultProxy) -> AsyncIterator[KubeApi]:
    """Raw requests through the proxy, as its kubeconfig says."""
    config = proxy.kubeconfig()
    ca = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"])
    headers = {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=ca.decode()))
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        yield KubeApi(session, config["clusters"][0]["cluster"]["server"])


@pytest.fixture
async def proxy(devcluster: DevCluster) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(devcluster.kubeconfig(), control_port=0) as proxy:
        yield proxy


@pytest.fixture
async def api(proxy: FaultProxy) -> AsyncIterator[KubeApi]:
    async with client_of(proxy) as api:
        yield api


async def exists(cluster: DevCluster, name: str) -> bool:
    """Whether a ConfigMap is there, asked without the proxy."""
    async with FaultProxy(cluster.kubeconfig()) as clean, client_of(clean) as api:
        return (await api.call("GET", f"{_MAPS}/{name}")).status == 200


async def test_without_rules_nothing_changes(
    devcluster: DevCluster, proxy: FaultProxy, api: KubeApi
) -> None:
    made = await api.post(_MAPS, _map("one"))
    found = await api.get(f"{_MAPS}/one")
    missing = await api.call("GET", f"{_MAPS}/two")
    headers = {"Impersonate-User": "bob", "User-Agent": "tester/1"}
    refused = await api.call("GET", _MAPS, headers=headers)
    stranger = await api.call("GET", _MAPS, headers={"Authorization": "Bearer nobody"})
    (logged,) = proxy.requests(Match(user="^bob$"))
    (upstream,) = devcluster.control.requests()[-2:-1]

    assert found["metadata"]["uid"] == made["metadata"]["uid"]
    assert (missing.status, missing.body["reason"]) == (404, "NotFound")
    assert (refused.status, stranger.status) == (403, 401)
    assert (logged.user, logged.verb, logged.resource) == ("kubernetes-admin", "list", "configmaps")
    assert (logged.status, logged.agent, logged.faults) == (403, "tester/1", [])
    assert (upstream.agent, upstream.path) == ("faultproxy", _REVIEWS)


_REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


@pytest.mark.parametrize(
    ("fault", "status", "reason", "headers"),
    [
        (answer(429, retry_after=7), 429, "TooManyRequests", {"Retry-After": "7"}),
        (answer(503), 503, "ServiceUnavailable", {}),
        (conflict(), 409, "Conflict", {}),
        (unauthorized(), 401, "Unauthorized", {}),
        (answer(502, body="text"), 502, "fault injected\n", {}),
        (answer(500, body="none"), 500, "", {}),
        (redirect("https://192.0.2.1/"), 307, "", {"Location": "https://192.0.2.1/"}),
    ],
    ids=lambda value: value.label if isinstance(value, Fault) else "",
)
async def test_an_answer_in_place_of_the_servers(
    fault: Fault,
    status: int,
    reason: str,
    headers: dict[str, str],
    *,
    devcluster: DevCluster,
    proxy: FaultProxy,
    api: KubeApi,
) -> None:
    rule = proxy.add(_WRITES, fault, times=1)
    async with api.session.post(
        api.url + _MAPS, json=_map("one"), allow_redirects=False
    ) as response:
        raw = await response.read()
    said = orjson.loads(raw)["reason"] if raw.startswith(b"{") else raw.decode()
    written = await exists(devcluster, "one")
    after = await api.call("POST", _MAPS, _map("one"))

    assert (response.status, said) == (status, reason)
    assert headers.items() <= dict(response.headers).items()
    assert not written
    assert after.status == 201
    assert (rule.seen, rule.struck, rule.happened) == (1, 1, 1)


@pytest.mark.parametrize(
    ("fault", "written"),
    [
        (reset("before"), False),
        (reset("after"), True),
        (reset("body"), True),
        (truncate("length"), True),
        (truncate("chunk"), True),
    ],
    ids=lambda value: value.label if isinstance(value, Fault) else "",
)
async def test_an_answer_that_does_not_come(
    fault: Fault, *, written: bool, devcluster: DevCluster, proxy: FaultProxy, api: KubeApi
) -> None:
    rule = proxy.add(_WRITES, fault, times=1)
    with pytest.raises(aiohttp.ClientError):
        await api.call("POST", _MAPS, _map("one"))

    assert rule.happened == 1
    assert await exists(devcluster, "one") is written


@pytest.mark.parametrize(
    ("when", "written"), [("before", False), ("after", True), ("headers", True)]
)
async def test_an_answer_that_hangs_until_the_rule_goes(
    when: str, *, written: bool, devcluster: DevCluster, proxy: FaultProxy, api: KubeApi
) -> None:
    rule = proxy.add(_WRITES, hang(when), times=1)
    task = asyncio.create_task(api.call("POST", _MAPS, _map("one")))
    await _until(lambda: rule.happened == 1)
    found = await exists(devcluster, "one")
    others = await api.call("GET", _MAPS)
    waiting = not task.done()
    proxy.remove(rule.id)
    with pytest.raises(aiohttp.ClientError):
        await task

    assert found is written
    assert others.status == 200
    assert waiting


async def test_who_leaves_a_hanging_answer_leaves_nothing(proxy: FaultProxy, api: KubeApi) -> None:
    rule = proxy.add(Match(), hang("before"), times=1)
    task = asyncio.create_task(api.call("GET", _MAPS))
    await _until(lambda: rule.happened == 1)
    task.cancel()
    await asyncio.wait([task])

    assert (await api.call("GET", _MAPS)).status == 200


async def test_late_and_slow_answers_are_whole(proxy: FaultProxy, api: KubeApi) -> None:
    late = proxy.add(
        Match(verb="get"),
        delay(0.01, jitter=0.01),
    )
    dribbled = proxy.add(Match(verb="get"), slow(64, 0.0001))
    made = await api.post(_MAPS, _map("one"))
    found = await api.get(f"{_MAPS}/one")

    assert found == made
    assert (late.happened, dribbled.happened) == (1, 1)


# --- watches -------------------------------------------------------------------------------------


async def _watch(api: KubeApi, made: Answer) -> list[bytes]:
    version = made.body["metadata"]["resourceVersion"]
    params = {"watch": "1", "resourceVersion": version}
    async with api.session.get(api.url + _MAPS, params=params) as response:
        return [line async for line in response.content]


def _types(lines: list[bytes]) -> list[str]:
    return [_type(line) for line in lines]


def _type(line: bytes) -> str:
    try:
        return str(orjson.loads(line)["type"])
    except orjson.JSONDecodeError:
        return "?"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (watch("end"), []),
        (watch("end", events=2), ["ADDED", "ADDED"]),
        (watch("gone", events=1), ["ADDED", "ERROR"]),
    ],
    ids=lambda value: f"{value.label} {value.events}" if isinstance(value, Fault) else "",
)
async def test_a_watch_ends_as_told(
    fault: Fault, expected: list[str], *, proxy: FaultProxy, api: KubeApi
) -> None:
    rule = proxy.add(Match(resource="configmaps"), fault)
    made = await api.call("POST", _MAPS, _map("a"))
    for name in ("b", "c"):
        await api.post(_MAPS, _map(name))
    lines = await _watch(api, made)

    assert _types(lines) == expected
    assert rule.happened == 1


async def test_a_watch_goes_on_after_garbage_and_late_events(
    proxy: FaultProxy, api: KubeApi
) -> None:
    made = await api.call("POST", _MAPS, _map("a"))
    for name in ("b", "c"):
        await api.post(_MAPS, _map(name))
    garbage = proxy.add(Match(), watch("garbage", events=1), times=1)
    task = asyncio.create_task(_watch(api, made))
    await _until(lambda: garbage.happened == 1)
    late = proxy.add(Match(), watch("late", events=1, seconds=0.001))
    second = asyncio.create_task(_watch(api, made))
    await _until(lambda: late.happened == 1)
    await api.post(_MAPS, _map("d"))
    await _until(lambda: late.happened == 2)
    while proxy.end_streams() + len(proxy.requests(Match(verb="watch"))) < 2:
        await asyncio.sleep(0)

    assert _types(await task) == ["ADDED", "?", "ADDED", "ADDED"]
    assert _types(await second) == ["ADDED", "ADDED", "ADDED"]


@pytest.mark.parametrize("then", ["reset", "hang"])
async def test_a_watch_breaks(then: str, proxy: FaultProxy, api: KubeApi) -> None:
    made = await api.call("POST", _MAPS, _map("a"))
    rule = proxy.add(Match(), watch(then))
    task = asyncio.create_task(_watch(api, made))
    await _until(lambda: rule.happened == 1)
    proxy.clear()

    with pytest.raises(aiohttp.ClientError):
        await task


@pytest.mark.parametrize(("then", "last"), [("end", []), ("gone", ["ERROR"])])
async def test_running_watches_end_on_command(
    then: str, last: list[str], *, proxy: FaultProxy, api: KubeApi
) -> None:
    made = await api.call("POST", _MAPS, _map("a"))
    task = asyncio.create_task(_watch(api, made))
    await _until(lambda: any(e.status for e in proxy.requests(Match(verb="watch"))))
    others = proxy.end_streams(Match(resource="secrets"), then=then)
    ended = proxy.end_streams(Match(resource="configmaps"), then=then)

    assert _types(await task) == last
    assert (others, ended) == (0, 1)


# --- the connection as a whole -------------------------------------------------------------------


async def test_a_server_that_is_away_and_comes_back(proxy: FaultProxy, api: KubeApi) -> None:
    await api.get(_MAPS)
    await proxy.away()
    with pytest.raises(aiohttp.ClientError):
        await api.call("GET", _MAPS)
    await proxy.back()

    assert (await api.call("GET", _MAPS)).status == 200


async def test_what_breaks_behind_the_proxy_breaks_before_it(
    devcluster: DevCluster, proxy: FaultProxy, api: KubeApi
) -> None:
    made = await api.call("POST", _MAPS, _map("a"))
    task = asyncio.create_task(_watch(api, made))
    await _until(lambda: any(e.status for e in proxy.requests(Match(verb="watch"))))
    await devcluster.stop()
    with pytest.raises(aiohttp.ClientError):
        await api.call("GET", _MAPS)
    lines, *_ = await asyncio.gather(task, return_exceptions=True)

    assert lines == [] or isinstance(lines, aiohttp.ClientError)


async def test_control_by_http(proxy: FaultProxy, api: KubeApi) -> None:
    url = proxy.control_url
    async with aiohttp.ClientSession() as session:

        async def call(method: str, path: str, body: Any = None) -> tuple[int, Any]:
            async with session.request(method, url + path, json=body) as response:
                return response.status, orjson.loads(await response.read())

        rule = {"match": {"verb": "list"}, "fault": {"do": "status", "status": 503}, "times": 1}
        made, shown = await call("POST", "/rules", rule)
        struck = await api.call("GET", _MAPS)
        _, after = await call("GET", f"/rules/{shown['id']}")
        _, logged = await call("GET", "/requests?verb=list")
        bad = await call("POST", "/rules", {"fault": {"do": "explode"}})
        worse = await call("POST", "/rules", {"fault": {"do": "slow"}, "often": 1})
        await call("DELETE", f"/rules/{shown['id']}")
        _, left = await call("GET", "/rules")
        _, ended = await call("POST", "/streams/end", {"then": "gone"})
        await call("POST", "/away")
        with pytest.raises(aiohttp.ClientError):
            await api.call("GET", _MAPS)
        await call("POST", "/back")
        fine = await api.call("GET", _MAPS)

    assert (made, struck.status, fine.status) == (201, 503, 200)
    assert (after["seen"], after["struck"], after["happened"]) == (1, 1, 1)
    assert [entry["faults"] for entry in logged] == [["status 503"]]
    assert bad[0] == worse[0] == 400
    assert "often" in worse[1]["error"]
    assert (left, ended) == ([], {"count": 0})


async def test_a_client_certificate_is_used_for_its_own_user_only(
    real_control_plane: ControlPlane,
) -> None:
    """Its holder gets a token of the proxy's; nobody else is passed on with it."""
    pair = real_control_plane.admin_certificate
    config = real_control_plane.kubeconfig()
    config["users"][0]["user"] = {
        "client-certificate-data": base64.b64encode(pair.certificate).decode(),
        "client-key-data": base64.b64encode(pair.key).decode(),
    }
    async with FaultProxy(config) as proxy, client_of(proxy) as api:
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        who = await api.post(_REVIEWS, review)
        none = await api.call("GET", _MAPS, headers={"Authorization": ""})
        wrong = await api.call("GET", _MAPS, headers={"Authorization": "Bearer wrong"})
        token = await api.call(
            "GET",
            _MAPS,
            headers={"Authorization": f"Bearer {real_control_plane.admin_token}"},
        )
        logged = proxy.requests(Match(user="^kubernetes-admin$"))

    assert who["status"]["userInfo"]["username"] == "kubernetes-admin"
    assert (none.status, wrong.status, token.status) == (403, 401, 200)
    assert len(logged) == 2


async def _until(holds: Any) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.002)
