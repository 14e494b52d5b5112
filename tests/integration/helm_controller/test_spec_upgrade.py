"""``spec.upgrade`` and ``spec.rollback``: what happens to a release that is there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from devcluster.control import Match
from fluvial.kube import kinds
from fluvial.objects import JsonObject
from harness.charts import chart
from harness.release import ReleaseWorld
from harness.team import Team, condition, newest
from integration.helm_controller.release_charts import MAP, app_chart, hook, job
from integration.helm_controller.spec_charts import ALERT, BROKEN, NAME, STUCK, all_of, failing

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

_SCHEMA = '{"type": "object", "properties": {"greeting": {"type": "integer"}}}'
_MORE = MAP.replace("-settings", "-more")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(devworld: ReleaseWorld) -> AsyncIterator[Team]:
    """One namespace for all tests here, whose account may make objects of any kind."""
    team = await devworld.team(role="cluster-admin", everywhere=True)
    for name, archive in {
        "plain": app_chart("1.0.0", web=""),
        "alerting": app_chart("1.0.0", web=ALERT),
        "hooked": app_chart("2.0.0", web="", hook=failing("pre-upgrade")),
        "stuck": app_chart("2.0.0", web=STUCK),
        "busy": app_chart("2.0.0", web="", job=job(NAME, hangs=True)),
        "broken": app_chart("2.0.0", web=BROKEN),
        "strict": app_chart("2.0.0", web="", **{"values.schema.json": _SCHEMA}),
        "taking": app_chart("2.0.0", web="", more=_MORE),
    }.items():
        version = "1.0.0" if name in {"plain", "alerting"} else "2.0.0"
        await team.chart(archive, version, name=name)
    yield team
    await devworld.leave(team)


async def _release(team: Team, name: str, chart: str, **spec: Any) -> None:
    await team.release(name, chartRef={"kind": "OCIRepository", "name": chart}, **spec)


async def _installed(team: Team, *names: str, chart: str = "plain", **spec: Any) -> None:
    for name in names:
        await _release(team, name, chart, **spec)
    await all_of(*(team.ready(name, version=1) for name in names))


async def _upgraded(team: Team, name: str, *, version: int = 2) -> JsonObject:
    done = await team.ready(name, version=version)
    assert condition(done, "Released")["reason"] == "UpgradeSucceeded"
    return done


@pytest.mark.shows(
    "HelmRelease/Ready/UpgradeSucceeded",
    "HelmRelease/Released/UpgradeSucceeded",
    "event:HelmRelease/UpgradeSucceeded",
    "field:HelmRelease/spec.upgrade.disableHooks",
    "field:HelmRelease/spec.upgrade.disableWait",
    "field:HelmRelease/spec.upgrade.disableWaitForJobs",
    "field:HelmRelease/spec.upgrade.disableSchemaValidation",
    "field:HelmRelease/spec.upgrade.serverSideApply",
)
async def test_what_is_disabled_keeps_no_upgrade_from_its_end(shared: Team) -> None:
    fields = {
        "hooked": "disableHooks",
        "stuck": "disableWait",
        "busy": "disableWaitForJobs",
        "strict": "disableSchemaValidation",
    }
    await _installed(shared, *(f"no-{name}" for name in fields))
    for name, field in fields.items():
        way = "disabled" if name == "strict" else "auto"
        await _release(shared, f"no-{name}", name, upgrade={field: True, "serverSideApply": way})
    done = await all_of(*(_upgraded(shared, f"no-{name}") for name in fields))

    assert {newest(obj)["status"] for obj in done} == {"deployed"}
    methods = [(await shared.records.last(f"no-{name}")).apply_method for name in fields]
    assert methods == ["ssa", "ssa", "ssa", "csa"]
    message = f"Helm upgrade succeeded for release {shared.namespace}/no-busy.v2 with chart app@"
    assert condition(done[2])["message"].startswith(message)
    await shared.event("UpgradeSucceeded", name="no-busy", text=message)


@pytest.mark.shows(
    "HelmRelease/Ready/UpgradeFailed",
    "HelmRelease/Released/UpgradeFailed",
    "event:HelmRelease/UpgradeFailed",
    "field:HelmRelease/spec.upgrade.timeout",
    "field:HelmRelease/spec.upgrade.disableTakeOwnership",
)
async def test_what_is_not_disabled_does(shared: Team) -> None:
    charts = ("hooked", "stuck", "busy", "strict", "taking")
    await _installed(shared, *charts)
    await shared.data(kinds.CONFIG_MAP, "taking-more", greeting="others'")
    short = {"timeout": "1s", "disableTakeOwnership": True}
    for name in charts:
        await _release(shared, name, name, upgrade={**short, "serverSideApply": "enabled"})
    failed = await all_of(*(shared.failed("UpgradeFailed", name) for name in charts))

    texts = ("pre-upgrade", "Deployment", "Job", "greeting", "taking-more")
    for name, obj, text in zip(charts, failed, texts, strict=True):
        assert text in condition(obj)["message"], name
    for name in ("hooked", "stuck", "busy"):
        stalled = await shared.stalled("RetriesExceeded", name)
        assert stalled["status"]["upgradeFailures"] == 1
        assert await shared.statuses(name) == {1: "deployed", 2: "failed"}
        await shared.event("UpgradeFailed", name=name)
    assert (await shared.get(kinds.CONFIG_MAP, "taking-more"))["data"]["greeting"] == "others'"


@pytest.mark.shows(
    "field:HelmRelease/spec.upgrade.force",
    "field:HelmRelease/spec.upgrade.disableOpenAPIValidation",
)
async def test_objects_are_replaced_with_or_without_a_check(
    devworld: ReleaseWorld, shared: Team
) -> None:
    """Where the server applies, a field that there is not is refused in any case."""
    assert devworld.cluster is not None
    await _installed(
        shared, "checked", "unchecked", chart="alerting", install={"serverSideApply": False}
    )
    for name in ("checked", "unchecked"):
        upgrade = {
            "serverSideApply": "disabled",
            "force": True,
            "disableOpenAPIValidation": name == "unchecked",
        }
        await _release(shared, name, "broken", upgrade=upgrade)
    await _upgraded(shared, "unchecked")
    failed = await shared.failed("UpgradeFailed", "checked")
    path = f"{shared.namespace}/alerts/unchecked"
    writes = devworld.cluster.control.requests(Match(method="PUT", path=path))

    assert "replikas" in condition(failed)["message"]
    assert [entry.status for entry in writes] == [200]


@pytest.mark.shows("field:HelmRelease/spec.upgrade.preserveValues")
async def test_values_of_the_last_release_stay_where_they_are_to(shared: Team) -> None:
    await _installed(shared, "preserved", "fresh", values={"greeting": "first"})
    for name, preserve in (("preserved", True), ("fresh", False)):
        upgrade = {"preserveValues": preserve}
        await _release(shared, name, "plain", values={"other": 1}, upgrade=upgrade)
    await all_of(*(_upgraded(shared, name) for name in ("preserved", "fresh")))
    preserved = await shared.get(kinds.CONFIG_MAP, "preserved-settings")
    fresh = await shared.get(kinds.CONFIG_MAP, "fresh-settings")

    assert (preserved["data"]["greeting"], fresh["data"]["greeting"]) == ("first", "hello")


@pytest.mark.shows("field:HelmRelease/spec.upgrade.cleanupOnFail")
async def test_what_a_failed_upgrade_made_is_deleted(shared: Team) -> None:
    await shared.chart(app_chart("2.0.0", web=STUCK, more=_MORE), "2.0.0", name="stuck-with-more")
    await _installed(shared, "cleaned", "littered")
    for name, clean in (("cleaned", True), ("littered", False)):
        upgrade = {"cleanupOnFail": clean, "timeout": "1s"}
        await _release(shared, name, "stuck-with-more", upgrade=upgrade)
    for name in ("cleaned", "littered"):
        await shared.stalled("RetriesExceeded", name)

    assert not await shared.exists(kinds.CONFIG_MAP, "cleaned-more")
    assert await shared.exists(kinds.CONFIG_MAP, "littered-more")
    assert await shared.exists(kinds.CONFIG_MAP, "cleaned-settings")


@pytest.mark.shows("field:HelmRelease/spec.upgrade.chartNameChangeStrategy")
async def test_a_chart_of_another_name_takes_the_place_of_the_first(shared: Team) -> None:
    files = {"values.yaml": "greeting: hello\n", "templates__settings": MAP}
    await shared.chart(chart(name="renamed", version="1.0.0", **files), name="renamed")
    await _installed(shared, "reinstalled", "in-place")
    before = {
        name: (await shared.get(kinds.CONFIG_MAP, f"{name}-settings"))["metadata"]["uid"]
        for name in ("reinstalled", "in-place")
    }
    await _release(shared, "reinstalled", "renamed")
    in_place = {"chartNameChangeStrategy": "InPlaceUpdate"}
    await _release(shared, "in-place", "renamed", upgrade=in_place)
    await _upgraded(shared, "in-place")
    await shared.until(
        lambda obj: newest(obj).get("chartName") == "renamed" and bool(condition(obj)),
        "reinstalled",
    )
    done = await shared.ready("reinstalled", version=1)
    after = {
        name: (await shared.get(kinds.CONFIG_MAP, f"{name}-settings"))["metadata"]["uid"]
        for name in before
    }

    assert condition(done, "Released")["reason"] == "InstallSucceeded"
    assert before["in-place"] == after["in-place"]
    assert before["reinstalled"] != after["reinstalled"]


@pytest.mark.shows("field:HelmRelease/spec.maxHistory")
async def test_no_more_records_are_kept_than_are_wanted(shared: Team) -> None:
    await _installed(shared, "short", maxHistory=2)
    for number in (2, 3):
        await _release(shared, "short", "plain", maxHistory=2, values={"n": number})
        await _upgraded(shared, "short", version=number)

    assert await shared.statuses("short") == {2: "superseded", 3: "deployed"}


@pytest.mark.shows(
    "field:HelmRelease/spec.upgrade.strategy.name",
    "field:HelmRelease/spec.upgrade.strategy.retryInterval",
)
async def test_an_upgrade_is_only_tried_again(shared: Team) -> None:
    strategy = {"name": "RetryOnFailure", "retryInterval": "500ms"}
    await _installed(shared, "retried")
    await _release(shared, "retried", "hooked", upgrade={"strategy": strategy})
    tried = await shared.until(lambda obj: newest(obj).get("version", 0) >= 3, "retried")

    assert newest(tried)["status"] == "failed"
    assert not condition(tried, "Remediated")
    assert not condition(tried, "Stalled")


# --- remediation ---------------------------------------------------------------------------------


@pytest.mark.shows(
    "HelmRelease/Ready/RollbackSucceeded",
    "HelmRelease/Remediated/RollbackSucceeded",
    "event:HelmRelease/RollbackSucceeded",
    "field:HelmRelease/spec.upgrade.remediation.retries",
    "field:HelmRelease/spec.upgrade.remediation.remediateLastFailure",
    "field:HelmRelease/spec.upgrade.remediation.strategy",
)
async def test_failed_upgrades_are_undone_as_is_wanted(shared: Team) -> None:
    remedies: dict[str, JsonObject] = {
        "rolled-back": {"retries": 1},
        "left-failed": {"retries": 1, "remediateLastFailure": False},
        "uninstalled": {"remediateLastFailure": True, "strategy": "uninstall"},
    }
    await _installed(shared, *remedies)
    for name, remedy in remedies.items():
        await _release(shared, name, "hooked", upgrade={"remediation": remedy})
    done = await shared.stalled("RetriesExceeded", "rolled-back")
    left = await shared.stalled("RetriesExceeded", "left-failed")

    assert condition(done)["reason"] == "RollbackSucceeded"
    assert condition(done, "Remediated")["reason"] == "RollbackSucceeded"
    assert newest(done)["version"] == 5, "two upgrades, each rolled back"
    assert done["status"]["upgradeFailures"] == 2
    settings = await shared.get(kinds.CONFIG_MAP, "rolled-back-settings")
    assert settings["data"]["version"].startswith("1.0.0")
    assert newest(left)["status"] == "failed"
    await shared.event("RollbackSucceeded", name="rolled-back")
    # What was uninstalled is installed, and there is no upgrade that could fail.
    again = await shared.ready("uninstalled", version=1)
    assert newest(again)["chartVersion"].startswith("2.0.0")


@pytest.mark.shows(
    "HelmRelease/Ready/RollbackFailed",
    "HelmRelease/Remediated/RollbackFailed",
    "event:HelmRelease/RollbackFailed",
    "field:HelmRelease/spec.rollback.disableHooks",
    "field:HelmRelease/spec.rollback.disableWait",
    "field:HelmRelease/spec.rollback.disableWaitForJobs",
    "field:HelmRelease/spec.rollback.timeout",
    "field:HelmRelease/spec.rollback.cleanupOnFail",
)
async def test_a_rollback_does_what_is_not_disabled(shared: Team) -> None:
    """Each release goes back to a chart with which only a rollback has a difficulty."""
    firsts = {
        "hooks": app_chart(web="", hook=failing("pre-rollback")),
        "wait": app_chart(web=STUCK),
        "jobs": app_chart(web="", job=job(NAME, hangs=True)),
    }
    waits: dict[str, JsonObject] = {
        "hooks": {},
        "wait": {"disableWait": True},
        "jobs": {"disableWaitForJobs": True},
    }
    disabled = {"hooks": "disableHooks", "wait": "disableWait", "jobs": "disableWaitForJobs"}
    for name, archive in firsts.items():
        await shared.chart(archive, name=f"first-{name}")
        for prefix in ("with", "no"):
            await _release(shared, f"{prefix}-{name}", f"first-{name}", install=waits[name])
    names = [f"{prefix}-{name}" for name in firsts for prefix in ("with", "no")]
    await all_of(*(shared.ready(name, version=1) for name in names))
    undo = {"remediation": {"remediateLastFailure": True}}
    for name, field in disabled.items():
        short = {"timeout": "1s", "cleanupOnFail": True}
        await _release(shared, f"with-{name}", "hooked", upgrade=undo, rollback=short)
        await _release(shared, f"no-{name}", "hooked", upgrade=undo, rollback={field: True})

    for name in firsts:
        failed = await shared.failed("RollbackFailed", f"with-{name}")
        assert condition(failed, "Remediated")["status"] == "False"
        done = await shared.failed("RollbackSucceeded", f"no-{name}")
        assert newest(done)["status"] == "deployed"
    await shared.event("RollbackFailed", name="with-hooks")


@pytest.mark.shows(
    "field:HelmRelease/spec.rollback.force", "field:HelmRelease/spec.rollback.serverSideApply"
)
async def test_a_rollback_writes_in_the_way_that_is_wanted(
    devworld: ReleaseWorld, shared: Team
) -> None:
    assert devworld.cluster is not None
    ways: dict[str, JsonObject] = {
        "merging": {"serverSideApply": "disabled"},
        "replacing": {"serverSideApply": "disabled", "force": True},
        "applying": {"serverSideApply": "enabled"},
    }
    await _installed(shared, *ways, install={"serverSideApply": False})
    undo = {"remediation": {"remediateLastFailure": True}, "timeout": "1s"}
    for name, way in ways.items():
        await _release(shared, name, "stuck", upgrade=undo, rollback=way)
    for name in ways:
        await shared.failed("RollbackSucceeded", name)
    methods = [(await shared.records.last(name)).apply_method for name in ways]
    puts = [
        devworld.cluster.control.requests(Match(method="PUT", path=f"configmaps/{name}-settings"))
        for name in ways
    ]

    assert methods == ["csa", "csa", "ssa"]
    assert [bool(found) for found in puts] == [False, True, False]


@pytest.mark.shows("HelmRelease/Stalled/MissingRollbackTarget")
async def test_there_is_nothing_to_go_back_to(shared: Team) -> None:
    """The first release failed, and the upgrade after it, too."""
    await shared.chart(
        app_chart(web="", hook=hook(f"{NAME}-x", "pre-install,pre-upgrade", fails=True)),
        name="always-failing",
    )
    await _release(shared, "no-target", "always-failing")
    await shared.stalled("RetriesExceeded", "no-target")
    undo = {"remediation": {"remediateLastFailure": True}}
    await _release(shared, "no-target", "always-failing", upgrade=undo, values={"n": 1})
    stalled = await shared.stalled("MissingRollbackTarget", "no-target")

    assert newest(stalled)["status"] == "failed"
    assert condition(stalled)["status"] == "False"
