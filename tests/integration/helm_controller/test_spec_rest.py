"""``spec.test``, ``spec.uninstall`` and what is left, field by field."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from devcluster import DevCluster, Options
from fluvial.kube import config, kinds
from fluvial.objects import JsonObject, ObjectKey
from harness.release import ReleaseWorld
from harness.team import JOBS, Team, condition, named, newest
from integration.helm_controller.release_charts import MAP, app_chart, hook
from integration.helm_controller.spec_charts import NAME, WEB, all_of, failing

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

_PASSES = hook(f"{NAME}-passes", "test")
_FAILS = hook(f"{NAME}-fails", "test", fails=True)
_HANGS = hook(f"{NAME}-hangs", "test", hangs=True)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(devworld: ReleaseWorld) -> AsyncIterator[Team]:
    """One namespace for all tests here."""
    team = await devworld.team()
    for name, archive in {
        "plain": app_chart(web=""),
        "web": app_chart(web=WEB),
        "passing": app_chart(web="", passes=_PASSES),
        "mixed": app_chart(web="", passes=_PASSES, fails=_FAILS),
        "hanging": app_chart(web="", hangs=_HANGS),
    }.items():
        await team.chart(archive, name=name)
    yield team
    await devworld.leave(team)


async def _release(team: Team, name: str, chart: str, **spec: Any) -> None:
    await team.release(name, chartRef={"kind": "OCIRepository", "name": chart}, **spec)


# --- tests ---------------------------------------------------------------------------------------


@pytest.mark.shows(
    "HelmRelease/Ready/TestSucceeded",
    "HelmRelease/TestSuccess/TestSucceeded",
    "event:HelmRelease/TestSucceeded",
    "field:HelmRelease/spec.test.enable",
    "field:HelmRelease/spec.test.filters[].name",
    "field:HelmRelease/spec.test.filters[].exclude",
)
async def test_the_tests_that_are_wanted_are_run(shared: Team) -> None:
    await _release(shared, "untested", "mixed")
    await _release(shared, "tested", "passing", test={"enable": True})
    one = {"enable": True, "filters": [{"name": "only-passes"}]}
    await _release(shared, "only", "mixed", test=one)
    but = {"enable": True, "filters": [{"name": "without-fails", "exclude": True}]}
    await _release(shared, "without", "mixed", test=but)
    untested, tested, only, without = await all_of(
        *(shared.ready(name, version=1) for name in ("untested", "tested", "only", "without"))
    )

    assert not condition(untested, "TestSuccess")
    for obj, name in (
        (tested, "tested-passes"),
        (only, "only-passes"),
        (without, "without-passes"),
    ):
        assert condition(obj, "TestSuccess")["reason"] == "TestSucceeded"
        assert condition(obj)["reason"] == "TestSucceeded"
        assert newest(obj)["testHooks"][name]["phase"] == "Succeeded"
    assert "only-fails" not in await shared.names(JOBS)
    assert "without-fails" not in await shared.names(JOBS)
    await shared.event("TestSucceeded", name="tested")


@pytest.mark.shows(
    "HelmRelease/Ready/TestFailed",
    "HelmRelease/TestSuccess/TestFailed",
    "event:HelmRelease/TestFailed",
    "field:HelmRelease/spec.test.ignoreFailures",
    "field:HelmRelease/spec.test.timeout",
    "field:HelmRelease/spec.install.remediation.ignoreTestFailures",
)
async def test_failed_tests_count_unless_they_are_ignored(shared: Team) -> None:
    await _release(shared, "failing", "mixed", test={"enable": True})
    await _release(shared, "hanging", "hanging", test={"enable": True, "timeout": "1s"})
    await _release(shared, "ignored", "mixed", test={"enable": True, "ignoreFailures": True})
    ignore = {"remediation": {"ignoreTestFailures": True, "remediateLastFailure": True}}
    await _release(shared, "kept", "mixed", test={"enable": True}, install=ignore)
    failed = await shared.stalled("RetriesExceeded", "failing")
    hanging = await shared.failed("TestFailed", "hanging")
    ignored = await shared.ready("ignored", version=1)
    kept = await shared.failed("TestFailed", "kept")

    assert condition(failed)["reason"] == "TestFailed"
    assert condition(failed, "TestSuccess")["reason"] == "TestFailed"
    assert newest(failed)["testHooks"]["failing-fails"]["phase"] == "Failed"
    assert "hanging-hangs" in condition(hanging)["message"]
    assert condition(ignored)["reason"] == "InstallSucceeded"
    assert condition(ignored, "TestSuccess")["reason"] == "TestFailed"
    assert newest(kept)["status"] == "deployed", "it was not undone"
    assert not condition(kept, "Remediated")
    await shared.event("TestFailed", name="failing")


@pytest.mark.shows("field:HelmRelease/spec.upgrade.remediation.ignoreTestFailures")
async def test_an_upgrade_whose_tests_fail_is_undone_unless_they_are_ignored(shared: Team) -> None:
    for name in ("back", "stays"):
        await _release(shared, name, "plain")
    await all_of(*(shared.ready(name, version=1) for name in ("back", "stays")))
    for name, ignore in (("back", False), ("stays", True)):
        undo = {"remediateLastFailure": True, "ignoreTestFailures": ignore}
        tested: JsonObject = {"test": {"enable": True}, "upgrade": {"remediation": undo}}
        await _release(shared, name, "mixed", **tested)
    back = await shared.failed("RollbackSucceeded", "back")
    stays = await shared.failed("TestFailed", "stays")

    assert newest(back)["version"] == 3
    assert newest(stays)["version"] == 2


# --- uninstall -----------------------------------------------------------------------------------


@pytest.mark.shows(
    "HelmRelease/Ready/UninstallFailed",
    "HelmRelease/Released/UninstallFailed",
    "event:HelmRelease/UninstallFailed",
    "field:HelmRelease/spec.uninstall.disableHooks",
    "field:HelmRelease/spec.uninstall.disableWait",
    "field:HelmRelease/spec.uninstall.timeout",
    "field:HelmRelease/spec.uninstall.deletionPropagation",
)
async def test_a_release_is_uninstalled_as_is_wanted(shared: Team) -> None:
    await shared.chart(app_chart(web="", hook=failing("pre-delete")), name="pre-delete")
    held = MAP.replace("-settings}", "-settings, finalizers: [example.com/hold]}")
    await shared.chart(app_chart(web="", settings=held), name="held")
    specs: Mapping[str, tuple[str, JsonObject]] = {
        "bad-hook": ("pre-delete", {}),
        "no-hook": ("pre-delete", {"disableHooks": True}),
        "waiting": ("held", {"timeout": "1s"}),
        "no-wait": ("held", {"disableWait": True}),
        "orphaning": ("plain", {"deletionPropagation": "orphan"}),
        "reaping": ("plain", {"deletionPropagation": "background"}),
    }
    for name, (chart, uninstall) in specs.items():
        await _release(shared, name, chart, uninstall=uninstall)
    await all_of(*(shared.ready(name, version=1) for name in specs))
    for name in ("orphaning", "reaping"):
        await _dependent(shared, f"{name}-settings")
    for name in specs:
        await shared.delete(name)
    for name in ("no-hook", "no-wait", "orphaning", "reaping"):
        await shared.gone(name)
        assert await shared.statuses(name) == {}, name
    bad = await shared.failed("UninstallFailed", "bad-hook")
    waiting = await shared.failed("UninstallFailed", "waiting", text="waiting-settings")

    assert "pre-delete" in condition(bad)["message"]
    assert condition(waiting, "Released")["reason"] == "UninstallFailed"
    await shared.gone("of-reaping-settings", kinds.CONFIG_MAP)
    assert await shared.exists(kinds.CONFIG_MAP, "of-orphaning-settings")
    await shared.event("UninstallFailed", name="bad-hook")
    for name in ("waiting", "no-wait"):
        gone = {"metadata": {"finalizers": None}}
        await shared.patch(f"{name}-settings", gone, resource=kinds.CONFIG_MAP)


async def _dependent(team: Team, owner: str) -> None:
    """A ConfigMap that another one owns."""
    uid = (await team.get(kinds.CONFIG_MAP, owner))["metadata"]["uid"]
    obj = named("v1", "ConfigMap", f"of-{owner}", team.namespace)
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": uid}
    obj["metadata"]["ownerReferences"] = [reference]
    await team.apply(kinds.CONFIG_MAP, obj)


# --- the rest ------------------------------------------------------------------------------------


@pytest.mark.shows(
    "HelmRelease/Ready/DependencyNotReady",
    "event:HelmRelease/DependencyNotReady",
    "field:HelmRelease/spec.dependsOn[].name",
    "field:HelmRelease/spec.dependsOn[].namespace",
)
async def test_what_a_release_depends_on_comes_first(devworld: ReleaseWorld, shared: Team) -> None:
    others = await devworld.team()
    depends = [{"name": "near"}, {"name": "far", "namespace": others.namespace}]
    await _release(shared, "dependent", "plain", dependsOn=depends)
    waiting = await shared.failed("DependencyNotReady", "dependent")
    assert f"{shared.namespace}/near" in condition(waiting)["message"]
    assert (await shared.event("DependencyNotReady", name="dependent"))["type"] == "Normal"

    await _release(shared, "near", "plain")
    await shared.failed("DependencyNotReady", "dependent", text=f"{others.namespace}/far")
    await others.chart(app_chart(web=""))
    await others.release("far")
    await shared.ready("dependent", version=1)
    await devworld.leave(others)


@pytest.mark.shows(
    "field:HelmRelease/spec.kubeConfig.secretRef.name",
    "field:HelmRelease/spec.kubeConfig.secretRef.key",
)
async def test_a_release_goes_to_another_cluster(shared: Team, tmp_path: Path) -> None:
    async with DevCluster(Options()) as cluster:
        file = tmp_path / "remote"
        file.write_bytes(orjson.dumps(cluster.kubeconfig()))
        async with await config.load_client(kubeconfig=file, user_agent="test") as there:
            space = named("v1", "Namespace", shared.namespace)
            await there.create(kinds.NAMESPACE, space, field_manager="test")
            data = {"mine": base64.b64encode(file.read_bytes()).decode()}
            secret = named("v1", "Secret", "remote", shared.namespace) | {"data": data}
            await shared.apply(kinds.SECRET, secret)
            reference = {"secretRef": {"name": "remote", "key": "mine"}}
            await _release(shared, "away", "plain", kubeConfig=reference, serviceAccountName=None)
            await shared.ready("away", version=1)
            made = await there.get(kinds.CONFIG_MAP, ObjectKey(shared.namespace, "away-settings"))
            assert made["data"]["greeting"] == "hello"
            assert not await shared.exists(kinds.CONFIG_MAP, "away-settings")
            assert await shared.statuses("away") == {}, "records are there, too"
            await shared.delete("away")
            await shared.gone("away")


@pytest.mark.shows("field:HelmRelease/spec.suspend")
async def test_nothing_is_done_while_suspended(shared: Team) -> None:
    await _release(shared, "suspended", "plain", suspend=True)
    await shared.annotate("suspended", requestedAt="now")
    await shared.until(
        lambda obj: obj["status"].get("lastHandledReconcileAt") == "now", "suspended"
    )
    assert await shared.statuses("suspended") == {}

    await _release(shared, "suspended", "plain")
    await shared.ready("suspended", version=1)


# --- expressions ---------------------------------------------------------------------------------

_HEALTH: JsonObject = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "current": "data.greeting == 'good'",
    "inProgress": "data.greeting == 'slow'",
    "failed": "data.greeting == 'bad'",
}


@pytest.mark.shows(
    "field:HelmRelease/spec.healthCheckExprs[].apiVersion",
    "field:HelmRelease/spec.healthCheckExprs[].current",
    "field:HelmRelease/spec.healthCheckExprs[].failed",
    "field:HelmRelease/spec.healthCheckExprs[].inProgress",
    "field:HelmRelease/spec.healthCheckExprs[].kind",
)
async def test_expressions_say_what_is_healthy(shared: Team) -> None:
    for name, timeout in (("good", "20s"), ("slow", "1s"), ("bad", "20s")):
        await _release(
            shared,
            f"health-{name}",
            "plain",
            values={"greeting": name},
            install={"timeout": timeout},
            healthCheckExprs=[_HEALTH],
        )
    await shared.ready("health-good", version=1)
    slow = await shared.failed("InstallFailed", "health-slow")
    bad = await shared.failed("InstallFailed", "health-bad")

    assert "InProgress" in condition(slow)["message"]
    assert "Failed" in condition(bad)["message"]


@pytest.mark.shows("field:HelmRelease/spec.dependsOn[].readyExpr")
async def test_an_expression_says_what_is_ready(shared: Team) -> None:
    """In place of the usual look at a dependency, which has never been released here."""
    await _release(shared, "never", "plain", suspend=True)
    expression = "dep.spec.suspend && self.metadata.name == 'dependent-by-expression'"
    depends = [{"name": "never", "readyExpr": expression}]
    await _release(shared, "dependent-by-expression", "plain", dependsOn=depends)
    await _release(shared, "another-dependent", "plain", dependsOn=depends)
    await shared.ready("dependent-by-expression", version=1)

    await shared.failed("DependencyNotReady", "another-dependent")


@pytest.mark.shows(
    "HelmRelease/Ready/InvalidCELExpression", "HelmRelease/Stalled/InvalidCELExpression"
)
async def test_an_expression_that_is_none(shared: Team) -> None:
    broken = {**_HEALTH, "current": "data.greeting =="}
    await _release(shared, "broken-health", "plain", healthCheckExprs=[broken])
    depends = [{"name": "any", "readyExpr": "dep.("}]
    await _release(shared, "broken-dependency", "plain", dependsOn=depends)
    for name in ("broken-health", "broken-dependency"):
        stalled = await shared.stalled("InvalidCELExpression", name)
        assert condition(stalled)["reason"] == "InvalidCELExpression"
        assert await shared.statuses(name) == {}
