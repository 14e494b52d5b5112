"""When a release's objects are ready: by status, as Helm 3 saw it, by users' expressions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from fluvial.api.kustomize import CustomHealthCheck
from fluvial.apply import HealthCompiler
from fluvial.cel.checked import CheckedConditions
from fluvial.cel.evaluator import CelEvaluator, cel_pool
from fluvial.helm.errors import ActionFailed
from fluvial.helm.release import Status
from fluvial.log import get_logger
from integration.helm.actions import QUICK, Actions, actions, config_map
from integration.helm.helm_world import ON_DEVCLUSTER, HelmWorld

_ON_REAL = pytest.mark.parametrize(
    "world", [pytest.param("real", marks=pytest.mark.real)], indirect=True
)
_SHORT = replace(QUICK, timeout=0.3)


@pytest.fixture
async def act(world: HelmWorld) -> AsyncIterator[Actions]:
    async with actions(world) as made:
        yield made


def _deployment(*, paused: bool = False, health: str = "") -> str:
    marks = f'"devcluster.fluvial.dev/health": "{health}"' if health else ""
    return (
        f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, annotations: {{{marks}}}}}\n"
        f"spec: {{paused: {str(paused).lower()}, replicas: 1, "
        "selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, "
        "spec: {containers: [{name: c, image: 'example.com/c:1'}]}}}\n"
    )


@_ON_REAL
async def test_a_rollout_is_ready_as_helm_3_saw_it(act: Actions) -> None:
    options = replace(QUICK, timeout=60.0, legacy_wait=True)
    release = await act.install({"web.yaml": _deployment()}, options)

    assert release.status is Status.DEPLOYED


@ON_DEVCLUSTER
async def test_a_deployment_without_a_set_is_not_ready_as_helm_3_saw_it(act: Actions) -> None:
    """devcluster makes no ReplicaSets, and says in the Deployment's status that all is well."""
    with pytest.raises(ActionFailed, match=r"timeout waiting for: \[Deployment/.*/web"):
        await act.install({"web.yaml": _deployment()}, replace(_SHORT, legacy_wait=True))
    release = await act.upgrade({"web.yaml": _deployment(), "a.yaml": config_map("a")})
    assert release.status is Status.DEPLOYED


@ON_DEVCLUSTER
async def test_what_is_paused_is_not_waited_for(act: Actions) -> None:
    with pytest.raises(ActionFailed, match="timeout waiting for"):
        await act.install({"web.yaml": _deployment(health="never")}, _SHORT)
    release = await act.upgrade({"web.yaml": _deployment(health="never", paused=True)}, _SHORT)

    assert release.status is Status.DEPLOYED


@ON_DEVCLUSTER
async def test_expressions_say_when_a_release_is_ready(act: Actions) -> None:
    check = CustomHealthCheck(
        api_version="v1",
        kind="ConfigMap",
        current="data.phase == 'done'",
        failed="data.phase == 'no'",
    )
    async with cel_pool(size=1, log=get_logger("test")) as pool:
        compiler = HealthCompiler(CheckedConditions(CelEvaluator(pool)))
        health = await compiler.compile([check], namespace=act.world.namespace)
        act.target = replace(act.target, health=health)
        with pytest.raises(ActionFailed, match="failed early due to stalled resources"):
            await act.install({"a.yaml": config_map("a", phase="no")})
        ways = [replace(QUICK, legacy_wait=True), QUICK]
        for number, options in enumerate(ways):
            phase = "done" if options is QUICK else "no"
            files = {"a.yaml": config_map("a", phase=phase, n=str(number))}
            assert (await act.upgrade(files, options)).status is Status.DEPLOYED
