"""The life of a HelmRelease, from its install to its end, on both control planes."""

from __future__ import annotations

import pytest

from fluvial.kube import kinds
from harness.team import DEPLOYMENTS, JOBS, Team, condition, newest
from integration.helm_controller.release_charts import ON_DEVCLUSTER, app_chart, hook

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

_TESTED = {"check": hook("check", "test")}


async def test_a_release_is_installed_upgraded_tested_and_uninstalled(team: Team) -> None:
    first = await team.chart(app_chart(**_TESTED))
    await team.release(values={"greeting": "good morning"}, test={"enable": True})
    done = await team.ready(version=1)

    short = first.partition("sha256:")[2][:12]
    assert newest(done)["chartVersion"] == f"1.0.0+{short}"
    assert newest(done)["status"] == "deployed"
    assert condition(done, "Released")["reason"] == "InstallSucceeded"
    assert condition(done, "TestSuccess")["reason"] == "TestSucceeded"
    assert newest(done)["testHooks"]["check"]["phase"] == "Succeeded"
    assert done["status"]["storageNamespace"] == team.namespace
    ids = {entry["id"] for entry in done["status"]["inventory"]["entries"]}
    assert ids == {
        f"{team.namespace}_app-settings__ConfigMap",
        f"{team.namespace}_web_apps_Deployment",
    }
    settings = await team.get(kinds.CONFIG_MAP, "app-settings")
    assert settings["data"]["greeting"] == "good morning"
    labels = settings["metadata"]["labels"]
    assert labels["helm.toolkit.fluxcd.io/name"] == "app"
    assert labels["app.kubernetes.io/managed-by"] == "Helm"

    await team.release(values={"greeting": "good night"}, test={"enable": True})
    done = await team.ready(version=2)
    assert condition(done, "Released")["reason"] == "UpgradeSucceeded"
    assert (await team.get(kinds.CONFIG_MAP, "app-settings"))["data"]["greeting"] == "good night"
    assert await team.statuses() == {1: "superseded", 2: "deployed"}

    # The next version has other objects.
    await team.chart(app_chart("1.1.0", web="", **_TESTED), "1.1.0")
    done = await team.ready(version=3)
    assert newest(done)["chartVersion"].startswith("1.1.0+")
    settings = await team.get(kinds.CONFIG_MAP, "app-settings")
    assert settings["data"]["version"] == newest(done)["chartVersion"]
    assert not await team.exists(DEPLOYMENTS, "web")

    await team.delete()
    await team.gone()
    assert await team.statuses() == {}
    assert await team.names(kinds.CONFIG_MAP) == set()
    # Helm leaves the objects of tests where no policy removes them.
    assert await team.names(JOBS) == {"check"}


@ON_DEVCLUSTER
async def test_a_packaged_chart_is_released_by_reference(team: Team) -> None:
    reference = {"kind": "HelmChart", "name": "chart"}
    await team.chart(app_chart(web=""), resource=kinds.HELM_CHART)
    await team.release(chartRef=reference)
    done = await team.ready(version=1)

    assert newest(done)["chartVersion"] == "1.0.0"
    await team.chart(app_chart("2.0.0", web=""), "2.0.0", resource=kinds.HELM_CHART)
    done = await team.ready(version=2)
    assert (await team.get(kinds.CONFIG_MAP, "app-settings"))["data"]["version"] == "2.0.0"
    assert done["status"]["lastAttemptedRevision"] == "2.0.0"


@ON_DEVCLUSTER
async def test_nothing_new_writes_nothing(team: Team) -> None:
    """A request to reconcile is answered, and no release is made of it."""
    await team.chart(app_chart())
    await team.release(driftDetection={"mode": "enabled"})
    before = await team.ready(version=1)
    settings = await team.get(kinds.CONFIG_MAP, "app-settings")
    after = await team.asked("once more")

    assert after["status"]["history"] == before["status"]["history"]
    assert condition(after) == condition(before)
    assert await team.get(kinds.CONFIG_MAP, "app-settings") == settings
    assert await team.statuses() == {1: "deployed"}


async def test_drift_is_seen_and_corrected_at_once(team: Team) -> None:
    """The interval is an hour, and nobody asks."""
    await team.chart(app_chart(web=""))
    await team.release(driftDetection={"mode": "enabled"})
    await team.ready(version=1)
    await team.patch("app-settings", {"data": {"greeting": "x"}}, resource=kinds.CONFIG_MAP)
    await team.until(
        lambda obj: obj["data"]["greeting"] == "hello", "app-settings", resource=kinds.CONFIG_MAP
    )
    await team.delete("app-settings", kinds.CONFIG_MAP)
    await team.until(
        lambda obj: obj["data"]["greeting"] == "hello", "app-settings", resource=kinds.CONFIG_MAP
    )

    await team.event("DriftCorrected", text="app-settings changed")
    await team.event("DriftCorrected", text="app-settings removed")
    assert await team.statuses() == {1: "deployed"}


@ON_DEVCLUSTER
async def test_a_suspended_release_is_left_when_it_is_deleted(team: Team) -> None:
    await team.chart(app_chart(web=""))
    await team.release()
    await team.ready(version=1)
    await team.release(suspend=True)
    await team.delete()
    await team.gone()

    assert await team.names(kinds.CONFIG_MAP) == {"app-settings"}
    assert await team.statuses() == {1: "deployed"}
