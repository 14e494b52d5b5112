"""``spec.install``: how a release is installed, field by field."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from fluvial.kube import kinds
from fluvial.objects import JsonObject
from harness.release import ReleaseWorld
from harness.team import Team, condition, newest
from integration.helm_controller.release_charts import app_chart, job
from integration.helm_controller.spec_charts import NAME, STUCK, all_of, failing

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

_SCHEMA = '{"type": "object", "properties": {"greeting": {"type": "integer"}}}'


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(devworld: ReleaseWorld) -> AsyncIterator[Team]:
    """One namespace for all tests here, whose account may do anything, also define kinds."""
    team = await devworld.team(role="cluster-admin", everywhere=True)
    for name, archive in {
        "plain": app_chart(web=""),
        "hooked": app_chart(web="", hook=failing("pre-install")),
        "stuck": app_chart(web=STUCK),
        "busy": app_chart(web="", job=job(NAME, hangs=True)),
        "strict": app_chart(web="", **{"values.schema.json": _SCHEMA}),
    }.items():
        await team.chart(archive, name=name)
    yield team
    await devworld.leave(team)


async def _release(team: Team, name: str, chart: str, **spec: Any) -> None:
    await team.release(name, chartRef={"kind": "OCIRepository", "name": chart}, **spec)


async def _installed(team: Team, name: str) -> JsonObject:
    done = await team.ready(name, version=1)
    assert condition(done, "Released")["reason"] == "InstallSucceeded"
    return done


@pytest.mark.shows(
    "HelmRelease/Ready/InstallSucceeded",
    "HelmRelease/Released/InstallSucceeded",
    "event:HelmRelease/InstallSucceeded",
    "field:HelmRelease/spec.install.disableHooks",
    "field:HelmRelease/spec.install.disableWait",
    "field:HelmRelease/spec.install.disableWaitForJobs",
    "field:HelmRelease/spec.install.disableSchemaValidation",
    "field:HelmRelease/spec.install.serverSideApply",
)
async def test_what_is_disabled_keeps_no_install_from_its_end(shared: Team) -> None:
    for name, field in {
        "hooked": "disableHooks",
        "stuck": "disableWait",
        "busy": "disableWaitForJobs",
        "strict": "disableSchemaValidation",
    }.items():
        install = {field: True, "serverSideApply": name != "strict"}
        await _release(shared, f"no-{name}", name, install=install)
    done = await all_of(
        *(_installed(shared, f"no-{name}") for name in ("hooked", "stuck", "busy", "strict"))
    )

    assert {newest(obj)["status"] for obj in done} == {"deployed"}
    assert (await shared.records.last("no-strict")).apply_method == "csa"
    message = f"Helm install succeeded for release {shared.namespace}/no-busy.v1 with chart app@"
    assert condition(done[2])["message"].startswith(message)
    await shared.event("InstallSucceeded", name="no-busy", text=message)


@pytest.mark.shows(
    "HelmRelease/Ready/InstallFailed",
    "HelmRelease/Released/InstallFailed",
    "HelmRelease/Stalled/RetriesExceeded",
    "event:HelmRelease/InstallFailed",
    "field:HelmRelease/spec.install.timeout",
    "field:HelmRelease/spec.timeout",
)
async def test_what_is_not_disabled_does(shared: Team) -> None:
    short = {"timeout": "1s"}
    await _release(shared, "hooked", "hooked")
    await _release(shared, "stuck", "stuck", install=short)
    await _release(shared, "busy", "busy", **short)
    await _release(shared, "strict", "strict")
    names = ("hooked", "stuck", "busy", "strict")
    failed = await all_of(*(shared.failed("InstallFailed", name) for name in names))

    for name, obj, text in zip(
        names, failed, ("pre-install", "Deployment", "Job", "greeting"), strict=True
    ):
        assert text in condition(obj)["message"], name
    for name in ("hooked", "stuck", "busy"):
        stalled = await shared.stalled("RetriesExceeded", name)
        assert condition(stalled, "Released")["reason"] == "InstallFailed"
        assert stalled["status"]["installFailures"] == 1
        assert newest(stalled)["status"] == "failed"
        await shared.event("InstallFailed", name=name)


@pytest.mark.shows("field:HelmRelease/spec.install.disableTakeOwnership")
async def test_what_others_have_made_is_taken_unless_it_is_forbidden(shared: Team) -> None:
    for name in ("taken", "left"):
        await shared.data(kinds.CONFIG_MAP, f"{name}-settings", greeting="others'")
        forbidden = {"install": {"disableTakeOwnership": name == "left"}}
        await _release(shared, name, "plain", **forbidden)
    await _installed(shared, "taken")
    failed = await shared.failed("InstallFailed", "left")
    taken = await shared.get(kinds.CONFIG_MAP, "taken-settings")
    left = await shared.get(kinds.CONFIG_MAP, "left-settings")

    assert f"ConfigMap/{shared.namespace}/left-settings" in condition(failed)["message"]
    assert (taken["data"]["greeting"], left["data"]["greeting"]) == ("hello", "others'")


@pytest.mark.shows(
    "field:HelmRelease/spec.install.replace", "field:HelmRelease/spec.uninstall.keepHistory"
)
async def test_the_name_of_an_uninstalled_release_is_used_again(shared: Team) -> None:
    await _release(shared, "again", "plain", uninstall={"keepHistory": True})
    await _installed(shared, "again")
    await shared.delete("again")
    await shared.gone("again")
    assert await shared.statuses("again") == {1: "uninstalled"}
    await _release(shared, "again", "plain")
    failed = await shared.failed("InstallFailed", "again")
    assert "again" in condition(failed)["message"]

    await _release(shared, "again", "plain", install={"replace": True})
    done = await shared.ready("again", version=2)
    assert condition(done, "Released")["reason"] == "InstallSucceeded"
    assert (await shared.statuses("again"))[2] == "deployed"


@pytest.mark.shows("field:HelmRelease/spec.install.crds", "field:HelmRelease/spec.upgrade.crds")
async def test_definitions_are_made_replaced_or_left(shared: Team) -> None:
    group = f"{shared.namespace}.example.com"

    async def outcome(policy: str | None, version: str) -> str | None:
        """What the definition says, once the release has got that far."""
        plural = f"{(policy or 'default').lower()}s"
        text = _definition(group, plural, version)
        await shared.chart(
            app_chart(version, web="", **{"crds__a.yaml": text}), version, name=plural
        )
        action = {"crds": policy} if policy else {}
        await _release(shared, plural, plural, install=action, upgrade=action)
        await shared.ready(plural, version=1 if version == "1.0.0" else 2)
        if not await shared.exists(kinds.CRD, f"{plural}.{group}"):
            return None
        found = await shared.get(kinds.CRD, f"{plural}.{group}")
        said: str = found["metadata"]["annotations"]["version"]
        return said

    policies = (None, "Skip", "Create", "CreateReplace")
    first = [await outcome(policy, "1.0.0") for policy in policies]
    second = [await outcome(policy, "2.0.0") for policy in policies]

    assert first == ["1.0.0", None, "1.0.0", "1.0.0"]
    assert second == ["1.0.0", None, "1.0.0", "2.0.0"]
    for plural in ("defaults", "creates", "createreplaces"):
        await shared.delete(f"{plural}.{group}", kinds.CRD)


def _definition(group: str, plural: str, version: str) -> str:
    return f"""\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: {plural}.{group}, annotations: {{version: "{version}"}}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{plural: {plural}, kind: {plural.title()}}}
  versions:
    - {{name: v1, served: true, storage: true, schema: {{openAPIV3Schema: {{type: object}}}}}}
"""


@pytest.mark.shows(
    "HelmRelease/Ready/UninstallSucceeded",
    "HelmRelease/Released/UninstallSucceeded",
    "HelmRelease/Remediated/UninstallSucceeded",
    "HelmRelease/Reconciling/ProgressingWithRetry",
    "event:HelmRelease/UninstallSucceeded",
    "field:HelmRelease/spec.install.remediation.retries",
    "field:HelmRelease/spec.install.remediation.remediateLastFailure",
)
async def test_failed_installs_are_undone_and_tried_again(shared: Team) -> None:
    remediation = {"retries": 1, "remediateLastFailure": True}
    await _release(shared, "undone", "hooked", install={"remediation": remediation})
    await _release(shared, "kept", "hooked", install={"remediation": {"retries": 1}})
    undone = await shared.stalled("RetriesExceeded", "undone")
    kept = await shared.stalled("RetriesExceeded", "kept")

    assert undone["status"]["installFailures"] == kept["status"]["installFailures"] == 2
    assert condition(undone, "Remediated")["reason"] == "UninstallSucceeded"
    assert condition(undone)["reason"] == "UninstallSucceeded"
    assert await shared.statuses("undone") == {}
    assert list((await shared.statuses("kept")).values()) == ["failed"]
    await shared.event("UninstallSucceeded", name="undone")


@pytest.mark.shows(
    "field:HelmRelease/spec.install.strategy.name",
    "field:HelmRelease/spec.install.strategy.retryInterval",
)
async def test_an_install_is_only_tried_again(shared: Team) -> None:
    strategy = {"name": "RetryOnFailure", "retryInterval": "500ms"}
    hooks = failing("pre-install,pre-upgrade")
    await shared.chart(app_chart(web="", hook=hooks), name="always-failing")
    await _release(shared, "retried", "always-failing", install={"strategy": strategy})
    tried = await shared.until(lambda obj: newest(obj).get("version", 0) >= 2, "retried")

    assert newest(tried)["status"] == "failed"
    assert not condition(tried, "Remediated")
    assert not condition(tried, "Stalled")
