"""An API server that is unwell for a while: what was begun is still finished, and done once."""

from __future__ import annotations

import pytest

from chaos.endstate import DEPLOYMENTS, EndState, differences, objects_of, status_of
from chaos.world import MANAGER, World, poll
from fluvial.kube import kinds
from fluvial.objects import JsonObject, ObjectKey

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

BOTH = "^(source|kustomize)-controller/"
KUSTOMIZE = "^kustomize-controller/"
EVERYTHING_BUT_WATCHES = "get|list|create|update|patch|delete|deletecollection"
STEER = "devcluster.fluvial.dev/health"

FAULTS: dict[str, tuple[dict[str, object], int]] = {
    "429 with Retry-After": ({"status": 429, "retry_after": 1}, 6),
    "429 for long": ({"status": 429, "retry_after": 0}, 60),
    "503": ({"status": 503}, 20),
    "503 with Retry-After": ({"status": 503, "retry_after": 1}, 6),
    "500": ({"status": 500}, 12),
    "no answer, nothing done": ({"drop": "before"}, 12),
    "no answer, but done": ({"drop": "after"}, 25),
    "conflict": ({"status": 409}, 8),
}


async def _end(world: World, case: str, owner: JsonObject) -> EndState:
    objects, uids = await objects_of(world.client, case)
    return EndState(objects, uids, status_of(owner, case))


async def _remove(world: World, case: str) -> None:
    await world.delete(kinds.KUSTOMIZATION, case)
    await world.wait_gone(kinds.KUSTOMIZATION, case)
    await world.delete(kinds.GIT_REPOSITORY, case)
    await world.wait_gone(kinds.GIT_REPOSITORY, case)


async def _first_apply(world: World) -> EndState:
    case = await world.new_case()
    await world.git_repository(case)
    await world.kustomization(case)
    owner = await world.settled(kinds.KUSTOMIZATION, case, "v1")
    end = await _end(world, case, owner)
    await _remove(world, case)
    return end


@pytest.mark.parametrize("name", FAULTS)
async def test_a_first_apply_survives_a_server_that_is_unwell(world: World, name: str) -> None:
    """Requests of both controllers fail for a while; the end is that of a healthy server."""
    expected = await _first_apply(world)
    fault, times = FAULTS[name]
    match = {"agent": BOTH, "verb": EVERYTHING_BUT_WATCHES, "path": "^(?!.*/(events|leases))"}
    number = await world.control.fault(match, times=times, **fault)
    try:
        actual = await _first_apply(world)
        struck = [one["struck"] for one in await world.control.faults() if one["id"] == number]
    finally:
        await world.control.no_faults()

    assert struck == [times]
    assert not differences(expected, actual)


@pytest.mark.parametrize("way", ["cut", "410", "410, and no watch for a while"])
async def test_a_wait_survives_the_loss_of_its_watches(world: World, way: str) -> None:
    """A Deployment becomes ready while nobody watches it; the wait still ends, and well."""
    case = await world.new_case()
    await world.git_repository(case)
    await world.kustomization(case, health="never")
    await _wait_for_health_check(world, case)
    if way.endswith("while"):
        for verb in ("watch", "list"):
            match = {"agent": KUSTOMIZE, "verb": verb, "path": "/deployments$"}
            await world.control.fault(match, times=3, status=503)
    if way.startswith("410"):
        await world.control.compact()
    ended = await world.control.end_watches({"agent": KUSTOMIZE}, expired=way.startswith("410"))
    await world.client.patch(
        DEPLOYMENTS,
        ObjectKey(case, "web"),
        {"metadata": {"annotations": {STEER: "ready"}}},
        patch_type="merge",
        field_manager=MANAGER,
    )
    try:
        await world.settled(kinds.KUSTOMIZATION, case, "v1")
        struck = [one["struck"] for one in await world.control.faults()]
    finally:
        await world.control.no_faults()
    await _remove(world, case)

    assert ended >= 2
    assert all(struck)  # the wait may end before the outage does


async def _wait_for_health_check(world: World, case: str) -> None:
    """Until the controller says that it waits, and watches what it waits for."""

    async def is_waiting() -> bool:
        owner = await world.client.get(kinds.KUSTOMIZATION, ObjectKey(case, "app"))
        conditions = {c["type"]: c for c in (owner.get("status") or {}).get("conditions") or []}
        healthy = conditions.get("Healthy", {}).get("status")
        watches = await world.control.requests(
            after=world.restarted.get("kustomize-controller", 0),
            agent=KUSTOMIZE,
            verb="watch",
            path="/deployments$",
        )
        return healthy == "Unknown" and bool(watches)

    await poll(is_waiting, f"{case} does not wait for health")
