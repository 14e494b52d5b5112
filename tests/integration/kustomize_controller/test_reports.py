"""What is said while and after something happens, and when it is tried again."""

from __future__ import annotations

from typing import Any

import pytest

from fluvial.kube import kinds
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey
from harness.kustomize import CONFIG_MAPS, Harness, configmap, deployment, ready_of
from kustomize_controller.kustomization.unsupported import REFUSED_ANNOTATIONS

GROUP = "kustomize.toolkit.fluxcd.io"
NEVER = {"devcluster.fluvial.dev/health": "never"}
RBAC = "rbac.authorization.k8s.io"
BINDINGS = Resource(RBAC, "v1", "rolebindings", "RoleBinding", namespaced=True)


# --- conditions --------------------------------------------------------------------------------------


@pytest.mark.shows("Kustomization/Reconciling/Progressing")
async def test_progress_says_what_is_awaited_and_goes_when_it_is_over(world: Harness) -> None:
    await world.source({"d.yaml": deployment(**NEVER)})
    await world.kustomization(wait=True)
    running = await world.until(lambda o: ready_of(o, "Healthy").get("status") == "Unknown")
    reconciling = ready_of(running, "Reconciling")
    assert reconciling["status"] == "True"
    assert reconciling["reason"] == "Progressing"
    assert running["status"]["observedGeneration"] == -1
    revision = await world.source({"a.yaml": configmap()})
    done = await world.applied(revision)

    assert ready_of(done, "Reconciling") == {}


@pytest.mark.shows("Kustomization/Reconciling/ProgressingWithRetry")
async def test_a_failure_that_is_tried_again_is_no_observed_generation(world: Harness) -> None:
    await world.source({"a.yaml": "a: ["})
    await world.kustomization()
    failed = await world.failed("BuildFailed")

    reconciling = ready_of(failed, "Reconciling")
    assert reconciling["reason"] == "ProgressingWithRetry"
    assert reconciling["message"] == ready_of(failed)["message"]
    assert failed["status"]["observedGeneration"] == -1
    assert ready_of(failed, "Stalled") == {}


@pytest.mark.shows("Kustomization/Stalled/UnsupportedField")
async def test_what_is_not_supported_stalls_until_it_is_taken_back(world: Harness) -> None:
    revision = await world.source({"a.yaml": configmap()})
    await world.kustomization(ignore=[{"paths": ["/data"]}])
    failed = await world.failed("UnsupportedField")
    stalled = ready_of(failed, "Stalled")
    assert stalled["status"] == "True"
    assert stalled["reason"] == "UnsupportedField"
    assert ready_of(failed, "Reconciling") == {}
    assert failed["status"]["observedGeneration"] == failed["metadata"]["generation"]
    await world.kustomization()
    done = await world.applied(revision)

    assert ready_of(done, "Stalled") == {}


@pytest.mark.shows("Kustomization/Stalled/AccessDenied")
async def test_a_kind_behind_a_gate_stalls(world: Harness) -> None:
    await world.kustomization(sourceRef={"kind": "ExternalArtifact", "name": "x"})
    failed = await world.failed("AccessDenied")

    assert ready_of(failed, "Stalled")["reason"] == "AccessDenied"
    assert failed["status"]["observedGeneration"] == failed["metadata"]["generation"]


@pytest.mark.shows("Kustomization/Ready/DirectoryCreationFailed")
async def test_no_room_for_the_artifact_is_said_and_tried_again(world: Harness) -> None:
    """A file stands where the cache wants its folder."""
    cache = next(iter(sorted(world.folder.glob("cache-*"))), world.folder / "cache-1")
    cache.unlink(missing_ok=True)
    cache.write_text("in the way")
    revision = await world.source({"a.yaml": configmap()})
    await world.kustomization(retryInterval="200ms")
    failed = await world.failed("DirectoryCreationFailed")
    assert str(world.folder) not in ready_of(failed)["message"]
    cache.unlink()

    await world.applied(revision)


@pytest.mark.parametrize("kind", ["built", "stalled"])
async def test_a_request_is_marked_as_handled_although_it_failed(world: Harness, kind: str) -> None:
    spec: dict[str, Any] = {"ignore": [{"paths": ["/x"]}]} if kind == "stalled" else {}
    await world.source({"a.yaml": "a: ["})
    await world.kustomization(**spec)
    await world.failed("UnsupportedField" if spec else "BuildFailed")
    await world.request("again")
    done = await world.until(lambda o: o["status"].get("lastHandledReconcileAt") == "again")

    assert ready_of(done)["status"] == "False"


@pytest.mark.parametrize("annotation", REFUSED_ANNOTATIONS)
async def test_an_annotation_that_is_not_done_is_refused_by_name(
    world: Harness, annotation: str
) -> None:
    await world.source({"a.yaml": configmap()})
    await world.kustomization(suspend=True)
    await world.client.patch(
        kinds.KUSTOMIZATION,
        ObjectKey("team", "app"),
        {"metadata": {"annotations": {annotation: "x"}}},
        patch_type="merge",
        field_manager="test",
    )
    await world.kustomization()
    failed = await world.failed("UnsupportedField")

    assert annotation in ready_of(failed)["message"]
    assert not await world.exists(CONFIG_MAPS, "settings")


# --- when it is tried again, and how long it waits ---------------------------------------------------


@pytest.mark.shows("field:Kustomization/spec.retryInterval")
@pytest.mark.parametrize(
    "spec",
    [{"interval": "1h", "retryInterval": "200ms"}, {"interval": "200ms", "retryInterval": None}],
    ids=["its own", "the interval by default"],
)
async def test_a_failure_is_tried_again_after_the_retry_interval(
    world: Harness, spec: dict[str, Any]
) -> None:
    """The rights come later, and nothing tells the controller of them."""
    revision = await world.source({"a.yaml": configmap()})
    binding = await world.get(BINDINGS, "deployer")
    await world.client.delete(BINDINGS, ObjectKey("team", "deployer"))
    await world.kustomization(**spec)
    await world.failed("ReconciliationFailed")
    again = {key: binding[key] for key in ("apiVersion", "kind", "roleRef", "subjects")}
    metadata = {"name": "deployer", "namespace": "team"}
    await world.apply(again | {"metadata": metadata}, BINDINGS)

    await world.applied(revision)


TIMEOUTS: dict[str, tuple[dict[str, Any], str]] = {
    "its own": ({"timeout": "2m"}, "2m"),
    "at least 30 s": ({"timeout": "1s"}, "30s"),
    "the interval less 30 s by default": ({"interval": "10m"}, "9m30s"),
}


@pytest.mark.shows("field:Kustomization/spec.timeout")
@pytest.mark.parametrize("case", TIMEOUTS)
async def test_the_timeout_of_the_health_check_is_told(world: Harness, case: str) -> None:
    spec, told = TIMEOUTS[case]
    revision = await world.source({"d.yaml": deployment(**NEVER)})
    await world.kustomization(wait=True, **spec)
    running = await world.until(lambda o: ready_of(o, "Healthy").get("status") == "Unknown")

    message = ready_of(running, "Reconciling")["message"]
    assert revision in message
    assert message.rsplit(" ", 1)[-1].replace("m0s", "m") == told


async def test_what_is_not_healthy_in_time_is_named(
    world: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluvial.api.kustomize._MIN_TIMEOUT_SECONDS", 0.2)
    await world.source({"d.yaml": deployment(**NEVER), "a.yaml": configmap()})
    await world.kustomization(wait=True, timeout="300ms")
    failed = await world.failed("HealthCheckFailed")

    assert "Deployment/team/web" in ready_of(failed)["message"]
    assert "ConfigMap" not in ready_of(failed)["message"]
    await world.event("HealthCheckFailed", text="Deployment/team/web")


# --- events ------------------------------------------------------------------------------------------


@pytest.mark.shows(
    "event:Kustomization/metadata revision",
    "event:Kustomization/metadata originRevision",
    "event:Kustomization/metadata commit_status",
)
async def test_events_tell_revisions_and_the_last_asks_for_a_commit_status(world: Harness) -> None:
    await world.source({"a.yaml": configmap()})
    source = await world.get(kinds.GIT_REPOSITORY, "src")
    origin = {"org.opencontainers.image.revision": "main@sha1:abc"}
    artifact = source["status"]["artifact"] | {"revision": "v1@sha256:def", "metadata": origin}
    await world.announce(artifact)
    await world.kustomization()
    done = await world.applied("v1@sha256:def")

    assert done["status"]["lastAppliedOriginRevision"] == "main@sha1:abc"
    history = done["status"]["history"][0]["metadata"]
    assert history == {"revision": "v1@sha256:def", "originRevision": "main@sha1:abc"}
    revisions = {f"{GROUP}/revision": "v1@sha256:def", f"{GROUP}/originRevision": "main@sha1:abc"}
    changes = await world.event("Progressing", text="settings created")
    assert about(changes) == revisions
    final = await world.event("ReconciliationSucceeded", text="next run in 1h")
    assert about(final) == revisions | {f"{GROUP}/commit_status": "update"}
    assert final["type"] == "Normal"


async def test_a_failure_tells_the_revision_and_asks_for_no_commit_status(world: Harness) -> None:
    revision = await world.source({"a.yaml": "a: ["})
    await world.kustomization()
    event = await world.event("BuildFailed")

    assert event["type"] == "Warning"
    assert about(event) == {f"{GROUP}/revision": revision}


async def test_a_missing_source_has_no_event(world: Harness) -> None:
    """Nor has one without an artifact: it is usual while both are being made."""
    await world.kustomization()
    await world.failed("ArtifactFailed")
    await world.announce(None)
    await world.request("look")
    await world.until(lambda o: "none yet" in ready_of(o).get("message", ""))
    revision = await world.source({"a.yaml": configmap()})
    await world.applied(revision)
    await world.event("ReconciliationSucceeded")
    events = (await world.client.list_all(kinds.EVENT)).items

    assert "ArtifactFailed" not in {event["reason"] for event in events}


async def test_an_artifact_that_cannot_be_had_has_one(world: Harness) -> None:
    await world.source({"a.yaml": configmap()})
    source = await world.get(kinds.GIT_REPOSITORY, "src")
    await world.announce(source["status"]["artifact"] | {"digest": "sha256:" + "0" * 64})
    await world.kustomization()
    event = await world.event("ArtifactFailed")

    assert event["type"] == "Warning"


@pytest.mark.shows("event:Kustomization/deletion change set")
async def test_deletion_tells_what_it_deleted(world: Harness) -> None:
    revision = await world.source({"a.yaml": configmap()})
    await world.kustomization()
    await world.applied(revision)
    await delete(world)
    await world.gone(kinds.KUSTOMIZATION, "app")
    event = await world.event("ReconciliationSucceeded", text="ConfigMap/team/settings deleted")

    assert event["type"] == "Normal"


@pytest.mark.shows("event:Kustomization/pruning for deleted resource failed")
async def test_deletion_that_fails_is_tried_again_and_tells_why(world: Harness) -> None:
    revision = await world.source({"a.yaml": configmap()})
    await world.kustomization(retryInterval="200ms")
    await world.applied(revision)
    binding = await world.get(BINDINGS, "deployer")
    await world.client.delete(BINDINGS, ObjectKey("team", "deployer"))
    await delete(world)
    event = await world.event("PruneFailed", text="pruning for deleted resource failed")
    assert event["type"] == "Warning"
    again = {key: binding[key] for key in ("apiVersion", "kind", "roleRef", "subjects")}
    metadata = {"name": "deployer", "namespace": "team"}
    await world.apply(again | {"metadata": metadata}, BINDINGS)
    await world.gone(kinds.KUSTOMIZATION, "app")

    assert not await world.exists(CONFIG_MAPS, "settings")


@pytest.mark.shows("event:Kustomization/service account is gone")
async def test_what_stays_behind_without_its_service_account_is_listed(world: Harness) -> None:
    revision = await world.source({"a.yaml": configmap("a"), "b.yaml": configmap("b")})
    await world.kustomization()
    await world.applied(revision)
    await world.client.delete(kinds.SERVICE_ACCOUNT, ObjectKey("team", "deployer"))
    await delete(world)
    await world.gone(kinds.KUSTOMIZATION, "app")
    event = await world.event("PruneFailed", text="team_a__ConfigMap")

    assert "team_b__ConfigMap" in event["message"]
    assert event["type"] == "Warning"


# --- deletion that waits -----------------------------------------------------------------------------


async def hold(world: Harness, *, held: bool) -> None:
    """Put a finalizer on the ConfigMap, or take it off."""
    finalizers = ["example.com/hold"] if held else None
    await world.client.patch(
        CONFIG_MAPS,
        ObjectKey("team", "settings"),
        {"metadata": {"finalizers": finalizers}},
        patch_type="merge",
        field_manager="somebody",
    )


@pytest.mark.shows("field:Kustomization/spec.deletionPolicy")
async def test_deletion_waits_for_the_end_of_what_it_deleted(world: Harness) -> None:
    revision = await world.source({"a.yaml": configmap()})
    await world.kustomization(deletionPolicy="WaitForTermination")
    await world.applied(revision)
    await hold(world, held=True)
    await delete(world)
    await world.until(
        lambda o: bool(o["metadata"].get("deletionTimestamp")), "settings", resource=CONFIG_MAPS
    )
    waiting = await world.get(kinds.KUSTOMIZATION, "app")
    assert waiting["metadata"]["finalizers"] == ["finalizers.fluxcd.io"]
    await hold(world, held=False)

    await world.gone(kinds.KUSTOMIZATION, "app")


@pytest.mark.slow
@pytest.mark.shows("event:Kustomization/failed to wait for resources termination")
async def test_deletion_stops_waiting_when_its_time_is_over(
    world: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluvial.api.kustomize._MIN_TIMEOUT_SECONDS", 0.1)
    revision = await world.source({"a.yaml": configmap()})
    await world.kustomization(deletionPolicy="WaitForTermination", timeout="100ms")
    await world.applied(revision)
    await hold(world, held=True)
    await delete(world)
    await world.gone(kinds.KUSTOMIZATION, "app")
    event = await world.event("PruneFailed", text="failed to wait for resources termination")

    assert "ConfigMap/team/settings" in event["message"]
    assert await world.exists(CONFIG_MAPS, "settings")


async def delete(world: Harness) -> None:
    await world.client.delete(kinds.KUSTOMIZATION, ObjectKey("team", "app"))


def about(event: JsonObject) -> dict[str, str]:
    """The metadata of ours that an event carries."""
    found = event["metadata"].get("annotations") or {}
    return {key: value for key, value in found.items() if key.startswith(GROUP)}
