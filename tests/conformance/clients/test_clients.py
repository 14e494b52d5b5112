"""The clients that people have print on both control planes what they printed when recorded."""

from __future__ import annotations

import os

import pytest

from conformance.clients import helm
from conformance.clients.compare import differences, judge, read_known, recorded
from conformance.clients.plane import Plane
from conformance.clients.plays import Play, all_plays

KNOWN = read_known()
NO_HELM = "helm-python-sdk is not installed (requirements/helm.txt)"
needs_helm = pytest.mark.skipif(
    not helm.available() and os.environ.get(helm.REQUIRE) != "1", reason=NO_HELM
)
PLAYS = [
    pytest.param(play, id=play.id, marks=[needs_helm] if play.topic == "helm" else [])
    for play in all_plays()
]


@pytest.mark.slow
@pytest.mark.parametrize("play", PLAYS)
async def test_on_devcluster(play: Play, devcluster_plane: Plane) -> None:
    wanted = recorded(play.id)
    assert wanted is not None, "not recorded; python -m conformance.clients.record"

    problems = judge(play.id, wanted, await play.run(devcluster_plane), KNOWN)

    assert not problems, "\n" + "\n".join(problems)


@pytest.mark.slow
@pytest.mark.parametrize("play", PLAYS)
async def test_on_the_real_control_plane(play: Play, real_plane: Plane) -> None:
    wanted = recorded(play.id)
    assert wanted is not None, "not recorded; python -m conformance.clients.record"

    problems = differences(play.id, wanted, await play.run(real_plane))

    assert not problems, "\n" + "\n".join(problems)


def test_known_differences_name_steps_that_are_recorded() -> None:
    steps = {f"{p.id}: {a['step']}" for p in all_plays() for a in recorded(p.id) or ()}

    assert [step for entry in KNOWN for step in entry.steps if step not in steps] == []
