"""Sizes that a tenant can choose: the status stays within its bounds and the others go on."""

from __future__ import annotations

import asyncio
import time

import orjson
import pytest

from fluvial.kube import kinds
from fluvial.objects import ObjectKey
from harness.kustomize import CONFIG_MAPS, Harness, configmap, ready_of

pytestmark = pytest.mark.slow


class Lag:
    """The longest time for which the loop ran nothing else."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._task = asyncio.create_task(self._watch(), name="lag")

    async def _watch(self) -> None:
        while True:
            start = time.monotonic()
            await asyncio.sleep(0.005)
            self.longest = max(self.longest, time.monotonic() - start - 0.005)

    async def stop(self) -> float:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        return self.longest


async def test_a_status_that_says_too_much_is_cut(world: Harness) -> None:
    """Hundreds of refusals, each with a long name in it."""
    names = [f"{'x' * 200}{number:04d}" for number in range(300)]
    await world.source({"a.yaml": "---\n".join(configmap(name, "other") for name in names)})
    await world.kustomization()
    failed = await world.failed("ReconciliationFailed")

    for one in failed["status"]["conditions"]:
        assert len(one["message"].encode()) <= 32_768
    assert len(orjson.dumps(failed)) < 256_000


async def test_another_tenant_is_served_while_one_brings_very_much(world: Harness) -> None:
    """Two thousand objects with substitution, and one of a megabyte."""
    many = "---\n".join(configmap(f"c{number}", k="${v}") for number in range(2_000))
    large = configmap("large", k="${v} " + "y" * 900_000)
    await world.source({"many.yaml": many, "large.yaml": large})
    lag = Lag()
    await world.kustomization(postBuild={"substitute": {"v": "x"}})
    revision = await world.source({"a.yaml": configmap(namespace="other")}, namespace="other")
    start = time.monotonic()
    await world.kustomization(namespace="other")
    await world.applied(revision, namespace="other")
    waited = time.monotonic() - start
    await world.client.delete(kinds.KUSTOMIZATION, ObjectKey("team", "app"))

    assert await world.exists(CONFIG_MAPS, "settings", "other")
    assert waited < 15
    assert await lag.stop() < 5


async def test_a_long_forged_inventory_costs_its_owner_alone(world: Harness) -> None:
    """Two thousand entries of objects that are not there; they are gone after one run."""
    revision = await world.source({"a.yaml": configmap()})
    await world.kustomization()
    await world.applied(revision)
    entries = [{"id": f"team_x{number}__ConfigMap", "v": "v1"} for number in range(2_000)]
    entries += [{"id": "nonsense", "v": ""}, {"id": "_" * 300, "v": "v1"}]
    await world.client.patch(
        kinds.KUSTOMIZATION,
        ObjectKey("team", "app"),
        {"status": {"inventory": {"entries": entries}}},
        patch_type="merge",
        field_manager="tenant",
        subresource="status",
    )
    await world.request("now")
    revision = await world.source({"a.yaml": configmap(namespace="other")}, namespace="other")
    await world.kustomization(namespace="other")
    await world.applied(revision, namespace="other")
    done = await world.until(lambda obj: obj["status"].get("lastHandledReconcileAt") == "now")

    assert ready_of(done)["reason"] in {"PruneFailed", "ReconciliationSucceeded"}
    assert len(done["status"]["inventory"]["entries"]) <= 3
    assert await world.exists(CONFIG_MAPS, "settings")
