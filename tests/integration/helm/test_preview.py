"""What an action would do is told before, nothing is written, and then just that is done."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fluvial.helm.preview import preview
from integration.apply.apply_world import CONFIG_MAPS
from integration.helm.actions import Actions, actions, config_map, job
from integration.helm.helm_world import ON_DEVCLUSTER, HelmWorld

_SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {p: %s}\n"


@pytest.fixture
async def act(world: HelmWorld) -> AsyncIterator[Actions]:
    async with actions(world) as made:
        yield made


async def test_an_upgrade_is_told_before_it_is_done(act: Actions) -> None:
    keep = {"helm.sh/resource-policy": "keep"}
    await act.install(
        {
            "a.yaml": config_map("a", k="1"),
            "b.yaml": config_map("same"),
            "g.yaml": config_map("gone"),
            "k.yaml": config_map("kept", annotations=keep),
            "s.yaml": _SECRET % "s3cr3t",
        }
    )
    files = {
        "a.yaml": config_map("a", k="2"),
        "b.yaml": config_map("same"),
        "c.yaml": config_map("new"),
        "h.yaml": job("hook", hook="pre-upgrade"),
        "s.yaml": _SECRET % "0th3r",
    }
    current = await act.lifecycle.current("app")
    release = await act.make(files, 2, current)
    writes = act.world.world.spy.writes
    told = await preview(act.target, release, current=current)

    assert act.world.world.spy.writes == writes
    space = act.world.namespace
    assert [str(one) for one in told.objects] == [
        f"Secret/{space}/s configured",
        f"ConfigMap/{space}/a configured",
        f"ConfigMap/{space}/same unchanged",
        f"ConfigMap/{space}/new created",
        f"ConfigMap/{space}/gone deleted",
        f"ConfigMap/{space}/kept skipped",
    ]
    assert '~ /data/k: "1" -> "2"' in told.text()
    assert told.changes
    assert told.failures == ()
    for secret in ("s3cr3t", "0th3r"):
        assert secret not in told.text() + repr(told)

    await act.upgrade(files)
    assert await act.names() == {"a", "same", "new", "kept"}
    again = await preview(act.target, await act.make(files, 3), current=None)
    assert not again.changes


async def test_what_would_be_refused_is_told(act: Actions) -> None:
    other = act.world.world.config_map("a", k="other")
    await act.world.world.admin.create(CONFIG_MAPS, other, field_manager="other")
    files = {"a.yaml": config_map("a"), "b.yaml": config_map("b") + "nonsense: true\n"}
    release = await act.make(files, 1)
    told = await preview(act.target, release, current=None, take_ownership=False)

    assert [str(one.ref).rpartition("/")[2] for one in told.failures] == ["a", "b"]
    assert "belongs to others" in told.failures[0].message
    assert "nonsense" in told.failures[1].message
    assert not told.changes


@ON_DEVCLUSTER
async def test_what_is_others_would_be_taken(act: Actions) -> None:
    other = act.world.world.config_map("a", k="other")
    await act.world.world.admin.create(CONFIG_MAPS, other, field_manager="other")
    told = await preview(
        act.target, await act.make({"a.yaml": config_map("a", k="1")}, 1), current=None
    )

    assert [one.action.value for one in told.objects] == ["configured"]
