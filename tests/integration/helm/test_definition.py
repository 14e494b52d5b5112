"""The definition that is made of the model is one that API servers take, rules and all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fluvial.api import crd
from fluvial.kube.errors import Invalid, NotFound
from fluvial.kube.kinds import CRD, HELM_RELEASE
from fluvial.objects import JsonObject, ObjectKey
from integration.helm.helm_world import HelmWorld

_REF = {"kind": "OCIRepository", "name": "x"}


@pytest.fixture
async def served(world: HelmWorld) -> AsyncIterator[HelmWorld]:
    """The definition, until the test ends."""
    admin = world.world.admin
    definition = crd.crd(crd.HELM_RELEASE)
    key = ObjectKey("", crd.HELM_RELEASE.name)
    is_there = any(obj["metadata"]["name"] == key.name for obj in (await admin.list_all(CRD)).items)
    await admin.apply(CRD, key, definition, field_manager="test")
    try:
        while True:
            try:
                await admin.list_page(HELM_RELEASE, namespace=world.namespace, limit=1)
                break
            except NotFound:
                await asyncio.sleep(0.02)
        yield world
    finally:
        if not is_there:
            await admin.delete(CRD, key)


def _object(world: HelmWorld, spec: dict[str, Any]) -> JsonObject:
    return {
        "apiVersion": "helm.toolkit.fluxcd.io/v2",
        "kind": "HelmRelease",
        "metadata": {"name": "app", "namespace": world.namespace},
        "spec": {"interval": "5m"} | spec,
    }


async def _create(world: HelmWorld, **spec: Any) -> JsonObject:
    body = _object(world, spec)
    return await world.world.admin.create(HELM_RELEASE, body, field_manager="test", dry_run=True)


async def test_what_fits_is_taken_and_what_does_not_is_refused(served: HelmWorld) -> None:
    chart = {"spec": {"chart": "a", "sourceRef": {"kind": "Bucket", "name": "b"}, "verify": {}}}
    values = {"any": [1, {"thing": None}], "deep": {"er": True}}
    made = await _create(served, chart=chart, values=values, uninstall={})

    assert made["spec"]["values"]["any"][0] == 1
    assert made["spec"]["chart"]["spec"]["version"] == "*"
    assert made["spec"]["chart"]["spec"]["reconcileStrategy"] == "ChartVersion"
    assert made["spec"]["chart"]["spec"]["verify"]["provider"] == "cosign"
    assert made["spec"]["uninstall"]["deletionPropagation"] == "background"
    assert made["status"] == {"observedGeneration": -1}
    for spec, problem in (
        ({}, "either chart or chartRef"),
        ({"chart": chart, "chartRef": _REF}, "either chart or chartRef"),
        (
            {"chartRef": _REF, "install": _strategy("RemediateOnFailure")},
            "retryInterval cannot be set",
        ),
        (
            {"chartRef": _REF, "upgrade": _strategy("RemediateOnFailure")},
            "retryInterval can only be set",
        ),
        ({"chartRef": _REF, "releaseName": "x" * 54}, "releaseName"),
        ({"chartRef": _REF, "driftDetection": {"mode": "maybe"}}, "driftDetection.mode"),
        ({"chartRef": _REF, "interval": "soon"}, "interval"),
    ):
        with pytest.raises(Invalid, match=problem):
            await _create(served, **spec)
    await _create(served, chartRef=_REF, install=_strategy("RetryOnFailure"))


def _strategy(name: str) -> dict[str, Any]:
    return {"strategy": {"name": name, "retryInterval": "1m"}}
