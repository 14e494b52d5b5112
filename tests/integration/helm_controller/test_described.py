"""``spec.kubeConfig.configMapRef`` of HelmReleases: whose cluster it is, and whose token opens it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
import pytest_asyncio

from fluvial.kube import kinds
from fluvial.objects import JsonObject, ObjectKey
from harness.described import Trusting, description
from harness.release import ReleaseWorld
from harness.team import BINDINGS, Team, named
from integration.helm_controller.release_charts import app_chart

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

NAME = {"configMapRef": {"name": "remote"}}
_ISSUER = "https://kubernetes.default.svc.cluster.local"
_RBAC = "rbac.authorization.k8s.io"


@pytest_asyncio.fixture(loop_scope="session")
async def remote(devworld: ReleaseWorld, devteam: Team, tmp_path: Path) -> AsyncIterator[Trusting]:
    """Another cluster, where the account ``remote`` of this one administers the namespace."""
    space = devteam.namespace
    assert devworld.cluster is not None
    await devteam.apply(kinds.SERVICE_ACCOUNT, named("v1", "ServiceAccount", "remote", space))
    await devteam.chart(app_chart(web=""))
    async with Trusting.run(tmp_path, devworld.cluster, namespace=space) as found:
        binding = named(f"{_RBAC}/v1", "RoleBinding", "remote", space) | {
            "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": "admin"},
            "subjects": [{"apiGroup": _RBAC, "kind": "User", "name": _user(devteam)}],
        }
        await found.client.create(BINDINGS, binding, field_manager="test")
        yield found


def _user(team: Team) -> str:
    return f"system:serviceaccount:{team.namespace}:remote"


async def _release(team: Team) -> None:
    await team.release("away", kubeConfig=NAME, serviceAccountName=None)


async def test_a_bad_config_map_is_said_and_a_better_one_wakes(
    devteam: Team, remote: Trusting
) -> None:
    space = devteam.namespace
    await _release(devteam)
    await devteam.failed("RESTClientError", "away", text=f"ConfigMap '{space}/remote'")
    for data, says in (
        ({"provider": "openstack"}, "provider: 'openstack' is not known"),
        ({"address": "http://cluster.example"}, "address: 'http://cluster.example' must use https"),
        ({"address": "https://[::1]"}, "address: connections to ::1, a loopback address"),
        ({"account": "nobody"}, f"service account '{space}/nobody' not found"),
    ):
        await devteam.apply(kinds.CONFIG_MAP, remote.described(space, **data))
        await devteam.failed("RESTClientError", "away", text=says)
    assert remote.seen == []
    assert await devteam.statuses("away") == {}

    await devteam.apply(kinds.CONFIG_MAP, remote.described(space))
    await devteam.ready("away", version=1)


@pytest.mark.shows("field:HelmRelease/spec.kubeConfig.configMapRef.name")
async def test_a_release_goes_there_as_the_account_and_is_uninstalled_there(
    devteam: Team, remote: Trusting, capsys: pytest.CaptureFixture[str]
) -> None:
    space = devteam.namespace
    await devteam.apply(kinds.CONFIG_MAP, remote.described(space))
    await _release(devteam)
    done = await devteam.ready("away", version=1)
    made = await remote.client.get(kinds.CONFIG_MAP, ObjectKey(space, "away-settings"))
    assert made["data"]["greeting"] == "hello"
    assert not await devteam.exists(kinds.CONFIG_MAP, "away-settings")
    assert await devteam.statuses("away") == {}, "records are there, too"
    await devteam.delete("away")
    await devteam.gone("away")

    assert not await remote.exists(kinds.CONFIG_MAP, space, "away-settings")
    asked = [e for e in remote.cluster.control.requests() if e.agent.startswith("helm-controller")]
    assert {(entry.user, entry.impersonated) for entry in asked} == {(_user(devteam), "")}
    (token,) = remote.seen
    events = (await devteam.client.list_all(kinds.EVENT, namespace=space)).items
    said = capsys.readouterr().out
    assert space in said, "the log is what is looked at"
    assert token not in said + orjson.dumps([done, events]).decode()


async def test_without_the_config_map_the_release_is_left_behind(
    devteam: Team, remote: Trusting
) -> None:
    """As with a Secret: nobody could uninstall it."""
    space = devteam.namespace
    await devteam.apply(kinds.CONFIG_MAP, remote.described(space))
    await _release(devteam)
    await devteam.ready("away", version=1)
    await devteam.client.delete(kinds.CONFIG_MAP, ObjectKey(space, "remote"))
    await devteam.delete("away")
    await devteam.gone("away")

    event = await devteam.event("UninstallFailed", name="away")
    assert f"the kubeconfig ConfigMap '{space}/remote' does not exist" in event["message"]
    assert await remote.exists(kinds.CONFIG_MAP, space, "away-settings")


async def test_a_cluster_takes_the_tokens_that_it_gives(world: ReleaseWorld, team: Team) -> None:
    """This very cluster by its address; the real API server checks audience and signature."""
    await world.account(team, "remote")
    cluster: JsonObject = world.kubeconfig["clusters"][0]["cluster"]
    data = {
        "provider": "generic",
        "address": cluster["server"],
        "ca": base64.b64decode(cluster["certificate-authority-data"]).decode(),
        "account": "remote",
    }
    await team.chart(app_chart(web=""))
    await team.apply(kinds.CONFIG_MAP, description(team.namespace, **data))
    await _release(team)
    await team.failed("ReconcileError", "away")
    assert await team.statuses("away") == {}, "a token for the address is not one for this server"

    await team.apply(kinds.CONFIG_MAP, description(team.namespace, audiences=_ISSUER, **data))
    await team.ready("away", version=1)
    assert await team.exists(kinds.CONFIG_MAP, "away-settings")
    await team.delete("away")
    await team.gone("away")
    assert not await team.exists(kinds.CONFIG_MAP, "away-settings")
