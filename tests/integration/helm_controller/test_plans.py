"""``fluvial.dev/mode: plan``: nothing is released that nobody has approved."""

from __future__ import annotations

import re

import pytest

from fluvial.kube import kinds
from fluvial.objects import JsonObject
from harness.team import Team, condition, newest
from integration.helm_controller.release_charts import app_chart

pytestmark = pytest.mark.asyncio(loop_scope="session")

_DIGEST = re.compile(r"fluvial\.dev/approve=(sha256:[0-9a-f]{64})")


async def _note(team: Team, **annotations: str | None) -> None:
    notes = {f"fluvial.dev/{key}": text for key, text in annotations.items()}
    await team.patch("app", {"metadata": {"annotations": notes}})


def _digest(obj: JsonObject) -> str:
    found = _DIGEST.search(condition(obj)["message"])
    assert found is not None, condition(obj)
    return found[1]


async def _awaits(team: Team, *, but: str = "") -> JsonObject:
    """The release once it awaits an approval, of another plan than ``but``."""
    return await team.until(
        lambda obj: (
            condition(obj).get("reason") == "AwaitingApproval"
            and condition(obj)["observedGeneration"] == obj["metadata"]["generation"]
            and (not but or but not in condition(obj)["message"].partition("(")[0])
        )
    )


async def _planned_release(team: Team, **values: str) -> None:
    key = "fluvial.dev/mode"
    made = await team.release(suspend=True, values=values)
    if key not in made["metadata"].get("annotations", {}):
        await _note(team, mode="plan")
    await team.release(values=values)


@pytest.mark.shows("HelmRelease/Ready/AwaitingApproval", "event:HelmRelease/AwaitingApproval")
async def test_what_is_approved_is_released_and_nothing_else(devteam: Team) -> None:
    team = devteam
    await team.chart(app_chart())
    await _planned_release(team, greeting="one")
    waiting = await _awaits(team)
    first = _digest(waiting)

    assert "2 to create" in condition(waiting)["message"]
    assert await team.statuses() == {}
    assert not await team.exists(kinds.CONFIG_MAP, "app-settings")
    told = await team.event("AwaitingApproval", text=first)
    assert f"ConfigMap/{team.namespace}/app-settings created" in told["message"]

    await _note(team, approve="sha256:" + "0" * 64)
    again = await team.until(lambda obj: "is another plan" in condition(obj)["message"])
    assert _digest(again) == first
    assert await team.statuses() == {}

    await _note(team, approve=first)
    await team.ready(version=1)
    assert (await team.get(kinds.CONFIG_MAP, "app-settings"))["data"]["greeting"] == "one"

    # The approval of the first plan is none of the next one.
    await team.release(values={"greeting": "two"})
    waiting = await _awaits(team, but=first)
    second = _digest(waiting)
    assert second != first
    assert "1 to change, 1 unchanged" in condition(waiting)["message"]
    assert (await team.get(kinds.CONFIG_MAP, "app-settings"))["data"]["greeting"] == "one"
    assert newest(waiting)["version"] == 1
    changes = await team.event("AwaitingApproval", text=second)
    assert "/data/greeting" in changes["message"]

    await _note(team, approve=second)
    await team.ready(version=2)
    assert (await team.get(kinds.CONFIG_MAP, "app-settings"))["data"]["greeting"] == "two"


async def test_a_cluster_that_has_changed_makes_another_plan(devteam: Team) -> None:
    team = devteam
    await team.chart(app_chart())
    await _planned_release(team, greeting="one")
    await _note(team, approve=_digest(await _awaits(team)))
    await team.ready(version=1)
    await team.release(values={"greeting": "two"})
    stale = _digest(await _awaits(team))

    await team.patch("app-settings", {"data": {"greeting": "by hand"}}, resource=kinds.CONFIG_MAP)
    await _note(team, approve=stale)
    fresh = _digest(await _awaits(team, but=stale))

    assert fresh != stale
    assert (await team.get(kinds.CONFIG_MAP, "app-settings"))["data"]["greeting"] == "by hand"
    assert await team.statuses() == {1: "deployed"}


@pytest.mark.shows("HelmRelease/Ready/PlanFailed")
async def test_a_plan_that_the_server_would_refuse_says_so(devteam: Team) -> None:
    team = devteam
    await team.chart(app_chart(extra="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x_y}\n"))
    await _planned_release(team)

    failed = await team.failed("PlanFailed", text="x_y")

    assert condition(failed)["message"].startswith("the release would fail: ")
    assert await team.statuses() == {}


async def test_another_mode_is_refused(devteam: Team) -> None:
    team = devteam
    await team.chart(app_chart())
    await team.release(suspend=True)
    await _note(team, mode="dry")
    await team.release()

    stalled = await team.stalled("UnsupportedField")

    assert "'dry' is not 'plan'" in condition(stalled)["message"]
    assert await team.statuses() == {}
