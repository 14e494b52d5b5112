"""A run asks nothing twice: what it has written itself, or been answered, it knows.

And when it is over, nothing of it is left: a chart and a record are large.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter

import pytest

from harness.release import AGENT, ReleaseWorld
from harness.team import Team
from helm_controller.helmrelease.run import Run
from integration.helm_controller.release_charts import app_chart, hook

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


class _Asked:
    """What the controller asks about the objects of one namespace."""

    def __init__(self, world: ReleaseWorld, team: Team) -> None:
        assert world.cluster is not None
        self._control = world.cluster.control
        self._prefix = f"/namespaces/{team.namespace}/"
        self.begin()

    def begin(self) -> None:
        """Count from here on."""
        self._position = self._control.requests()[-1].seq

    def count(self) -> Counter[str]:
        """``GET secrets`` for lists, ``GET secrets/`` for one of them."""
        found: Counter[str] = Counter()
        for one in self._control.requests(after=self._position):
            if not one.agent.startswith(AGENT) or self._prefix not in one.path:
                continue
            resource, *rest = one.path.partition(self._prefix)[2].partition("?")[0].split("/")
            suffix = "/" + "/".join(rest[1:]) if rest else ""
            found[f"{one.method} {resource}{suffix}"] += 1
        return found


async def test_an_install_and_an_upgrade(devworld: ReleaseWorld, devteam: Team) -> None:
    await devteam.chart(app_chart())
    asked = _Asked(devworld, devteam)
    await devteam.release()
    await devteam.ready(version=1)
    install = asked.count()
    # Progress before the first object is touched, and how it ended.
    assert install["PATCH helmreleases/status"] == 2
    # A look at the labels for each run: the source that is seen for the first time makes another.
    assert (install["GET secrets"] in {1, 2}, install["GET secrets/"]) == (True, 0)
    assert (install["POST secrets"], install["PATCH secrets/"]) == (1, 1)
    # Whose it is, before it is written; that it is ready, the answer to the write has said.
    assert install["GET configmaps/"] == 1
    assert install["PATCH configmaps/"] == 1

    asked.begin()
    await devteam.release(values={"greeting": "again"})
    await devteam.ready(version=2)
    upgrade = asked.count()
    assert upgrade["PATCH helmreleases/status"] == 2
    assert (upgrade["GET secrets"] in {1, 2}, upgrade["GET secrets/"]) == (True, 1)
    assert (upgrade["POST secrets"], upgrade["PATCH secrets/"]) == (1, 2)
    assert upgrade["GET configmaps/"] == 0


async def test_an_uninstall(devworld: ReleaseWorld, devteam: Team) -> None:
    await devteam.chart(app_chart(web=""))
    await devteam.release()
    await devteam.ready(version=1)
    asked = _Asked(devworld, devteam)
    await devteam.delete()
    await devteam.gone()

    count = asked.count()
    # That it is the release's own; that it is gone, the answer to the deletion has said.
    assert count["GET configmaps/"] == 1
    assert count["DELETE configmaps/"] == 1
    assert (count["GET secrets/"], count["DELETE secrets/"]) == (1, 1)


@pytest.mark.parametrize("fails", [False, True], ids=["well", "failed"])
async def test_a_run_is_gone_when_it_is_over(devteam: Team, *, fails: bool) -> None:
    """Without the garbage collector, which a controller lets run rarely."""
    bad = hook("bad", "pre-install", fails=True) if fails else ""
    await devteam.chart(app_chart(bad=bad))
    gc.collect()
    gc.disable()
    try:
        await devteam.release()
        await (devteam.stalled("RetriesExceeded") if fails else devteam.ready(version=1))
        async with asyncio.timeout(20):
            while any(type(one) is Run for one in gc.get_objects()):
                await asyncio.sleep(0.1)
    finally:
        gc.enable()
