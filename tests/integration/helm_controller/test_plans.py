"""``fluvial.dev/mode: plan``: nothing is released that nobody has approved."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from fluvial.helm.release import Status
from fluvial.helm.storage import secret_name
from fluvial.kube import kinds
from fluvial.objects import JsonObject
from harness.release import AGENT, ReleaseWorld
from harness.team import DEPLOYMENTS, Team, condition, newest
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


async def _uninstalled_by_hand(team: Team) -> None:
    """As Helm's own tool leaves it."""
    await team.delete("app-settings", kinds.CONFIG_MAP)
    await team.delete("web", DEPLOYMENTS)
    for version in await team.statuses():
        await team.delete(secret_name("app", version), kinds.SECRET)


@pytest.mark.shows("HelmRelease/Approved/PlanCarriedOut")
async def test_an_approval_counts_for_one_install(devteam: Team) -> None:
    team = devteam
    await team.chart(app_chart())
    await _planned_release(team, greeting="one")
    first = _digest(await _awaits(team))
    await _note(team, approve=first)
    done = await team.ready(version=1)
    assert condition(done, "Approved")["reason"] == "PlanCarriedOut"
    assert first in condition(done, "Approved")["message"]

    await _uninstalled_by_hand(team)
    await team.annotate(requestedAt="look")
    second = _digest(await _awaits(team, but=first))
    assert await team.statuses() == {}

    # Somebody else's uninstall that was left half way is brought to its end, and no further.
    await _note(team, approve=second)
    await team.ready(version=1)
    last = await team.records.last("app")
    await team.records.update(last.with_status(Status.UNINSTALLING, "Deletion in progress"))
    await team.annotate(requestedAt="again")
    third = _digest(await _awaits(team, but=second))
    assert third not in {first, second}
    assert await team.statuses() == {}

    # Nor does an approval count that was used before.
    await _note(team, approve=first)
    waiting = await team.until(lambda obj: f"now, {first}" in condition(obj)["message"])
    assert _digest(waiting) == third
    assert await team.statuses() == {}


_ACCOUNT = "other"
_CHANGES: dict[str, dict[str, Any]] = {
    "options": {"install": {"disableHooks": True}},
    "name": {"releaseName": "another"},
    "account": {"serviceAccountName": _ACCOUNT},
}


@pytest.mark.parametrize("change", _CHANGES.values(), ids=_CHANGES)
async def test_an_approval_is_of_what_is_done_and_of_how(
    devworld: ReleaseWorld, devteam: Team, change: dict[str, Any]
) -> None:
    team = devteam
    await devworld.account(team, _ACCOUNT)
    await team.chart(app_chart(settings="", web="", extra=_FIXED))
    await _planned_release(team)
    first = _digest(await _awaits(team))
    await team.release(suspend=True)
    await _note(team, approve=first)
    await team.release(**change)

    waiting = await _awaits(team, but=first)

    assert _digest(waiting) != first
    assert not await team.exists(kinds.CONFIG_MAP, "fixed")


_FIXED = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fixed}\n"


@pytest.mark.shows("HelmRelease/Approved/ReleaseFound")
async def test_an_approval_of_a_run_that_was_killed_counts_for_one_install(devteam: Team) -> None:
    """It has made the release, and status does not know."""
    team = devteam
    await team.chart(app_chart())
    await _planned_release(team, greeting="one")
    first = _digest(await _awaits(team))
    await _note(team, approve=first)
    await team.ready(version=1)
    lost: JsonObject = {"status": {"history": None, "conditions": None}}
    await team.patch("app", lost, subresource="status")
    await team.annotate(requestedAt="look")
    done = await team.until(lambda obj: bool(condition(obj, "Approved")))
    assert condition(done, "Approved")["reason"] == "ReleaseFound"
    await team.ready(version=1)
    assert await team.statuses() == {1: "deployed"}

    await _uninstalled_by_hand(team)
    await team.annotate(requestedAt="look again")
    await _awaits(team, but=first)
    assert await team.statuses() == {}


@pytest.mark.parametrize("foreign", [True, False], ids=["adoption", "install"])
async def test_who_waits_for_an_approval_writes_nothing(
    devworld: ReleaseWorld, devteam: Team, *, foreign: bool
) -> None:
    """A plan that was told is not told again, also where a release of others is waited at."""
    team = devteam
    assert devworld.cluster is not None
    await team.chart(app_chart(web=""))
    if foreign:
        await team.release(values={"greeting": "theirs"})
        await team.ready(version=1)
        await team.delete_all()
        await team.gone()
    await team.release(suspend=True)
    await _note(team, mode="plan")
    await team.release(interval="200ms", values={"greeting": "ours"})
    digest = _digest(await _awaits(team))
    await team.event("AwaitingApproval", text=digest)
    before = await team.get(kinds.HELM_RELEASE, "app")
    control = devworld.cluster.control
    runs, position = devworld.runs, control.requests()[-1].seq
    async with asyncio.timeout(20):
        while devworld.runs < runs + 4:
            await asyncio.sleep(0.02)

    written = [
        f"{one.method} {one.path}"
        for one in control.requests(after=position)
        if one.write
        and one.agent.startswith(AGENT)
        and f"/namespaces/{team.namespace}/" in one.path
        and "dryRun" not in one.query
    ]
    assert written == []
    after = await team.get(kinds.HELM_RELEASE, "app")
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]

    if foreign:
        await _note(team, approve=digest)
        await team.ready(version=2)
