"""SIGKILL of helm-controller at every write, of records and of all else: the same end.

A release is installed with a hook and a test, upgraded, upgraded to a version whose last hook fails
and rolled back, and uninstalled. The process is killed before or after the n-th write of a phase
takes effect, and starts anew. In the end the objects, the deployed version, the conditions and the
inventory are those of a life without kills; no revision is left pending, none is deployed twice,
none is lost; and hooks are only run again where the revision that they belong to was not finished.

A few lives by default; ``FLUVIAL_CHAOS=all`` kills at every write.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import pytest
import pytest_asyncio

from chaos.cases import poll
from chaos.released import CONTROLLER, Ended, Phase, ReleaseCase, release_world
from chaos.world import Kill, World
from fluvial.kube import kinds
from fluvial.objects import ObjectKey
from harness.helm import need_helm

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

_ALL = os.environ.get("FLUVIAL_CHAOS") == "all"
_MOST_WRITES = 24
_POINTS = [(when, nth) for when in ("before", "after") for nth in range(1, _MOST_WRITES + 1)]
_SAMPLE = [("before", 7)]
PHASES = (
    Phase("install", ReleaseCase.install, ReleaseCase.is_installed),
    Phase("upgrade", ReleaseCase.upgrade, ReleaseCase.is_upgraded),
    Phase("bad upgrade", ReleaseCase.upgrade_badly, ReleaseCase.is_rolled_back),
    Phase("uninstall", ReleaseCase.uninstall, ReleaseCase.is_gone),
)


@dataclass(frozen=True, slots=True)
class Lived:
    """A phase of the life without kills.

    Attributes:
        ended: what there was in the end.
        writes: ``METHOD path``, in order.
        hooks: that were run.

    """

    ended: Ended
    writes: tuple[str, ...]
    hooks: int


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def released(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    need_helm()
    async with release_world(tmp_path_factory.mktemp("killed-releases")) as world:
        yield world


_clean: dict[str, Lived] = {}


async def _clean_life(world: World) -> dict[str, Lived]:
    """The life without kills, once."""
    if _clean:
        return _clean
    case = await ReleaseCase.make(world)
    found = {}
    for phase in PHASES:
        position, before = await world.control.position(), await case.hooks_run()
        await phase.act(case)
        await poll(partial(phase.reached, case), f"{phase.name} does not end")
        writes = await world.writes(CONTROLLER, after=position)
        hooks = await case.hooks_run() - before
        assert await case.problems() == []
        found[phase.name] = Lived(await case.look(), tuple(writes), hooks)
    await _remove(world, case)
    _clean.update(found)
    return found


async def _remove(world: World, case: ReleaseCase) -> None:
    await world.client.delete(kinds.NAMESPACE, ObjectKey("", case.name))


async def test_a_clean_life_is_what_it_should_be(released: World) -> None:
    """The measure of all others: what it comes to is stated here and not taken from itself."""
    lived = await _clean_life(released)
    data = {name: one.ended.data for name, one in lived.items()}

    assert data["install"] == {"a": {"k": "one"}, "gone": {"k": "x"}}
    assert data["upgrade"] == data["bad upgrade"] == {"a": {"k": "two"}, "new": {"k": "x"}}
    assert data["uninstall"] == {}
    assert [one.ended.deployed for one in lived.values()] == ["1.0.0", "2.0.0", "2.0.0", ""]
    assert {"Ready True", "Released True", "TestSuccess True"} <= lived["upgrade"].ended.conditions
    assert "Ready False" in lived["bad upgrade"].ended.conditions
    assert [lived[phase.name].hooks for phase in PHASES] == [1, 1, 2, 0]


@pytest.mark.parametrize(("when", "nth"), _POINTS if _ALL else _SAMPLE)
async def test_killed_at_any_write(
    released: World, when: Literal["before", "after"], nth: int
) -> None:
    lived = await _clean_life(released)
    assert max(len(one.writes) for one in lived.values()) <= _MOST_WRITES
    found = await _killed_life(released, lived, nth, when)

    assert not found, "\n".join(found)


async def _killed_life(
    world: World, lived: dict[str, Lived], nth: int, when: Literal["before", "after"]
) -> list[str]:
    """One life with a kill at the n-th write of each phase that has so many; what was wrong."""
    case = await ReleaseCase.make(world)
    found: list[str] = []
    for phase in PHASES:
        expected, before = lived[phase.name], await case.hooks_run()
        reached = partial(poll, partial(phase.reached, case), f"{phase.name} does not end")
        where = f"{phase.name}, not killed"
        if nth <= len(expected.writes):
            kill = Kill(CONTROLLER, nth, when)
            killed = await world.run_killed(
                kill, partial(phase.act, case), until=reached, meanwhile=None
            )
            where = f"{phase.name}, write {nth} ({world.kills[-1] if killed else 'did not come'})"
        else:
            await phase.act(case)
        try:
            await reached()
        except AssertionError as error:
            state = f"{await case.team.statuses()}, {sorted((await case.look()).conditions)}"
            return [*found, f"{where}: {error}: {state}"]
        lines = await case.problems()
        ended, hooks = await case.look(), await case.hooks_run() - before
        if ended != expected.ended:
            lines.append(f"{ended} instead of {expected.ended}")
        most = expected.hooks + _may_run_again(expected, nth, when)
        if hooks > most:
            lines.append(f"{hooks} hooks were run, {most} are right")
        found += [f"{where}: {line}" for line in lines]
    await _remove(world, case)
    return found


def _may_run_again(lived: Lived, nth: int, when: str) -> int:
    """How many hooks a new process may run again: none of a revision that was finished."""
    written = [index for index, one in enumerate(lived.writes, start=1) if "/secrets/" in one]
    last = max(written, default=0)
    finished = nth > last or (nth == last and when == "after")
    return 0 if finished or nth > len(lived.writes) else lived.hooks
