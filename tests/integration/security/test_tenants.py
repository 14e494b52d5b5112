"""A tenant who may edit Flux objects, ConfigMaps, Secrets and service accounts of ``team`` only."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import orjson
import pytest

from devcluster.control import Match
from fluvial.kube import kinds
from fluvial.kube.resource import Resource
from fluvial.kube.tenants import TenantRules
from fluvial.objects import JsonObject, ObjectKey
from harness.kustomize import CONFIG_MAPS, Harness, configmap, ready_of
from kustomize_controller.assemble import Settings

_PASSWORD = "Tr0ub4dor-and-3"
_OWNER = "kustomize.toolkit.fluxcd.io"
_SECRETS = Resource("", "v1", "secrets", "Secret", namespaced=True)


async def secret(world: Harness, name: str, namespace: str, **values: str) -> None:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    obj = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }
    await world.apply(obj, _SECRETS)


NAMES = [
    "../../other/secrets/db",
    "..%2f..%2fother%2fsecrets%2fdb",
    "%2e%2e",
    "other/db",
    "\u2215other\u2215db",
    "\uff0e\uff0e\uff0fother",
    "DB",
    "db?namespace=other",
    "db\n",
    ".",
    "..",
]


@pytest.mark.parametrize("name", NAMES)
async def test_no_name_reaches_another_namespace(world: Harness, name: str) -> None:
    await secret(world, "db", "other", password=_PASSWORD)
    await world.source({"a.yaml": configmap(k="${password}")})
    reference = {"kind": "Secret", "name": name}
    await world.kustomization(postBuild={"substituteFrom": [reference]})
    failed = await world.failed("BuildFailed")

    assert _PASSWORD not in str(failed)
    assert not await world.exists(CONFIG_MAPS, "settings")
    assert world.cluster is not None
    asked = world.cluster.control.requests(Match(path="/namespaces/other/secrets", verb="get"))
    assert [one for one in asked if "system:serviceaccount" not in one.user] == []


ACCOUNTS = [
    "default:admin",
    "other:deployer",
    "deployer\r\nImpersonate-Group: system:masters",
    "deployer\tx",
    "../other",
    "system:masters",
    "d\u00e9ployer",
]


@pytest.mark.parametrize("name", ACCOUNTS)
async def test_no_account_name_is_read_as_anothers(world: Harness, name: str) -> None:
    await world.source({"a.yaml": configmap()})
    await world.kustomization(serviceAccountName=name)
    await world.failed("ReconciliationFailed")

    assert not await world.exists(CONFIG_MAPS, "settings")
    assert world.cluster is not None
    users = {one.user for one in world.cluster.control.requests(Match(path="configmaps"))}
    assert not any("masters" in user or "other" in user for user in users)


async def test_the_default_account_acts_where_none_is_named(tmp_path: Path) -> None:
    settings = Settings(tenants=TenantRules(default_service_account="powerless"))
    async with Harness.start(tmp_path, settings=settings) as world:
        await world.tenant()
        await world.source({"a.yaml": configmap()})
        await world.kustomization(serviceAccountName=None)
        failed = await world.failed("ReconciliationFailed")

        assert "system:serviceaccount:team:powerless" in ready_of(failed)["message"]
        assert not await world.exists(CONFIG_MAPS, "settings")


async def test_a_forged_inventory_prunes_nothing_of_others(world: Harness) -> None:
    """Neither where the account may not look, nor where another owner's label is."""
    await world.source({"a.yaml": configmap("kept", "other")}, namespace="other")
    await world.kustomization(namespace="other")
    await world.until(
        lambda obj: ready_of(obj).get("status") == "True", namespace="other", name="app"
    )
    await world.source({"b.yaml": configmap("theirs")}, name="src2")
    await world.kustomization("neighbour", sourceRef={"kind": "GitRepository", "name": "src2"})
    await world.until(lambda obj: ready_of(obj).get("status") == "True", name="neighbour")
    unowned = orjson.loads(configmap("nobodys"))
    await world.apply(unowned, CONFIG_MAPS)
    revision = await world.source({"a.yaml": configmap()})
    await world.kustomization()
    await world.applied(revision)
    ids = ["other_kept__ConfigMap", "team_theirs__ConfigMap", "team_nobodys__ConfigMap"]
    ids += ["_kube-system__Namespace", "_team__Namespace", "team_deployer__ServiceAccount"]
    await world.client.patch(
        kinds.KUSTOMIZATION,
        ObjectKey("team", "app"),
        {"status": {"inventory": {"entries": [{"id": one, "v": "v1"} for one in ids]}}},
        patch_type="merge",
        field_manager="tenant",
        subresource="status",
    )
    await world.request("now")
    await world.until(lambda obj: obj["status"].get("lastHandledReconcileAt") == "now")

    assert await world.exists(CONFIG_MAPS, "kept", "other")
    assert await world.exists(CONFIG_MAPS, "theirs")
    assert await world.exists(CONFIG_MAPS, "nobodys")
    assert await world.exists(kinds.NAMESPACE, "kube-system", "")
    assert await world.exists(kinds.SERVICE_ACCOUNT, "deployer")


async def test_anothers_object_cannot_be_labelled_and_pruned(world: Harness) -> None:
    """What the tenant's own account may not touch it cannot take over, and so not prune."""
    await world.apply(orjson.loads(configmap("kept", "other")), CONFIG_MAPS)
    labels = {f"{_OWNER}/name": "app", f"{_OWNER}/namespace": "team"}
    labelled = orjson.loads(configmap("kept", "other"))
    labelled["metadata"]["labels"] = labels
    await world.source({"a.yaml": orjson.dumps(labelled).decode()})
    await world.kustomization()
    failed = await world.failed("ReconciliationFailed")

    assert "cannot" in ready_of(failed)["message"] or "forbidden" in ready_of(failed)["message"]
    assert "labels" not in (await world.get(CONFIG_MAPS, "kept", "other"))["metadata"]


ECHOES: dict[str, str] = {
    "yaml": "k: [${password}\n",
    "type": "kind: ConfigMap\napiVersion: v1\nmetadata: {name: c, namespace: team}\ndata: {k: [${password}]}\n",
    "label": (
        "kind: ConfigMap\napiVersion: v1\nmetadata: {name: c, namespace: team,"
        " labels: {a: '${password} !'}}\n"
    ),
    "name": "kind: ConfigMap\napiVersion: v1\nmetadata: {name: '${password}', namespace: team}\n",
    "namespace": "kind: ConfigMap\napiVersion: v1\nmetadata: {name: c, namespace: '${password}'}\n",
    "kind": "kind: '${password}'\napiVersion: v1\nmetadata: {name: c, namespace: team}\n",
    "group": "kind: X\napiVersion: '${password}/v1'\nmetadata: {name: c, namespace: team}\n",
    "field": (
        "kind: Service\napiVersion: v1\nmetadata: {name: c, namespace: team}\n"
        "spec: {ports: [{port: '${password}'}]}\n"
    ),
    "key": (
        "kind: ConfigMap\napiVersion: v1\nmetadata: {name: c, namespace: team}\n"
        "data: {'a b ${password}': x}\n"
    ),
    "operator": (
        "kind: ConfigMap\napiVersion: v1\nmetadata: {name: c, namespace: team,"
        " labels: {a: '${password^^} !'}}\n"
    ),
    "expression": (
        "kind: ConfigMap\napiVersion: v1\nmetadata: {name: c, namespace: team}\n"
        "data: {k: '${password/x}'}\n"
    ),
}


@pytest.mark.parametrize("case", ECHOES)
async def test_no_error_tells_what_is_in_a_secret(world: Harness, case: str) -> None:
    """Whoever reads statuses and events need not be allowed to read the Secret."""
    await secret(world, "db", "team", password=_PASSWORD)
    await world.source({"a.yaml": ECHOES[case]})
    reference = {"kind": "Secret", "name": "db"}
    await world.kustomization(postBuild={"substituteFrom": [reference]})
    failed = await world.until(
        lambda obj: (
            ready_of(obj).get("status") == "False"
            and ready_of(obj).get("observedGeneration") == obj["metadata"]["generation"]
        )
    )
    await asyncio.sleep(0.05)  # for events, which are written later
    told = [failed, *(await world.client.list_all(kinds.EVENT)).items]

    assert [one for one in told if _tells(one)] == []


def _tells(obj: JsonObject) -> bool:
    text = str(obj)
    forms: list[Any] = [_PASSWORD, _PASSWORD.upper(), _PASSWORD.lower()]
    forms += [base64.b64encode(_PASSWORD.encode()).decode()]
    return any(form in text for form in forms)
