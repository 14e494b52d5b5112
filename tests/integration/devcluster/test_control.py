"""Holds and the request log: what the kill tests stand on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import orjson
import pytest

from devcluster import DevCluster, Options
from devcluster.control import Match
from devcluster_fixtures import KubeApi, devcluster, kube_api, trusting

__all__ = ["devcluster", "kube_api"]

_MAPS = "/api/v1/namespaces/default/configmaps"


def _map(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


async def test_hold_before_counts_writes_and_keeps_the_state_unchanged(
    devcluster: DevCluster, kube_api: KubeApi
) -> None:
    hold = devcluster.control.hold(Match(path="configmaps"), nth=2)
    await kube_api.post(_MAPS, _map("one"))
    await kube_api.get(_MAPS + "/one")
    task = asyncio.create_task(kube_api.call("POST", _MAPS, _map("two")))
    entry = await hold.reached(5)
    absent = await kube_api.call("GET", _MAPS + "/two")
    hold.release()
    answer = await task

    assert (entry.method, entry.path) == ("POST", _MAPS)
    assert absent.status == 404
    assert answer.status == 201


async def test_client_that_dies_at_a_hold_before_has_written_nothing(
    devcluster: DevCluster, kube_api: KubeApi
) -> None:
    hold = devcluster.control.hold(Match(path="configmaps"))
    task = asyncio.create_task(kube_api.call("POST", _MAPS, _map("one")))
    await hold.reached(5)
    task.cancel()
    await asyncio.wait([task])
    async with asyncio.timeout(5):
        while hold.state == "held":
            await asyncio.sleep(0.005)
    absent = await kube_api.call("GET", _MAPS + "/one")

    assert hold.state == "gone"
    assert absent.status == 404


async def test_hold_after_shows_the_change_before_the_client_has_its_answer(
    devcluster: DevCluster, kube_api: KubeApi
) -> None:
    hold = devcluster.control.hold(Match(path="configmaps"), when="after")
    task = asyncio.create_task(kube_api.call("POST", _MAPS, _map("one")))
    await hold.reached(5)
    found = await kube_api.get(_MAPS + "/one")
    waiting = not task.done()
    hold.drop()
    with pytest.raises(aiohttp.ClientError):
        await task

    assert found["metadata"]["name"] == "one"
    assert waiting


async def test_dry_runs_and_reviews_are_no_writes(
    devcluster: DevCluster, kube_api: KubeApi
) -> None:
    hold = devcluster.control.hold()
    await kube_api.post(_MAPS, _map("one"), dryRun="All")
    review = {"spec": {"nonResourceAttributes": {"verb": "get", "path": "/"}}}
    await kube_api.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)

    assert (hold.state, hold.seen) == ("armed", 0)


async def test_watches_end_on_command(devcluster: DevCluster, kube_api: KubeApi) -> None:
    async def stream() -> list[object]:
        params = {"watch": "true", "resourceVersion": str(devcluster.engine.store.revision)}
        async with kube_api.session.get(kube_api.url + _MAPS, params=params) as response:
            return [orjson.loads(line) async for line in response.content]

    task = asyncio.create_task(stream())
    async with asyncio.timeout(5):
        while not devcluster.control.expire_watches(Match(path="configmaps")):
            await asyncio.sleep(0.005)
    events = await task

    assert [event["type"] for event in events] == ["ERROR"]  # type: ignore[index]
    assert events[0]["object"]["code"] == 410  # type: ignore[index]


async def test_request_log_names_both_identities(devcluster: DevCluster, kube_api: KubeApi) -> None:
    await kube_api.call("GET", _MAPS, headers={"Impersonate-User": "bob"})
    (entry,) = devcluster.control.requests(Match(user="^bob$"))

    assert (entry.user, entry.impersonated, entry.status) == ("kubernetes-admin", "bob", 403)


async def test_endpoint_and_files(tmp_path: Path) -> None:
    options = Options(
        control_port=0, request_log=tmp_path / "req.jsonl", audit_log=tmp_path / "audit.jsonl"
    )
    async with DevCluster(options) as cluster, aiohttp.ClientSession() as session:
        url = cluster.control_url
        async with session.post(f"{url}/holds", json={"match": {"path": "configmaps"}}) as made:
            hold = await made.json()
        async with session.post(f"{url}/holds", json={"match": {"what": 1}}) as refused:
            bad = (refused.status, await refused.json())
        connector = aiohttp.TCPConnector(ssl=trusting(cluster))
        headers = {"Authorization": f"Bearer {cluster.admin_token}"}
        async with aiohttp.ClientSession(connector=connector, headers=headers) as client:
            api = KubeApi(client, cluster.url)
            task = asyncio.create_task(api.call("POST", _MAPS, _map("one")))
            async with session.get(f"{url}/holds/{hold['id']}?wait=5") as state:
                held = await state.json()
            async with session.post(f"{url}/holds/{hold['id']}/release"):
                answer = await task
        async with session.get(f"{url}/requests?method=POST") as log:
            logged = await log.json()
    lines = (tmp_path / "req.jsonl").read_bytes().splitlines()
    audit = [orjson.loads(line) for line in (tmp_path / "audit.jsonl").read_bytes().splitlines()]

    assert bad == (400, {"error": "unknown terms: what"})
    assert held["state"] == "held"
    assert answer.status == 201
    assert [entry["status"] for entry in logged] == [201]
    assert orjson.loads(lines[-1])["path"] == _MAPS
    assert audit[-1]["objectRef"]["resource"] == "configmaps"
    assert audit[-1]["user"]["groups"] == ["system:masters", "system:authenticated"]
