"""A cluster in a file: what a restart keeps, and which files are refused."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from devcluster import DevCluster, Options
from devcluster.state import StateError
from devcluster_fixtures import KubeApi, trusting

_CORE = "/api/v1/namespaces/default"
_MAPS = _CORE + "/configmaps"
_DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
_WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"


@asynccontextmanager
async def _running(state: Path, **options: Any) -> AsyncIterator[tuple[DevCluster, KubeApi]]:
    async with DevCluster(Options(state=state, **options)) as cluster, _api(cluster) as api:
        yield cluster, api


@asynccontextmanager
async def _api(cluster: DevCluster, token: str = "") -> AsyncIterator[KubeApi]:
    headers = {"Authorization": f"Bearer {token or cluster.admin_token}"}
    connector = aiohttp.TCPConnector(ssl=trusting(cluster))
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        yield KubeApi(session, cluster.url)


def _map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def _deployment(**annotations: str) -> dict[str, Any]:
    labels = {"app": "web"}
    pod = {"containers": [{"name": "c", "image": "i:1"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "annotations": annotations},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _definition() -> dict[str, Any]:
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": True,
            }
        },
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


def _contents(cluster: DevCluster) -> dict[tuple[str, str], dict[str, bytes]]:
    tables = cluster.engine.store.tables()
    return {table.name: {row.key: row.body for row in table.rows()} for table in tables if table}


async def _until_ready(api: KubeApi) -> dict[str, Any]:
    async with asyncio.timeout(5):
        while True:
            found: dict[str, Any] = await api.get(_DEPLOYMENTS + "/web")
            if found.get("status", {}).get("availableReplicas"):
                return found
            await asyncio.sleep(0.01)


async def test_restart_keeps_every_object_and_writes_nothing(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with _running(state) as (cluster, api):
        crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        await api.post(crds, _definition())
        async with asyncio.timeout(5):
            while (await api.call("GET", _WIDGETS)).status != 200:
                await asyncio.sleep(0.01)
        widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}}
        await api.post(_WIDGETS, widget)
        service = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
        await api.post(_CORE + "/services", service)
        await api.apply(_DEPLOYMENTS + "/web", _deployment())
        await _until_ready(api)
        before = _contents(cluster)
    async with _running(state) as (cluster, api):
        after = _contents(cluster)
        served = await api.get(_WIDGETS)

    assert after == before
    assert [item["metadata"]["name"] for item in served["items"]] == ["w"]


async def test_restart_keeps_the_port_tokens_and_the_authority(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with _running(state) as (cluster, api):
        issued = await api.post(_CORE + "/serviceaccounts/default/token", {"spec": {}})
        config = cluster.kubeconfig()
    async with _running(state) as (cluster, _), _api(cluster, issued["status"]["token"]) as account:
        again = cluster.kubeconfig()
        answer = await account.call("GET", _MAPS)

    assert again == config
    assert answer.status == 403
    assert "system:serviceaccount:default:default" in answer.body["message"]


async def test_versions_go_on_above_and_watches_from_before_are_too_old(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with _running(state) as (cluster, api):
        await api.post(_MAPS, _map("a"))
        last = cluster.engine.store.revision
    async with _running(state) as (_, api):
        made = await api.post(_MAPS, _map("b"))
        params = {"watch": "1", "resourceVersion": str(last), "timeoutSeconds": "1"}
        async with api.session.get(api.url + _MAPS, params=params) as response:
            event = orjson.loads(await response.content.readline())

    assert int(made["metadata"]["resourceVersion"]) > last
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


async def test_second_restart_starts_above_the_first(tmp_path: Path) -> None:
    state = tmp_path / "state"
    revisions: list[int] = []
    for _ in range(3):
        async with _running(state) as (cluster, _):
            revisions.append(cluster.engine.store.revision)

    assert revisions == sorted(set(revisions))


async def test_roles_and_cluster_addresses_work_on_after_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "state"
    service = {"metadata": {"name": "one"}, "spec": {"ports": [{"port": 80}]}}
    async with _running(state) as (_, api):
        first = await api.post(_CORE + "/services", service)
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
        subject = {"kind": "ServiceAccount", "name": "default", "namespace": "default"}
        binding = {"metadata": {"name": "viewers"}, "roleRef": role, "subjects": [subject]}
        await api.post(
            "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", binding
        )
        issued = await api.post(_CORE + "/serviceaccounts/default/token", {"spec": {}})
    async with _running(state) as (cluster, api):
        second = await api.post(_CORE + "/services", {**service, "metadata": {"name": "two"}})
        async with _api(cluster, issued["status"]["token"]) as account:
            seen = await account.call("GET", _MAPS)

    assert seen.status == 200
    assert first["spec"]["clusterIP"] != second["spec"]["clusterIP"]


async def test_workload_that_was_slow_to_become_ready_stays_ready(tmp_path: Path) -> None:
    state = tmp_path / "state"
    slow = _deployment(**{"devcluster.fluvial.dev/health": "slow:0.05"})
    async with _running(state) as (_, api):
        await api.apply(_DEPLOYMENTS + "/web", slow)
        before = await _until_ready(api)
    async with _running(state) as (_, api):
        after = await api.get(_DEPLOYMENTS + "/web")

    assert after == before


async def test_file_is_saved_at_intervals_and_on_demand(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with _running(state, state_interval=0.02) as (_, api):
        await api.post(_MAPS, _map("interval"))
        async with asyncio.timeout(5):
            while b'"interval"' not in state.read_bytes():
                await asyncio.sleep(0.01)
    async with _running(state, state_interval=3600) as (cluster, api):
        await api.post(_MAPS, _map("demand"))
        unsaved = b'"demand"' in state.read_bytes()
        await cluster.save()
        saved = b'"demand"' in state.read_bytes()

    assert (unsaved, saved) == (False, True)


async def test_control_endpoint_saves(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with _running(state, state_interval=3600, control_port=0) as (cluster, api):
        await api.post(_MAPS, _map("demand"))
        async with (
            aiohttp.ClientSession() as session,
            session.post(cluster.control_url + "/state/save") as response,
        ):
            status = response.status

        assert status == 200
        assert b'"demand"' in state.read_bytes()


async def test_only_its_owner_can_read_the_file(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with _running(state):
        mode = stat.S_IMODE(state.stat().st_mode)
    state.chmod(0o640)

    assert mode == 0o600
    with pytest.raises(StateError, match="chmod 600"):
        DevCluster(Options(state=state))


async def test_second_cluster_on_the_file_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with _running(state) as (_, api):
        second = DevCluster(Options(state=state))
        with pytest.raises(StateError, match="in use by another process"):
            await second.start()
        await api.post(_MAPS, _map("after"))
    async with _running(state) as (_, api):
        kept = await api.call("GET", _MAPS + "/after")

    assert kept.status == 200


async def test_file_that_changed_between_reading_and_locking_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state"
    late = DevCluster(Options(state=state))
    async with _running(state) as (_, api):
        await api.post(_MAPS, _map("kept"))
    with pytest.raises(StateError, match="changed by another process"):
        await late.start()

    assert b'"kept"' in state.read_bytes()


def _summed(lines: list[bytes]) -> bytes:
    body = b"".join(lines)
    return body + orjson.dumps({"sha256": hashlib.sha256(body).hexdigest()}) + b"\n"


@pytest.mark.parametrize("damage", ["bit", "cut", "empty", "line", "foreign", "version"])
async def test_file_that_cannot_be_used_is_refused_and_left_alone(
    tmp_path: Path, damage: str
) -> None:
    state = tmp_path / "state"
    async with _running(state):
        pass
    data = state.read_bytes()
    lines = data.splitlines(keepends=True)
    bad = {
        "bit": data.replace(b"kube-system", b"kube-sysTem", 1),
        "cut": data[: len(data) // 2],
        "empty": b"",
        "line": _summed(lines[:-2]),
        "foreign": b'{"some":"json"}\n',
        "version": _summed([lines[0].replace(b":1}", b":9}"), *lines[1:-1]]),
    }[damage]
    state.write_bytes(bad)
    reason = {"foreign": "no state of", "empty": "no state of", "version": "version 9"}

    with pytest.raises(StateError, match=reason.get(damage, "is damaged")):
        DevCluster(Options(state=state))
    assert state.read_bytes() == bad


async def test_failed_save_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    async with _running(state, state_interval=3600) as (cluster, api):
        before = state.read_bytes()
        await api.post(_MAPS, _map("lost"))
        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", _full_disk)
            with pytest.raises(OSError, match="no space"):
                await cluster.save()
            after = state.read_bytes()

    assert after == before


def _full_disk(descriptor: int) -> None:
    raise OSError(28, "no space left")


@pytest.mark.slow
async def test_killed_process_leaves_the_last_whole_state(tmp_path: Path) -> None:
    """SIGKILL between two saves: the older state is there, whole, and the lock is free."""
    state, config = tmp_path / "state", tmp_path / "kubeconfig"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "devcluster", "--kubeconfig", str(config), "--state", str(state)),
        *("--state-interval", "3600", "--control-port", "0"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        lines = [await process.stdout.readline() for _ in range(3)]
        control = lines[1].split()[1].decode()
        written = orjson.loads(config.read_bytes())
        async with _by_kubeconfig(written) as api, aiohttp.ClientSession() as session:
            await api.post(_MAPS, _map("kept"))
            async with session.post(control + "/state/save") as response:
                assert response.status == 200
            await api.post(_MAPS, _map("lost"))
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    async with _running(state) as (cluster, api):
        names = [item["metadata"]["name"] for item in (await api.get(_MAPS))["items"]]
        config_again = cluster.kubeconfig()

    assert names == ["kept", "kube-root-ca.crt"]
    assert config_again == written


@asynccontextmanager
async def _by_kubeconfig(config: dict[str, Any]) -> AsyncIterator[KubeApi]:
    headers = {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=False), headers=headers
    ) as session:
        yield KubeApi(session, config["clusters"][0]["cluster"]["server"])


@pytest.mark.slow
async def test_process_says_why_it_refuses_a_file(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_text("{}")
    state.chmod(0o600)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "devcluster", "--kubeconfig", str(tmp_path / "config"), "--state", str(state)),
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()

    assert process.returncode == 1
    assert errors.decode().startswith(f"devcluster: {state} is no state of devcluster")


async def test_cluster_starts_again_in_place_with_its_file(tmp_path: Path) -> None:
    state = tmp_path / "state"
    cluster = DevCluster(Options(state=state))
    await cluster.start()
    url = cluster.url
    async with _api(cluster) as api:
        await api.post(_MAPS, _map("kept"))
    await cluster.stop()
    between = b'"kept"' in state.read_bytes()
    await cluster.start()
    async with _api(cluster) as api:
        kept = await api.call("GET", _MAPS + "/kept")
    await cluster.stop()

    assert between
    assert cluster.url == url
    assert kept.status == 200


async def test_port_of_last_time_that_is_taken_is_replaced(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with _running(state) as (cluster, _):
        port = int(cluster.url.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        async with _running(state) as (cluster, api):
            answer = await api.call("GET", _MAPS)

    assert answer.status == 200
    assert not cluster.url.endswith(f":{port}")


async def test_start_that_fails_saves_nothing_and_lets_the_file_go(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with _running(state) as (_, api):
        await api.post(_MAPS, _map("kept"))
    before = state.read_bytes()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        late = DevCluster(Options(state=state, port=taken.getsockname()[1]))
        with pytest.raises(OSError, match="in use"):
            await late.start()
    after = state.read_bytes()
    async with _running(state) as (_, api):
        kept = await api.call("GET", _MAPS + "/kept")

    assert after == before
    assert kept.status == 200
