"""SIGKILL of either controller at every API write: the end equals that of a clean run.

A write of the controller is held by devcluster, before or after it takes effect; the process is
killed; what it had not sent is lost, what it had sent and not heard of has happened. It starts
anew and must come to what a life without kills comes to: the same objects under the same owners,
the same inventory, Ready; nothing lost, nothing left behind, nothing deleted that must stay. The
same where the world went on while it was dead, and what was half done is not wanted any more.

Not killed at: dry runs (they change nothing), Events and Leases (they decide nothing about
objects, and come at times of their own).

The lives are dealt out to ``CHUNKS`` tests, so that workers can share them. Those of ``EVERY`` are
killed at every write, the others before and after every second one: "after the first" and "before
the second" leave the same behind, so every state is met once. ``FLUVIAL_CHAOS=all`` kills at all.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Literal

import pytest

from chaos.endstate import EndState, objects_of, status_of
from chaos.lives import Life, Lived, Phase, live_cleanly, live_dying, live_killed
from chaos.world import World
from fluvial.kube import kinds
from fluvial.kube.errors import NotFound
from fluvial.objects import JsonObject, ObjectKey

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

CHUNKS = 3
EVERY = ("kustomize", "source")


async def _owner(world: World, case: str) -> JsonObject | None:
    try:
        return await world.client.get(kinds.KUSTOMIZATION, ObjectKey(case, "app"))
    except NotFound:
        return None


# --- kustomize-controller ------------------------------------------------------------------------


async def _look_at_objects(world: World, case: str) -> EndState:
    owner = await _owner(world, case)
    objects, uids = await objects_of(world.client, case)
    return EndState(objects, uids, status_of(owner, case) if owner else None)


async def _source_is_there(world: World, case: str) -> None:
    await world.git_repository(case)
    await world.settled(kinds.GIT_REPOSITORY, case, "v1")


async def _upgrade(world: World, case: str) -> None:
    await world.hand_over(case)
    await _new_commit(world, case)


async def _new_commit(world: World, case: str) -> None:
    world.push(case, "v2")
    await world.request(kinds.GIT_REPOSITORY, case, "new commit")


async def _delete(world: World, case: str) -> None:
    await world.delete(kinds.KUSTOMIZATION, case)


async def _remove_source(world: World, case: str) -> None:
    await world.delete(kinds.GIT_REPOSITORY, case)
    await world.wait_gone(kinds.GIT_REPOSITORY, case)
    await world.client.delete(kinds.NAMESPACE, ObjectKey("", case))


KUSTOMIZATION = Life(
    controller="kustomize-controller",
    resource=kinds.KUSTOMIZATION,
    begin=_source_is_there,
    phases=(
        Phase("first apply", World.kustomization, "v1"),
        Phase("upgrade", _upgrade, "v2"),
        Phase("deletion", _delete, ""),
    ),
    look=_look_at_objects,
    end=_remove_source,
)


async def _next_commit(world: World, case: str) -> None:
    await _new_commit(world, case)
    await world.settled(kinds.GIT_REPOSITORY, case, "v2")


async def _revert(world: World, case: str) -> None:
    world.push(case, "v1")
    await world.request(kinds.GIT_REPOSITORY, case, "revert")
    await world.settled(kinds.GIT_REPOSITORY, case, "v1")


# The world goes on while a controller is dead: what was half done is not wanted any more.
OVERTAKEN = {
    "first apply, next commit": (
        Phase("first apply", World.kustomization, "v1", overtaken=(_next_commit, "v2")),
        Phase("deletion", _delete, "", killed=False),
    ),
    "first apply, deletion": (
        Phase("first apply", World.kustomization, "v1", overtaken=(_delete, "")),
    ),
    "upgrade, revert, upgrade, deletion": (
        Phase("first apply", World.kustomization, "v1", killed=False),
        Phase("upgrade, reverted", _new_commit, "v2", overtaken=(_revert, "v1")),
        Phase("upgrade, deleted", _new_commit, "v2", overtaken=(_delete, "")),
    ),
}


async def _recreation(world: World, case: str) -> None:
    world.push(case, "v3")
    await world.request(kinds.GIT_REPOSITORY, case, "immutable")


RECREATION = (
    Phase("first apply", World.kustomization, "v1", killed=False),
    Phase("recreation, reverted", _recreation, "v3", overtaken=(_revert, "v1")),
    Phase("recreation", _recreation, "v3", recreates=True),
    Phase("deletion", _delete, "", killed=False),
)


# --- source-controller ---------------------------------------------------------------------------


async def _look_at_artifacts(world: World, case: str) -> EndState:
    try:
        owner = await world.client.get(kinds.GIT_REPOSITORY, ObjectKey(case, "app"))
    except NotFound:
        return EndState(files=world.stored(case))
    return EndState(status=status_of(owner, case), files=world.stored(case))


async def _nothing(world: World, case: str) -> None:
    del world, case


async def _remove_namespace(world: World, case: str) -> None:
    await world.client.delete(kinds.NAMESPACE, ObjectKey("", case))


GIT_REPOSITORY = Life(
    controller="source-controller",
    resource=kinds.GIT_REPOSITORY,
    begin=_nothing,
    phases=(
        Phase("first artifact", World.git_repository, "v1"),
        Phase("new commit", _new_commit, "v2"),
        Phase("deletion", lambda world, case: world.delete(kinds.GIT_REPOSITORY, case), ""),
    ),
    look=_look_at_artifacts,
    end=_remove_namespace,
)


# --- the tests -----------------------------------------------------------------------------------

LIVES = {
    "kustomize": KUSTOMIZATION,
    **{name: replace(KUSTOMIZATION, phases=phases) for name, phases in OVERTAKEN.items()},
    "recreation": replace(KUSTOMIZATION, phases=RECREATION),
    "source": GIT_REPOSITORY,
}
_lived: dict[str, Lived] = {}


async def _clean(world: World, name: str) -> Lived:
    """The life without kills, once in each worker."""
    if name not in _lived:
        _lived[name] = await live_cleanly(world, LIVES[name])
    return _lived[name]


async def test_a_clean_life_is_what_it_should_be(world: World) -> None:
    """The measure of all others: what it comes to is stated here and not taken from itself."""
    lived = await _clean(world, "kustomize")
    first, upgraded, deleted = (lived.ends[phase.name] for phase in KUSTOMIZATION.phases)
    dry_runs = await world.control.requests(agent="^kustomize-controller/", query="dryRun=All")

    assert lived.points(KUSTOMIZATION) == {"first apply": 16, "upgrade": 7, "deletion": 10}
    assert lived.deletions["first apply"] == frozenset()
    assert lived.deletions["upgrade"] == {"DELETE /api/v1/namespaces/CASE/secrets/token"}
    assert upgraded.objects.keys() - first.objects.keys() == {"ConfigMap CASE/added"}
    assert first.objects.keys() - upgraded.objects.keys() == {"Secret CASE/token"}
    assert deleted.objects.keys() == {
        "ConfigMap CASE/foreign",
        "ConfigMap CASE/handed",
        "ConfigMap CASE/kube-root-ca.crt",
        "ConfigMap CASE/lookalike",
        "Namespace /CASE",
        "ServiceAccount CASE/default",
        "ServiceAccount CASE/deployer",
    }
    assert first.status is not None
    assert len(first.status["inventory"]) == 10
    assert len(dry_runs) >= 10


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("name", LIVES)
async def test_killed_at_any_write(
    world: World, name: str, chunk: int, when: Literal["before", "after"]
) -> None:
    life, lived = LIVES[name], await _clean(world, name)
    found: list[str] = []
    step = 1 if name in EVERY or os.environ.get("FLUVIAL_CHAOS") == "all" else 2
    points = range(1, max(lived.points(life).values()) + 1, step)
    for nth in points[chunk::CHUNKS]:
        found += await live_killed(world, life, lived, nth=nth, when=when)

    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", ["kustomize", "source"])
async def test_killed_again_and_again(world: World, name: str) -> None:
    """However short the lives of the process are, the work gets done."""
    life, lived = LIVES[name], await _clean(world, name)
    found, deaths = await live_dying(world, life, lived)

    assert not found, "\n".join(found)
    assert sum(deaths.values()) >= 1
