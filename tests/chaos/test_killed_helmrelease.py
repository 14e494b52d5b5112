"""SIGKILL of helm-controller at every write, of records and of all else: the same end.

A release is installed with a hook and a test, upgraded, upgraded to a version whose last hook fails
and rolled back, and uninstalled. The process is killed before or after the n-th write of a phase
takes effect, and starts anew. In the end the objects, the deployed version, the conditions and the
inventory are those of a life without kills; no revision is left pending, none is deployed twice,
none is lost; and hooks are only run again where the revision that they belong to was not finished.

On devcluster, which holds writes itself, and on the real control plane, in front of which a fault
proxy does. A life or two by default; ``FLUVIAL_CHAOS=all`` kills at every write.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from chaos.control import When
from chaos.faulty import FaultyWorld
from chaos.interruptedlives import interrupted_life
from chaos.released import release_world
from chaos.releaselives import PHASES, Lives
from harness.helm import need_helm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(300),  # four deaths, and a life without
]

_ALL = os.environ.get("FLUVIAL_CHAOS") == "all"
_MOST_WRITES = 20
_WHENS: tuple[When, ...] = ("before", "after")
_POINTS = [
    (plane, when, nth)
    for plane in ("devcluster", "real")
    for when in _WHENS
    for nth in range(1, _MOST_WRITES + 1)
]
_INTERRUPTED: list[tuple[str, When, int]] = [
    ("devcluster", when, nth) for when in _WHENS for nth in range(1, 9)
]
_SAMPLE: list[tuple[str, When, int]] = [("devcluster", "before", 7), ("real", "after", 14)]


def _on(plane: str, *rest: object) -> Any:
    return pytest.param(plane, *rest, marks=[pytest.mark.real] if plane == "real" else [])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lives_on_devcluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lives]:
    need_helm()
    async with release_world(tmp_path_factory.mktemp("killed-releases")) as world:
        yield Lives(world)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lives_on_real(
    tmp_path_factory: pytest.TempPathFactory, on_real: FaultyWorld
) -> AsyncIterator[Lives]:
    """On the control plane of the other tests of faults, with a proxy of its own."""
    need_helm()
    folder = tmp_path_factory.mktemp("killed-releases-real")
    async with release_world(folder, on_real.plane.kubeconfig()) as world:
        yield Lives(world)


@pytest.fixture
def lives(request: pytest.FixtureRequest) -> Lives:
    """On the control plane that the test names."""
    found: Lives = request.getfixturevalue(f"lives_on_{request.param}")
    return found


@pytest.mark.parametrize("lives", [_on("devcluster"), _on("real")], indirect=True)
async def test_a_clean_life_is_what_it_should_be(lives: Lives) -> None:
    """The measure of all others: what it comes to is stated here and not taken from itself."""
    lived = await lives.clean()
    data = {name: one.ended.data for name, one in lived.items()}

    assert data["install"] == {"a": {"k": "one"}, "gone": {"k": "x"}}
    assert data["upgrade"] == data["bad upgrade"] == {"a": {"k": "two"}, "new": {"k": "x"}}
    assert data["uninstall"] == {}
    assert [one.ended.deployed for one in lived.values()] == ["1.0.0", "2.0.0", "2.0.0", ""]
    assert {"Ready True", "Released True", "TestSuccess True"} <= lived["upgrade"].ended.conditions
    assert "Ready False" in lived["bad upgrade"].ended.conditions
    assert [lived[phase.name].hooks for phase in PHASES] == [1, 1, 2, 0]


@pytest.mark.parametrize(
    ("lives", "when", "nth"),
    [_on(*point) for point in (_POINTS if _ALL else _SAMPLE)],
    indirect=["lives"],
)
async def test_killed_at_any_write(lives: Lives, when: When, nth: int) -> None:
    lived = await lives.clean()
    assert max(len(one.writes) for one in lived.values()) <= _MOST_WRITES
    found = await lives.killed(nth, when)

    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("lives", "when", "nth"),
    [_on(*point) for point in (_INTERRUPTED if _ALL else [("devcluster", "after", 2)])],
    indirect=["lives"],
)
async def test_killed_while_a_deletion_ends_an_install(lives: Lives, when: When, nth: int) -> None:
    """Neither the objects of an install that hung are left in the end, nor its records."""
    left = await interrupted_life(lives.world, nth=nth, when=when)

    assert not left, "\n".join(left)
