"""``spec.kubeConfig``: another cluster, a second devcluster here."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from devcluster import DevCluster, Options
from fluvial.kube import config, kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey
from harness.kustomize import CONFIG_MAPS, DEPLOYMENTS, Harness, configmap, deployment, ready_of

BINDINGS = Resource(
    "rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", namespaced=True
)
NAME = {"secretRef": {"name": "remote"}}


@dataclass(frozen=True, slots=True)
class Remote:
    """The other cluster."""

    cluster: DevCluster
    client: KubeClient

    async def exists(self, resource: Resource, name: str) -> bool:
        try:
            await self.client.get(resource, ObjectKey("team", name))
        except NotFound:
            return False
        return True


@pytest.fixture
async def remote(tmp_path: Path) -> AsyncIterator[Remote]:
    """Another cluster, with the namespace and without the tenant's service account."""
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(DevCluster(Options()))
        path = tmp_path / "remote-kubeconfig"
        path.write_bytes(orjson.dumps(cluster.kubeconfig()))
        client = await stack.enter_async_context(
            await config.load_client(kubeconfig=path, user_agent="test")
        )
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}
        await client.create(kinds.NAMESPACE, namespace, field_manager="test")
        yield Remote(cluster, client)


async def put_kubeconfig(world: Harness, kubeconfig: JsonObject, *, key: str = "value") -> None:
    """The Secret that ``NAME`` names, labelled so that its changes wake."""
    value = base64.b64encode(orjson.dumps(kubeconfig)).decode()
    labels = {"reconcile.fluxcd.io/watch": "Enabled"}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "remote", "namespace": "team", "labels": labels},
        "data": {key: value},
    }
    await world.apply(secret, kinds.SECRET)


def _local_kubeconfig(world: Harness) -> JsonObject:
    found: JsonObject = orjson.loads((world.folder / "kubeconfig").read_bytes())
    return found


@pytest.mark.shows(
    "field:Kustomization/spec.kubeConfig.secretRef.name",
    "field:Kustomization/spec.kubeConfig.secretRef.key",
)
@pytest.mark.parametrize(
    ("stored", "named"),
    [("value", None), ("value.yaml", None), ("mine", "mine")],
    ids=["value", "value.yaml", "named"],
)
async def test_objects_go_to_the_cluster_of_the_kubeconfig(
    world: Harness, remote: Remote, stored: str, named: str | None
) -> None:
    await put_kubeconfig(world, remote.cluster.kubeconfig(), key=stored)
    revision = await world.source({"a.yaml": configmap()})
    reference = {"name": "remote"} | ({"key": named} if named else {})
    await world.kustomization(kubeConfig={"secretRef": reference}, serviceAccountName=None)
    done = await world.applied(revision)

    assert await remote.exists(CONFIG_MAPS, "settings")
    assert not await world.exists(CONFIG_MAPS, "settings")
    ids = [e["id"] for e in done["status"]["inventory"]["entries"]]
    assert ids == ["team_settings__ConfigMap"]


async def test_a_remote_set_is_pruned_and_deleted_there(world: Harness, remote: Remote) -> None:
    """And nothing of the same name here."""
    await world.apply(orjson.loads(configmap("a")), CONFIG_MAPS)
    await put_kubeconfig(world, remote.cluster.kubeconfig())
    await world.source({"a.yaml": configmap("a"), "b.yaml": configmap("b")})
    await world.kustomization(kubeConfig=NAME, serviceAccountName=None)
    await world.until(lambda o: ready_of(o).get("status") == "True")
    revision = await world.source({"a.yaml": configmap("a")})
    await world.applied(revision)
    assert await remote.exists(CONFIG_MAPS, "a")
    assert not await remote.exists(CONFIG_MAPS, "b")
    await world.client.delete(kinds.KUSTOMIZATION, ObjectKey("team", "app"))
    await world.gone(kinds.KUSTOMIZATION, "app")

    assert not await remote.exists(CONFIG_MAPS, "a")
    assert await world.exists(CONFIG_MAPS, "a")


@pytest.mark.slow
async def test_remote_health_is_awaited(world: Harness, remote: Remote) -> None:
    await put_kubeconfig(world, remote.cluster.kubeconfig())
    slow = {"devcluster.fluvial.dev/health": "slow:0.2"}
    revision = await world.source({"d.yaml": deployment(**slow)})
    await world.kustomization(kubeConfig=NAME, serviceAccountName=None, wait=True)
    done = await world.applied(revision)

    assert ready_of(done, "Healthy")["status"] == "True"
    made = await remote.client.get(DEPLOYMENTS, ObjectKey("team", "web"))
    assert made["status"]["readyReplicas"] == 1


async def test_the_service_account_is_impersonated_in_the_other_cluster(
    world: Harness, remote: Remote
) -> None:
    """Its rights there count: here it is an admin of the namespace, there it is nobody first."""
    await put_kubeconfig(world, remote.cluster.kubeconfig())
    await world.source({"a.yaml": configmap()})
    await world.kustomization(kubeConfig=NAME, serviceAccountName="deployer")
    failed = await world.failed("ReconciliationFailed")
    assert "system:serviceaccount:team:deployer" in ready_of(failed)["message"]
    assert not await remote.exists(CONFIG_MAPS, "settings")
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "deployer", "namespace": "team"},
        "roleRef": {"apiGroup": BINDINGS.group, "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": "team"}],
    }
    await remote.client.create(BINDINGS, binding, field_manager="test")
    await world.request("now")
    await world.until(lambda o: ready_of(o).get("status") == "True")

    assert await remote.exists(CONFIG_MAPS, "settings")
    assert not await world.exists(CONFIG_MAPS, "settings")


async def test_the_identity_in_the_kubeconfig_is_the_one_that_acts(
    world: Harness, remote: Remote
) -> None:
    """An unknown token is refused by the other cluster; the controller's own is not used instead."""
    kubeconfig = remote.cluster.kubeconfig()
    kubeconfig["users"][0]["user"] = {"token": "nobodys-token"}
    await put_kubeconfig(world, kubeconfig)
    await world.source({"a.yaml": configmap()})
    await world.kustomization(kubeConfig=NAME, serviceAccountName=None)
    failed = await world.failed("ReconciliationFailed")

    assert "nobodys-token" not in orjson.dumps(failed["status"]).decode()
    assert not await remote.exists(CONFIG_MAPS, "settings")
    assert not await world.exists(CONFIG_MAPS, "settings")


async def test_a_changed_kubeconfig_is_used_from_then_on(world: Harness, remote: Remote) -> None:
    await put_kubeconfig(world, _local_kubeconfig(world))
    revision = await world.source({"a.yaml": configmap()})
    await world.kustomization(kubeConfig=NAME, serviceAccountName=None)
    await world.applied(revision)
    await put_kubeconfig(world, remote.cluster.kubeconfig())

    async with asyncio.timeout(20):
        while not await remote.exists(CONFIG_MAPS, "settings"):
            await asyncio.sleep(0.02)


@pytest.mark.slow
async def test_a_kubeconfig_that_changes_does_not_disturb_a_wait(
    world: Harness, remote: Remote
) -> None:
    """Another Kustomization goes on with the new one; the wait has its own connection."""
    kubeconfig = remote.cluster.kubeconfig()
    await put_kubeconfig(world, kubeconfig)
    never = {"devcluster.fluvial.dev/health": "never"}
    revision = await world.source({"d.yaml": deployment(**never)})
    await world.kustomization(kubeConfig=NAME, serviceAccountName=None, wait=True, timeout="30m")
    await world.until(lambda o: ready_of(o, "Healthy").get("status") == "Unknown")
    await put_kubeconfig(world, kubeconfig | {"preferences": {}})
    other = await world.source({"a.yaml": configmap()}, name="other")
    reference = {"kind": "GitRepository", "name": "other"}
    await world.kustomization(
        "other", sourceRef=reference, kubeConfig=NAME, serviceAccountName=None
    )
    await world.applied(other, "other")
    await remote.client.patch(
        DEPLOYMENTS,
        ObjectKey("team", "web"),
        {"metadata": {"annotations": dict.fromkeys(never)}},
        patch_type="merge",
        field_manager="somebody",
    )

    await world.applied(revision)


async def test_the_connection_closes_when_the_last_that_used_it_is_gone(
    world: Harness, remote: Remote
) -> None:
    await put_kubeconfig(world, remote.cluster.kubeconfig())
    revision = await world.source({"a.yaml": configmap()})
    for name in ("one", "two"):
        await world.kustomization(
            name, kubeConfig=NAME, serviceAccountName=None, namePrefix=f"{name}-"
        )
        await world.applied(revision, name)
    assert world.controller is not None
    tenants = world.controller._tenants
    assert len(tenants.connections) == 1
    for name in ("one", "two"):
        await world.client.delete(kinds.KUSTOMIZATION, ObjectKey("team", name))
        await world.gone(kinds.KUSTOMIZATION, name)
    await world.controller.queue.wait_idle()

    assert not await remote.exists(CONFIG_MAPS, "one-settings")
    assert not await remote.exists(CONFIG_MAPS, "two-settings")
    assert [*tenants.connections] == []


@pytest.mark.parametrize(
    ("key", "named"),
    [(None, None), ("other", None), ("value", "mine")],
    ids=["no Secret", "no key", "not the named key"],
)
async def test_a_missing_kubeconfig_is_said(
    world: Harness, key: str | None, named: str | None
) -> None:
    if key:
        await put_kubeconfig(world, _local_kubeconfig(world), key=key)
    await world.source({"a.yaml": configmap()})
    reference = {"name": "remote"} | ({"key": named} if named else {})
    await world.kustomization(kubeConfig={"secretRef": reference}, serviceAccountName=None)
    failed = await world.failed("ReconciliationFailed")

    message = ready_of(failed)["message"]
    assert "spec.kubeConfig" in message
    assert "remote" in message
    assert (named or "value") in message if key else "does not exist" in message
    assert not await world.exists(CONFIG_MAPS, "settings")


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "exec": (
        "users",
        {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/true"}},
        "--insecure-kubeconfig-exec",
    ),
    "insecure TLS": (
        "clusters",
        {"insecure-skip-tls-verify": True},
        "--insecure-kubeconfig-tls",
    ),
    "plain http": ("clusters", {"server": "http://127.0.0.1:1"}, "--insecure-kubeconfig-tls"),
    "a file as token": ("users", {"tokenFile": "/etc/hostname"}, "tokenFile"),
    "a file as CA": ("clusters", {"certificate-authority": "/etc/hostname"}, "authority"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_would_run_or_read_here_is_refused(
    world: Harness, remote: Remote, case: str
) -> None:
    section, fields, named = REFUSED[case]
    kubeconfig = remote.cluster.kubeconfig()
    entry = kubeconfig[section][0]
    if section == "users":
        entry["user"] = fields
    else:
        entry["cluster"].pop("certificate-authority-data", None)
        entry["cluster"] |= fields
    await put_kubeconfig(world, kubeconfig)
    await world.source({"a.yaml": configmap()})
    await world.kustomization(kubeConfig=NAME, serviceAccountName=None)
    failed = await world.failed("ReconciliationFailed")

    assert named in ready_of(failed)["message"]
    assert not await remote.exists(CONFIG_MAPS, "settings")
    assert not await world.exists(CONFIG_MAPS, "settings")


@pytest.mark.slow
async def test_a_cluster_that_does_not_answer_is_a_failure_of_this_one_alone(
    world: Harness, remote: Remote, unused_tcp_port: int
) -> None:
    kubeconfig = remote.cluster.kubeconfig()
    kubeconfig["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{unused_tcp_port}"
    await put_kubeconfig(world, kubeconfig)
    revision = await world.source({"a.yaml": configmap()})
    await world.kustomization("far", kubeConfig=NAME, serviceAccountName=None)
    await world.kustomization()
    await world.applied(revision)
    failed = await world.failed("ReconciliationFailed", "far")

    assert str(unused_tcp_port) in ready_of(failed)["message"]
