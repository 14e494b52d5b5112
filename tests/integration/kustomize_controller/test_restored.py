"""A cluster that was restored from a backup, and caches that have not noticed it.

The future that they still show is put into them by hand, once nothing updates them any more.
"""

from __future__ import annotations

import copy

from fluvial.kube import kinds
from fluvial.kube.informer import Informer
from fluvial.objects import JsonObject, ObjectKey
from harness.kustomize import CONFIG_MAPS, Harness, configmap
from kustomize_controller.assemble import KustomizeController

APP = ObjectKey("team", "app")
SET = {"a.yaml": configmap(), "b.yaml": configmap("kept")}
LATER_SET = {"a.yaml": configmap(), "c.yaml": configmap("added")}


def _controller(world: Harness) -> KustomizeController:
    assert world.controller is not None
    return world.controller


def _left_behind(world: Harness, informer: Informer, future: JsonObject) -> None:
    """From now on the cache says this, and hears nothing."""
    _controller(world)._sources._informers._tasks[informer].cancel()
    informer.store.put(future)


async def test_a_source_of_the_future_prunes_nothing(world: Harness) -> None:
    await world.source(LATER_SET)
    future = await world.get(kinds.GIT_REPOSITORY, "src")
    revision = await world.source(SET)
    await world.kustomization()
    await world.applied(revision)
    _left_behind(world, _controller(world)._sources._watched["GitRepository"], future)
    await world.kustomization(timeout="2m")
    await world.applied(revision)

    assert await world.exists(CONFIG_MAPS, "kept")
    assert not await world.exists(CONFIG_MAPS, "added")


async def test_a_deletion_of_the_future_deletes_nothing(world: Harness) -> None:
    revision = await world.source(SET)
    await world.kustomization()
    future = copy.deepcopy(await world.applied(revision))
    future["metadata"] |= {
        "deletionTimestamp": "2026-11-23T10:00:00Z",
        "resourceVersion": str(int(future["metadata"]["resourceVersion"]) + 1000),
    }
    own = _controller(world)._own
    _left_behind(world, own, future)
    _controller(world).queue.add(APP)
    await _controller(world).queue.wait_idle()

    assert await world.exists(CONFIG_MAPS, "settings")
    assert await world.exists(CONFIG_MAPS, "kept")


async def test_a_spec_of_the_future_writes_nothing(world: Harness) -> None:
    revision = await world.source({"a.yaml": configmap(k="${v}")})
    await world.kustomization(postBuild={"substitute": {"v": "now"}})
    future = copy.deepcopy(await world.applied(revision))
    before = await world.get(CONFIG_MAPS, "settings")
    future["metadata"] |= {
        "generation": 2,
        "resourceVersion": str(int(future["metadata"]["resourceVersion"]) + 1000),
    }
    future["spec"]["postBuild"]["substitute"]["v"] = "never"
    future["status"]["observedGeneration"] = 2
    own = _controller(world)._own
    _left_behind(world, own, future)
    _controller(world).queue.add(APP)
    await _controller(world).queue.wait_idle()

    assert await world.get(CONFIG_MAPS, "settings") == before


async def test_only_who_is_about_to_write_asks_whether_it_is_still_so(world: Harness) -> None:
    revision = await world.source(SET)
    await world.kustomization()
    await world.applied(revision)
    position = len(_asked(world))
    revision = await world.source(LATER_SET)
    await world.applied(revision)
    await world.kustomization(timeout="2m")
    await world.applied(revision)
    _controller(world).queue.add(APP)
    await _controller(world).queue.wait_idle()

    asked = [path.rpartition("/namespaces/team/")[2] for path in _asked(world)[position:]]
    assert asked == ["gitrepositories/src"]


def _asked(world: Harness) -> list[str]:
    """What the controller has read of what it also watches."""
    assert world.cluster is not None
    return [
        entry.path
        for entry in world.cluster.control.requests()
        if entry.agent.startswith("kustomize-controller")
        and entry.method == "GET"
        and entry.path.endswith(("/gitrepositories/src", "/kustomizations/app"))
    ]
