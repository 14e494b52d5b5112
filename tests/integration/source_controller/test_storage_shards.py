"""Two source-controllers share the objects of one cluster by a label; each has its own storage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from devcluster import DevCluster, Options
from fluvial.api.meta import RECONCILE_REQUEST
from fluvial.kube.kinds import HELM_REPOSITORY
from fluvial.objects import JsonObject, ObjectKey
from harness.source import NAMESPACE, SourceWorld, condition, fast_settings
from harness.webserver import FileHost

KEY = "sharding.fluxcd.io/key"
INDEX = '{"apiVersion":"v1","entries":{}}'


@dataclass
class Shards:
    """Both, and the host that all sources are on."""

    one: SourceWorld
    two: SourceWorld
    host: FileHost

    async def make(self, name: str, shard: str, **spec: Any) -> JsonObject:
        """A source of one shard."""
        labels = {KEY: shard} if shard else {}
        spec = {"url": self.host.url, "interval": "1h", **spec}
        return await self.one.make(name, labels=labels, **spec)


def settings(shard: str) -> Any:
    return replace(fast_settings(), label_selector=f"{KEY} in ({shard})")


@pytest.fixture
async def shards(tmp_path: Path) -> AsyncIterator[Shards]:
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(DevCluster(Options()))
        worlds = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            world = await stack.enter_async_context(
                SourceWorld.start(
                    tmp_path / name, settings=settings(name), cluster_config=cluster.kubeconfig()
                )
            )
            worlds.append(world.of(HELM_REPOSITORY))
        (tmp_path / "host").mkdir()
        (tmp_path / "host/index.yaml").write_text(INDEX)
        host = await stack.enter_async_context(FileHost(tmp_path / "host"))
        yield Shards(worlds[0], worlds[1], host)


def files_of(world: SourceWorld, name: str) -> list[str]:
    folder = world.storage_path / "helmrepository" / NAMESPACE / name
    return sorted(item.name for item in folder.glob("index-*"))


async def status_of(world: SourceWorld, url: str) -> int:
    async with world.http.get(url) as response:
        return response.status


def leads_to(world: SourceWorld, obj: JsonObject) -> bool:
    """Whether an object is Ready with an artifact of that storage."""
    url = ((obj.get("status") or {}).get("artifact") or {}).get("url", "")
    return url.startswith(world.url) and condition(obj, "Ready").get("status") == "True"


async def test_each_reconciles_its_own_and_consumers_find_both(shards: Shards) -> None:
    await shards.make("a", "one")
    await shards.make("b", "two")
    await shards.make("nobody", "")
    found = {
        name: (await shards.one.until_ready(name))["status"]["artifact"]["url"]
        for name in ("a", "b")
    }

    assert found["a"].startswith(shards.one.url)
    assert found["b"].startswith(shards.two.url)
    for url in found.values():
        assert await status_of(shards.one, url) == 200
    assert not files_of(shards.one, "b")
    assert not files_of(shards.two, "a")
    assert "conditions" not in (await shards.one.get("nobody")).get("status", {})


async def test_an_object_that_moves_is_served_throughout(shards: Shards) -> None:
    await shards.make("a", "one")
    before = (await shards.one.until_ready("a"))["status"]["artifact"]
    shards.host.hold.clear()
    await shards.make("a", "two")
    await shards.one.until(lambda obj: condition(obj, "Reconciling"), "a")
    await shards.one.run_now("a")
    assert await status_of(shards.one, before["url"]) == 200, "the new one has nothing yet"
    shards.host.hold.set()

    after = (await shards.two.until(partial(leads_to, shards.two), "a"))["status"]["artifact"]
    assert await status_of(shards.two, after["url"]) == 200
    await shards.one.run_now("a")
    assert not files_of(shards.one, "a"), "nobody is led there any more"


async def test_who_lost_an_object_does_nothing_to_it(shards: Shards) -> None:
    """Not even by a timer that still runs, or by a request that was made to the other one."""
    await shards.make("a", "one")
    await shards.one.until_ready("a")
    await shards.make("a", "two")
    before = await shards.two.until(partial(leads_to, shards.two), "a")
    await shards.two.stop_controller()
    await shards.one.client.patch(
        HELM_REPOSITORY,
        ObjectKey(NAMESPACE, "a"),
        {"metadata": {"annotations": {RECONCILE_REQUEST: "now"}}},
        patch_type="merge",
        field_manager="test",
    )
    await shards.one.run_now("a")

    assert (await shards.one.get("a"))["status"] == before["status"]


async def test_a_start_removes_what_is_nobodys_and_keeps_what_is_still_announced(
    shards: Shards,
) -> None:
    for name in ("stays", "leaves", "goes"):
        await shards.make(name, "one")
        await shards.one.until_ready(name)
    await shards.one.stop_controller()
    await shards.two.stop_controller()
    await shards.make("leaves", "two")  # and nobody is there to take it
    await shards.one.client.patch(
        HELM_REPOSITORY,
        ObjectKey(NAMESPACE, "goes"),
        {"metadata": {"finalizers": None}},
        patch_type="merge",
        field_manager="test",
    )
    await shards.one.delete("goes")
    await shards.one.gone("goes")
    await shards.one.start_controller(settings("one"))
    await shards.one.run_now("stays")

    assert files_of(shards.one, "stays")
    assert files_of(shards.one, "leaves"), "its status leads here"
    assert not files_of(shards.one, "goes")


async def test_what_is_in_other_namespaces_is_not_judged(shards: Shards) -> None:
    await shards.one.stop_controller()
    for namespace in ("elsewhere", NAMESPACE):
        folder = shards.one.storage_path / "helmrepository" / namespace / "unknown"
        folder.mkdir(parents=True)
    await shards.one.start_controller(replace(fast_settings(), namespace=NAMESPACE))
    await shards.make("a", "one")
    await shards.one.until_ready("a")

    assert (shards.one.storage_path / "helmrepository/elsewhere/unknown").exists()
    assert not (shards.one.storage_path / "helmrepository" / NAMESPACE / "unknown").exists()
