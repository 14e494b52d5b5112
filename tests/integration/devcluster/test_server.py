"""The API server by raw requests: what the recordings do not cover, or not in this way."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from devcluster import DevCluster, Options
from devcluster.identity import User
from devcluster_fixtures import KubeApi, devcluster, kube_api, trusting

__all__ = ["devcluster", "kube_api"]

_CORE = "/api/v1/namespaces/default"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"


def _map(name: str, **meta: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **meta}}


def _definition() -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {"size": {"type": "integer", "default": 3}}}
        },
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "selectableFields": [{"jsonPath": ".spec.size"}],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [version],
        },
    }


async def _until(api: KubeApi, path: str, status: int) -> None:
    async with asyncio.timeout(5):
        while (await api.call("GET", path)).status != status:
            await asyncio.sleep(0.005)


async def _events(api: KubeApi, path: str, **params: str) -> AsyncIterator[dict[str, Any]]:
    async with api.session.get(api.url + path, params={"watch": "1", **params}) as response:
        assert response.status == 200
        async for line in response.content:
            yield orjson.loads(line)


# --- start and stop ----------------------------------------------------------------------------


async def test_cluster_starts_with_namespaces_and_their_accounts(kube_api: KubeApi) -> None:
    namespaces = await kube_api.get("/api/v1/namespaces")
    accounts = await kube_api.get("/api/v1/serviceaccounts")
    bundle = await kube_api.get(f"{_CORE}/configmaps/kube-root-ca.crt")

    names = ["default", "kube-node-lease", "kube-public", "kube-system"]
    assert [item["metadata"]["name"] for item in namespaces["items"]] == names
    assert [item["metadata"]["namespace"] for item in accounts["items"]] == names
    assert bundle["data"]["ca.crt"].startswith("-----BEGIN CERTIFICATE-----")


async def test_stop_ends_open_watches(devcluster: DevCluster, kube_api: KubeApi) -> None:
    stream = _events(kube_api, f"{_CORE}/configmaps")
    first = await anext(stream)
    await devcluster.stop()
    with pytest.raises((StopAsyncIteration, aiohttp.ClientError)):
        await anext(stream)

    assert first["type"] == "ADDED"


async def test_without_anonymous_requests_everything_takes_credentials() -> None:
    async with DevCluster(Options(anonymous=False)) as cluster, _session(cluster) as session:
        statuses = []
        for path in ("/version", "/readyz", "/api", "/openapi/v2", f"{_CORE}/configmaps"):
            for header in ("", "Bearer ", "Bearer wrong", "Basic YTpi", cluster.admin_token):
                headers = {"Authorization": header} if header else {}
                async with session.get(cluster.url + path, headers=headers) as answer:
                    statuses.append(answer.status)
        headers = {"Authorization": f"Bearer {cluster.admin_token}"}
        async with session.get(f"{cluster.url}/version", headers=headers) as answer:
            admin = answer.status

    assert set(statuses) == {401}
    assert admin == 200


async def test_another_address_is_in_the_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = []
    real = socket.create_server

    def on_loopback(address: tuple[str, int], **options: Any) -> socket.socket:
        wanted.append(address[0])
        return real(("127.0.0.1", address[1]), **options)

    monkeypatch.setattr(socket, "create_server", on_loopback)
    options = Options(address="192.0.2.7", anonymous=False)
    async with DevCluster(options) as cluster:
        port = int(cluster.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=trusting(cluster), server_hostname="192.0.2.7"
        )
        writer.write(b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.readline()
        writer.close()
        await writer.wait_closed()

    assert wanted == ["192.0.2.7"]
    assert cluster.url == f"https://192.0.2.7:{port}"
    assert b" 401 " in answer


async def test_listens_on_loopback_of_ipv6() -> None:
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
        pytest.skip("no IPv6 here")
    async with (
        DevCluster(Options(address="::1")) as cluster,
        _session(cluster) as session,
        session.get(f"{cluster.url}/version") as answer,
    ):
        status = answer.status

    assert cluster.url.startswith("https://[::1]:")
    assert status == 200


def _session(cluster: DevCluster) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting(cluster)))


# --- lists and watches -------------------------------------------------------------------------


async def test_pages_are_one_snapshot_until_it_is_compacted(
    devcluster: DevCluster, kube_api: KubeApi
) -> None:
    for name in ("a", "b", "c"):
        await kube_api.post(f"{_CORE}/secrets", {"metadata": {"name": name}})
    first = await kube_api.get(f"{_CORE}/secrets", limit="2")
    await kube_api.delete(f"{_CORE}/secrets/c")
    token = first["metadata"]["continue"]
    second = await kube_api.get(f"{_CORE}/secrets", limit="2", **{"continue": token})
    devcluster.control.compact()
    gone = await kube_api.call("GET", f"{_CORE}/secrets", params={"continue": token})
    fresh = gone.body["metadata"]["continue"]
    rest = await kube_api.get(f"{_CORE}/secrets", **{"continue": fresh})

    assert first["metadata"]["remainingItemCount"] == 1
    assert [item["metadata"]["name"] for item in second["items"]] == ["c"]
    assert (gone.status, gone.body["reason"]) == (410, "Expired")
    assert rest["items"] == []


async def test_watch_from_before_the_compaction_is_too_old(
    devcluster: DevCluster, kube_api: KubeApi
) -> None:
    made = await kube_api.post(f"{_CORE}/configmaps", _map("a"))
    devcluster.control.compact()
    await kube_api.post(f"{_CORE}/configmaps", _map("b"))
    version = str(int(made["metadata"]["resourceVersion"]) - 1)
    stream = _events(kube_api, f"{_CORE}/configmaps", resourceVersion=version)
    event = await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]

    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


async def test_two_watchers_get_the_same_bytes(devcluster: DevCluster, kube_api: KubeApi) -> None:
    version = str(devcluster.engine.store.revision)
    streams = [_events(kube_api, f"{_CORE}/secrets", resourceVersion=version) for _ in range(2)]
    waiting = [asyncio.ensure_future(anext(stream)) for stream in streams]
    await kube_api.post(f"{_CORE}/secrets", {"metadata": {"name": "s"}})
    events = await asyncio.gather(*waiting)
    table = devcluster.engine.store.table(("", "secrets"))
    encodings = table.history[-1].encoded
    for stream in streams:
        await stream.aclose()  # type: ignore[attr-defined]

    assert events[0] == events[1]
    assert len(encodings) == 1


# --- custom resources --------------------------------------------------------------------------


async def test_custom_resource_from_definition_to_deletion(kube_api: KubeApi) -> None:
    await kube_api.post(_CRDS, _definition())
    await _until(kube_api, _WIDGETS, 200)
    widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}}
    made = await kube_api.post(_WIDGETS, {**widget, "spec": {"unknown": 1}})
    found = await kube_api.get(_WIDGETS, fieldSelector="spec.size=3")
    refused = await kube_api.call("POST", _WIDGETS, {**widget, "spec": {"size": "x"}})
    await kube_api.delete(f"{_CRDS}/widgets.example.com")
    await _until(kube_api, f"{_CRDS}/widgets.example.com", 404)
    after = await kube_api.call("GET", _WIDGETS)

    assert made["spec"] == {"size": 3}
    assert [item["metadata"]["name"] for item in found["items"]] == ["w"]
    assert refused.status == 422
    assert after.status == 404


# --- deletion ----------------------------------------------------------------------------------


async def test_owned_objects_follow_their_owner(kube_api: KubeApi) -> None:
    owner = await kube_api.post(f"{_CORE}/configmaps", _map("owner"))
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "owner",
        "uid": owner["metadata"]["uid"],
    }
    await kube_api.post(f"{_CORE}/configmaps", _map("child", ownerReferences=[reference]))
    await kube_api.delete(f"{_CORE}/configmaps/owner")
    await _until(kube_api, f"{_CORE}/configmaps/child", 404)


async def test_foreground_waits_for_blocking_dependents(kube_api: KubeApi) -> None:
    owner = await kube_api.post(f"{_CORE}/configmaps", _map("owner"))
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "owner",
        "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": True,
    }
    child = _map("child", ownerReferences=[reference], finalizers=["example.com/hold"])
    await kube_api.post(f"{_CORE}/configmaps", child)
    await kube_api.delete(f"{_CORE}/configmaps/owner", propagationPolicy="Foreground")
    await asyncio.sleep(0.05)
    held = await kube_api.get(f"{_CORE}/configmaps/owner")
    release = [{"op": "remove", "path": "/metadata/finalizers"}]
    await kube_api.call(
        "PATCH", f"{_CORE}/configmaps/child", release, content_type="application/json-patch+json"
    )
    await _until(kube_api, f"{_CORE}/configmaps/owner", 404)

    assert held["metadata"]["finalizers"] == ["foregroundDeletion"]


async def test_orphans_lose_the_reference(kube_api: KubeApi) -> None:
    owner = await kube_api.post(f"{_CORE}/configmaps", _map("owner"))
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "owner",
        "uid": owner["metadata"]["uid"],
    }
    await kube_api.post(f"{_CORE}/configmaps", _map("child", ownerReferences=[reference]))
    await kube_api.delete(f"{_CORE}/configmaps/owner", propagationPolicy="Orphan")
    await _until(kube_api, f"{_CORE}/configmaps/owner", 404)
    child = await kube_api.get(f"{_CORE}/configmaps/child")

    assert "ownerReferences" not in child["metadata"]


async def test_namespace_goes_with_its_content(kube_api: KubeApi) -> None:
    await kube_api.post("/api/v1/namespaces", {"metadata": {"name": "x"}})
    await kube_api.post("/api/v1/namespaces/x/configmaps", _map("a"))
    terminating = await kube_api.delete("/api/v1/namespaces/x")
    await _until(kube_api, "/api/v1/namespaces/x", 404)
    left = await kube_api.get("/api/v1/namespaces/x/configmaps")

    assert terminating["status"]["phase"] == "Terminating"
    assert left["items"] == []


# --- identity ----------------------------------------------------------------------------------


async def test_service_account_token_and_its_rights(
    devcluster: DevCluster, kube_api: KubeApi
) -> None:
    issued = await kube_api.post(f"{_CORE}/serviceaccounts/default/token", {"spec": {}})
    bearer = {"Authorization": f"Bearer {issued['status']['token']}"}
    before = await kube_api.call("GET", f"{_CORE}/secrets", headers=bearer)
    role = {
        "metadata": {"name": "r"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}],
    }
    binding = {
        "metadata": {"name": "r"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}],
    }
    await kube_api.post(f"{_RBAC}/namespaces/default/roles", role)
    await kube_api.post(f"{_RBAC}/namespaces/default/rolebindings", binding)
    after = await kube_api.call("GET", f"{_CORE}/secrets", headers=bearer)
    await kube_api.delete(f"{_CORE}/serviceaccounts/default")
    gone = await kube_api.call("GET", f"{_CORE}/secrets", headers=bearer)

    assert (before.status, after.status, gone.status) == (403, 200, 401)
    assert devcluster.control.requests()[-1].user == ""


async def test_extra_users_and_anonymous() -> None:
    options = Options(users={"tenant-token": User("tenant", groups=("system:authenticated",))})
    async with DevCluster(options) as cluster:
        connector = aiohttp.TCPConnector(ssl=trusting(cluster))
        async with aiohttp.ClientSession(connector=connector) as session:
            api = KubeApi(session, cluster.url)
            tenant = await api.call(
                "GET", "/api/v1/pods", headers={"Authorization": "Bearer tenant-token"}
            )
            nobody = await api.call("GET", "/api/v1/pods")
            version = await api.call("GET", "/version")

    assert 'User "tenant" cannot list resource "pods"' in tenant.body["message"]
    assert 'User "system:anonymous"' in nobody.body["message"]
    assert version.status == 200


async def test_aggregated_role_follows_its_parts(kube_api: KubeApi) -> None:
    part = {
        "metadata": {
            "name": "widgets-view",
            "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"},
        },
        "rules": [{"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["get"]}],
    }
    await kube_api.post(f"{_RBAC}/clusterroles", part)
    async with asyncio.timeout(5):
        while True:
            view = await kube_api.get(f"{_RBAC}/clusterroles/view")
            if any("example.com" in rule["apiGroups"] for rule in view["rules"]):
                break
            await asyncio.sleep(0.005)


# --- workloads ---------------------------------------------------------------------------------


async def test_workload_follows_its_annotation(kube_api: KubeApi) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "annotations": {"devcluster.fluvial.dev/health": "fail"}},
        "spec": {
            "selector": {"matchLabels": {"app": "d"}},
            "template": {
                "metadata": {"labels": {"app": "d"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        },
    }
    await kube_api.apply(f"{path}/d", deployment)
    failed = await _progress(kube_api, f"{path}/d", "ProgressDeadlineExceeded")
    deployment["metadata"] = {"name": "d"}
    await kube_api.apply(f"{path}/d", deployment)
    healthy = await _progress(kube_api, f"{path}/d", "NewReplicaSetAvailable")

    assert "availableReplicas" not in failed["status"]
    assert healthy["status"]["availableReplicas"] == 1


async def _progress(api: KubeApi, path: str, reason: str) -> dict[str, Any]:
    async with asyncio.timeout(5):
        while True:
            found: dict[str, Any] = await api.get(path)
            conditions = (found.get("status") or {}).get("conditions") or ()
            if any(condition["reason"] == reason for condition in conditions):
                return found
            await asyncio.sleep(0.005)
