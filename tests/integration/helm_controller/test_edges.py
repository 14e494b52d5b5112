"""Where two features meet: what is said, and what is done, must still be right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
import orjson
import pytest
from structlog.testing import capture_logs

from fluvial.helm.carrying import CarryingOut
from fluvial.helm.cluster import Located
from fluvial.helm.release import Status
from fluvial.kube import kinds
from harness.release import ReleaseWorld
from harness.team import JOBS, Team, condition, named, newest
from helm_controller.helmrelease.rounds import RoundEnd, Rounds
from helm_controller.helmrelease.run import Run
from integration.helm_controller.release_charts import MAP, app_chart, hook

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


async def test_tested_releases_are_released_once_for_other_post_renderers(devteam: Team) -> None:
    """Until its tests have run, a release is not ready; it is not released again for that."""
    team = devteam
    await team.chart(app_chart(web="", check=hook("check", "test")))
    await team.release(test={"enable": True})
    await team.ready(version=1)
    patch = '[{"op": "add", "path": "/data/more", "value": "patched"}]'
    target = {"kind": "ConfigMap"}
    post = [{"kustomize": {"patches": [{"patch": patch, "target": target}]}}]
    await team.release(test={"enable": True}, postRenderers=post)
    done = await team.ready()

    assert newest(done)["version"] == 2
    assert (await team.get(kinds.CONFIG_MAP, "app-settings"))["data"]["more"] == "patched"


async def test_a_last_rollback_that_fails_is_no_success(devteam: Team) -> None:
    team = devteam
    await team.chart(app_chart(web="", back=hook("back", "pre-rollback", fails=True)))
    upgrade = {"remediation": {"retries": 0, "remediateLastFailure": True}}
    await team.release(upgrade=upgrade)
    await team.ready(version=1)
    bad = app_chart("2.0.0", web="", bad=hook("bad", "pre-upgrade", fails=True))
    await team.chart(bad, "2.0.0")
    await team.failed("RollbackFailed")
    done = await team.until(
        lambda obj: (
            not condition(obj, "Reconciling")
            and obj["status"].get("lastAttemptedRevision", "").startswith("2.0.0")
            and newest(obj).get("version") == 3
            and condition(obj, "Stalled")
        )
    )

    assert condition(done)["reason"] == "RollbackFailed"
    assert condition(done)["status"] == "False"
    assert condition(done, "Released")["reason"] == "UpgradeFailed"

    # It has been given up, however often it is looked at.
    assert condition(done, "Stalled")["reason"] == "RetriesExceeded"
    await team.asked("again")
    assert sorted(await team.statuses()) == [1, 2, 3]


async def test_what_others_released_meanwhile_is_not_uninstalled_for_a_failure(
    devteam: Team,
) -> None:
    """An action may wait for hours, and what is undone then must be what it has made."""
    team = devteam
    await team.chart(app_chart(web=""))
    undo = {"remediation": {"retries": 3, "strategy": "uninstall"}}
    await team.release(upgrade=undo)
    await team.ready(version=1)
    await team.chart(app_chart("2.0.0", web="", bad=hook("bad", "post-upgrade", hangs=True)), "2")
    job = await team.until(lambda _: True, "bad", resource=JOBS)
    first = await team.records.get("app", 1)
    await team.records.update(first.with_status(Status.SUPERSEDED, "superseded"))
    back = msgspec.structs.replace(first, version=3)
    await team.records.create(back.with_status(Status.DEPLOYED, "Rollback to 1"))
    await team.delete("bad", JOBS)  # so it has failed
    await team.until(
        lambda obj: obj["metadata"]["uid"] != job["metadata"]["uid"], "bad", resource=JOBS
    )

    assert await team.statuses() == {
        1: "superseded",
        2: "failed",
        3: "deployed",
        4: "pending-upgrade",
    }
    await team.delete()  # which ends the wait
    await team.gone()


async def _foreign(team: Team, *, status: Status) -> None:
    """A release that a HelmRelease, which let go of it, has left under the name ``app``."""
    await team.chart(app_chart(web=""), name="theirs")
    await team.release(
        "theirs",
        releaseName="app",
        chartRef={"kind": "OCIRepository", "name": "theirs"},
        commonMetadata={"labels": {"whose": "theirs"}},
    )
    await team.ready("theirs", version=1)
    await team.patch("theirs", {"spec": {"suspend": True}})
    await team.delete("theirs")
    await team.gone("theirs")
    last = await team.records.last("app")
    await team.records.update(last.with_status(status, "in the hands of others"))


async def test_what_was_unlocked_is_not_ours_for_that(devteam: Team) -> None:
    """An upgrade that never began makes nobody the owner of what others have released."""
    team = devteam
    await _foreign(team, status=Status.PENDING_UPGRADE)
    await team.chart(app_chart("2.0.0", web="", bad='{{ fail "not so" }}'), "2.0.0")
    await team.release()
    await team.failed("UpgradeFailed", text="not so")
    assert await team.statuses() == {1: "failed"}

    await team.delete()
    await team.gone()

    assert await team.exists(kinds.CONFIG_MAP, "app-settings")
    assert await team.statuses() == {1: "failed"}


async def test_a_release_that_moves_awaits_approval(devteam: Team) -> None:
    team = devteam
    await team.chart(app_chart(web=""))
    await team.release()
    await team.ready(version=1)
    await team.patch("app", {"metadata": {"annotations": {"fluvial.dev/mode": "plan"}}})
    await team.release(releaseName="moved")
    waiting = await team.failed("AwaitingApproval")

    assert await team.statuses() == {1: "deployed"}
    assert await team.exists(kinds.CONFIG_MAP, "app-settings")
    message = condition(waiting)["message"]
    assert "uninstall" in message
    digest = re.search(r"sha256:[0-9a-f]{64}", message)
    assert digest is not None

    await team.patch("app", {"metadata": {"annotations": {"fluvial.dev/approve": digest[0]}}})
    other = await team.until(lambda obj: "install of chart" in condition(obj).get("message", ""))
    assert digest[0] not in condition(other)["message"].partition("(")[0]
    assert await team.statuses() == {}
    assert await team.statuses("moved") == {}


async def test_an_undone_failure_is_told_once(devteam: Team) -> None:
    """Each action tells of itself; that it is tried again is no failure of its own."""
    team = devteam
    await team.chart(app_chart(web=""))
    await team.release(upgrade={"remediation": {"retries": 1}})
    await team.ready(version=1)
    bad = app_chart("2.0.0", web="", bad=hook("bad", "pre-upgrade", fails=True))
    await team.chart(bad, "2.0.0")
    await team.stalled("RetriesExceeded")
    await team.event("RetriesExceeded")
    page = await team.client.list_all(kinds.EVENT, namespace=team.namespace)
    told: list[dict[str, Any]] = [one for one in page.items if one["reason"] == "RollbackSucceeded"]

    assert {one["type"] for one in told} == {"Normal"}


async def test_what_changes_while_a_run_ends_is_seen_by_the_next(
    devteam: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody writes the record between the last look at it and the end of the run."""
    team, races = devteam, 0
    original = Rounds.round

    async def race(self: Rounds, run: Run) -> RoundEnd:
        nonlocal races
        end = await original(self, run)
        if run.key.namespace == team.namespace and not races:
            races += 1
            last = await team.records.last("app")
            await team.records.update(last.with_status(Status.FAILED, "by hand"))
        return end

    monkeypatch.setattr(Rounds, "round", race)
    await team.chart(app_chart(web=""))
    await team.release()
    await team.ready(version=2)

    assert races == 1


async def test_what_is_told_of_a_removal_has_no_secrets(devteam: Team) -> None:
    team = devteam
    secret = "correct-horse-battery"
    odd = f"{secret} is no name"
    await team.data(kinds.SECRET, "password", **{"values.yaml": f"greeting: {odd}\n"})
    bye = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Values.greeting | quote }}, annotations: {helm.sh/hook: pre-delete}}
"""
    await team.chart(app_chart(web="", bye=bye))
    await team.release(valuesFrom=[{"kind": "Secret", "name": "password"}])
    await team.ready(version=1)
    await team.delete()
    failed = await team.until(
        lambda obj: condition(obj, "Released").get("reason") == "UninstallFailed"
    )
    event = await team.event("UninstallFailed")

    assert "pre-delete" in event["message"]
    assert secret not in event["message"]
    assert secret not in str(failed["status"]["conditions"])


async def test_who_was_renamed_uninstalls_nothing(devteam: Team) -> None:
    """The new HelmRelease has made the release its own before the old one is deleted."""
    team = devteam
    await team.chart(app_chart(web=""))
    await team.release("old", releaseName="app")
    await team.ready("old", version=1)
    await team.release("new", releaseName="app")
    await team.until(lambda obj: newest(obj).get("status") == "deployed", "new")
    await team.release("new", releaseName="app", values={"greeting": "of the new one"})
    await team.ready("new")
    await team.delete("old")
    await team.gone("old")

    settings = await team.get(kinds.CONFIG_MAP, "app-settings")
    assert settings["data"]["greeting"] == "of the new one"
    assert "deployed" in (await team.statuses()).values()


async def test_what_was_rolled_back_is_not_what_post_renderers_ask_for(devteam: Team) -> None:
    """Looking again, with no retry left, finds the spec as little released as before."""
    team = devteam
    await team.chart(app_chart(web="", bad=hook("bad", "pre-upgrade", fails=True)))
    upgrade = {"remediation": {"retries": 0, "remediateLastFailure": True}}
    await team.release(upgrade=upgrade)
    await team.ready(version=1)
    metadata = {"labels": {"more": "label"}}
    await team.release(upgrade=upgrade, commonMetadata=metadata)
    await team.stalled("RetriesExceeded")
    done = await team.asked("again")

    assert condition(done)["status"] == "False"
    assert condition(done, "Stalled")["reason"] == "RetriesExceeded"
    assert newest(done)["version"] == 3


async def test_who_moves_leaves_what_another_has_made_its_own(devteam: Team) -> None:
    team = devteam
    await team.chart(app_chart(web=""))
    await team.release("old", releaseName="app")
    await team.ready("old", version=1)
    await team.release("new", releaseName="app", values={"greeting": "of the new one"})
    await team.ready("new")

    await team.release("old", releaseName="moved")
    await team.ready("old", version=1)

    settings = await team.get(kinds.CONFIG_MAP, "app-settings")
    assert settings["data"]["greeting"] == "of the new one"
    assert "deployed" in (await team.statuses("app")).values()
    assert await team.statuses("moved") == {1: "deployed"}


async def test_a_release_by_force_is_answered_before_its_tests_are_run(devteam: Team) -> None:
    """Whoever is killed while they run does not release again."""
    team = devteam
    await team.chart(app_chart(web="", check=hook("check", "test", hangs=True)))
    await team.release()
    await team.ready(version=1)
    await team.release(test={"enable": True, "timeout": "1s"})
    await team.until(lambda obj: condition(obj, "TestSuccess").get("status") == "False")
    await team.annotate(requestedAt="now", forceAt="now")

    tested = await team.until(
        lambda obj: (
            newest(obj).get("version") == 2
            and condition(obj, "TestSuccess").get("reason") == "AwaitingTests"
        )
    )

    assert tested["status"]["lastHandledForceAt"] == "now"
    assert tested["status"].get("lastHandledReconcileAt") != "now"


async def test_a_null_over_preserved_values_makes_one_revision(devteam: Team) -> None:
    """It takes the value away, the last release's as well as the chart's, and that at once."""
    team = devteam
    settings = MAP.replace(".Values.greeting | quote", '.Values.greeting | default "none" | quote')
    await team.chart(app_chart(settings=settings, web=""))
    await team.release(values={"greeting": "first", "kept": 1})
    await team.ready(version=1)
    upgrade = {"preserveValues": True}
    await team.release(values={"greeting": None, "other": 2}, upgrade=upgrade)
    await team.ready(version=2)
    found = await team.get(kinds.CONFIG_MAP, "app-settings")
    done = await team.asked("look again")

    assert found["data"]["greeting"] == "none"
    assert newest(done)["version"] == 2
    assert (await team.records.last("app")).config == {"greeting": None, "other": 2, "kept": 1}


async def test_what_another_has_begun_to_uninstall_is_left_alone(devteam: Team) -> None:
    """Whoever finishes it would delete what the new chart does not even have."""
    team = devteam
    await team.chart(app_chart(web=""))
    await team.release("theirs", releaseName="app")
    await team.ready("theirs", version=1)
    await team.patch("theirs", {"spec": {"suspend": True}})
    record = await team.records.last("app")
    await team.records.update(record.with_status(Status.UNINSTALLING, "Deletion in progress"))
    await team.release("mine", releaseName="app")
    await team.failed("StateError", "mine", text="another HelmRelease's")

    assert await team.names(kinds.CONFIG_MAP) == {"app-settings"}
    assert await team.statuses() == {1: "uninstalling"}


async def test_a_secret_among_preserved_values_is_told_to_nobody(devteam: Team) -> None:
    """The Secret is not even named any more."""
    team = devteam
    bad = '{{ if .Values.bad }}{{ fail (printf "%s is bad" .Values.password) }}{{ end }}'
    await team.chart(app_chart(web="", bad=bad))
    await team.data(kinds.SECRET, "values", **{"values.yaml": "password: correct-horse\n"})
    await team.release(valuesFrom=[{"kind": "Secret", "name": "values"}])
    await team.ready(version=1)
    await team.release(values={"bad": True}, upgrade={"preserveValues": True})
    failed = await team.failed("UpgradeFailed", text="*** is bad")
    event = await team.event("UpgradeFailed")

    assert "horse" not in str(failed["status"])
    assert "horse" not in event["message"]


async def test_a_fault_is_tried_no_more_often_than_a_failure(
    devteam: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves a pending record behind, and each try would make another one."""
    team, original = devteam, CarryingOut.write

    async def broken(self: CarryingOut, located: Sequence[Located], **more: Any) -> None:
        if any(one.key.namespace == team.namespace for one in located):
            raise KeyError("nobody foresaw it")
        await original(self, located, **more)

    await team.chart(app_chart(web=""))
    await team.release()
    await team.ready(version=1)
    monkeypatch.setattr(CarryingOut, "write", broken)
    with capture_logs():  # a stack takes seconds to print
        await team.release(values={"greeting": "other"})
        done = await team.stalled("RetriesExceeded")

    assert done["status"]["upgradeFailures"] == 1
    assert await team.statuses() == {1: "deployed", 2: "failed"}


async def test_a_release_of_its_own_object_waits_for_itself_in_vain(
    devworld: ReleaseWorld, devteam: Team
) -> None:
    """So it does not: neither to be ready, nor to be gone."""
    team = devteam
    await devworld.account(team, "ruler", role="cluster-admin")
    spec = {
        "interval": "1h",
        "timeout": "20s",
        "serviceAccountName": "ruler",
        "chartRef": {"kind": "OCIRepository", "name": "chart"},
    }
    own = {**named("helm.toolkit.fluxcd.io/v2", "HelmRelease", "app"), "spec": spec}
    await team.chart(app_chart(web="", own=orjson.dumps(own).decode()))
    await team.release(serviceAccountName="ruler")
    await team.ready(version=1)
    await team.delete()
    await team.gone()

    assert await team.statuses() == {}
    assert await team.names(kinds.CONFIG_MAP) == set()


@pytest.mark.parametrize("policy", ["before-hook-creation", "hook-succeeded"])
async def test_a_hook_takes_nothing_from_another_release(devteam: Team, policy: str) -> None:
    team = devteam
    shared = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shared%s}\ndata: {of: %s}\n"
    await team.chart(app_chart(web="", settings="", shared=shared % ("", "first")))
    await team.release("first")
    await team.ready("first", version=1)
    notes = f', annotations: {{helm.sh/hook: pre-install, helm.sh/hook-delete-policy: "{policy}"}}'
    hooks = app_chart(web="", settings="", shared=shared % (notes, "second"))
    await team.chart(hooks, name="second")
    await team.release("second", chartRef={"kind": "OCIRepository", "name": "second"})
    await team.failed("InstallFailed", "second", text="belongs to another release")

    assert (await team.get(kinds.CONFIG_MAP, "shared"))["data"] == {"of": "first"}
