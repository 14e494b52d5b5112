"""What a release's service account may not do is not done."""

from __future__ import annotations

from typing import Any

import pytest

from fluvial.kube import kinds
from fluvial.kube.resource import Resource
from fluvial.objects import ObjectKey
from harness.release import ReleaseWorld
from harness.team import BINDINGS, DEPLOYMENTS, Team, condition, named
from integration.helm_controller.release_charts import ON_DEVCLUSTER, app_chart

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

_RBAC = "rbac.authorization.k8s.io"
_ROLES = Resource(_RBAC, "v1", "roles", "Role", namespaced=True)


async def _limited(team: Team, account: str, *resources: str) -> str:
    """Let an account do everything with some kinds of the core group; its user."""
    rule = {"apiGroups": [""], "resources": list(resources), "verbs": ["*"]}
    await team.apply(
        _ROLES, named(f"{_RBAC}/v1", "Role", account, team.namespace) | {"rules": [rule]}
    )
    bound = {
        "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": account},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": team.namespace}],
    }
    await team.apply(BINDINGS, named(f"{_RBAC}/v1", "RoleBinding", account, team.namespace) | bound)
    return f"system:serviceaccount:{team.namespace}:{account}"


async def test_an_account_that_may_not_create_deployments(world: ReleaseWorld, team: Team) -> None:
    user = await world.account(team, "limited", role="")
    await _limited(team, "limited", "configmaps", "secrets")
    await world.allowed(user, team.namespace)
    await team.chart(app_chart())
    await team.release(serviceAccountName="limited")
    failed = await team.failed("InstallFailed", text="deployments")

    # What is there is looked at before anything is written, as Helm does.
    assert user in condition(failed, "Released")["message"]
    assert await team.statuses() == {}
    assert await team.names(kinds.CONFIG_MAP) == set()
    assert not await team.exists(DEPLOYMENTS, "web")


@ON_DEVCLUSTER
async def test_an_account_that_may_not_keep_records(world: ReleaseWorld, team: Team) -> None:
    """Without its records nothing of a release is made."""
    user = await world.account(team, "limited", role="")
    await _limited(team, "limited", "configmaps")
    await world.allowed(user, team.namespace)
    await team.chart(app_chart(web=""))
    await team.release(serviceAccountName="limited")
    failed = await team.until(lambda obj: condition(obj).get("status") == "False")

    assert user in condition(failed)["message"]
    assert "secrets" in condition(failed)["message"]
    assert await team.names(kinds.CONFIG_MAP) == set()


@pytest.mark.parametrize("field", ["targetNamespace", "storageNamespace"])
async def test_a_namespace_of_others(world: ReleaseWorld, team: Team, field: str) -> None:
    others = await world.team()
    await team.chart(app_chart(web=""))
    await team.release(**{field: others.namespace})
    failed = await team.until(lambda obj: condition(obj).get("status") == "False")

    assert f"{team.namespace}:deployer" in condition(failed)["message"]
    assert await others.names(kinds.CONFIG_MAP) == set()
    assert await others.names(kinds.SECRET) == set()
    assert await team.names(kinds.CONFIG_MAP) == set()
    await world.leave(others)


@ON_DEVCLUSTER
async def test_an_account_that_does_not_exist(team: Team) -> None:
    await team.chart(app_chart(web=""))
    await team.release(serviceAccountName="nobody")
    failed = await team.until(lambda obj: condition(obj).get("status") == "False")

    assert "nobody" in condition(failed)["message"]
    assert await team.names(kinds.CONFIG_MAP) == set()
    assert await team.statuses() == {}


@ON_DEVCLUSTER
async def test_an_account_that_is_gone_keeps_no_release_from_its_end(team: Team) -> None:
    """Nobody is there to uninstall it, so it stays; the object does not."""
    await team.chart(app_chart(web=""))
    await team.release()
    await team.ready(version=1)
    await team.delete("deployer", kinds.SERVICE_ACCOUNT)
    await team.delete()
    await team.gone()

    assert await team.names(kinds.CONFIG_MAP) == {"app-settings"}


@ON_DEVCLUSTER
async def test_templates_look_up_what_the_account_may_read(world: ReleaseWorld, team: Team) -> None:
    others = await world.team()
    await others.data(kinds.SECRET, "token", key="not for others")
    await team.data(kinds.SECRET, "own", key="our own")
    look: dict[str, Any] = {}
    for name, namespace in (("own", team.namespace), ("token", others.namespace)):
        call = f'lookup "v1" "Secret" "{namespace}" "{name}"'
        look[name] = (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: found}\n"
            f"data: {{found: {{{{ ({call}).data.key | b64dec | quote }}}}}}\n"
        )
    await team.chart(app_chart(web="", look=look["token"]))
    await team.release()
    failed = await team.until(lambda obj: condition(obj).get("status") == "False")
    assert "forbidden" in condition(failed)["message"]
    assert "not for others" not in str(failed)
    assert not await team.exists(kinds.CONFIG_MAP, "found")

    await team.chart(app_chart("1.0.1", web="", look=look["own"]), "1.0.1")
    await team.ready(version=1)
    assert (await team.get(kinds.CONFIG_MAP, "found"))["data"] == {"found": "our own"}
    await world.client.delete(kinds.SECRET, ObjectKey(others.namespace, "token"))
    await world.leave(others)
