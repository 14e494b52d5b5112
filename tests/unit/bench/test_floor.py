"""The floor's list, and the bodies that are sent."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from bench.load import floorbodies
from bench.load.floorlist import FLOOR, HELM_FLOOR, per_object, table
from bench.load.phases import PHASES
from bench.load.workload import load_workload, value_at

from fluvial.api.codec import decode
from fluvial.api.helm import HelmRelease
from fluvial.api.kustomize import Kustomization
from fluvial.api.source import GitRepository
from fluvial.helm.record import decode_release
from fluvial.objects import JsonObject

WORKLOAD = load_workload("kustomizations-git")
PAGE = Path(__file__).resolve().parents[3] / "docs" / "performance.md"


def live(index: int) -> dict[str, JsonObject]:
    made = {obj["kind"]: obj for obj in WORKLOAD.objects(index)}
    for obj in made.values():
        obj["metadata"] |= {"uid": "u", "resourceVersion": "5", "generation": 2}
    return made


def test_every_phase_has_a_list() -> None:
    assert [*FLOOR] == [*HELM_FLOOR] == [one for one in PHASES if one != "upgrades"]


@pytest.mark.parametrize(
    ("phase", "requests"),
    [("install", 19), ("upgrade", 5), ("no-op", 0), ("drift", 4), ("uninstall", 10)],
)
def test_the_requests_of_one_index(phase: str, requests: int) -> None:
    assert per_object(phase) == requests


@pytest.mark.parametrize(
    ("phase", "requests"),
    [("install", 16), ("upgrade", 11), ("no-op", 0), ("drift", 4), ("uninstall", 13)],
)
def test_the_requests_of_one_release(phase: str, requests: int) -> None:
    assert per_object(phase, HELM_FLOOR) == requests


def test_what_touches_applied_objects_is_the_tenants_or_a_hand() -> None:
    steps = [step for by_kind in FLOOR.values() for steps in by_kind.values() for step in steps]

    assert {step.who for step in steps if step.resource == "objects"} == {"tenant", "user"}
    assert {step.resource for step in steps if step.who == "tenant"} == {"objects"}


def test_each_list_begins_with_the_user() -> None:
    firsts = [steps[0].who for by_kind in FLOOR.values() for steps in by_kind.values()]

    assert set(firsts) == {"user"}


def test_the_page_shows_the_list() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert table() in page
    assert table(HELM_FLOOR) in page


def test_applied_objects_are_built_as_the_controller_builds_them() -> None:
    objects = floorbodies.applied_objects(WORKLOAD.upgraded(), WORKLOAD.upgraded().objects(7)[1])
    kinds = {obj["kind"]: obj for obj in objects}
    deployment = kinds["Deployment"]

    assert set(kinds) == {"ServiceAccount", "Service", "Deployment", "Ingress"}
    assert deployment["spec"]["replicas"] == 0
    assert deployment["metadata"]["namespace"] == WORKLOAD.namespace
    assert deployment["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"] == "podinfo-ks-7"
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["requests"]["cpu"] == "2m"
    assert len(kinds["Service"]["spec"]["ports"]) == 2


def test_statuses_are_such_as_the_kinds_have() -> None:
    made = live(1)
    source, owner = made["GitRepository"], made["Kustomization"]
    objects = floorbodies.applied_objects(WORKLOAD, owner)
    status = floorbodies.outcome(owner) | floorbodies.inventory(objects)

    told = decode({**owner, "status": status}, Kustomization).status
    stored = decode({**source, "status": floorbodies.outcome(source)}, GitRepository).status

    assert told.inventory is not None
    assert len(told.inventory.entries) == 4
    assert told.observed_generation == stored.observed_generation == 2
    assert told.history[0].total_reconciliations == 1
    assert stored.artifact is not None


def test_history_grows_as_it_does_in_earnest() -> None:
    owner = live(1)["Kustomization"]
    owner["status"] = floorbodies.outcome(owner)

    assert len(floorbodies.outcome(owner)["history"]) == 2


def test_a_release_s_bodies_are_such_as_they_are_in_earnest() -> None:
    workload = load_workload("helmreleases")
    (release,) = workload.upgraded().objects(7)
    release["metadata"] |= {"uid": "u", "resourceVersion": "5", "generation": 2}
    objects = floorbodies.applied_objects(workload.upgraded(), release)
    deployment = next(obj for obj in objects if obj["kind"] == "Deployment")
    secret = floorbodies.record(release, objects, 2)
    stored = decode_release(base64.b64decode(secret["data"]["release"]))
    status = floorbodies.outcome(release)

    assert value_at(deployment, workload.applied.field) == "2m"
    assert value_at(deployment, workload.applied.drift_field) == workload.applied.drift_value
    assert (stored.name, stored.version) == ("podinfo-hr-7", 2)
    assert 10_000 < len(secret["data"]["release"]) < 60_000
    assert decode({**release, "status": status}, HelmRelease).status.history[0].version == 1
    assert floorbodies.helm_chart(release)["spec"]["chart"] == "podinfo"


def test_events_have_names_of_their_own() -> None:
    owner = live(1)["Kustomization"]
    names = {
        floorbodies.event(owner, number, component="x")["metadata"]["name"] for number in (1, 2)
    }

    assert len(names) == 2
