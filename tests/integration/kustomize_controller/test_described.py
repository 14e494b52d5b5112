"""``spec.kubeConfig.configMapRef``: a cluster that a ConfigMap describes, and whose token opens it.

The other cluster trusts the tokens of this one that are meant for its own address.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from fluvial.kube import kinds
from fluvial.objects import ObjectKey
from harness.described import Trusting, described_clusters, description
from harness.kustomize import CONFIG_MAPS, DEPLOYMENTS, Harness, configmap, deployment, ready_of
from harness.pages import examples
from harness.team import BINDINGS, named

PAGE = Path(__file__).resolve().parents[3] / "docs/spec/kustomization.md"
NAME = {"configMapRef": {"name": "remote"}}
USER = "system:serviceaccount:team:remote"
_RBAC = "rbac.authorization.k8s.io"


@pytest.fixture
async def remote(world: Harness, tmp_path: Path) -> AsyncIterator[Trusting]:
    """The other cluster, where the account ``remote`` of this one administers the namespace."""
    assert world.cluster is not None
    await world.apply(named("v1", "ServiceAccount", "remote", "team"), kinds.SERVICE_ACCOUNT)
    async with Trusting.run(tmp_path, world.cluster, namespace="team") as found:
        await bind(found, "admin")
        yield found


async def bind(remote: Trusting, role: str, *, user: str = USER, namespace: str = "team") -> None:
    """Give a user a cluster role in the namespace over there."""
    name = f"{role}-{user.rpartition(':')[2]}"
    binding = named(f"{_RBAC}/v1", "RoleBinding", name, namespace) | {
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": _RBAC, "kind": "User", "name": user}],
    }
    await remote.client.create(BINDINGS, binding, field_manager="test")


# --- what must fail -------------------------------------------------------------------------------

REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "no provider": ({"provider": ""}, "provider: is needed"),
    "unknown provider": ({"provider": "openstack"}, "provider: 'openstack' is not known"),
    "no address": ({"address": ""}, "address: is needed"),
    "plain http": ({"address": "http://cluster.example"}, "must use https"),
    "loopback": ({"address": "https://[::1]:6443"}, "address: connections to ::1, a loopback"),
    "metadata": ({"address": "https://169.254.169.254"}, "address: connections to 169.254.169.254"),
    "bad CA": ({"ca": "nonsense"}, "ca.crt: "),
    "no such account": ({"account": "nobody"}, "service account 'team/nobody' not found"),
    "another namespace": ({"account": "../other/remote"}, "serviceAccountName: "),
    "no cluster": ({"provider": "aws"}, "cluster: "),
    "no cluster of Azure": ({"provider": "azure", "cluster": "x"}, "cluster: "),
    "no cluster of Google": ({"provider": "gcp", "cluster": "x"}, "cluster: "),
}


async def test_a_bad_config_map_is_said_with_its_key(world: Harness, remote: Trusting) -> None:
    await world.source({"a.yaml": configmap()})
    for number, (data, _) in enumerate(REFUSED.values()):
        obj = remote.described("team", **data)
        obj["metadata"]["name"] = f"bad-{number}"
        await world.apply(obj, CONFIG_MAPS)
        reference = {"configMapRef": {"name": f"bad-{number}"}}
        await world.kustomization(f"bad-{number}", kubeConfig=reference, serviceAccountName=None)
    for number, (case, (_, says)) in enumerate(REFUSED.items()):
        failed = await world.failed("ReconciliationFailed", f"bad-{number}")
        message = ready_of(failed)["message"]
        assert says in message, case
        assert f"ConfigMap 'team/bad-{number}'" in message, case

    assert remote.seen == []
    assert not await world.exists(CONFIG_MAPS, "settings")


async def test_the_gate_is_off_unless_it_is_switched_on(tmp_path: Path) -> None:
    clusters = functools.partial(described_clusters, object_level=False)
    async with Harness.start(tmp_path, clusters=clusters) as world:
        assert world.cluster is not None
        await world.tenant()
        await world.apply(named("v1", "ServiceAccount", "remote", "team"), kinds.SERVICE_ACCOUNT)
        url = world.cluster.url
        account = {"account": "remote"}
        await world.apply(
            description("team", provider="generic", address=url, **account), CONFIG_MAPS
        )
        await world.source({"a.yaml": configmap()})
        await world.kustomization(kubeConfig=NAME)
        failed = await world.failed("ReconciliationFailed")

        assert "needs the feature gate ObjectLevelWorkloadIdentity" in ready_of(failed)["message"]
        asked = [entry.path for entry in world.cluster.control.requests()]
        assert not [path for path in asked if path.endswith("/token")]


async def test_a_cluster_that_does_not_know_the_account_lets_it_do_nothing(
    world: Harness, remote: Trusting
) -> None:
    """The wrong identity: no other one is tried instead, here or there."""
    await world.apply(named("v1", "ServiceAccount", "wrong", "team"), kinds.SERVICE_ACCOUNT)
    await world.apply(remote.described("team", account="wrong"), CONFIG_MAPS)
    await world.source({"a.yaml": configmap()})
    await world.kustomization(kubeConfig=NAME, serviceAccountName=None)
    failed = await world.failed("ReconciliationFailed")

    assert "system:serviceaccount:team:wrong" in ready_of(failed)["message"]
    assert not await remote.exists(CONFIG_MAPS, "team", "settings")
    assert not await world.exists(CONFIG_MAPS, "settings")


async def test_a_token_for_others_is_refused_there(world: Harness, remote: Trusting) -> None:
    await world.apply(remote.described("team", audiences="https://elsewhere.example"), CONFIG_MAPS)
    await world.source({"a.yaml": configmap()})
    await world.kustomization(kubeConfig=NAME, serviceAccountName=None)
    await world.failed("ReconciliationFailed")

    assert remote.seen == []
    assert not await remote.exists(CONFIG_MAPS, "team", "settings")


@pytest.mark.shows("field:Kustomization/spec.kubeConfig.configMapRef.name")
async def test_a_missing_config_map_is_said_and_waited_for(
    world: Harness, remote: Trusting
) -> None:
    """One of another namespace is none; when it comes, the object wakes."""
    await world.tenant("other")
    await world.apply(remote.described("other"), CONFIG_MAPS)
    revision = await world.source({"a.yaml": configmap()})
    await world.kustomization(kubeConfig=NAME, serviceAccountName=None)
    failed = await world.failed("ReconciliationFailed")
    assert "ConfigMap 'team/remote' does not exist" in ready_of(failed)["message"]

    await world.apply(remote.described("team"), CONFIG_MAPS)
    await world.applied(revision)
    assert await remote.exists(CONFIG_MAPS, "team", "settings")


# --- what is done there ---------------------------------------------------------------------------


async def test_objects_go_there_as_the_account_and_are_pruned_and_deleted_there(
    world: Harness, remote: Trusting, capsys: pytest.CaptureFixture[str]
) -> None:
    await world.apply(remote.described("team"), CONFIG_MAPS)
    await world.source({"a.yaml": configmap("a"), "b.yaml": configmap("b")})
    await world.kustomization(kubeConfig=NAME, serviceAccountName=None)
    await world.until(lambda o: ready_of(o).get("status") == "True")
    revision = await world.source({"a.yaml": configmap("a")})
    done = await world.applied(revision)
    assert await remote.exists(CONFIG_MAPS, "team", "a")
    assert not await remote.exists(CONFIG_MAPS, "team", "b")
    assert not await world.exists(CONFIG_MAPS, "a")
    ids = [e["id"] for e in done["status"]["inventory"]["entries"]]
    assert ids == ["team_a__ConfigMap"]
    await world.client.delete(kinds.KUSTOMIZATION, ObjectKey("team", "app"))
    await world.gone(kinds.KUSTOMIZATION, "app")

    assert not await remote.exists(CONFIG_MAPS, "team", "a")
    writes = [e for e in remote.cluster.control.requests() if e.agent.startswith("kustomize")]
    assert {(entry.user, entry.impersonated) for entry in writes} == {(USER, "")}
    (token,) = remote.seen
    events = (await world.client.list_all(kinds.EVENT)).items
    said = capsys.readouterr().out
    assert "Reconciliation finished" in said
    assert token not in said + orjson.dumps([done, events]).decode()


async def test_the_service_account_is_impersonated_there(world: Harness, remote: Trusting) -> None:
    """Its rights there count: here it is an admin of the namespace, there it is nobody first."""
    await world.apply(remote.described("team"), CONFIG_MAPS)
    await world.source({"a.yaml": configmap()})
    await world.kustomization(kubeConfig=NAME, serviceAccountName="deployer")
    failed = await world.failed("ReconciliationFailed")
    assert "system:serviceaccount:team:deployer" in ready_of(failed)["message"]
    await bind(remote, "admin", user="system:serviceaccount:team:deployer")
    await world.request("now")
    await world.until(lambda o: ready_of(o).get("status") == "True")

    made = [
        entry.impersonated
        for entry in remote.cluster.control.requests()
        if entry.method == "PATCH" and entry.agent.startswith("kustomize") and entry.status < 300
    ]
    assert set(made) == {"system:serviceaccount:team:deployer"}


async def test_a_changed_config_map_is_used_from_then_on(world: Harness, remote: Trusting) -> None:
    await world.apply(remote.described("team", audiences="wrong"), CONFIG_MAPS)
    revision = await world.source({"a.yaml": configmap()})
    await world.kustomization(kubeConfig=NAME, serviceAccountName=None)
    await world.failed("ReconciliationFailed")
    right = remote.described("team")
    right["data"]["audiences"] = remote.cluster.url
    await world.apply(right, CONFIG_MAPS)
    await world.applied(revision)

    assert await remote.exists(CONFIG_MAPS, "team", "settings")


@pytest.mark.slow
async def test_a_wait_outlives_its_token(world: Harness, remote: Trusting) -> None:
    """The first token is refused in the middle of the wait, as an expired one is."""
    await world.apply(remote.described("team"), CONFIG_MAPS)
    never = {"devcluster.fluvial.dev/health": "never"}
    revision = await world.source({"d.yaml": deployment(**never)})
    await world.kustomization(kubeConfig=NAME, serviceAccountName=None, wait=True, timeout="30m")
    await world.until(lambda o: ready_of(o, "Healthy").get("status") == "Unknown")
    remote.refused.update(remote.seen)
    await remote.client.patch(
        DEPLOYMENTS,
        ObjectKey("team", "web"),
        {"metadata": {"annotations": dict.fromkeys(never)}},
        patch_type="merge",
        field_manager="somebody",
    )
    await world.applied(revision)

    assert len(remote.seen) == 2


async def test_two_namespaces_share_nothing(world: Harness, remote: Trusting) -> None:
    """Equal ConfigMaps and equal names: two connections, two tokens, two users."""
    await world.tenant("other")
    await world.apply(named("v1", "ServiceAccount", "remote", "other"), kinds.SERVICE_ACCOUNT)
    for namespace in ("team", "other"):
        await world.apply(remote.described(namespace), CONFIG_MAPS)
        await world.source({"a.yaml": configmap(namespace)}, namespace=namespace)
        await world.kustomization(namespace=namespace, kubeConfig=NAME, serviceAccountName=None)
    await world.until(lambda o: ready_of(o).get("status") == "True")
    failed = await world.failed("ReconciliationFailed", namespace="other")

    assert "system:serviceaccount:other:remote" in ready_of(failed)["message"]
    assert await remote.exists(CONFIG_MAPS, "team", "team")
    assert not await remote.exists(CONFIG_MAPS, "team", "other")
    assert len(remote.seen) == 2
    assert world.controller is not None
    found = world.controller._tenants.connections
    assert {key.namespace for key in found} == {"team", "other"}


async def test_while_the_config_map_is_gone_nothing_is_let_go(
    world: Harness, remote: Trusting
) -> None:
    """A deletion goes on once somebody says again where the objects are; as with a Secret."""
    await world.apply(remote.described("team"), CONFIG_MAPS)
    revision = await world.source({"a.yaml": configmap()})
    await world.kustomization(kubeConfig=NAME, serviceAccountName=None)
    await world.applied(revision)
    await world.client.delete(CONFIG_MAPS, ObjectKey("team", "remote"))
    await world.client.delete(kinds.KUSTOMIZATION, ObjectKey("team", "app"))
    await world.until(lambda o: "does not exist" in ready_of(o).get("message", ""))
    assert await remote.exists(CONFIG_MAPS, "team", "settings")

    await world.apply(remote.described("team"), CONFIG_MAPS)
    await world.gone(kinds.KUSTOMIZATION, "app")
    async with asyncio.timeout(20):
        while await remote.exists(CONFIG_MAPS, "team", "settings"):
            await asyncio.sleep(0.02)


async def test_the_example_of_the_page(world: Harness, tmp_path: Path) -> None:
    """As it is written, but for where the other cluster is."""
    assert world.cluster is not None
    await world.tenant("team-a")
    found = {(obj["kind"], obj["metadata"]["name"]): obj for obj in examples(PAGE)}
    account = found["ServiceAccount", "production"]
    described = found["ConfigMap", "production-cluster"]
    shop = found["Kustomization", "shop-in-production"]
    user = "system:serviceaccount:team-a:production"
    async with Trusting.run(tmp_path, world.cluster, namespace="team-a") as remote:
        await bind(remote, "admin", user=user, namespace="team-a")
        here = {"address": remote.cluster.url, "ca.crt": remote.cluster.ca_pem.decode()}
        await world.apply(account, kinds.SERVICE_ACCOUNT)
        await world.apply(described | {"data": described["data"] | here}, CONFIG_MAPS)
        await world.source(
            {"deploy/a.yaml": configmap(namespace="team-a")}, namespace="team-a", name="shop"
        )
        world._tenants_only = False
        await world.apply(shop, kinds.KUSTOMIZATION)
        await world.until(
            lambda o: ready_of(o).get("status") == "True", "shop-in-production", namespace="team-a"
        )

        assert await remote.exists(CONFIG_MAPS, "team-a", "settings")
