"""What a run says of its object."""

from __future__ import annotations

from typing import Any

import pytest

from fluvial.api.meta import KubeConfigReference
from fluvial.kube.tenants import Actor
from fluvial.objects import ObjectKey
from fluvial.runtime import conditions
from unit.delivery.cluster import KEY, Cluster, Run, kustomization


async def run_of(spec: dict[str, Any] | None = None, **metadata: Any) -> Run:
    obj = kustomization(**metadata)
    obj["spec"] |= spec or {}
    return Run(*await Cluster(obj).opening().open(KEY, live=False))


async def test_dependencies_are_of_its_own_namespace_unless_they_say_another() -> None:
    depends_on = [{"name": "a"}, {"name": "b", "namespace": "infra", "readyExpr": "true"}]
    run = await run_of({"dependsOn": depends_on})

    assert run.dependencies == [(ObjectKey("team", "a"), ""), (ObjectKey("infra", "b"), "true")]
    assert run.dependency_keys == [ObjectKey("team", "a"), ObjectKey("infra", "b")]


@pytest.mark.parametrize(
    ("spec", "account", "elsewhere"),
    [
        ({}, "", False),
        ({"serviceAccountName": "deployer"}, "deployer", False),
        ({"kubeConfig": {"secretRef": {"name": "c"}}}, "", True),
    ],
    ids=["nobody in particular", "a service account", "in another cluster"],
)
async def test_who_acts(spec: dict[str, Any], account: str, *, elsewhere: bool) -> None:
    actor = (await run_of(spec)).actor

    assert (actor.owner, actor.service_account) == (KEY, account)
    assert isinstance(actor.kube_config, KubeConfigReference) is elsewhere
    assert isinstance(actor, Actor)


async def test_conditions_are_of_the_generation_that_is_worked_on() -> None:
    run = await run_of(generation=7)
    run.set_condition("Ready", "True", "Done", "it is done")
    run.set_condition("Reconciling", "True", "More", "it goes on")
    run.clear("Reconciling", "Stalled")

    assert [one.type for one in run.spec_of.status.conditions] == ["Ready"]
    ready = conditions.get_condition(run.spec_of.status.conditions, "Ready")
    assert ready is not None
    assert ready.observed_generation == 7


@pytest.mark.parametrize("at", [None, "2026-01-01T00:00:00Z"])
async def test_whether_it_is_to_go(at: str | None) -> None:
    assert (await run_of(deletionTimestamp=at)).is_deleted is bool(at)
