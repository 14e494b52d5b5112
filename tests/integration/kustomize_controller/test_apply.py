"""A commit becomes objects, as the tenant."""

from __future__ import annotations

import pytest

from fluvial.kube import kinds
from fluvial.kube.resource import Resource
from harness.kustomize import CONFIG_MAPS, DEPLOYMENTS, Harness, configmap, deployment, ready_of

RBAC = "rbac.authorization.k8s.io"
CLUSTER_ROLES = Resource(RBAC, "v1", "clusterroles", "ClusterRole", namespaced=False)
GROUP = "kustomize.toolkit.fluxcd.io"


@pytest.mark.shows(
    "Kustomization/Ready/ReconciliationSucceeded",
    "event:Kustomization/change set",
    "event:Kustomization/Reconciliation finished",
    "field:Kustomization/spec.serviceAccountName",
    "field:Kustomization/spec.sourceRef.kind",
    "field:Kustomization/spec.sourceRef.name",
)
async def test_an_artifact_becomes_objects_as_the_service_account(world: Harness) -> None:
    revision = await world.source({"cm.yaml": configmap(), "deploy.yaml": deployment()})
    await world.kustomization()
    done = await world.applied(revision)

    made = await world.get(CONFIG_MAPS, "settings")
    assert made["metadata"]["labels"] == {f"{GROUP}/name": "app", f"{GROUP}/namespace": "team"}
    assert [m["manager"] for m in made["metadata"]["managedFields"]] == ["kustomize-controller"]
    status = done["status"]
    assert status["lastAttemptedRevision"] == revision
    assert status["inventory"]["entries"] == [
        {"id": "team_settings__ConfigMap", "v": "v1"},
        {"id": "team_web_apps_Deployment", "v": "v1"},
    ]
    assert [c["type"] for c in status["conditions"]] == ["Ready"]
    assert ready_of(done)["message"] == f"Applied revision: {revision}"
    assert [s["lastReconciledStatus"] for s in status["history"]] == ["ReconciliationSucceeded"]
    assert done["metadata"]["finalizers"] == ["finalizers.fluxcd.io"]
    event = await world.event("Progressing", text="ConfigMap/team/settings created")
    assert "Deployment/team/web created" in event["message"]
    await world.event("ReconciliationSucceeded", text="Reconciliation finished in")


@pytest.mark.shows("Kustomization/Ready/ReconciliationFailed", "event:Kustomization/failure")
async def test_a_forbidden_object_among_good_ones_stops_the_whole_stage(world: Harness) -> None:
    """The reason names the account and the object; nothing of the stage is written."""
    other = configmap("theirs", "kube-system")
    await world.source({"a.yaml": configmap("ours"), "b.yaml": other})
    await world.kustomization()
    failed = await world.failed("ReconciliationFailed")

    message = ready_of(failed)["message"]
    assert "ConfigMap/kube-system/theirs" in message
    assert "system:serviceaccount:team:deployer" in message
    assert not await world.exists(CONFIG_MAPS, "ours")
    assert not await world.exists(CONFIG_MAPS, "theirs", "kube-system")
    await world.event("ReconciliationFailed", text="theirs")


async def test_a_tenant_cannot_make_itself_more_than_it_is(world: Harness) -> None:
    role = (
        f"apiVersion: {RBAC}/v1\nkind: ClusterRole\nmetadata:\n  name: everything\n"
        "rules:\n  - apiGroups: ['*']\n    resources: ['*']\n    verbs: ['*']\n"
    )
    await world.source({"role.yaml": role, "cm.yaml": configmap()})
    await world.kustomization()
    failed = await world.failed("ReconciliationFailed")

    assert "ClusterRole/everything" in ready_of(failed)["message"]
    assert not await world.exists(CLUSTER_ROLES, "everything", "")
    assert not await world.exists(CONFIG_MAPS, "settings")


@pytest.mark.shows("event:Kustomization/prune", "field:Kustomization/spec.prune")
async def test_what_leaves_the_source_is_pruned_and_only_that(world: Harness) -> None:
    await world.source({"a.yaml": configmap("a"), "b.yaml": configmap("b", k="1")})
    await world.kustomization()
    await world.until(lambda o: ready_of(o).get("status") == "True")
    before = await world.get(CONFIG_MAPS, "a")
    revision = await world.source({"a.yaml": configmap("a")})
    done = await world.applied(revision)

    assert not await world.exists(CONFIG_MAPS, "b")
    assert await world.get(CONFIG_MAPS, "a") == before
    assert [e["id"] for e in done["status"]["inventory"]["entries"]] == ["team_a__ConfigMap"]
    await world.event("Progressing", text="ConfigMap/team/b deleted")


async def test_without_prune_stale_objects_stay_and_leave_the_inventory(world: Harness) -> None:
    await world.source({"a.yaml": configmap("a"), "b.yaml": configmap("b")})
    await world.kustomization(prune=False)
    await world.until(lambda o: ready_of(o).get("status") == "True")
    revision = await world.source({"a.yaml": configmap("a")})
    done = await world.applied(revision)

    assert await world.exists(CONFIG_MAPS, "b")
    assert [e["id"] for e in done["status"]["inventory"]["entries"]] == ["team_a__ConfigMap"]


async def test_an_empty_source_prunes_everything(world: Harness) -> None:
    await world.source({"a.yaml": configmap("a")})
    await world.kustomization()
    await world.until(lambda o: ready_of(o).get("status") == "True")
    revision = await world.source({"README.md": "nothing here"})
    done = await world.applied(revision)

    assert not await world.exists(CONFIG_MAPS, "a")
    assert done["status"]["inventory"]["entries"] == []


async def test_a_change_of_the_objects_kind_of_hand_leaves_them_to_the_new_owner(
    world: Harness,
) -> None:
    """An object that another Kustomization has taken over is not deleted by the first."""
    await world.source({"a.yaml": configmap("a"), "b.yaml": configmap("b")}, name="one")
    await world.kustomization("one", sourceRef={"kind": "GitRepository", "name": "one"})
    await world.until(lambda o: ready_of(o).get("status") == "True", "one")
    revision = await world.source({"b.yaml": configmap("b")}, name="two")
    await world.kustomization("two", sourceRef={"kind": "GitRepository", "name": "two"})
    await world.applied(revision, "two")
    revision = await world.source({"a.yaml": configmap("a")}, name="one")
    await world.applied(revision, "one")

    taken = await world.get(CONFIG_MAPS, "b")
    assert taken["metadata"]["labels"][f"{GROUP}/name"] == "two"


@pytest.mark.shows("Kustomization/Ready/PruneFailed")
async def test_what_may_not_be_deleted_stays_in_the_inventory(world: Harness) -> None:
    roles = Resource(RBAC, "v1", "roles", "Role", namespaced=True)
    rule = {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "verbs": ["get", "list", "create", "patch"],
    }
    metadata = {"name": "careful", "namespace": "team"}
    await world.apply(
        {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": [rule]}, roles
    )
    bindings = Resource(RBAC, "v1", "rolebindings", "RoleBinding", namespaced=True)
    account = {"metadata": {"name": "careful", "namespace": "team"}}
    await world.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount"} | account, kinds.SERVICE_ACCOUNT
    )
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "careful"},
        "subjects": [{"kind": "ServiceAccount", "name": "careful", "namespace": "team"}],
    }
    await world.apply(binding, bindings)
    await world.source({"a.yaml": configmap("a"), "b.yaml": configmap("b")})
    await world.kustomization(serviceAccountName="careful")
    await world.until(lambda o: ready_of(o).get("status") == "True")
    await world.source({"a.yaml": configmap("a")})
    failed = await world.failed("PruneFailed")

    assert "ConfigMap/team/b" in ready_of(failed)["message"]
    ids = {e["id"] for e in failed["status"]["inventory"]["entries"]}
    assert ids == {"team_a__ConfigMap", "team_b__ConfigMap"}
    assert await world.exists(CONFIG_MAPS, "b")


@pytest.mark.shows("field:Kustomization/spec.force")
@pytest.mark.parametrize("force", [False, True], ids=["kept", "recreated"])
async def test_an_immutable_change_is_refused_unless_forced(world: Harness, *, force: bool) -> None:
    await world.source({"d.yaml": deployment()})
    await world.kustomization(force=force)
    await world.until(lambda o: ready_of(o).get("status") == "True")
    before = await world.get(DEPLOYMENTS, "web")
    changed = deployment().replace('"app": "web"', '"app": "other"')
    revision = await world.source({"d.yaml": changed})
    if force:
        await world.applied(revision)
    else:
        failed = await world.failed("ReconciliationFailed")
        assert "immutable" in ready_of(failed)["message"]

    after = await world.get(DEPLOYMENTS, "web")
    assert (after["metadata"]["uid"] != before["metadata"]["uid"]) is force


async def test_objects_in_a_namespace_of_the_same_set_are_applied_after_it(
    world: Harness,
) -> None:
    namespace = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: made\n"
    revision = await world.source({"a.yaml": configmap("x", "made"), "z.yaml": namespace})
    await world.kustomization(serviceAccountName=None)
    await world.applied(revision)

    assert await world.exists(CONFIG_MAPS, "x", "made")


async def test_a_missing_namespace_is_said_plainly(world: Harness) -> None:
    await world.source({"a.yaml": configmap("x", "nowhere")})
    await world.kustomization(serviceAccountName=None)
    failed = await world.failed("ReconciliationFailed")

    message = ready_of(failed)["message"]
    assert "ConfigMap/nowhere/x" in message
    assert "namespace" in message
    assert "nowhere" in message
