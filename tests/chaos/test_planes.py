"""Faults of the control plane itself: it forgets, falls, comes back, or comes back empty.

What each plane can do to itself is done to both; a change of etcd's leader only to the real one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from chaos.cases import poll
from chaos.endstate import EndState
from chaos.faulty import BOTH, KUSTOMIZE, FaultyWorld
from chaos.planes import RealPlane
from faultproxy import Match
from faultproxy.faults import answer
from fluvial.kube import kinds
from fluvial.objects import ObjectKey
from fluvial_cli import dev

pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(300),  # several lives side by side
]

WATCHES = Match(agent=BOTH, verb="watch")


# --- while health is awaited ---------------------------------------------------------------------


async def _wait_for_health_check(world: FaultyWorld, case: str) -> None:
    """Until the controller says that it waits, and watches what it waits for."""

    async def is_waiting() -> bool:
        owner = await world.client.get(kinds.KUSTOMIZATION, ObjectKey(case, "app"))
        conditions = {c["type"]: c for c in (owner.get("status") or {}).get("conditions") or []}
        running = world.proxy.running(Match(agent=KUSTOMIZE, resource=r"^deployments\.apps$"))
        return conditions.get("Healthy", {}).get("status") == "Unknown" and running > 0

    await poll(is_waiting, f"{case} does not wait for health")


async def _watches_end(world: FaultyWorld) -> None:
    assert world.proxy.end_streams(WATCHES) >= 2


async def _watches_expire(world: FaultyWorld) -> None:
    await world.plane.compact()
    assert world.proxy.end_streams(WATCHES, then="gone") >= 2


async def _watches_go_for_a_while(world: FaultyWorld) -> None:
    match = Match(agent=KUSTOMIZE, verb="list", resource=r"^deployments\.apps$")
    rule = world.proxy.add(match, answer(503), times=3)
    await _watches_expire(world)

    async def happened() -> bool:
        return rule.happened > 0

    await poll(happened, "nobody lists")


async def _restart(world: FaultyWorld) -> None:
    await world.plane.stop()
    await world.plane.start(keep=True)


async def _away(world: FaultyWorld) -> None:
    await world.proxy.away()
    await world.proxy.back()


WHILE_WAITING: dict[str, Callable[[FaultyWorld], Awaitable[None]]] = {
    "watches end": _watches_end,
    "watches expire": _watches_expire,
    "no watches for a while": _watches_go_for_a_while,
    "restart with data": _restart,
    "refused connections": _away,
}


async def _a_wait_survives(world: FaultyWorld, name: str) -> None:
    """Nobody looks after workloads; the fault comes; then they become ready, and it is noticed."""
    clean = await world.clean()
    case = await world.new_case()
    await world.git_repository(case)
    await world.settled(kinds.GIT_REPOSITORY, case, "v1")
    await world.plane.halt_controllers()
    try:
        await world.kustomization(case)
        await _wait_for_health_check(world, case)
        await WHILE_WAITING[name](world)
    finally:
        await world.plane.launch_controllers()
    await world.settled(kinds.KUSTOMIZATION, case, "v1")
    found = await world.comes_to(case, clean.ends["first apply"])
    world.proxy.clear()
    await world.delete_all(case)
    await world.remove(case)
    world.check_controllers()

    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", WHILE_WAITING)
async def test_a_wait_survives_on_devcluster(on_devcluster: FaultyWorld, name: str) -> None:
    await _a_wait_survives(on_devcluster, name)


@pytest.mark.parametrize("name", WHILE_WAITING)
async def test_a_wait_survives_on_the_real_control_plane(on_real: FaultyWorld, name: str) -> None:
    await _a_wait_survives(on_real, name)


# --- while work is done --------------------------------------------------------------------------


async def _no_controllers_in_a_deletion(world: FaultyWorld) -> None:
    """Nobody empties namespaces: the Kustomization waits for that, as its policy says."""
    clean = await world.clean()
    case = await world.new_case()
    await world.first_apply(case)
    await world.client.patch(
        kinds.KUSTOMIZATION,
        ObjectKey(case, "app"),
        {"spec": {"deletionPolicy": "WaitForTermination"}},
        patch_type="merge",
        field_manager="test",
    )
    position = world.proxy.position
    await world.plane.halt_controllers()
    try:
        await world.delete(kinds.KUSTOMIZATION, case)

        async def is_asked() -> bool:
            return "/api/v1/namespaces/CASE-extra" in world.deletions(case, after=position)

        await poll(is_asked, "the namespace is not deleted")
        gone_early = await world.is_gone(kinds.KUSTOMIZATION, case)
    finally:
        await world.plane.launch_controllers()
    await world.wait_gone(kinds.KUSTOMIZATION, case)
    await world.delete(kinds.GIT_REPOSITORY, case)
    await world.wait_gone(kinds.GIT_REPOSITORY, case)
    left = set((await world.at_rest(case)).objects) - set(clean.ends["deletion"].objects)
    await world.remove(case)

    assert not gone_early
    assert left <= {"ConfigMap CASE/handed", "Secret CASE/token"}


async def _restart_without_data(world: FaultyWorld, folder: Path) -> None:
    """The cluster comes back empty: nothing is deleted, and what is made again is applied again."""
    clean = await world.clean()
    case = await world.new_case()
    await world.first_apply(case)
    position = world.proxy.position
    await world.plane.stop()
    await world.plane.start(keep=False)
    await world.renew_client(folder)

    async def has_seen_it() -> bool:
        return {
            entry.agent.partition("/")[0]
            for entry in world.proxy.requests(Match(agent=BOTH), after=position)
            if entry.status
        } == {"source-controller", "kustomize-controller"}

    await poll(has_seen_it, "the controllers do not ask")
    await dev.install(world.client)
    await world.let_tenants_do_everything()
    asked = world.deletions(case, after=position)
    await world.make_case(case)
    await world.first_apply(case)
    found = await world.comes_to(case, clean.ends["first apply"])
    await world.upgrade(case)
    found += await world.comes_to(case, clean.ends["upgrade"])
    await world.delete_all(case)
    found += await world.comes_to(case, clean.ends["deletion"])
    wrong = world.deletions(case, after=position) - clean.deletions
    await world.remove(case)
    world.check_controllers()

    assert asked == frozenset()
    assert wrong == frozenset()
    assert not found, "\n".join(found)


async def _restored_from_a_backup(world: FaultyWorld, folder: Path) -> None:
    """The cluster is as it was before an upgrade: that state is kept, and the next commit applied.

    When the controllers see it again, its versions have come past those that they knew. Nobody
    has taken the object ``handed`` over there, so it is pruned in the end.
    """
    clean = await world.clean()
    case = await world.new_case()
    await world.first_apply(case)
    await world.plane.backup()
    await world.upgrade(case)
    world.push(case, "v1")
    position = world.proxy.position
    known = await world.newest_version(case)
    await world.proxy.away()
    await world.plane.restore()
    await world.renew_client(folder)
    await world.come_past(case, known)
    await world.proxy.back()
    await world.followed(r"^(gitrepositories|kustomizations)\.", watches=2)
    await world.kustomization(case, timeout="31s")  # which asks for no fresh look at the source
    await world.settled(kinds.KUSTOMIZATION, case, "v1")
    await world.request(kinds.KUSTOMIZATION, case, "restored")
    await world.answered(kinds.KUSTOMIZATION, case, "restored")
    found = await world.comes_to(case, clean.ends["first apply"])
    asked = world.deletions(case, after=position)
    world.push(case, "v2")
    await world.request(kinds.GIT_REPOSITORY, case, "new commit, again")
    await world.settled(kinds.KUSTOMIZATION, case, "v2")
    found += await world.comes_to(case, _without_handed(clean.ends["upgrade"]))
    await world.delete_all(case)
    found += await world.comes_to(case, _without_handed(clean.ends["deletion"]))
    wrong = world.deletions(case, after=position) - clean.deletions
    await world.remove(case)
    world.check_controllers()

    assert asked == frozenset()
    assert wrong == {"/api/v1/namespaces/CASE/configmaps/handed"}
    assert not found, "\n".join(found)


def _without_handed(end: EndState) -> EndState:
    objects = {name: obj for name, obj in end.objects.items() if not name.endswith("/handed")}
    return replace(end, objects=objects)


async def test_restored_from_a_backup_on_devcluster(
    on_devcluster: FaultyWorld, tmp_path: Path
) -> None:
    await _restored_from_a_backup(on_devcluster, tmp_path)


async def test_restored_from_a_backup_on_the_real_control_plane(
    on_real: FaultyWorld, tmp_path: Path
) -> None:
    await _restored_from_a_backup(on_real, tmp_path)


async def test_no_controllers_in_a_deletion_on_devcluster(on_devcluster: FaultyWorld) -> None:
    await _no_controllers_in_a_deletion(on_devcluster)


async def test_no_controllers_in_a_deletion_on_the_real_control_plane(
    on_real: FaultyWorld,
) -> None:
    await _no_controllers_in_a_deletion(on_real)


async def test_restart_without_data_on_devcluster(
    on_devcluster: FaultyWorld, tmp_path: Path
) -> None:
    await _restart_without_data(on_devcluster, tmp_path)


async def test_restart_without_data_on_the_real_control_plane(
    on_real: FaultyWorld, tmp_path: Path
) -> None:
    await _restart_without_data(on_real, tmp_path)


async def test_a_new_leader_of_etcd_in_an_upgrade(on_real: FaultyWorld) -> None:
    world, clean = on_real, await on_real.clean()
    assert isinstance(world.plane, RealPlane)
    case = await world.new_case()
    await world.first_apply(case)
    await world.hand_over(case)
    world.push(case, "v2")
    await world.request(kinds.GIT_REPOSITORY, case, "new commit")
    before, after = await world.plane.change_leader()
    await world.settled(kinds.KUSTOMIZATION, case, "v2")
    found = await world.comes_to(case, clean.ends["upgrade"])
    await world.delete_all(case)
    await world.remove(case)

    assert before != after
    assert not found, "\n".join(found)
