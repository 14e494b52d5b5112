"""Objects that the client applies: ours end as Helm's do, and the same requests make them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from faultproxy import FaultProxy
from fluvial.build.helm.renderer import HelmRenderer, engine_pool
from fluvial.helm.options import ApplyOptions
from fluvial.log import get_logger
from harness.helm import need_helm
from integration.helm.client_lives import Helms, Lived, Ours, drift, drift_beside, widgets_served
from integration.helm.helm_world import ON_DEVCLUSTER, HelmWorld

pytestmark = pytest.mark.slow

_CLIENT = ApplyOptions(timeout=10.0, wait=False, server_side="disabled")
_AUTO = ApplyOptions(timeout=10.0, wait=False)
_FORCED = ApplyOptions(timeout=10.0, wait=False, force=True)
_SERVER = ApplyOptions(timeout=10.0, wait=False, server_side="enabled")

_OF_A_KEPT_OBJECT = ("kept", "application/strategic-merge-patch+json")
"""What was kept when it left the manifest, and comes back: Helm deletes all that it has otherwise."""


async def _lived(life: Helms | Ours) -> AsyncIterator[Lived]:
    yield await life.install(_CLIENT)
    await drift(life.world)
    yield await life.upgrade({"second": True}, _AUTO)
    yield await life.roll_back(1, _AUTO)
    yield await life.upgrade({"second": True}, _FORCED)
    await drift_beside(life.world)
    yield await life.upgrade({"second": False}, _SERVER)


@ON_DEVCLUSTER
async def test_each_goes_on_with_what_the_other_has_applied(
    world: HelmWorld, tmp_path: Path
) -> None:
    need_helm()
    async with (
        FaultProxy(world.kubeconfig, keep_bodies=True) as proxy,
        engine_pool(log=get_logger("test"), size=1, keep_spare=False) as pool,
        widgets_served(world),
    ):
        helms, life = Helms(world, proxy, ("python",)), Ours(world, proxy, ("helm-controller",))
        async with helms.begin(tmp_path), life.begin(HelmRenderer(pool)):
            await helms.install(_CLIENT)
            await drift(world)
            seen = [
                await life.upgrade({"second": True}, _AUTO),
                await helms.upgrade({"second": False}, _AUTO),
                await life.roll_back(2, _AUTO),
                await helms.roll_back(1, _AUTO),
            ]

    data = [one.objects["ConfigMap/settings"]["data"] for one in seen]
    foreign = {"greeting": "hello", "foreign": "stays"}
    assert data == [
        {**foreign, "revision": "2"},
        {**foreign, "revision": "3", "old": "1"},
        {**foreign, "revision": "2"},
        {**foreign, "revision": "1", "old": "1"},
    ]
    assert [_containers(one) for one in seen] == [
        ["main", "new", "proxy"],
        ["main", "old", "proxy"],
        ["main", "new", "proxy"],
        ["main", "old", "proxy"],
    ]
    assert seen[-1].methods == ["csa"] * 5


def _containers(seen: Lived) -> list[str]:
    pods = seen.objects["Deployment/web"]["spec"]["template"]["spec"]
    return sorted(one["name"] for one in pods["containers"])


async def test_a_life_is_that_of_helm(world: HelmWorld, tmp_path: Path) -> None:
    need_helm()
    async with (
        FaultProxy(world.kubeconfig, keep_bodies=True) as proxy,
        engine_pool(log=get_logger("test"), size=1, keep_spare=False) as pool,
        widgets_served(world),
    ):
        helms = Helms(world, proxy, ("python",))
        async with helms.begin(tmp_path):
            theirs = [one async for one in _lived(helms)]
        await helms.end()
        life = Ours(world, proxy, ("helm-controller",))
        async with life.begin(HelmRenderer(pool)):
            ours = [one async for one in _lived(life)]

    for one, their in zip(ours[:4], theirs[:4], strict=True):
        assert one.sent == [sent for sent in their.sent if sent[2:4] != _OF_A_KEPT_OBJECT]
    for one, their in zip(ours, theirs, strict=True):
        assert one.objects == their.objects
        assert one.methods == their.methods
        assert one.ports[0] == ours[0].ports[0]
    assert ours[-1].methods == ["csa", "csa", "csa", "csa", "ssa"]
