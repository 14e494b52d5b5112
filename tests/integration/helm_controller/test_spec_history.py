"""How many records are kept, and what becomes of them when a release moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from fluvial.kube import kinds
from harness.release import ReleaseWorld
from harness.team import Team, condition, newest
from integration.helm_controller.release_charts import app_chart, hook

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


async def _released(team: Team, name: str, revisions: int, **spec: Any) -> None:
    """A release that has been upgraded some times."""
    for number in range(1, revisions + 1):
        await team.release(name, values={"greeting": str(number)}, **spec)
        await team.ready(name, version=number)


@pytest.mark.parametrize(
    ("limit", "kept"),
    [
        pytest.param(1, {6: "superseded", 7: "deployed"}, id="one"),
        pytest.param(0, dict.fromkeys(range(1, 7), "superseded") | {7: "deployed"}, id="all"),
        pytest.param(-1, dict.fromkeys(range(1, 7), "superseded") | {7: "deployed"}, id="negative"),
        pytest.param(None, dict.fromkeys(range(3, 7), "superseded") | {7: "deployed"}, id="none"),
    ],
)
async def test_records_are_kept_up_to_a_number(
    devteam: Team, limit: int | None, kept: dict[int, str]
) -> None:
    """As Helm does it: what is deployed while a new one is made is kept besides."""
    await devteam.chart(app_chart(web=""))
    await _released(devteam, "app", 7, maxHistory=limit, persistentClient=False)
    done = await devteam.ready()

    assert await devteam.statuses() == kept
    # What the status keeps is another thing: down to the last one that went well.
    assert [one["version"] for one in done["status"]["history"]] == [7, 6]


async def test_with_one_record_a_failure_is_undone(devteam: Team) -> None:
    await devteam.chart(app_chart(web=""))
    upgrade = {"remediation": {"retries": 0, "remediateLastFailure": True}}
    await devteam.release(maxHistory=1, upgrade=upgrade)
    await devteam.ready(version=1)
    bad = app_chart("2.0.0", web="", bad=hook("bad", "pre-upgrade", fails=True))
    await devteam.chart(bad, "2.0.0")
    done = await devteam.stalled("RetriesExceeded")

    assert condition(done, "Remediated")["reason"] == "RollbackSucceeded"
    assert (newest(done)["version"], newest(done)["status"]) == (3, "deployed")
    assert (await devteam.statuses())[3] == "deployed"


@pytest_asyncio.fixture(loop_scope="session")
async def everywhere(devworld: ReleaseWorld) -> AsyncIterator[Team]:
    """A team whose account may do everything in all namespaces."""
    team = await devworld.team(role="cluster-admin", everywhere=True)
    yield team
    await devworld.leave(team)


@pytest.mark.parametrize("field", ["storageNamespace", "targetNamespace"])
async def test_a_release_that_moves_leaves_nothing_behind(
    devworld: ReleaseWorld, everywhere: Team, field: str
) -> None:
    team, other = everywhere, await devworld.team()
    name = "app"
    await team.chart(app_chart(web=""))
    await team.release(releaseName=name)
    before = await team.ready(version=1)
    await team.release(**{"releaseName": name, field: other.namespace})
    done = await team.until(
        lambda obj: (
            condition(obj).get("status") == "True"
            and condition(obj)["observedGeneration"] == obj["metadata"]["generation"]
            and newest(obj).get("digest") != newest(before)["digest"]
        )
    )

    stored = other if field == "storageNamespace" else team
    placed = other if field == "targetNamespace" else team
    both = {one.namespace: await one.statuses(name) for one in (team, other)}
    found = {one.namespace for one in (team, other) if await _has_settings(one)}
    assert both == {team.namespace: {}, other.namespace: {}} | {stored.namespace: {1: "deployed"}}
    assert found == {placed.namespace}
    assert done["status"]["storageNamespace"] == stored.namespace
    assert newest(done)["namespace"] == placed.namespace
    assert [one["version"] for one in done["status"]["history"]] == [1]
    await team.delete()
    await team.gone()
    assert not await _has_settings(placed)
    await devworld.leave(other)


async def _has_settings(team: Team) -> bool:
    return await team.exists(kinds.CONFIG_MAP, "app-settings")


async def test_a_helmrelease_of_another_name_is_another_release(devteam: Team) -> None:
    """Without a releaseName of its own; the old one goes with its objects."""
    team = devteam
    await team.chart(app_chart(web=""))
    await team.release("old")
    await team.ready("old", version=1)
    await team.release("new")
    await team.ready("new", version=1)
    await team.delete("old")
    await team.gone("old")

    assert await team.names(kinds.CONFIG_MAP) == {"new-settings"}
    assert await team.statuses("old") == {}
    assert await team.statuses("new") == {1: "deployed"}
