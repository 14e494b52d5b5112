"""Conditions and events that take an odd state to see."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from devcluster import DevCluster, Options
from fluvial.helm.release import Status
from fluvial.kube import kinds
from harness.charts import chart
from harness.release import ReleaseWorld
from harness.team import Team, condition, newest
from helm_controller.assemble import Settings
from integration.helm_controller.release_charts import MAP, app_chart, hook
from integration.helm_controller.spec_charts import NAME, failing

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


_FILES = {"values.yaml": "greeting: hello\n", "templates__settings": MAP}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(devworld: ReleaseWorld) -> AsyncIterator[Team]:
    """One namespace for all tests here."""
    team = await devworld.team()
    slow = hook(f"{NAME}-slow", "test", hangs=True)
    for name, archive in {
        "plain": chart(more="appVersion: v7\n", **_FILES),
        "slow-test": app_chart(web="", slow=slow),
        "no-end": app_chart(web="", a=failing("pre-install"), b=failing("pre-delete")),
    }.items():
        await team.chart(archive, name=name)
    yield team
    await devworld.leave(team)


async def _release(team: Team, name: str, chart: str = "plain", **spec: Any) -> None:
    await team.release(name, chartRef={"kind": "OCIRepository", "name": chart}, **spec)


@pytest.mark.shows(
    "HelmRelease/Ready/Progressing",
    "HelmRelease/Reconciling/Progressing",
    "HelmRelease/TestSuccess/AwaitingTests",
)
async def test_what_is_under_way_is_said(shared: Team) -> None:
    await _release(shared, "slow", "slow-test", test={"enable": True, "timeout": "1s"})
    seen = await shared.until(lambda obj: condition(obj).get("reason") == "Progressing", "slow")
    assert condition(seen)["status"] == "Unknown"
    assert condition(seen, "Reconciling")["reason"] == "Progressing"

    tested = await shared.until(lambda obj: bool(condition(obj, "TestSuccess")), "slow")
    assert condition(tested, "TestSuccess")["reason"] == "AwaitingTests"
    assert condition(tested, "TestSuccess")["status"] == "Unknown"


@pytest.mark.shows("HelmRelease/Released/PendingRelease", "event:HelmRelease/PendingRelease")
async def test_a_release_that_was_left_pending_goes_on(shared: Team) -> None:
    await _release(shared, "pending")
    await shared.ready("pending", version=1)
    last = await shared.records.last("pending")
    pending = last.with_status(Status.PENDING_UPGRADE, "Preparing upgrade")
    await shared.records.update(pending)
    await shared.annotate("pending", requestedAt="look")
    event = await shared.event("PendingRelease", name="pending")
    seen = await shared.until(
        lambda obj: condition(obj, "Released").get("reason") != "InstallSucceeded", "pending"
    )
    done = await shared.ready("pending", version=2)

    assert "pending-upgrade" in event["message"]
    assert condition(seen, "Released")["reason"] in {"PendingRelease", "UpgradeSucceeded"}
    assert newest(done)["status"] == "deployed"


@pytest.mark.shows("HelmRelease/Remediated/UninstallFailed")
async def test_a_failed_install_cannot_be_undone(shared: Team) -> None:
    undo = {"remediation": {"remediateLastFailure": True}}
    await _release(shared, "no-end", "no-end", install=undo)
    failed = await shared.until(
        lambda obj: condition(obj, "Remediated").get("reason") == "UninstallFailed", "no-end"
    )

    assert "pre-delete" in condition(failed, "Remediated")["message"]


@pytest.mark.shows("HelmRelease/Ready/RESTClientError")
async def test_a_kubeconfig_that_cannot_be_used(shared: Team) -> None:
    await shared.data(kinds.SECRET, "no-kubeconfig", value="nonsense: [")
    remote = {"secretRef": {"name": "no-kubeconfig"}}
    await _release(shared, "nowhere", serviceAccountName=None, kubeConfig=remote)
    failed = await shared.failed("RESTClientError", "nowhere")

    assert "no-kubeconfig" in condition(failed)["message"]


@pytest.mark.shows("HelmRelease/Ready/AccessDenied", "HelmRelease/Stalled/AccessDenied")
async def test_what_the_operator_blocks(tmp_path: Path) -> None:
    """Sources in other namespaces, and kinds of them that are switched off."""
    async with (
        DevCluster(Options()) as cluster,
        ReleaseWorld.start(tmp_path, cluster.kubeconfig(), cluster=cluster) as world,
    ):
        await world.start_controller(Settings(cross_namespace=False))
        team = await world.team()
        away = {"kind": "OCIRepository", "name": "any", "namespace": "elsewhere"}
        await team.release("away", chartRef=away)
        source = {"kind": "HelmRepository", "name": "any", "namespace": "elsewhere"}
        template = {"spec": {"chart": "any", "sourceRef": source}}
        await team.release("template-away", chartRef=None, chart=template)
        await team.release("switched-off", chartRef={"kind": "ExternalArtifact", "name": "any"})
        for name in ("away", "template-away", "switched-off"):
            stalled = await team.stalled("AccessDenied", name)
            assert condition(stalled)["reason"] == "AccessDenied"


@pytest.mark.shows(
    "event:HelmRelease/metadata revision",
    "event:HelmRelease/metadata token",
    "event:HelmRelease/metadata app-version",
    "event:HelmRelease/metadata oci-digest",
)
async def test_events_tell_what_they_are_about(shared: Team) -> None:
    await _release(shared, "told")
    done = await shared.ready("told", version=1)
    event = await shared.event("InstallSucceeded", name="told")
    group = "helm.toolkit.fluxcd.io"
    told = event["metadata"]["annotations"]

    assert told[f"{group}/revision"] == newest(done)["chartVersion"]
    assert told[f"{group}/token"] == newest(done)["configDigest"]
    assert told[f"{group}/app-version"] == "v7"
    assert told[f"{group}/oci-digest"] == newest(done)["ociDigest"]


@pytest.mark.shows(
    "HelmRelease/Ready/UnsupportedField",
    "HelmRelease/Stalled/UnsupportedField",
)
async def test_what_is_not_done_is_refused(shared: Team) -> None:
    await _release(shared, "refused", suspend=True)
    await shared.patch("refused", {"metadata": {"annotations": {"fluvial.dev/prune-limit": "1"}}})
    await _release(shared, "refused")
    stalled = await shared.stalled("UnsupportedField", "refused")

    assert "annotation fluvial.dev/prune-limit" in condition(stalled)["message"]
    assert condition(stalled)["reason"] == "UnsupportedField"
    assert await shared.statuses("refused") == {}


@pytest.mark.shows("HelmRelease/Ready/ReconcileError")
async def test_an_account_without_rights(shared: Team) -> None:
    await _release(shared, "powerless", serviceAccountName="nobody")
    failed = await shared.failed("ReconcileError", "powerless")

    assert f"{shared.namespace}:nobody" in condition(failed)["message"]
    assert condition(failed, "Reconciling")["reason"] == "ProgressingWithRetry"


@pytest.mark.shows("field:HelmRelease/spec.waitStrategy.name")
async def test_a_load_balancer_is_waited_for_in_the_old_way_alone(shared: Team) -> None:
    service = (
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: {NAME}}}\n"
        "spec: {type: LoadBalancer, ports: [{port: 80}], selector: {app: any}}\n"
    )
    await shared.chart(app_chart(web="", service=service), name="balanced")
    for strategy in ("poller", "legacy"):
        wait = {"waitStrategy": {"name": strategy}, "timeout": "1s"}
        await _release(shared, strategy, "balanced", **wait)
    await shared.ready("poller", version=1)
    failed = await shared.failed("InstallFailed", "legacy")

    assert "Service" in condition(failed)["message"]
