"""Releases change hands between Helm and us, in both directions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fluvial.helm import options
from fluvial.helm.making import changes_nothing
from fluvial.helm.release import Status
from harness.helm import HelmSdk, need_helm
from integration.helm.actions import QUICK, Actions, actions, config_map, job
from integration.helm.helm_world import HelmWorld, small_chart

_FILES = {"a.yaml": config_map("a", k="1"), "t.yaml": job("check", hook="test")}


@pytest.fixture
async def act(world: HelmWorld) -> AsyncIterator[Actions]:
    need_helm()
    async with actions(world) as made:
        yield made


async def _history(helm: HelmSdk) -> list[tuple[int, str]]:
    listed = await helm.do("history", name="app")
    return [(int(one["revision"]), one["status"]) for one in listed]


@pytest.mark.slow
async def test_helm_goes_on_with_what_we_released(act: Actions, tmp_path: Path) -> None:
    await act.install(_FILES)
    await act.upgrade({"a.yaml": config_map("a", k="1"), "b.yaml": config_map("b")})
    chart = str(small_chart(tmp_path))
    async with act.world.helm(tmp_path) as helm:
        assert [one["name"] for one in await helm.do("list")] == ["app"]
        assert await _history(helm) == [(1, "superseded"), (2, "deployed")]

        # Of a field that we have set Helm wants to be told to take it (--force-conflicts).
        await helm.do("rollback", name="app", version=1)
        assert await act.names() == {"a"}
        await helm.do("test", name="app", timeout=20)
        tested = await act.world.storage.last("app")
        assert [hook.last_run.phase for hook in tested.hooks] == ["Succeeded"]

        await helm.do("upgrade", chart=chart, name="app")
        assert await act.names() == {"app-settings"}
        await helm.do("uninstall", name="app")
    assert await act.names() == set()
    assert await act.statuses() == {}


@pytest.mark.slow
async def test_we_go_on_with_what_helm_released(act: Actions, tmp_path: Path) -> None:
    chart = str(small_chart(tmp_path))
    async with act.world.helm(tmp_path) as helm:
        await helm.do("install", chart=chart, name="app")
        first = await act.lifecycle.current("app")
        assert QUICK.by_server(first)
        assert await changes_nothing(first, first)

        await act.upgrade({"a.yaml": config_map("a"), "t.yaml": _FILES["t.yaml"]})
        assert await act.names() == {"a"}
        tested = await act.ending.test("app", options.TestOptions(timeout=10.0))
        assert tested.hooks[0].last_run.phase == "Succeeded"
        assert await _history(helm) == [(1, "superseded"), (2, "deployed")]

        await act.lifecycle.roll_back("app", 1, QUICK)
        assert await act.data("app-settings") == {"greeting": "hello"}
        status = await helm.do("status", name="app")
        assert status["status"] == "deployed"
        await act.ending.uninstall("app", options.UninstallOptions(keep_history=True))
        assert await _history(helm) == [
            (1, "superseded"),
            (2, "superseded"),
            (3, "uninstalled"),
        ]
    assert await act.names() == set()
    last = await act.world.storage.last("app")
    assert last.status is Status.UNINSTALLED
