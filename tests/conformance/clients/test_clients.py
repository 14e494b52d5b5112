"""The clients that people have print on both control planes what they printed when recorded."""

from __future__ import annotations

import pytest

from conformance.clients.compare import differences, judge, read_known, recorded
from conformance.clients.plane import Plane
from conformance.clients.plays import Play, all_plays
from harness.helm import need_helm

KNOWN = read_known()
PLAYS = [pytest.param(play, id=play.id) for play in all_plays()]


@pytest.mark.slow
@pytest.mark.parametrize("play", PLAYS)
async def test_on_devcluster(play: Play, devcluster_plane: Plane) -> None:
    if play.topic == "helm":
        need_helm()
    wanted = recorded(play.id)
    assert wanted is not None, "not recorded; python -m conformance.clients.record"

    problems = judge(play.id, wanted, await play.run(devcluster_plane), KNOWN)

    assert not problems, "\n" + "\n".join(problems)


@pytest.mark.slow
@pytest.mark.parametrize("play", PLAYS)
async def test_on_the_real_control_plane(play: Play, real_plane: Plane) -> None:
    if play.topic == "helm":
        need_helm()
    wanted = recorded(play.id)
    assert wanted is not None, "not recorded; python -m conformance.clients.record"

    problems = differences(play.id, wanted, await play.run(real_plane))

    assert not problems, "\n" + "\n".join(problems)


def test_known_differences_name_steps_that_are_recorded() -> None:
    steps = {f"{p.id}: {a['step']}" for p in all_plays() for a in recorded(p.id) or ()}

    assert [step for entry in KNOWN for step in entry.steps if step not in steps] == []
